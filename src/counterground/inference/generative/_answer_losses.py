"""The loss of every candidate answer about every photo, kept by content, and the answer that wins."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from counterground.errors import CounterGroundError
from counterground.files import cache_dir
from counterground.inference._encode import Features, Task, Work, require_readable, said
from counterground.inference._predict import competitors, outcome_of, table_of
from counterground.inference._progress import photo_progress
from counterground.inference._request import Request
from counterground.inference._store import FeatureStore
from counterground.inference.generative._protocol import Asking

if TYPE_CHECKING:
    from PIL import Image

    from counterground.models import Generative


# A block is what a killed run loses, and what waits decoded: whole photos, unlike an encoder's small inputs.
_BLOCK = 8


def score_answers(request: Request, model: Generative, asking: Asking) -> tuple[pl.DataFrame, Features]:
    """Return predictions of the answers with the lowest loss, and which photos were read.

    Raises:
        CounterGroundError: the model fails, or not one photo can be read.
    """
    losses, features = _losses(request, model, asking)
    return _decided(request, losses, features, request.answer_labels(model.spec, asking)), features


@dataclass(frozen=True)
class _Losses:
    """Summed losses and tokens ``[n, k]`` of each name's best writing, infinite where it does not compete."""

    total: np.ndarray
    tokens: np.ndarray

    def by(self, which: str) -> np.ndarray:
        return self.total if which == "sum" else self.total / self.tokens


def _losses(request: Request, model: Generative, asking: Asking) -> tuple[_Losses, Features]:
    """Score the answers that compete for each photo; photos whose classes share them go together."""
    photos = request.benchmark.photos
    shape = (photos.height, len(request.contest.space))
    found = _Losses(np.full(shape, np.inf, dtype=np.float32), np.ones(shape, dtype=np.float32))
    readable, converted = np.zeros(photos.height, dtype=bool), np.zeros(photos.height, dtype=bool)
    reasons: dict[int, str] = {}
    sets = [(rows, names, *_pairs(request, asking, names)) for rows, names in _by_candidates(request)]
    works = [_plan(request, model, photos[rows.tolist()], pairs) for rows, _, pairs, _ in sets]
    missing, settings = sum(work.missing for work in works), request.settings
    with photo_progress(model.spec, missing, shown=settings.show_progress and missing > 0) as advance:
        for work, (rows, names, _, owners) in zip(works, sets, strict=True):
            features = work.finish(advance)
            readable[rows], converted[rows] = features.readable, features.converted
            reasons.update({int(rows[row]): reason for row, reason in features.reasons.items()})
            total, tokens = _best_writing(features.matrix, owners, settings.loss)
            cells = np.ix_(rows, np.array(names))
            found.total[cells], found.tokens[cells] = total, tokens
    whole = Features(np.zeros((photos.height, 0), dtype=np.float32), readable, converted, reasons)
    require_readable(whole)
    return found, whole


def _by_candidates(request: Request) -> list[tuple[np.ndarray, tuple[int, ...]]]:
    """Return rows of the manifest and the names that compete for them, each set of names once."""
    classes = request.benchmark.photos["class_index"].to_numpy()
    sets: dict[tuple[int, ...], list[int]] = {}
    for index in np.unique(classes).tolist():
        sets.setdefault(request.names_for(index), []).append(index)
    return [(np.flatnonzero(np.isin(classes, members)), names) for names, members in sets.items()]


def _pairs(
    request: Request, asking: Asking, names: Sequence[int]
) -> tuple[list[tuple[str, str]], list[list[int]]]:
    """Return the distinct questions and answers, and which of them are each name's writings."""
    written = request.writings()
    pairs: dict[tuple[str, str], int] = {}
    owners = [[pairs.setdefault(asking.about(text), len(pairs)) for text in written[name]] for name in names]
    return list(pairs), owners


def _plan(
    request: Request, model: Generative, photos: pl.DataFrame, pairs: Sequence[tuple[str, str]]
) -> Work:
    task = Task(
        model.spec, 2 * len(pairs), model.convert_rgb_first, _as_it_is, partial(_score, model, list(pairs))
    )
    how = (model.fingerprint, model.device, f"rgb first: {model.convert_rgb_first}", json.dumps(list(pairs)))
    store = FeatureStore.open(cache_dir() / "losses", *how)
    return Work.plan(task, request.benchmark, photos, store, min(_BLOCK, request.settings.batch_size))


def _score(
    model: Generative, pairs: Sequence[tuple[str, str]], block: Sequence[Image.Image | None]
) -> np.ndarray:
    """Return ``[n, 2k]``: summed losses, then tokens. Each photo goes alone, so blocks change no bit."""
    questions, answers = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    rows = np.zeros((len(block), 2 * len(pairs)), dtype=np.float32)
    for row, image in enumerate(block):
        if image is None:
            continue
        try:
            sums, tokens = model.losses(image, questions, answers)
            sums, tokens = np.asarray(sums, dtype=np.float32), np.asarray(tokens, dtype=np.float32)
        except CounterGroundError:
            raise
        except (Exception, SystemExit) as error:
            hint = " Use --precision bf16 or a smaller model." if "memory" in str(error).lower() else ""
            raise CounterGroundError(f"{model.spec}: scoring answers failed: {said(error)}.{hint}") from error
        _check_given(model.spec, sums, tokens, len(answers))
        rows[row] = np.concatenate([sums, tokens])
    return rows


def _check_given(spec: str, sums: np.ndarray, tokens: np.ndarray, wanted: int) -> None:
    if sums.shape != (wanted,) or tokens.shape != (wanted,):
        raise CounterGroundError(
            f"{spec} gave losses {sums.shape} and numbers of tokens {tokens.shape} for {wanted} answers, not "
            "one of each for every answer."
        )
    if not np.isfinite(sums).all():
        raise CounterGroundError(
            f"{spec} gave losses that are not numbers. Use --precision fp32, or check its weights."
        )
    if not (np.isfinite(tokens) & (tokens >= 1)).all():
        raise CounterGroundError(f"{spec} gave an answer {tokens.min():g} tokens; each has one at least.")


def _best_writing(
    matrix: np.ndarray, owners: Sequence[Sequence[int]], which: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return summed losses and tokens ``[n, names]`` of the writing of each name with the lowest loss."""
    total, tokens = np.split(matrix, 2, axis=1)
    tokens = np.maximum(tokens, 1)  # unreadable photos hold zeros
    deciding = total if which == "sum" else total / tokens
    best = np.stack([np.array(own)[deciding[:, own].argmin(axis=1)] for own in owners], axis=1)
    return np.take_along_axis(total, best, axis=1), np.take_along_axis(tokens, best, axis=1)


def _decided(request: Request, losses: _Losses, features: Features, labels: dict[str, Any]) -> pl.DataFrame:
    """Let the lowest loss win; ``confidence`` is the probability of the answer among those that compete."""
    rows = np.flatnonzero(features.readable)
    photos = request.benchmark.photos[rows.tolist()]
    classes = photos["class_index"].to_numpy()
    _, true = competitors(request.contest, np.unique(classes), len(request.benchmark.label_space))
    deciding, total = losses.by(request.settings.loss)[rows], losses.total[rows]
    outcome = outcome_of(-deciding, true[classes], 1.0)
    best = outcome["predicted_index"].to_numpy()
    won = total[np.arange(len(rows)), best]
    lowest = total.min(axis=1)  # where the mean decides, the winner's sum may be far above it
    confidence = np.exp(lowest - won) / np.exp(lowest[:, None] - total).sum(axis=1)
    outcome = outcome.with_columns(
        confidence=pl.Series(confidence, dtype=pl.Float32),
        loss_sum=pl.Series(won, dtype=pl.Float32),
        loss_mean=pl.Series(won / losses.tokens[rows, best], dtype=pl.Float32),
    )
    return table_of(photos, outcome, request.contest, labels)


def _as_it_is(image: Image.Image) -> Image.Image:
    return image
