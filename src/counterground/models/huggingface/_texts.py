"""Texts for transformers' dual encoders, tokenised as each family was trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from counterground.errors import CounterGroundError
from counterground.models.huggingface._loading import quiet
from counterground.models.networks import (
    TOKENS,
    Block,
    CausalTower,
    TextEncoder,
    TreeEncoder,
    unit_length,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch


# Trained on texts padded to the full context, without a mask over the padding.
_SIGLIP = ("siglip", "siglip2")
_ALIGN_LENGTH = 64  # AlignProcessor's own, which the configuration does not carry


@dataclass(frozen=True)
class Tokenization:
    """How texts become tokens.

    Attributes:
        tokenizer: class of the tokenizer.
        padding: ``max_length`` or ``longest`` (of the texts encoded together).
        max_length: tokens a text may have; longer ones are cut.
        mask: whether the tower gets a mask of the padding. SigLIP's was trained without one.
        clean: OpenCLIP's name for what is done to texts before the tokenizer sees them; None for nothing.
    """

    tokenizer: str
    padding: str
    max_length: int
    mask: bool
    clean: str | None


def check_vocabulary(spec: str, config: Any, tokenizer: Any) -> None:
    """Check that tokenizer and text tower fit: without a tokenizer's files transformers makes an empty one.

    Raises:
        CounterGroundError: the tokenizer has more tokens than the tower, or less than half of them.
    """
    known, tokens = getattr(_text_config(config), "vocab_size", None), len(tokenizer)
    last = max(tokenizer.get_vocab().values(), default=0)
    if known is not None and last >= known:
        tokens = last + 1
    if known is not None and (tokens > known or 2 * tokens < known):
        raise CounterGroundError(
            f"{spec}: its tokenizer has {tokens} tokens, its text tower {known}: they do not fit. "
            "Put the tokenizer's own files (tokenizer.json, spiece.model, ...) beside the weights."
        )


def tokenization(config: Any, tokenizer: Any) -> tuple[Tokenization, list[str]]:
    """Return how a family's texts are tokenised, and warnings.

    SigLIP and SigLIP 2 pad to ``max_length`` without a mask. Their texts are canonicalised (lower case, no
    punctuation) by OpenCLIP's function, so that the same weights get the same text from both libraries. Their
    authors' zero-shot evaluator does the same to class names and templates (big_vision,
    ``prompt_engineering.py``). transformers' tokenizer for SigLIP does so itself; the one for SigLIP 2
    lower-cases at most.
    """
    family = str(config.model_type)
    limit = int(tokenizer.model_max_length)
    limit = min(limit, int(getattr(_text_config(config), "max_position_embeddings", limit)))
    siglip = family in _SIGLIP
    if family == "align":
        limit = min(limit, _ALIGN_LENGTH)
    warnings = []
    if siglip and tokenizer.padding_side != "right":
        warnings.append(
            f"Texts are padded on the {tokenizer.padding_side}; the published {family} weights were trained "
            "with padding on the right."
        )
    return (
        Tokenization(
            tokenizer=type(tokenizer).__name__,
            padding="max_length" if siglip or family == "align" else "longest",
            max_length=limit,
            mask=not siglip,
            clean="canonicalize" if siglip else None,
        ),
        warnings,
    )


class HfTextEncoder(TextEncoder):
    """Encodes texts in float32, each distinct one once; for CLIP, common beginnings are encoded once.

    Args:
        model: model with ``get_text_features``, in evaluation mode.
        tokenizer: transformers tokenizer.
        how: tokenisation of the family's texts.
        device: where the model lives.
    """

    def __init__(self, model: Any, tokenizer: Any, how: Tokenization, device: str) -> None:
        super().__init__(model, tokenizer, device)
        self._how = how
        tower = causal_tower(model)
        self._tree = None if tower is None else TreeEncoder(tower, device)

    def encode(self, texts: list[str]) -> np.ndarray:
        with quiet():
            tokens = self._tokens(texts)
            if self._tree is None:
                return self._whole(tokens)
            return self._tree.encode(
                [_to_end(ids, self.network.text_model.eos_token_id) for ids in tokens],
                lambda places: self._whole([tokens[place] for place in places]),
            )

    def _whole(self, tokens: list[list[int]]) -> np.ndarray:
        """Return the embeddings of texts from the whole tower, in batches of similar length."""
        order = np.argsort([len(ids) for ids in tokens], kind="stable")
        batches = self._batches(tokens, order)
        parts = [self._embed([tokens[at] for at in batch]) for batch in batches]
        embedded = np.empty((len(tokens), parts[0].shape[1]), np.float32)
        for batch, part in zip(batches, parts, strict=True):
            embedded[batch] = part
        return embedded

    def count_cut(self, texts: list[str]) -> tuple[int, int]:
        most = self._how.max_length
        with quiet():  # a token may stand for a byte, and some stand around a text
            long = _cleaned([text for text in texts if len(text.encode()) + 4 > most], self._how.clean)
            return sum(len(ids) > most for ids in self.tokenizer(long)["input_ids"]) if long else 0, most

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        written = _cleaned(texts, self._how.clean)
        given = self.tokenizer(written, truncation=True, max_length=self._how.max_length)
        return list(given["input_ids"])

    def _batches(self, tokens: Sequence[Sequence[int]], order: np.ndarray) -> list[np.ndarray]:
        """Split texts sorted by length into batches of at most `TOKENS` tokens, padding included."""
        batches, start = [], 0
        for stop in range(1, len(order) + 1):
            longest = (
                self._how.max_length if self._how.padding == "max_length" else len(tokens[order[stop - 1]])
            )
            if stop - start > 1 and longest * (stop - start) > TOKENS:
                batches.append(order[start : stop - 1])
                start = stop - 1
        return [*batches, order[start:]]

    def _embed(self, tokens: list[list[int]]) -> np.ndarray:
        how = self._how
        inputs = self.tokenizer.pad(
            {"input_ids": tokens}, padding=how.padding, max_length=how.max_length, return_tensors="pt"
        )
        given = {"input_ids": inputs["input_ids"].to(self.device)}
        if how.mask and "attention_mask" in inputs:
            given["attention_mask"] = inputs["attention_mask"].to(self.device)
        return unit_length(pooled(self.network.get_text_features(**given)))


def _cleaned(texts: Sequence[str], clean: str | None) -> list[str]:
    if clean is None:
        return list(texts)
    from open_clip.tokenizer import get_clean_fn

    return [get_clean_fn(clean)(text) for text in texts]


def _to_end(tokens: list[int], end: int) -> list[int]:
    """Cut tokens after the end token, where CLIP pools: in old configurations (``end`` 2) the largest."""
    return tokens[: tokens.index(max(tokens) if end == 2 else end) + 1]


def causal_tower(model: Any) -> CausalTower | None:
    """Return the text tower of transformers' CLIP in parts; None for every other family."""
    from transformers import CLIPModel

    if type(model) is not CLIPModel:
        return None
    tower = model.text_model
    embeddings = tower.embeddings
    return CausalTower(
        lambda tokens, positions: (
            embeddings.token_embedding(tokens) + embeddings.position_embedding(positions)
        ),
        [_block(layer) for layer in tower.encoder.layers],
        lambda states: model.text_projection(tower.final_layer_norm(states)),
    )


def _block(layer: Any) -> Block:
    attention = layer.self_attn

    def project(states: torch.Tensor) -> list[torch.Tensor]:
        normed = layer.layer_norm1(states)
        return [part(normed) for part in (attention.q_proj, attention.k_proj, attention.v_proj)]

    def finish(states: torch.Tensor, mixed: torch.Tensor) -> torch.Tensor:
        states = states + attention.out_proj(mixed)
        added: torch.Tensor = states + layer.mlp(layer.layer_norm2(states))
        return added

    return Block(attention.num_heads, project, finish)


def pooled(output: Any) -> torch.Tensor:
    """Return the embeddings in what ``get_*_features`` gives: an object in transformers 5."""
    return getattr(output, "pooler_output", output)  # type: ignore[no-any-return]


def _text_config(config: Any) -> Any:
    return getattr(config, "text_config", config)


def cleans_itself(tokenizer: Any, how: Tokenization) -> bool | None:
    """Whether the library's tokenizer gives the same tokens without our cleaning; None if we do none."""
    if how.clean is None:
        return None
    probe = "A photo, of an Ice Bear."
    raw, cleaned = (tokenizer(text)["input_ids"] for text in (probe, *_cleaned([probe], how.clean)))
    return bool(raw == cleaned)
