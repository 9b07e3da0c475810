"""Text embeddings of OpenCLIP's models, without wasted tokens if the tower is causal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from counterground.models.networks import Block, CausalTower, TextEncoder, TreeEncoder

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import torch


class OpenClipTextEncoder(TextEncoder):
    """Encodes texts with an OpenCLIP model; common beginnings once, if that provably changes nothing.

    Args:
        model: OpenCLIP model, in evaluation mode.
        tokenizer: OpenCLIP's, from a list of texts to ``[n, context]`` tokens.
        device: where the model lives.
    """

    def __init__(self, model: Any, tokenizer: Callable[..., torch.Tensor], device: str) -> None:
        super().__init__(model, tokenizer, device)
        tower = causal_tower(model)
        self._tree = None if tower is None else TreeEncoder(tower, device)

    def features(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.network.encode_text(tokens, normalize=False)  # type: ignore[no-any-return]

    def count_cut(self, texts: list[str]) -> tuple[int, int]:
        padding = self.tokenizer([""])
        most = padding.shape[1]
        # A token has a byte or more, and two tokens stand around a text.
        long = [text for text in texts if len(text.encode()) + 2 > most]
        if not long:
            return 0, most
        # Those that have more tokens if there is room for one more.
        used, wanted = (
            (self.tokenizer(long, context_length=length) != padding.mode().values).sum(dim=1)
            for length in (most, most + 1)
        )
        return int((wanted > used).sum()), most

    def encode_tokens(self, tokens: torch.Tensor) -> np.ndarray:
        whole = super().encode_tokens
        if self._tree is None:
            return whole(tokens)
        ends = _end_positions(_text_tower(self.network), tokens).tolist()
        texts = [row[: end + 1] for row, end in zip(tokens.tolist(), ends, strict=True)]
        return self._tree.encode(texts, lambda places: whole(tokens[list(places)]))


def causal_tower(model: Any) -> CausalTower | None:
    """Return an OpenCLIP model's text tower in parts; None unless it is causal and pooled at the end token.

    None for CoCa (class token behind the padding), SigLIP (pooled at the last position), towers from
    Hugging Face, masks over padding, and blocks that are not OpenCLIP's usual ones.
    """
    from open_clip.model import CLIP
    from open_clip.transformer import ResidualAttentionBlock, TextTransformer

    tower = _text_tower(model)
    if (
        not isinstance(tower, CLIP | TextTransformer)
        or hasattr(model, "text_decoder")
        or getattr(tower, "attn_mask", None) is None
        or getattr(tower, "cls_emb", None) is not None
        or getattr(tower, "use_pad_mask", False)
        or _pool_type(tower) not in {"argmax", "eos"}
    ):
        return None
    blocks = getattr(tower.transformer, "resblocks", ())
    if not blocks or any(type(block) is not ResidualAttentionBlock for block in blocks):
        return None
    return CausalTower(
        lambda tokens, positions: tower.token_embedding(tokens) + tower.positional_embedding[positions],
        [_block(block) for block in blocks],
        lambda states: _project(tower, tower.ln_final(states)),
    )


def _text_tower(model: Any) -> Any:
    """Return the module that holds an OpenCLIP model's text tower (the model itself for class CLIP)."""
    return model.text if hasattr(model, "text") else model


def _block(block: Any) -> Block:
    import torch

    attention = block.attn

    def project(states: torch.Tensor) -> tuple[torch.Tensor, ...]:
        weights, bias = attention.in_proj_weight, attention.in_proj_bias
        return torch.nn.functional.linear(block.ln_1(states), weights, bias).chunk(3, dim=-1)

    def finish(states: torch.Tensor, mixed: torch.Tensor) -> torch.Tensor:
        states = states + block.ls_1(attention.out_proj(mixed))
        added: torch.Tensor = states + block.ls_2(block.mlp(block.ln_2(states)))
        return added

    return Block(attention.num_heads, project, finish)


def _end_positions(tower: Any, tokens: torch.Tensor) -> torch.Tensor:
    """Return the position of each text's end token, ``[n]``, for tokens ``[n, context]``."""
    import torch

    if _pool_type(tower) == "argmax":
        return tokens.argmax(dim=-1)
    end: int = tower.text_eos_id if hasattr(tower, "text_eos_id") else tower.eos_id
    return torch.eq(tokens, end).int().argmax(dim=-1)


def _project(tower: Any, pooled: torch.Tensor) -> torch.Tensor:
    import torch

    projection = tower.text_projection
    if projection is None:
        return pooled
    projected: torch.Tensor = (
        projection(pooled) if isinstance(projection, torch.nn.Module) else torch.matmul(pooled, projection)
    )
    return projected


def _pool_type(tower: Any) -> str:
    return str(getattr(tower, "text_pool_type", None) or getattr(tower, "pool_type", "none"))
