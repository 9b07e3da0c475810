"""The loss of every candidate answer about every photo, stored by content, and the answer that wins."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from counterground.errors import CounterGroundError, error_summary
from counterground.files import cache_dir
from counterground.inference._predict import candidate_masks, prediction_table, result_columns
from counterground.inference.encoding import EncodeFn, EncodingJob, encode_missing, require_readable
from counterground.inference.request import PromptSpec, Request
from counterground.inference.store import FeatureStore, ReadStatus
from counterground.models import own_arithmetic
from counterground.progress import progress_bar

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from PIL import Image

    from counterground.models import Generative


# A killed run loses one block; waiting blocks are whole decoded photos, unlike an encoder's small inputs.
_BLOCK = 8


def score_answers(request: Request, model: Generative, prompt: PromptSpec) -> tuple[pl.DataFrame, ReadStatus]:
    """Return predictions of the answers with the lowest loss, and which photos were read.

    Raises:
        CounterGroundError: the model fails, or no photo can be read.
    """
    losses, read = _losses(request, model, prompt)
    return _predictions(request, losses, read, request.answer_labels(model.display_name, prompt)), read


@dataclass(frozen=True)
class _Losses:
    """Summed losses and tokens ``[n, k]`` of each name's best surface form, infinite if no candidate."""

    total: np.ndarray
    tokens: np.ndarray

    def by(self, which: str) -> np.ndarray:
        return self.total if which == "sum" else self.total / self.tokens


def _losses(request: Request, model: Generative, prompt: PromptSpec) -> tuple[_Losses, ReadStatus]:
    """Score the candidate answers for each photo; photos whose classes share candidates go together."""
    photos = request.benchmark.photos
    shape = (photos.height, len(request.candidates.space))
    losses = _Losses(np.full(shape, np.inf, dtype=np.float32), np.ones(shape, dtype=np.float32))
    readable, converted = np.zeros(photos.height, dtype=bool), np.zeros(photos.height, dtype=bool)
    reasons: dict[int, str] = {}
    sets = [(rows, names, *_pairs(request, prompt, names)) for rows, names in _by_candidates(request)]
    jobs = [_plan(request, model, photos[rows.tolist()], pairs) for rows, _, pairs, _ in sets]
    missing = sum(len(job.blocks[number]) for job in jobs for number in job.missing)
    settings = request.settings
    shown, done = settings.show_progress and missing > 0, photos.height - missing
    with progress_bar(model.display_name, total=photos.height, done=done, shown=shown, keep=True) as bar:
        for job, (rows, names, _, forms) in zip(jobs, sets, strict=True):
            encode_missing([job], bar.advance)
            features = job.features()
            readable[rows], converted[rows] = features.readable, features.converted
            reasons.update({int(rows[row]): reason for row, reason in features.reasons.items()})
            total, tokens = _best_form(features.matrix, forms, settings.loss)
            cells = np.ix_(rows, np.array(names))
            losses.total[cells], losses.tokens[cells] = total, tokens
    read = ReadStatus(readable, converted, reasons)
    require_readable(read)
    return losses, read


def _by_candidates(request: Request) -> list[tuple[np.ndarray, tuple[int, ...]]]:
    """Return rows of the manifest and their candidates, each set of candidates once."""
    classes = request.benchmark.photos["class_index"].to_numpy()
    sets: dict[tuple[int, ...], list[int]] = {}
    for index in np.unique(classes).tolist():
        sets.setdefault(request.candidate_indices(index), []).append(index)
    return [(np.flatnonzero(np.isin(classes, members)), names) for names, members in sets.items()]


def _pairs(
    request: Request, prompt: PromptSpec, names: Sequence[int]
) -> tuple[list[tuple[str, str]], list[list[int]]]:
    """Return the distinct questions and answers, and which of them are each name's surface forms."""
    texts = request.surface_forms()
    pairs: dict[tuple[str, str], int] = {}
    forms = [[pairs.setdefault(prompt.about(text), len(pairs)) for text in texts[name]] for name in names]
    return list(pairs), forms


def _plan(
    request: Request, model: Generative, photos: pl.DataFrame, pairs: Sequence[tuple[str, str]]
) -> EncodingJob:
    score = partial(_score, model, list(pairs))
    function = losses_fn(model, len(pairs), score)
    store = losses_store(model, json.dumps(list(pairs)), answers=len(pairs))
    return EncodingJob.plan(function, request.benchmark, photos, store, block_size(request))


def losses_fn(model: Generative, answers: int, score: Callable[[Sequence[Any]], np.ndarray]) -> EncodeFn:
    """Return what turns photos into losses and token counts of ``answers`` answers, by ``score``."""
    return EncodeFn(model.display_name, 2 * answers, model.convert_rgb_first, lambda image: image, score)


def losses_store(model: Generative, *key: str, **about: Any) -> FeatureStore:
    """Open a store of a model's losses; ``key`` says of which answers, ``about`` says more to people."""
    parts = (model.fingerprint, model.device, f"rgb first: {model.convert_rgb_first}", *key)
    facts = {"model": model.spec, "fingerprint": model.fingerprint, "device": model.device, **about}
    return FeatureStore.open(cache_dir() / "losses", *parts, about=facts)


def block_size(request: Request) -> int:
    """Return how many photos are scored and stored together."""
    return min(_BLOCK, request.settings.batch_size)


def _score(
    model: Generative, pairs: Sequence[tuple[str, str]], block: Sequence[Image.Image | None]
) -> np.ndarray:
    """Return ``[n, 2k]``: summed losses, then tokens. Each photo is scored alone, so blocks change no bit."""
    questions, answers = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    rows = np.zeros((len(block), 2 * len(pairs)), dtype=np.float32)
    for row, image in enumerate(block):
        if image is None:
            continue
        with scoring(model):
            sums, tokens = model.losses(image, questions, answers)
        rows[row] = np.concatenate(checked_losses(model.spec, sums, tokens, len(answers)))
    return rows


@contextmanager
def scoring(model: Generative) -> Iterator[None]:
    """Turn a failure in a model's own code into one line, and compute as the model was loaded to.

    Raises:
        CounterGroundError: the code failed.
    """
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


def checked_losses(
    spec: str, sums: ArrayLike, tokens: ArrayLike, expected: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return losses and token counts of ``expected`` answers as float32.

    Raises:
        CounterGroundError: there are more or fewer, one is not finite, or an answer has no token.
    """
    try:
        sums, tokens = np.asarray(sums, dtype=np.float32), np.asarray(tokens, dtype=np.float32)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise CounterGroundError(f"{spec}: scoring answers failed: {error_summary(error)}.") from error
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
    return sums, tokens


def _best_form(
    matrix: np.ndarray, forms: Sequence[Sequence[int]], which: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return summed losses and tokens ``[n, names]`` of each name's surface form with the lowest loss."""
    total, tokens = np.split(matrix, 2, axis=1)
    tokens = np.maximum(tokens, 1)  # unreadable photos hold zeros
    deciding = total if which == "sum" else total / tokens
    best = np.stack([np.array(own)[deciding[:, own].argmin(axis=1)] for own in forms], axis=1)
    return np.take_along_axis(total, best, axis=1), np.take_along_axis(tokens, best, axis=1)


def _predictions(request: Request, losses: _Losses, read: ReadStatus, labels: dict[str, Any]) -> pl.DataFrame:
    """Let the lowest loss win."""
    rows = np.flatnonzero(read.readable)
    photos = request.benchmark.photos[rows.tolist()]
    classes = photos["class_index"].to_numpy()
    _, true = candidate_masks(request.candidates, np.unique(classes), len(request.benchmark.classes))
    results = result_columns(-losses.by(request.settings.loss)[rows], true[classes], 1.0)
    results = with_losses(results, losses.total[rows], losses.tokens[rows])
    return prediction_table(photos, results, request.candidates, labels)


def with_losses(results: pl.DataFrame, total: np.ndarray, tokens: np.ndarray) -> pl.DataFrame:
    """Add the losses of the predicted answers; the confidence is their probability among the candidates.

    Args:
        results: predictions ``[n]``.
        total: ``[n, k]``, summed losses, infinite for an answer that is no candidate.
        tokens: ``[n, k]``, token counts.
    """
    best = results["predicted_index"].to_numpy()[:, None]
    won, length = (np.take_along_axis(each, best, axis=1)[:, 0] for each in (total, tokens))
    lowest = total.min(axis=1)  # if the mean decides, the winner's sum may be far above it
    confidence = np.exp(lowest - won) / np.exp(lowest[:, None] - total).sum(axis=1)
    return results.with_columns(
        confidence=pl.Series(confidence, dtype=pl.Float32),
        loss_sum=pl.Series(won, dtype=pl.Float32),
        loss_mean=pl.Series(won / length, dtype=pl.Float32),
    )
