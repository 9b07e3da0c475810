"""Losses of candidate answers: one forward pass for each, or the image and the question encoded once for all.

Sharing: the keys and values of the tokens that all candidates begin with are computed once. The rest of every
candidate then goes through the network as one packed sequence. In it, each token sees the shared tokens and
the earlier ones of its own candidate, at the positions they would have alone. Nothing is copied for each
candidate, and the sums are those of separate passes up to rounding.

Several photos go together: their shared tokens are padded on the right to the longest, and so are the packed
ones. No token sees padding, and all have the positions that they would have alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np

from counterground.models.huggingface._conversation import (
    Candidate,
    PhotoInputs,
    batched,
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
        self,
        photos: Sequence[PhotoInputs],
        candidates: Sequence[Sequence[Candidate]],
        *,
        packed: int = PACKED_TOKENS,
    ) -> list[np.ndarray]:
        """Return summed losses of each photo's candidates; what these begin with is encoded once.

        Raises:
            NotShareableError: the network keeps no cache that allows this.
        """
        common = [_shared_tokens(each) for each in candidates]
        # The last shared token goes with the candidates: its output predicts their first tokens.
        shared = [each[0].tail[: length - 1] for each, length in zip(candidates, common, strict=True)]
        prefix = self._encode(photos, shared, [each[0].tail[0] for each in candidates])
        losses: list[list[float]] = [[] for _ in photos]
        parts = [list(_parts(each, length, packed)) for each, length in zip(candidates, common, strict=True)]
        for turn in zip_longest(*parts, fillvalue=()):
            rows = [
                _Packed.of(each[0].tail[length - 1], part, length)
                for each, part, length in zip(candidates, turn, common, strict=True)
            ]
            language = self.network.language_model if photos[0].reads_question else self.network
            found = self._packed_losses(language, prefix, rows)
            losses = [[*before, *more] for before, more in zip(losses, found, strict=True)]
        return [np.array(each, dtype=np.float32) for each in losses]

    def _full_loss(self, photo: PhotoInputs, candidate: Candidate) -> float:
        inputs = photo.with_tail(candidate.tail, self.network)
        scored = len(candidate.scored)
        keep = {"logits_to_keep": scored + 1} if self._keeps else {}
        logits = self.network(**inputs, use_cache=False, **keep).logits
        return _nll(logits[0, -scored - 1 : -1], candidate.scored)

    def _encode(
        self, photos: Sequence[PhotoInputs], shared: Sequence[Sequence[int]], padding: Sequence[int]
    ) -> _Prefix:
        from transformers import DynamicCache

        if obstacle := _obstacle(self.network.config):
            raise NotShareableError(obstacle)
        cache = DynamicCache()
        keep = {"logits_to_keep": 1} if self._keeps else {}
        each = [photo.with_tail(tokens, self.network) for photo, tokens in zip(photos, shared, strict=True)]
        inputs = batched(each, padding)
        self.network(**inputs, use_cache=True, **{self._cache_name: cache}, **keep)
        if cache.get_seq_length() != inputs["input_ids"].shape[1]:
            raise NotShareableError("the network keeps more or fewer positions than it is given tokens")
        lengths = [given["input_ids"].shape[1] for given in each]
        return _Prefix(cache, lengths, self._shifts(len(photos)))

    def _packed_losses(self, language: Any, prefix: _Prefix, rows: Sequence[_Packed]) -> list[list[float]]:
        import torch

        longest = max(len(row.tokens) for row in rows)
        past, n = prefix.cache.get_seq_length(), len(rows)
        tokens = torch.tensor([[*row.tokens, *[row.tokens[0]] * (longest - len(row.tokens))] for row in rows])
        positions = torch.zeros(n, longest, dtype=torch.long)
        hidden = torch.finfo(precision_of(self.network)).min
        mask = torch.full((n, 1, longest, past + longest), hidden, dtype=precision_of(self.network))
        for at, (row, length) in enumerate(zip(rows, prefix.lengths, strict=True)):
            size = len(row.tokens)
            positions[at, :size] = torch.tensor(row.offsets) + length + prefix.shifts[at]
            own = self._mask(length, row.lengths)[0, 0].cpu()
            mask[at, 0, :size, :length], mask[at, 0, :size, past : past + size] = (
                own[:, :length],
                own[:, length:],
            )
            mask[at, 0, size:, :length] = 0  # a softmax over nothing would be NaN
        logits = language(
            input_ids=tokens.to(self.device),
            attention_mask=mask.to(self.device),
            position_ids=positions.to(self.device),
            use_cache=True,
            **{self._cache_name: prefix.cache},
        ).logits
        prefix.cache.crop(-longest)
        return [row.losses(logits[at]) for at, row in enumerate(rows)]

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

    def _shifts(self, n: int) -> list[int]:
        """Return how far positions lag behind the token count: Qwen counts an image by its larger side."""
        inner = getattr(self.network, "model", self.network)
        deltas = getattr(inner, "rope_deltas", None)
        return [0] * n if deltas is None else [int(delta) for delta in deltas.reshape(-1)]


@dataclass(frozen=True)
class _Prefix:
    """Keys and values of the shared tokens of ``n`` photos, padded on the right to the longest.

    ``lengths`` counts their tokens without padding, ``shifts`` is by how much their positions differ.
    """

    cache: Any
    lengths: list[int]
    shifts: list[int]


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
