"""Candidate answers scored by their losses: stored by content, and the option with the lowest loss wins."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from counterground.errors import CounterGroundError, error_summary
from counterground.files import cache_dir
from counterground.inference._predict import result_columns
from counterground.inference.encoding import (
    EncodeFn,
    PhotoSources,
    encode_block,
    prepare_blocks,
    require_readable,
)
from counterground.inference.generative._choices import Choice, choice_table
from counterground.inference.request import Request
from counterground.inference.store import Block, FeatureStore, ReadStatus
from counterground.models import own_arithmetic
from counterground.progress import progress_bar

if TYPE_CHECKING:
    from PIL import Image

    from counterground.models import Generative


# A killed run loses one block; waiting blocks are whole decoded photos, unlike an encoder's small inputs.
_BLOCK = 8

Pairs = Sequence[tuple[str, str]]
"""Questions and answers about one photo."""


def score_pairs(
    request: Request, model: Generative, pairs: Sequence[Pairs], *, together: bool
) -> tuple[list[np.ndarray], ReadStatus]:
    """Return, for each photo of the manifest, summed losses and token counts ``[2, k]`` of its answers.

    Photos with the same number of answers go in blocks in manifest order; what a killed run stored is read.
    Rows of unreadable photos hold zeros.

    Args:
        request: the evaluation.
        model: the model to ask.
        pairs: what is asked about each photo.
        together: several photos may share a forward pass; else each is scored alone, and blocks change no
            bit.

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
    stores = {len(about): _store(model, len(about), size if together else 0) for about in pairs}
    scored = [stores[len(asked[block[0]][1])].get(block) for block in blocks]
    missing = [number for number, block in enumerate(scored) if block is None]
    new, total = sum(len(blocks[number]) for number in missing), len(keys)
    shown = request.settings.show_progress and new > 0
    file_of = cache(PhotoSources(request.benchmark, request.benchmark.photos).__getitem__)
    inputs = []
    for number in missing:
        contents, about = zip(*map(asked.__getitem__, blocks[number]), strict=True)
        score = partial(_score, model, about, together)
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


def _store(model: Generative, answers: int, block: int) -> FeatureStore:
    """Open the store of photos with so many answers; other photos in a block may change the last bits."""
    parts = (model.fingerprint, model.device, f"rgb first: {model.convert_rgb_first}")
    facts = {"model": model.spec, "fingerprint": model.fingerprint, "device": model.device}
    about = {**facts, "answers": answers, "batch_size": block or 1}
    return FeatureStore.open(cache_dir() / "losses", *parts, str(answers), str(block), about=about)


def _score(
    model: Generative, pairs: Sequence[Pairs], together: bool, block: Sequence[Image.Image | None]
) -> np.ndarray:
    """Return ``[n, 2k]``: summed losses, then tokens; zeros for unreadable photos."""
    size = len(pairs[0])
    rows = np.zeros((len(block), 2 * size), dtype=np.float32)
    readable = [row for row, image in enumerate(block) if image is not None]
    images = [image for image in block if image is not None]
    questions = [[question for question, _ in pairs[row]] for row in readable]
    answers = [[answer for _, answer in pairs[row]] for row in readable]
    with _explained(model):
        if together:
            scored = list(model.batch_losses(images, questions, answers))
        else:
            scored = [model.losses(*about) for about in zip(images, questions, answers, strict=True)]
        for row, losses in zip(readable, scored, strict=True):
            rows[row] = _checked(model.spec, *losses, size)
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
