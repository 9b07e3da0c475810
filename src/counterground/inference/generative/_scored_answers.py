"""Candidate answers scored by their losses: stored by content, and the option with the lowest loss wins."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from counterground.errors import CounterGroundError, UsageError, error_summary
from counterground.files import cache_dir
from counterground.inference._encode import (
    EncodeFn,
    PhotoSources,
    encode_block,
    prepare_blocks,
    require_readable,
)
from counterground.inference._predict import prediction_table, result_columns
from counterground.inference._request import MAIN_OBJECT, Request
from counterground.inference._store import Block, FeatureStore, ReadStatus
from counterground.models import own_arithmetic, without_thoughts
from counterground.progress import progress_bar

if TYPE_CHECKING:
    from PIL import Image

    from counterground.models import Generative


INSTRUCTION = "Answer with the option's letter from the given choices directly."
_ANSWER = re.compile(r"(?:\(([A-Za-z])\)|([A-Za-z])\)?)[.:]?(?:\s+(.*))?", re.DOTALL)


@dataclass(frozen=True)
class Choice:
    """A question about a photo.

    Attributes:
        question: the question, without its options.
        texts: the options, in the order that is rotated.
        indices: index of each option in the candidate labels.
        true: position of the right option in ``texts``, -1 if it is none of them.
    """

    question: str
    texts: tuple[str, ...]
    indices: tuple[int, ...]
    true: int

    def __len__(self) -> int:
        return len(self.texts)

    def shown(self, order: int) -> list[str]:
        """Return the options in one of ``k`` orders: position ``p`` shows option ``(p + order) % k``."""
        return [*self.texts[order:], *self.texts[:order]]

    def prompts(self) -> list[str]:
        """Return the question with its options in each of their orders, each option after its letter."""
        shown = [zip(ascii_uppercase, self.shown(order), strict=False) for order in range(len(self))]
        lines = [[f"{letter}. {text}" for letter, text in each] for each in shown]
        return ["\n".join([self.question, *each, INSTRUCTION]) for each in lines]

    def letters(self) -> list[tuple[str, str]]:
        """Return prompts and letters: those of the first order, then those of the next."""
        return [(prompt, letter) for prompt in self.prompts() for letter in ascii_uppercase[: len(self)]]

    def answers(self) -> list[tuple[str, str]]:
        """Return the question and each option's text."""
        return [(self.question, text) for text in self.texts]

    def read(self, answer: str, order: int) -> int | None:
        """Return the position in ``texts`` of the option that an answer names by its letter."""
        found = _ANSWER.fullmatch(without_thoughts(answer).strip())
        if not found:
            return None
        shown, place = self.shown(order), ascii_uppercase.index((found[1] or found[2]).upper())
        if place >= len(self):
            return None
        rest = _plain(found[3] or "")
        return (place + order) % len(self) if rest in ("", _plain(shown[place])) else None


def choices_of(request: Request) -> list[Choice]:
    """Return the question about each photo of the manifest.

    The options are the true class and others: with ``--label-space confusable``
    those closest to the class, else some drawn from the label space by ``photo_id``.

    Raises:
        UsageError: only one name competes.
    """
    return list(_drawn(request))


def choice_table(
    request: Request,
    labels: dict[str, Any],
    photos: pl.DataFrame,
    choices: Sequence[Choice],
    results: pl.DataFrame,
) -> pl.DataFrame:
    """Return rows of ``predictions.parquet``, with options as indices in the candidate labels."""
    picked = results["predicted_index"].to_list()
    index = [None if at is None else choice.indices[at] for at, choice in zip(picked, choices, strict=True)]
    results = results.with_columns(predicted_index=pl.Series(index, dtype=pl.Int32))
    return prediction_table(photos, results, request.candidates, labels)


def _drawn(request: Request) -> Iterator[Choice]:
    labels = request.candidates
    nearest = labels.space.candidates is not None
    for photo, index in request.benchmark.photos.select("photo_id", "class_index").iter_rows():
        true = labels.true_index[index]
        assert true is not None, "a class without a name in the label space was refused"
        # For a class none of whose photos the referee could read, these are all names: a question has two
        # options, and the photos are listed as unreadable.
        unread = nearest and true not in (labels.space.candidates or ())
        competing = range(len(labels.space)) if unread else request.candidate_indices(index)
        others = [other for other in competing if other != true]
        chosen = {labels.texts[true]: true}
        for other in others if nearest else _draws(photo, others):
            chosen.setdefault(labels.texts[other], other)
            if len(chosen) == request.settings.options:
                break
        if len(chosen) < 2:
            raise UsageError(
                f"A question needs at least 2 options, and only {labels.texts[true]!r} competes."
            )
        texts = _shuffled(photo, list(chosen))
        indices = tuple(chosen[text] for text in texts)
        yield Choice(MAIN_OBJECT, tuple(texts), indices, indices.index(true))


def _draws(photo: str, others: Sequence[int]) -> Iterator[int]:
    """Yield all of ``others`` in an order that depends on the photo alone."""
    left = list(others)
    for turn in range(len(left)):
        at = turn + _number(f"{photo} {turn}") % (len(left) - turn)
        left[turn], left[at] = left[at], left[turn]
        yield left[turn]


def _shuffled(photo: str, texts: Sequence[str]) -> list[str]:
    """Return the options in an order drawn from the photo: a tie then favours no position in the manifest."""
    return sorted(texts, key=lambda text: _number(f"{photo} {text}"))


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(".!")


# A killed run loses one block; waiting blocks are whole decoded photos, unlike an encoder's small inputs.
_BLOCK = 8

Pairs = Sequence[tuple[str, str]]
"""Questions and answers about one photo."""


def score_pairs(
    request: Request, model: Generative, pairs: Sequence[Pairs]
) -> tuple[list[np.ndarray], ReadStatus]:
    """Return, for each photo of the manifest, summed losses and token counts ``[2, k]`` of its answers.

    Photos with the same number of answers go in blocks in manifest order; what a killed run stored is read.
    Rows of unreadable photos hold zeros.

    Args:
        request: the evaluation.
        model: the model to ask.
        pairs: what is asked about each photo.

    Raises:
        CounterGroundError: the model fails, or no photo can be read.
    """
    photos = request.benchmark.photos["photo_id"]
    # What losses are stored by: the photo's content, and what is asked and answered about it.
    keys = [_digest(photo, *map(json.dumps, about)) for photo, about in zip(photos, pairs, strict=True)]
    asked = dict(zip(keys, zip(photos, pairs, strict=True), strict=True))
    size = min(_BLOCK, request.settings.batch_size)
    blocks = []
    for count in sorted({len(about) for about in pairs}):
        alike = [key for key, (_, about) in asked.items() if len(about) == count]
        blocks += [alike[start : start + size] for start in range(0, len(alike), size)]
    stores = {len(about): _store(model, len(about)) for about in pairs}
    scored = [stores[len(asked[block[0]][1])].get(block) for block in blocks]
    missing = [number for number, block in enumerate(scored) if block is None]
    new, total = sum(len(blocks[number]) for number in missing), len(keys)
    shown = request.settings.show_progress and new > 0
    file_of = cache(PhotoSources(request.benchmark, request.benchmark.photos).__getitem__)
    inputs = []
    for number in missing:
        contents, about = zip(*map(asked.__getitem__, blocks[number]), strict=True)
        score = partial(_score, model, about)
        function = EncodeFn(
            model.display_name, 2 * len(about[0]), model.convert_rgb_first, lambda image: image, score
        )
        files = [(content, file_of(content)) for content in contents]
        inputs.append(([function], files))
    with progress_bar(model.display_name, total=total, done=total - new, shown=shown, keep=True) as bar:
        prepared = prepare_blocks(inputs, ahead=1)
        for number, ((function,), files), (decoded,) in zip(missing, inputs, prepared, strict=True):
            block = scored[number] = encode_block(function, decoded)
            if all(photo.permanent for photo in decoded):
                stores[function.dim // 2].put(blocks[number], block)
            bar.advance(len(files))
    return _in_order(keys, blocks, scored)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _in_order(
    keys: Sequence[str], blocks: Sequence[Sequence[str]], scored: Sequence[Block | None]
) -> tuple[list[np.ndarray], ReadStatus]:
    place = {
        key: (found, row)
        for block, found in zip(blocks, scored, strict=True)
        if found is not None
        for row, key in enumerate(block)
    }
    rows = [place[key] for key in keys]
    reasons = {at: reason for at, (block, row) in enumerate(rows) if (reason := block.reasons[row])}
    read = ReadStatus(np.array([block.converted[row] for block, row in rows], dtype=bool), reasons)
    require_readable(read)
    return [np.array(block.features[row]).reshape(2, -1) for block, row in rows], read


def _store(model: Generative, answers: int) -> FeatureStore:
    """Open the store of photos with so many answers."""
    parts = (model.fingerprint, model.device, f"rgb first: {model.convert_rgb_first}")
    facts = {"model": model.spec, "fingerprint": model.fingerprint, "device": model.device}
    about = {**facts, "answers": answers}
    return FeatureStore.open(cache_dir() / "losses", *parts, str(answers), about=about)


def _score(model: Generative, pairs: Sequence[Pairs], block: Sequence[Image.Image | None]) -> np.ndarray:
    """Return ``[n, 2k]``: summed losses, then tokens; zeros for unreadable photos."""
    size = len(pairs[0])
    rows = np.zeros((len(block), 2 * size), dtype=np.float32)
    with _explained(model):
        for row, (image, asked) in enumerate(zip(block, pairs, strict=True)):
            if image is not None:
                questions, answers = map(list, zip(*asked, strict=True))
                rows[row] = _checked(model.spec, *model.losses(image, questions, answers), size)
    return rows


@contextmanager
def _explained(model: Generative) -> Iterator[None]:
    """Turn a failure in a model's own code into one line, and compute as the model was loaded to."""
    try:
        with own_arithmetic(model.device):
            yield
    except CounterGroundError:
        raise
    except (Exception, SystemExit) as error:
        hint = " Use --precision bf16 or a smaller model." if "memory" in str(error).lower() else ""
        raise CounterGroundError(
            f"{model.spec}: scoring answers failed: {error_summary(error)}.{hint}"
        ) from error


def _checked(spec: str, sums: Any, tokens: Any, expected: int) -> np.ndarray:
    """Return losses and token counts of the ``expected`` answers as float32, ``[2 * expected]``.

    Raises:
        CounterGroundError: there are more or fewer, one is not finite, or an answer has no token.
    """
    sums, tokens = np.asarray(sums, dtype=np.float32), np.asarray(tokens, dtype=np.float32)
    if sums.shape != (expected,) or tokens.shape != (expected,):
        raise CounterGroundError(
            f"{spec} returned losses of shape {sums.shape} and token counts of shape {tokens.shape} for "
            f"{expected} answers instead of one of each per answer."
        )
    if not np.isfinite(sums).all():
        raise CounterGroundError(
            f"{spec} returned losses that are not finite. Use --precision fp32, or check its weights."
        )
    if not (np.isfinite(tokens) & (tokens >= 1)).all():
        raise CounterGroundError(
            f"{spec} returned {tokens.min():g} tokens for an answer; every answer has at least one."
        )
    return np.concatenate([sums, tokens])


def deciding(losses: np.ndarray, request: Request) -> np.ndarray:
    """Return the deciding loss, given ``[2, ...]`` summed losses and tokens."""
    total, tokens = losses
    return np.asarray(total if request.settings.loss == "sum" else total / np.maximum(tokens, 1))


def lowest_wins(
    request: Request,
    labels: dict[str, Any],
    choices: Sequence[Choice],
    read: ReadStatus,
    losses: Sequence[np.ndarray],
) -> pl.DataFrame:
    """Return predictions of the option with the lowest loss, with that loss.

    The confidence is its probability among the options.

    Args:
        request: the evaluation.
        labels: columns that identify the predictions.
        choices: the options of each photo of the manifest.
        read: which photos were read; the others are left out.
        losses: ``[2, k]`` for each photo, summed losses and tokens of its options.
    """
    rows = np.flatnonzero(read.readable).tolist()
    widest = max(len(choices[row]) for row in rows)
    table = np.full((2, len(rows), widest), np.inf)
    for at, row in enumerate(rows):
        table[:, at, : len(choices[row])] = losses[row]
    total, tokens = table
    decides = np.full(total.shape, np.inf, dtype=np.float32)
    known = np.isfinite(total)
    decides[known] = deciding(table[:, known].astype(np.float32), request)
    asked = [choices[row] for row in rows]
    results = result_columns(-decides, np.array([choice.true for choice in asked]), 1.0)
    best = results["predicted_index"].to_numpy()[:, None]
    won, length = (np.take_along_axis(each, best, axis=1)[:, 0] for each in (total, tokens))
    lowest = total.min(axis=1)  # if the mean decides, the winner's sum may be far above it
    confidence = np.exp(lowest - won) / np.exp(lowest[:, None] - total).sum(axis=1)
    results = results.with_columns(
        confidence=pl.Series(confidence, dtype=pl.Float32),
        loss_sum=pl.Series(won, dtype=pl.Float32),
        loss_mean=pl.Series(won / length, dtype=pl.Float32),
    )
    return choice_table(request, labels, request.benchmark.photos[rows], asked, results)
