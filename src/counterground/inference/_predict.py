"""From features and a head to predictions: arg-max, rank, confidence and ties, in float32."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from counterground.files import cache_dir
from counterground.inference._encode import EncodingJob, feature_store, plan_encoding, require_readable
from counterground.inference._fitting import FittedHead, FittedHeads, Fitting
from counterground.inference._heads import Head, build_head
from counterground.inference._request import Request
from counterground.inference._store import Features, FeatureStore
from counterground.inference._try_model import choose_runtime, try_model
from counterground.metrics import PHOTO_COLUMNS, attributes
from counterground.models import Encoder, ImageEncoder, NamedModel
from counterground.photos import Benchmark
from counterground.predictions import CandidateLabels
from counterground.results import PREDICTIONS_SCHEMA, ModelRecord

_ROWS = 256


def class_mean_scores(benchmark: Benchmark, features: Features, head: Head) -> np.ndarray:
    """Return names' mean scores over the readable photos of a class: ``[classes, k]``, NaN without photos."""
    rows = np.flatnonzero(features.readable)
    classes = benchmark.photos["class_index"].to_numpy()
    sums = np.zeros((len(benchmark.classes), len(head)))
    for part in _parts(rows):
        np.add.at(sums, classes[part], _scores(features, part, head))
    photos = np.bincount(classes[rows], minlength=len(sums))[:, None]
    return np.divide(sums, photos, out=np.full_like(sums, np.nan), where=photos > 0)


def predict(
    benchmark: Benchmark,
    assigned: Iterable[tuple[np.ndarray, Callable[[np.ndarray], np.ndarray], float]],
    candidates: CandidateLabels,
    labels: dict[str, Any],
) -> pl.DataFrame:
    """Return one row per photo, in manifest order, with the columns of ``predictions.parquet``.

    ``true_rank`` is 0 if the prediction is right and null if the true name is not a candidate;
    equal scores are ordered by index. ``top2_gap`` is in units of the score (cosine, or logit).

    Args:
        benchmark: the photos.
        assigned: rows of its manifest ``[m]``; what gives their scores: rows ``[i]`` -> ``[i, k]`` float32;
            and what makes these logits, a factor.
        candidates: the names that compete.
        labels: columns that identify the predictions.
    """
    classes = benchmark.photos["class_index"].to_numpy()
    parts, places = [], []
    for rows, score, scale in assigned:
        allowed, true = candidate_masks(candidates, np.unique(classes[rows]), len(benchmark.classes))
        for part in _parts(rows):
            scores = np.where(allowed[classes[part]], score(part), np.float32(-np.inf))
            parts.append(result_columns(scores, true[classes[part]], scale))
            places.append(part)
    at = np.concatenate(places)
    order = np.argsort(at)
    photos = benchmark.photos[at[order].tolist()]
    return prediction_table(photos, pl.concat(parts)[order.tolist()], candidates, labels)


def _parts(rows: np.ndarray) -> Iterator[np.ndarray]:
    return (rows[start : start + _ROWS] for start in range(0, len(rows), _ROWS))


def _scores(features: Features, rows: np.ndarray, head: Head | FittedHead) -> np.ndarray:
    """Return scores ``[m, k]`` of at most ``_ROWS`` rows.

    The last bit can change with the size of a matrix product, so all products have one size.
    """
    matrix = features.rows(rows)
    padding = np.zeros((_ROWS - len(matrix), features.dim), dtype=np.float32)
    return head.scores(np.concatenate([matrix, padding]))[: len(matrix)]


def prediction_table(
    photos: pl.DataFrame, results: pl.DataFrame, candidates: CandidateLabels, labels: dict[str, Any]
) -> pl.DataFrame:
    """Return rows of ``predictions.parquet``: photos with their result columns; absent columns are null.

    Attributes and covariates of the photos
    follow the fixed columns.
    """
    names = dict(enumerate(candidates.space.names))
    further = attributes(photos.schema)
    absent = [column for column in ("loss_sum", "loss_mean") if column not in results.columns]
    predicted = [names.get(index) for index in results["predicted_index"].to_list()]
    true = [candidates.true_index[index] for index in photos["class_index"]]
    return (
        photos.select(*PHOTO_COLUMNS, *further)
        .hstack(results)
        .with_columns(
            **{column: pl.lit(value) for column, value in labels.items()},
            **dict.fromkeys(absent, pl.lit(None)),
            true_index=pl.Series(true, dtype=pl.Int32),
            predicted_name=pl.Series(predicted, dtype=pl.String),
        )
        .select([pl.col(column).cast(kind) for column, kind in {**PREDICTIONS_SCHEMA, **further}.items()])
    )


def candidate_masks(
    candidates: CandidateLabels, classes: np.ndarray, n_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return by class which names are candidates ``[c, k]`` and which is true ``[c]`` (-1: no candidate)."""
    allowed = np.zeros((n_classes, len(candidates.space)), dtype=bool)
    true = np.full(n_classes, -1)
    for index in classes.tolist():
        allowed[index, candidates.indices(index)] = True
        own = candidates.true_index[index]
        if own is not None and allowed[index, own]:
            true[index] = own
    return allowed, true


def result_columns(scores: np.ndarray, true: np.ndarray, scale: float) -> pl.DataFrame:
    """Return arg-max, rank of the true name, best probability and gap to the second for scores ``[n, k]``."""
    row = np.arange(len(scores))
    best = scores.argmax(axis=1)
    top = scores[row, best]
    with np.errstate(invalid="ignore"):
        confidence = 1 / np.exp((scores - top[:, None]) * scale).sum(axis=1)
        second = (
            np.partition(scores, -2, axis=1)[:, -2] if scores.shape[1] > 1 else np.full_like(top, -np.inf)
        )
    own = scores[row, true][:, None]
    before = np.arange(scores.shape[1]) < true[:, None]
    rank = (scores > own).sum(axis=1) + ((scores == own) & before).sum(axis=1)
    gap = np.where(np.isfinite(second), top - second, np.nan)
    return pl.DataFrame(
        {
            "predicted_index": pl.Series(best, dtype=pl.Int32),
            "correct": pl.Series(best == true),
            "true_rank": pl.Series(np.where(true < 0, -1, rank), dtype=pl.Int32).replace(-1, None),
            "confidence": pl.Series(confidence, dtype=pl.Float32),
            "top2_gap": pl.Series(gap, dtype=pl.Float32).fill_nan(None),
        }
    )


@dataclass(frozen=True)
class ReadyEncoder:
    """An encoder, the head over the candidates, and what to encode of the request's photos.

    A head that is to be fitted is a `Fitting` until `fitted`; ``training`` is what to encode of other photos
    for it; ``refused`` says why another runtime was not used.
    """

    request: Request
    model: Encoder
    head: Head | FittedHeads | Fitting
    job: EncodingJob
    training: EncodingJob | None = None
    refused: str | None = None

    def fitted(self) -> ReadyEncoder:
        """Return the same encoder with its head fitted; the photos for it must have been encoded.

        Raises:
            UsageError: too few photos could be read.
            CounterGroundError: no photo could be read.
        """
        if not isinstance(self.head, Fitting):
            return self
        features = (self.training or self.job).features()
        require_readable(features)
        shown = self.request.settings.show_progress
        return replace(self, head=self.head.fit(features, show_progress=shown))

    def sharing(self, others: Sequence[ReadyEncoder]) -> ReadyEncoder:
        """Return the same encoder with the jobs of one of ``others`` that fills the same store, if any."""
        same = [other for other in others if other.job.store.folder == self.job.store.folder]
        if not same:
            return self
        training = self.training and next((each.training for each in same if each.training), self.training)
        return replace(self, job=same[0].job, training=training)

    def features(self) -> Features:
        """Return the features of all photos, which must have been encoded.

        Raises:
            CounterGroundError: no photo can be read.
        """
        features = self.job.features()
        require_readable(features)
        return features

    def record(self, given: NamedModel) -> ModelRecord:
        """Join what is known of the model, its runtime and its head; a fitted head makes it another model."""
        model, head, warnings = self.model, self.head, list(self.model.description.get("warnings", ()))
        description = {**model.description, "runtime": model.runtime}
        if self.refused:
            description["runtime_refused"] = self.refused
        kind, fingerprint = model.kind, model.fingerprint
        if not isinstance(head, Fitting):
            warnings += head.warnings
        if isinstance(head, FittedHeads):
            description["head"] = head.account
            written = json.dumps(head.account, sort_keys=True)
            kind = ImageEncoder.kind
            fingerprint = hashlib.sha256(f"{fingerprint}\n{model.head}\n{written}".encode()).hexdigest()
        description["warnings"] = warnings
        return ModelRecord(
            name=given.name, spec=given.spec, kind=kind, fingerprint=fingerprint, description=description
        )

    def predictions(self, features: Features) -> pl.DataFrame:
        """Return the predictions for the readable photos."""
        request, rows = self.request, np.flatnonzero(features.readable)
        assert not isinstance(self.head, Fitting)
        labels = request.labels(self.model.display_name, self.model.head)
        heads: Sequence[tuple[np.ndarray, Head | FittedHead]] = (
            [(rows, self.head)] if isinstance(self.head, Head) else self.head.assigned(rows)
        )
        assigned = ((those, partial(_scores, features, head=head), head.scale) for those, head in heads)
        return predict(request.benchmark, assigned, request.candidates, labels)


def make_ready(request: Request, model: Encoder) -> ReadyEncoder:
    """Try one photo, then build the head, so that errors are reported before hours of encoding.

    Raises:
        UsageError: a classifier has no output for a name, or a head cannot be fitted.
        CounterGroundError: the model fails, or returns something other than features.
    """
    candidates, settings = request.candidates, request.settings
    fitting = Fitting.plan(request, model) if model.head else None
    photos = request.benchmark.photos["photo_id"].n_unique()
    model, refused = choose_runtime(
        model, photos, settings.runtime, lambda each: bool(_plan(request, each).missing)
    )
    job = _plan(request, model)
    try_model(model, job)
    if fitting is not None:
        training = None
        if request.training:
            training = _plan(replace(request, benchmark=request.training.photos), model, job.store)
        return ReadyEncoder(request, model, fitting, job, training, refused)
    texts = candidates.spellings or candidates.texts
    head = build_head(model, candidates.space, texts, request.templates, cache_dir() / "heads")
    return ReadyEncoder(request, model, head, job, refused=refused)


def _plan(request: Request, model: Encoder, store: FeatureStore | None = None) -> EncodingJob:
    batch_size = request.settings.batch_size
    store = store or feature_store(model, cache_dir() / "features", batch_size)
    return plan_encoding(model, request.benchmark, store, batch_size)
