"""Text embeddings of OpenCLIP's models; in a causal tower each common beginning of texts is computed once.

A token of a causal tower sees only the tokens before it. So texts that begin alike share the states of their
beginning, states after the end token are never needed, and in the last block only those of end tokens are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from counterground.models._networks import TextEncoder, unit_length

if TYPE_CHECKING:
    import torch

TOLERANCE = 1e-5
_STATES = 4096  # in one forward pass


class OpenClipTextEncoder(TextEncoder):
    """Encodes texts with an OpenCLIP model; common beginnings once, if the tower is causal.

    Each call compares four texts with the whole tower. Where the two disagree, the whole tower does the work
    from then on.

    Args:
        model: OpenCLIP model, in evaluation mode.
        tokenizer: OpenCLIP's, from a list of texts to ``[n, context]`` tokens.
        device: where the model lives.
    """

    def __init__(self, model: Any, tokenizer: Callable[..., torch.Tensor], device: str) -> None:
        super().__init__(model, tokenizer, device)
        self.shares = is_causal(model)

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
        if not self.shares or len(tokens) <= 4:
            return whole(tokens)
        tower = _text_tower(self.network)
        ends = _end_positions(tower, tokens).tolist()
        texts = [row[: end + 1] for row, end in zip(tokens.tolist(), ends, strict=True)]
        order = np.argsort(ends, kind="stable")
        # The shortest, the longest and two between.
        sample = [order[0], order[len(order) // 3], order[2 * len(order) // 3], order[-1]]
        embedded = encode_tree(tower, texts, self.device)
        self.shares = bool(np.abs(embedded[sample] - whole(tokens[sample])).max() <= TOLERANCE)
        return embedded if self.shares else whole(tokens)


def is_causal(model: Any) -> bool:
    """Whether an OpenCLIP model's text tower is causal and pooled at the end token.

    CoCa (class token behind the padding), SigLIP (pooled at the last position), towers from Hugging Face,
    masks over padding, and blocks that are not OpenCLIP's usual ones are not.
    """
    from open_clip.model import CLIP
    from open_clip.transformer import ResidualAttentionBlock, TextTransformer

    tower = _text_tower(model)
    return (
        isinstance(tower, CLIP | TextTransformer)
        and not hasattr(model, "text_decoder")
        and getattr(tower, "attn_mask", None) is not None
        and getattr(tower, "cls_emb", None) is None
        and not getattr(tower, "use_pad_mask", False)
        and _pool_type(tower) in {"argmax", "eos"}
        and {type(block) for block in getattr(tower.transformer, "resblocks", ())} == {ResidualAttentionBlock}
    )


def _text_tower(model: Any) -> Any:
    """Return the module that holds an OpenCLIP model's text tower (the model itself for class CLIP)."""
    return model.text if hasattr(model, "text") else model


def _pool_type(tower: Any) -> str:
    return str(getattr(tower, "text_pool_type", None) or getattr(tower, "pool_type", "none"))


def _end_positions(tower: Any, tokens: torch.Tensor) -> torch.Tensor:
    """Return the position of each text's end token, ``[n]``, for tokens ``[n, context]``."""
    if _pool_type(tower) == "argmax":
        return tokens.argmax(dim=-1)
    end = tower.text_eos_id if hasattr(tower, "text_eos_id") else tower.eos_id
    return tokens.eq(end).int().argmax(dim=-1)


def encode_tree(tower: Any, texts: Sequence[list[int]], device: str) -> np.ndarray:
    """Return unit-length embeddings ``[n, dim]`` of texts, given as tokens up to their end token."""
    order = sorted(range(len(texts)), key=lambda place: tuple(texts[place]))
    groups = _groups([texts[place] for place in order])
    parts = [unit_length(_forward(tower, _Tree(group), device)) for group in groups]
    return np.concatenate(parts)[np.argsort(order)]


def _groups(texts: Sequence[list[int]]) -> Iterator[list[list[int]]]:
    """Split sorted texts into groups whose trees have at most `_STATES` states."""
    group: list[list[int]] = []
    states = 0
    for text in texts:
        new = len(text) - (common_length(group[-1], text) if group else 0)
        if group and states + new > _STATES:
            yield group
            group, states, new = [], 0, len(text)
        group.append(text)
        states += new
    yield group


def common_length(first: Sequence[int], second: Sequence[int]) -> int:
    """Return how many tokens two texts have in common at the beginning."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(first), len(second)))


class _Tree:
    """The tree of sorted texts: one state for each distinct beginning.

    ``tokens`` ``[states]``; ``ends`` ``[texts]``: the state of each text's end token;
    ``above``: for each state, the states from the root to itself.
    """

    def __init__(self, texts: Sequence[list[int]]) -> None:
        self.tokens: list[int] = []
        self.ends: list[int] = []
        self.above: list[list[int]] = []
        path: list[int] = []
        before: list[int] = []
        for text in texts:
            del path[common_length(before, text) :]
            for depth in range(len(path), len(text)):
                path.append(len(self.tokens))
                self.tokens.append(text[depth])
                self.above.append(path.copy())
            self.ends.append(path[len(text) - 1])
            before = text


def _forward(tower: Any, tree: _Tree, device: str) -> Any:
    import torch

    tokens, ends = (torch.as_tensor(each, device=device) for each in (tree.tokens, tree.ends))
    sees = torch.zeros(len(tokens), len(tokens), dtype=torch.bool, device=device)
    for state, above in enumerate(tree.above):
        sees[state, above] = True
    states = tower.token_embedding(tokens) + tower.positional_embedding[sees.sum(dim=1) - 1]
    *blocks, last = tower.transformer.resblocks
    for block in blocks:
        states = _block(block, states, slice(None), sees)
    states = tower.ln_final(_block(last, states, ends, sees))
    projection = tower.text_projection
    if isinstance(projection, torch.nn.Module):
        states = projection(states)
    elif projection is not None:
        states = states @ projection
    return states


def _block(block: Any, states: torch.Tensor, rows: Any, sees: torch.Tensor) -> Any:
    """Return what a block makes of some of the states ``[n, width]``, which attend to those they see."""
    import torch

    attention = block.attn
    projected = torch.nn.functional.linear(
        block.ln_1(states), attention.in_proj_weight, attention.in_proj_bias
    )
    queries, keys, values = (
        part.view(1, len(states), attention.num_heads, -1).transpose(1, 2)
        for part in projected.chunk(3, dim=-1)
    )
    mixed = []
    for query, mask in zip(torch.split(queries[:, :, rows], 64, 2), torch.split(sees[rows], 64), strict=True):
        seen = mask.any(dim=0)  # neighbours see mostly the same
        mixed.append(
            torch.nn.functional.scaled_dot_product_attention(
                query, keys[:, :, seen], values[:, :, seen], mask[:, seen]
            )
        )
    states = states[rows] + block.ls_1(attention.out_proj(torch.cat(mixed, 2)[0].transpose(0, 1).flatten(1)))
    return states + block.ls_2(block.mlp(block.ln_2(states)))
