"""Text embeddings without wasted tokens.

A causal text tower pooled at the end token never looks past it, so the padding behind it (in an 80-template
head about five tokens of six) need not be computed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from counterground.models._dual import TOKENS, TextEncoder, unit_length

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch

TOLERANCE = 1e-5


def text_tower(model: Any) -> Any:
    """Return the module that holds an OpenCLIP model's text tower (the model itself for class CLIP)."""
    return model.text if hasattr(model, "text") else model


def can_trim(model: Any) -> bool:
    """Whether the text tower is causal, padded at the end and pooled at the end token.

    False for CoCa (class token behind the padding), SigLIP (pooled at the last position), towers from
    Hugging Face and masks over padding.
    """
    from open_clip.model import CLIP
    from open_clip.transformer import TextTransformer

    tower = text_tower(model)
    if not isinstance(tower, CLIP | TextTransformer) or hasattr(model, "text_decoder"):
        return False
    mask = getattr(tower, "attn_mask", None)
    return (
        mask is not None
        and getattr(tower, "cls_emb", None) is None
        and not getattr(tower, "use_pad_mask", False)
        and _pool_type(tower) in {"argmax", "eos"}
    )


def end_positions(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    """Return the position of each text's end token, ``[n]``, for tokens ``[n, context]``."""
    import torch

    tower = text_tower(model)
    if _pool_type(tower) == "argmax":
        return tokens.argmax(dim=-1)
    end: int = tower.text_eos_id if hasattr(tower, "text_eos_id") else tower.eos_id
    return torch.eq(tokens, end).int().argmax(dim=-1)


def encode_trimmed(model: Any, tokens: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
    """Return embeddings ``[n, dim]`` (not normalised) from the tokens up to the last end token."""
    import torch

    tower = text_tower(model)
    length = int(ends.max()) + 1
    states = tower.token_embedding(tokens[:, :length]) + tower.positional_embedding[:length]
    states = tower.transformer(states, attn_mask=tower.attn_mask[:length, :length])
    pooled: torch.Tensor = tower.ln_final(states[torch.arange(len(tokens), device=states.device), ends])
    projection = tower.text_projection
    if isinstance(projection, torch.nn.Module):
        projected: torch.Tensor = projection(pooled)
        return projected
    if projection is not None:
        pooled = torch.matmul(pooled, projection)
    return pooled


class TrimmedTextEncoder(TextEncoder):
    """Encodes texts with an OpenCLIP model, trimmed where that provably changes nothing.

    Args:
        model: OpenCLIP model, in evaluation mode.
        tokenizer: list of texts -> ``[n, context]`` tokens.
        device: where the model lives.
        warn: called with a sentence if the trimmed encoder disagrees with the full one.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Callable[[list[str]], torch.Tensor],
        device: str,
        *,
        warn: Callable[[str], None],
    ) -> None:
        super().__init__(model, tokenizer, device)
        self._trim, self._warn = can_trim(model), warn

    def features(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.network.encode_text(tokens, normalize=False)  # type: ignore[no-any-return]

    def encode_tokens(self, tokens: torch.Tensor) -> np.ndarray:
        if not self._trim or len(tokens) <= 4:
            return super().encode_tokens(tokens)
        ends = end_positions(self.network, tokens)
        order = ends.argsort(stable=True)
        # The whole context enters into the check: its shortest, its longest and two between.
        sample = order[[0, len(order) // 3, 2 * len(order) // 3, len(order) - 1]]
        full = super().encode_tokens(tokens[sample])
        trimmed = self._encode_sorted(tokens, ends, order)
        difference = float(np.abs(trimmed[sample.numpy()] - full).max())
        if difference <= TOLERANCE:
            return trimmed
        self._trim = False
        self._warn(
            f"Trimmed text encoding differs from the full one by {difference:.1e}, over {TOLERANCE:.0e}; "
            "texts are encoded at full length, which is slower."
        )
        return super().encode_tokens(tokens)

    def _encode_sorted(self, tokens: torch.Tensor, ends: torch.Tensor, order: torch.Tensor) -> np.ndarray:
        result: np.ndarray | None = None
        for batch in _batches(ends, order):
            ids, last = tokens[batch].to(self.device), ends[batch].to(self.device)
            embedded = unit_length(encode_trimmed(self.network, ids, last))
            if result is None:
                result = np.empty((len(tokens), embedded.shape[1]), np.float32)
            result[batch.numpy()] = embedded
        assert result is not None
        return result


def _batches(ends: torch.Tensor, order: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield indices of texts of one length, at most `TOKENS` tokens at a time."""
    import torch

    lengths, counts = torch.unique_consecutive(ends[order] + 1, return_counts=True)
    groups = torch.split(order, counts.tolist())
    for length, group in zip(lengths.tolist(), groups, strict=True):
        yield from torch.split(group, max(1, TOKENS // length))


def _pool_type(tower: Any) -> str:
    return str(getattr(tower, "text_pool_type", None) or getattr(tower, "pool_type", "none"))
