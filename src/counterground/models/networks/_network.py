"""Encoders that are PyTorch networks: images under autocast, texts in float32."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from counterground.errors import CounterGroundError
from counterground.models._base import DualEncoder, Encoder
from counterground.models._fingerprint import combine
from counterground.models.execution import Forward, Runtime, autocast, freed_memory_kept, runtimes_for
from counterground.text import counted

if TYPE_CHECKING:
    import torch
    from PIL import Image


class NetworkEncoder(Encoder):
    """An encoder whose photos go through one network. Subclasses set it and call `forward`.

    Attributes:
        transform: photo -> the network's input.
        image_network: from ``[n, 3, h, w]`` on ``device`` to logits or embeddings.
        weights: SHA-256 of each tensor of the network, as in the fingerprint.
    """

    transform: Callable[[Image.Image], torch.Tensor]
    image_network: torch.nn.Module
    weights: Mapping[str, str]
    _eager_fingerprint: str
    _runtime: Runtime | None = None
    _forward: Forward | None = None

    def preprocess(self, image: Image.Image) -> torch.Tensor:
        if self.convert_rgb_first and image.mode != "RGB":
            image = image.convert("RGB")
        return self.transform(image)

    def grey_photo(self) -> torch.Tensor:
        """Return the network's input for a grey photo, ``[1, 3, h, w]`` on its device."""
        from PIL import Image

        return self.preprocess(Image.new("RGB", (256, 256), (128, 128, 128)))[None].to(self.device)

    @cached_property
    def runtimes(self) -> tuple[Runtime, ...]:
        return runtimes_for(self.device, self.dtype)

    def run_by(self, runtime: Runtime | None) -> None:
        if runtime == self._runtime:
            return
        if self._runtime is None:
            self._eager_fingerprint = self.fingerprint
        self._runtime, self._forward = runtime, None
        self.fingerprint = self._eager_fingerprint
        if runtime:
            self.fingerprint = combine(eager=self._eager_fingerprint, runtime=runtime.name)

    def forward(self, batch: torch.Tensor) -> Any:
        """Return the network's output for a batch; the first batch starts a runtime."""
        import torch

        batch = batch.to(self.device)
        if self._forward is None:
            self._forward = self._runtime.start(self.image_network, batch) if self._runtime else None
        with torch.inference_mode(), autocast(self.device, self.dtype):
            return (self._forward or self.image_network)(batch)


def image_tower(
    network: torch.nn.Module, features: Callable[[Any, torch.Tensor], torch.Tensor]
) -> torch.nn.Module:
    """Return the image side of a network as a separate network: ``features(network, batch)``."""
    import torch

    class ImageTower(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return features(self.network, batch)

    return ImageTower()


# Tokens in one forward pass: enough to fill the cores, few enough to stay near their caches.
TOKENS = 4096


class TextEncoder:
    """Encodes texts in float32, each distinct one once.

    Args:
        network: network with ``encode_text``, from tokens to embeddings.
        tokenizer: list of texts -> ``[n, context]`` tokens.
        device: where the network lives.
    """

    def __init__(self, network: Any, tokenizer: Any, device: str) -> None:
        self.network, self.tokenizer, self.device = network, tokenizer, device

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Return unit-length embeddings ``[n, dim]`` float32 in the order of ``texts``."""
        import torch

        if not texts:
            return self(["a text, to learn the width"])[:0]
        distinct = list(dict.fromkeys(texts))
        rows = {text: row for row, text in enumerate(distinct)}
        with torch.inference_mode(), freed_memory_kept():
            embedded = self.encode(distinct)
        return np.take(embedded, [rows[text] for text in texts], axis=0)

    def encode(self, texts: list[str]) -> np.ndarray:
        """Return the embeddings of distinct texts."""
        return self.encode_tokens(self.tokenizer(texts))

    def encode_tokens(self, tokens: torch.Tensor) -> np.ndarray:
        """Return the embeddings of tokens ``[n, context]`` at their full length."""
        import torch

        parts = torch.split(tokens, max(1, TOKENS // tokens.shape[1]))
        return np.concatenate([unit_length(self.features(part.to(self.device))) for part in parts])

    def features(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the network's embeddings of tokens, not necessarily of unit length."""
        return self.network.encode_text(tokens)  # type: ignore[no-any-return]


class TorchDualEncoder(NetworkEncoder, DualEncoder):
    """A dual encoder whose two towers are one PyTorch network.

    The image tower runs in ``dtype`` under autocast, the text tower always in float32; both are normalised in
    float32. Subclasses set these attributes and ``image_network`` (see `image_tower`).

    Attributes:
        network: the towers, in evaluation mode on ``device``.
        texts: encoder of texts.
    """

    network: Any
    texts: TextEncoder

    def encode(self, batch: torch.Tensor) -> torch.Tensor:
        import torch

        return torch.nn.functional.normalize(self.forward(batch).float(), dim=-1).cpu()

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        return self.texts(texts)


def checked_scale(spec: str, scale: float) -> float:
    """Return the factor on similarities that the weights hold.

    Raises:
        CounterGroundError: it is not a positive number.
    """
    if not 0 < scale < math.inf:
        raise CounterGroundError(f"{spec}: the weights hold a logit scale of {scale}.")
    return scale


def texts_are_cut(cut: int, most: int) -> str:
    """Return the warning that ``cut`` texts have more than ``most`` tokens."""
    have, are = ("has", "is") if cut == 1 else ("have", "are")
    return f"{counted(cut, 'text')} {have} more than {most} tokens and {are} cut."


def unit_length(features: torch.Tensor) -> np.ndarray:
    """Return embeddings ``[n, dim]`` of unit length, float32 on the CPU."""
    import torch

    unit: np.ndarray = torch.nn.functional.normalize(features.float(), dim=-1).cpu().numpy()
    return unit
