"""Dual encoders in PyTorch: images under autocast, texts in float32, both of unit length."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from counterground.errors import CounterGroundError
from counterground.models._base import DualEncoder
from counterground.models.execution import freed_memory_kept
from counterground.models.networks._network import NetworkEncoder
from counterground.text import counted

if TYPE_CHECKING:
    import torch

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
