"""Losses of candidate answers: one forward pass for each, or the image and the question encoded once for all.

Sharing: the keys and values of the tokens that all candidates begin with are computed once. The rest of every
candidate then goes through the network as one packed sequence. In it, each token sees the shared tokens and
the earlier ones of its own candidate, at the positions they would have alone. Nothing is copied for each
candidate, and the sums are those of separate passes up to rounding.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from counterground.models.huggingface._conversation import (
    Candidate,
    PhotoInputs,
    common_length,
    placed,
    precision_of,
)

if TYPE_CHECKING:
    import torch


PACKED_TOKENS = 512


class NotShareableError(Exception):
    """Keys and values cannot be shared between candidates; the message says why."""


class Scorer:
    """Scores candidate answers with a transformers network."""

    def __init__(self, network: Any, device: str) -> None:
        self.network, self.device = network, device
        names = inspect.signature(network.forward).parameters
        # transformers 5.24 renames past_key_values; the old name is accepted with a warning until 5.40.
        self._cache_name = "past_key_values" if "past_key_values" in names else "cache"
        self._keeps = "logits_to_keep" in names

    def full_losses(self, photo: PhotoInputs, candidates: Sequence[Candidate]) -> np.ndarray:
        """Return summed losses ``[k]`` from one forward pass for each candidate."""
        return np.array([self._full_loss(photo, candidate) for candidate in candidates], dtype=np.float32)

    def decoder_losses(self, inputs: dict[str, Any], answers: Sequence[Sequence[int]]) -> np.ndarray:
        """Return summed losses ``[k]`` of answers of an encoder-decoder, whose decoder sees no question."""
        import torch

        given = placed(inputs, self.network)
        losses = []
        for answer in answers:
            labels = torch.tensor([list(answer)], device=self.device)
            logits = self.network(**given, labels=labels).logits
            losses.append(_nll(logits[0], answer))
        return np.array(losses, dtype=np.float32)

    def shared_losses(
        self, photo: PhotoInputs, candidates: Sequence[Candidate], *, packed: int = PACKED_TOKENS
    ) -> np.ndarray:
        """Return summed losses ``[k]`` of a photo's candidates; what these begin with is encoded once.

        Raises:
            NotShareableError: the network keeps no cache that allows this.
        """
        common = _shared_tokens(candidates)
        shared = candidates[0].tail[:common]
        # The last shared token goes with the candidates: its output predicts their first tokens.
        cache = self._encode(photo, shared[:-1])
        language = self.network.language_model if photo.reads_question else self.network
        losses: list[float] = []
        for part in _parts(candidates, common, packed):
            losses += self._packed_losses(language, cache, _Packed.of(shared[-1], part, common))
        return np.array(losses, dtype=np.float32)

    def _full_loss(self, photo: PhotoInputs, candidate: Candidate) -> float:
        inputs = photo.with_tail(candidate.tail, self.network)
        scored = len(candidate.scored)
        keep = {"logits_to_keep": scored + 1} if self._keeps else {}
        logits = self.network(**inputs, use_cache=False, **keep).logits
        return _nll(logits[0, -scored - 1 : -1], candidate.scored)

    def _encode(self, photo: PhotoInputs, shared: Sequence[int]) -> Any:
        """Return keys and values of the shared tokens."""
        from transformers import DynamicCache

        if obstacle := _obstacle(self.network.config):
            raise NotShareableError(obstacle)
        cache = DynamicCache()
        keep = {"logits_to_keep": 1} if self._keeps else {}
        inputs = photo.with_tail(shared, self.network)
        self.network(**inputs, use_cache=True, **{self._cache_name: cache}, **keep)
        if cache.get_seq_length() != inputs["input_ids"].shape[1]:
            raise NotShareableError("the network keeps more or fewer positions than it is given tokens")
        return cache

    def _packed_losses(self, language: Any, cache: Any, packed: _Packed) -> list[float]:
        import torch

        past, size = cache.get_seq_length(), len(packed.tokens)
        positions = torch.tensor([packed.offsets]) + past + self._shift()
        logits = language(
            input_ids=torch.tensor([packed.tokens]).to(self.device),
            attention_mask=self._mask(past, packed.lengths),
            position_ids=positions.to(self.device),
            use_cache=True,
            **{self._cache_name: cache},
        ).logits
        cache.crop(-size)
        return packed.losses(logits[0])

    def _mask(self, past: int, lengths: Sequence[int]) -> torch.Tensor:
        """Return ``[1, 1, q, past + q]``, 0 where a token sees another and very negative elsewhere."""
        import torch

        total = 1 + sum(lengths)
        dtype = precision_of(self.network)
        hidden = torch.full((total, past + total), torch.finfo(dtype).min, dtype=dtype)
        hidden[:, : past + 1] = 0
        first = 1
        for length in lengths:
            seen = torch.ones(length, length).tril() > 0
            block = hidden[first : first + length, past + first : past + first + length]
            block.masked_fill_(seen, 0)
            first += length
        return hidden[None, None].to(self.device)

    def _shift(self) -> int:
        """Return how far positions lag behind the token count: Qwen counts an image by its larger side."""
        inner = getattr(self.network, "model", self.network)
        deltas = getattr(inner, "rope_deltas", None)
        return 0 if deltas is None else int(deltas.reshape(-1)[0])


@dataclass(frozen=True)
class _Packed:
    """The packed sequence of one photo: the last shared token, then the rest of each candidate.

    ``offsets`` are positions after the shared tokens, ``lengths`` the token counts of the parts; candidates
    that differ only in their last token, such as letters, share a part. ``scored`` says for each candidate
    where its part begins, how long it is, which tokens are scored, and from where on.
    """

    tokens: list[int]
    offsets: list[int]
    lengths: list[int]
    scored: list[tuple[int, int, tuple[int, ...], int]]

    @classmethod
    def of(cls, root: int, candidates: Sequence[Candidate], common: int) -> _Packed:
        tokens, offsets, lengths = [root], [0], []
        places: dict[tuple[int, ...], int] = {}
        scored = []
        for candidate in candidates:
            fed = candidate.tail[common:-1]
            if fed not in places:
                places[fed] = len(tokens)
                tokens += fed
                offsets += range(1, len(fed) + 1)
                lengths.append(len(fed))
            scored.append((places[fed], len(fed), candidate.scored, candidate.start - common))
        return cls(tokens, offsets, lengths, scored)

    def losses(self, logits: torch.Tensor) -> list[float]:
        """Return the summed loss of each candidate from the logits ``[q, v]`` of the sequence."""
        import torch

        return [
            _nll(torch.cat([logits[:1], logits[first : first + length]])[start:], targets)
            for first, length, targets, start in self.scored
        ]


def _shared_tokens(candidates: Sequence[Candidate]) -> int:
    """Return how many tokens all candidates share, after the image and before any answer."""
    common = min(
        common_length([candidate.tail for candidate in candidates]),
        *(candidate.start for candidate in candidates),
    )
    if common < 1:
        raise NotShareableError("no token between the image and the answers is shared")
    return common


def _parts(candidates: Sequence[Candidate], common: int, packed: int) -> Iterator[list[Candidate]]:
    """Split candidates into packed sequences of ``packed`` tokens at most, one candidate at least."""
    part: list[Candidate] = []
    length = 0
    for candidate in candidates:
        more = len(candidate.tail) - common - 1
        if part and length + more > packed:
            yield part
            part, length = [], 0
        part.append(candidate)
        length += more
    yield part


def _obstacle(config: Any) -> str:
    """Return why our own mask cannot be used: layers that see only a window, which the mask would undo."""
    text = config.get_text_config()
    kinds = set(getattr(text, "layer_types", None) or ())
    if kinds - {"full_attention"} or (not kinds and getattr(text, "sliding_window", None)):
        return "it has layers without full attention"
    return ""


def _nll(logits: torch.Tensor, targets: Sequence[int]) -> float:
    """Return the negative log-likelihood of ``targets`` ``[t]`` under ``logits`` ``[t, v]``, in float32."""
    import torch

    labels = torch.tensor(list(targets), device=logits.device)
    return float(torch.nn.functional.cross_entropy(logits.float(), labels, reduction="sum"))
