"""Encoders that are PyTorch networks: images under autocast, texts in float32."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from counterground.errors import CounterGroundError
from counterground.models._base import DualEncoder, Encoder
from counterground.models._family import LoadOptions
from counterground.models._fingerprint import combine, library_versions, plain_repr, tensor_digests
from counterground.models.execution import (
    Forward,
    Runtime,
    autocast,
    for_inference,
    freed_memory_kept,
    runtimes_for,
)
from counterground.text import counted

if TYPE_CHECKING:
    import torch
    from PIL import Image


class NetworkEncoder(Encoder):
    """An encoder whose photos go through one network.

    Args:
        spec: the specification as written.
        network: the whole network; it is put into evaluation mode, on the device.
        transform: photo -> the network's input.
        options: device and precision.
        description: what is known of the weights; completed here.
        libraries: distributions whose versions enter the fingerprint.
        preprocessing: JSON-ready account of ``transform``, None to use its ``repr``.
        identity: what else enters the fingerprint, JSON-ready.

    Attributes:
        image_network: from ``[n, 3, h, w]`` on ``device`` to logits or embeddings.
    """

    image_network: torch.nn.Module
    _runtime: Runtime | None = None
    _forward: Forward | None = None

    def __init__(
        self,
        spec: str,
        network: Any,
        transform: Callable[[Image.Image], torch.Tensor],
        *,
        options: LoadOptions,
        description: Mapping[str, Any],
        libraries: Sequence[str],
        preprocessing: Any = None,
        **identity: Any,
    ) -> None:
        self.spec, self.device, self.dtype = spec, options.device, options.precision
        self.transform = transform
        facts = {
            "preprocessing": plain_repr(transform) if preprocessing is None else preprocessing,
            "libraries": library_versions(*libraries),
        }
        weights = tensor_digests(network.state_dict())
        self.fingerprint = combine(weights=weights, dtype=self.dtype, **facts, **identity)
        self.image_network = self.network = for_inference(network, self.device)
        parameters = sum(parameter.numel() for parameter in network.parameters())
        warnings = list(description.get("warnings", ()))
        self.description = {**description, "parameters": parameters, **facts, "warnings": warnings}

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

    def run_by(self, runtime: Runtime) -> NetworkEncoder:
        other = copy.copy(self)
        other._runtime, other._forward, other.runtime = runtime, None, runtime.name  # noqa: SLF001
        other.fingerprint = combine(eager=self.fingerprint, runtime=runtime.name)
        return other

    def forward(self, batch: torch.Tensor) -> Any:
        """Return the network's output for a batch; the first batch starts a runtime."""
        import torch

        batch = batch.to(self.device)
        if self._forward is None and self._runtime:
            self._forward = self._runtime.start(self.image_network, batch)
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

    def count_cut(self, texts: list[str]) -> tuple[int, int]:
        """Return how many of distinct texts are cut, and the most tokens that a text may have."""
        del texts
        return 0, 0

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
    float32.

    Args:
        spec: the specification as written.
        network: the towers.
        features: the network and a batch of photos -> embeddings, not necessarily of unit length.
        transform: photo -> the network's input.
        texts: encoder of texts.
        scale: factor on similarities that the weights hold.
        facts: as for `NetworkEncoder`.

    Raises:
        CounterGroundError: ``scale`` is not a positive number.
    """

    def __init__(
        self,
        spec: str,
        network: Any,
        features: Callable[[Any, torch.Tensor], torch.Tensor],
        transform: Callable[[Image.Image], torch.Tensor],
        texts: TextEncoder,
        *,
        scale: float,
        **facts: Any,
    ) -> None:
        super().__init__(spec, network, transform, **facts)
        self.image_network = image_tower(self.network, features)
        if not 0 < scale < math.inf:
            raise CounterGroundError(f"{spec}: the weights hold a logit scale of {scale}.")
        self.logit_scale, self.texts = scale, texts
        self.dim = int(self.encode_texts(["a photo"]).shape[1])

    def encode(self, batch: torch.Tensor) -> torch.Tensor:
        import torch

        return torch.nn.functional.normalize(self.forward(batch).float(), dim=-1).cpu()

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        return self.texts(texts)

    def text_warnings(self, texts: Sequence[str]) -> Sequence[str]:
        cut, most = self.texts.count_cut(list(dict.fromkeys(texts)))
        have, are = ("has", "is") if cut == 1 else ("have", "are")
        return [f"{counted(cut, 'text')} {have} more than {most} tokens and {are} cut."] if cut else []


def unit_length(features: torch.Tensor) -> np.ndarray:
    """Return embeddings ``[n, dim]`` of unit length, float32 on the CPU."""
    import torch

    unit: np.ndarray = torch.nn.functional.normalize(features.float(), dim=-1).cpu().numpy()
    return unit
