"""Losses of candidate answers: one forward pass for each, or the image and the question encoded once for all.

Sharing: the keys and values of the tokens that all candidates begin with are computed once. What follows of
every candidate then goes through the network as one packed sequence, in which each token sees the shared
ones and those before it of its own candidate, at the positions it would have alone. Nothing is copied for
each candidate, and the sums are those of separate passes but for rounding.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from counterground.models.generative._conversation import (
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
    """Scores candidate answers with a network of transformers."""

    def __init__(self, network: Any, device: str) -> None:
        self.network, self.device = network, device
        names = inspect.signature(network.forward).parameters
        # transformers 5.24 renames past_key_values; the old name is taken with a warning until 5.40.
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
        """Return summed losses ``[k]`` with one encoding of what all candidates begin with.

        Raises:
            NotShareableError: the network keeps no cache that this is possible with.
        """
        tails = [candidate.tail for candidate in candidates]
        common = min(common_length(tails), *(candidate.start for candidate in candidates))
        if common < 1:
            raise NotShareableError("no token between the image and the answers is shared")
        # The last shared token goes with the candidates: its output predicts their first tokens.
        cache = self._encode(photo, tails[0][: common - 1])
        losses: list[float] = []
        for part in _parts(candidates, common, packed):
            losses += self._packed_losses(photo, cache, part, common)
        return np.array(losses, dtype=np.float32)

    def _full_loss(self, photo: PhotoInputs, candidate: Candidate) -> float:
        inputs = photo.with_tail(candidate.tail, self.network)
        scored = len(candidate.scored)
        keep = {"logits_to_keep": scored + 1} if self._keeps else {}
        logits = self.network(**inputs, use_cache=False, **keep).logits
        return _nll(logits[0, -scored - 1 : -1], candidate.scored)

    def _encode(self, photo: PhotoInputs, shared: Sequence[int]) -> Any:
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

    def _packed_losses(
        self, photo: PhotoInputs, cache: Any, candidates: Sequence[Candidate], common: int
    ) -> list[float]:
        import torch

        past = cache.get_seq_length()
        root = candidates[0].tail[common - 1]
        fed = [candidate.tail[common:-1] for candidate in candidates]
        tokens = torch.tensor([[root, *(token for part in fed for token in part)]], device=self.device)
        positions = torch.tensor([[past, *(past + 1 + at for part in fed for at in range(len(part)))]])
        language = self.network.language_model if photo.reads_question else self.network
        logits = language(
            input_ids=tokens,
            attention_mask=self._mask(past, [len(part) for part in fed]),
            position_ids=(positions + self._shift()).to(self.device),
            use_cache=True,
            **{self._cache_name: cache},
        ).logits[0]
        cache.crop(-tokens.shape[1])
        losses, first = [], 1
        for candidate, part in zip(candidates, fed, strict=True):
            rows = torch.cat([logits[:1], logits[first : first + len(part)]])
            losses.append(_nll(rows[candidate.start - common :], candidate.scored))
            first += len(part)
        return losses

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
        """Qwen counts an image by its larger side: by how much positions lag behind the number of tokens."""
        inner = getattr(self.network, "model", self.network)
        deltas = getattr(inner, "rope_deltas", None)
        return 0 if deltas is None else int(deltas.reshape(-1)[0])


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
    """Why a mask of our own cannot be given: layers that see a window only, which the mask would undo."""
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
