"""The table of scores: every metric of every model, overall and by class, with intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl

from counterground.errors import CounterGroundError, UsageError
from counterground.metrics._codes import GROUPS
from counterground.metrics._design import DESIGN, DROP, Contrast, Design, ScoreKey
from counterground.metrics._estimate import UNKNOWN, Estimate
from counterground.metrics._intervals import balanced_interval, difference_interval, share_interval
from counterground.metrics._paired import corrected_differences, holm
from counterground.metrics._registry import Answers, Metric, read_answers, registered_metrics
from counterground.metrics._sampling import ALPHA
from counterground.metrics._settings import KEY_SCHEMA, by_key
from counterground.metrics._single import cell_intervals
from counterground.metrics._stratification import cluster_columns

SCORES_METADATA = {"counterground_scores": "1"}
"""Version of `SCORES_SCHEMA`, in the metadata of ``scores.parquet``."""
SCORES_SCHEMA: dict[str, Any] = {
    **KEY_SCHEMA,
    "metric": pl.String,
    "contrast": pl.String,
    "column": pl.String,
    "level": pl.String,
    "class_index": pl.Int32,
    "versus": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "confidence": pl.Float64,
    "p_value": pl.Float64,
    "p_corrected": pl.Float64,
    "family": pl.Int64,
    "n": pl.Int64,
    "clusters": pl.Int64,
    "clusters_2": pl.Int64,
    "classes_low": pl.Float64,
    "classes_high": pl.Float64,
}
"""Columns of ``scores.parquet``: a `ScoreKey`, a class, and an `Estimate` (fractions).

``class_index`` is null for all classes. ``versus`` is the other model of a difference of two models, which is
``model`` minus ``versus``; else null.
"""
_ESTIMATE = tuple(SCORES_SCHEMA)[list(SCORES_SCHEMA).index("value") :]
CELLS = " & "
"""What joins the names of several columns, and their values, in ``column`` and ``level``."""

_RESULTS = ("true_rank", "confidence", "top2_gap")
_Row = tuple[int | None, ScoreKey, Estimate]


def score_predictions(
    predictions: pl.DataFrame | pl.LazyFrame,
    *,
    by_class: bool = True,
    alpha: float = ALPHA,
    design: Design = DESIGN,
) -> pl.DataFrame:
    """Return every score of every model, names, prompts, protocol and label space, with 95 % intervals.

    Metrics (``registered_metrics``, which packages may add to): ``accuracy`` and ``top5_accuracy``
    (unweighted means over the classes that have photos, for all photos and for each group),
    ``plain_accuracy`` (over photos, likewise), ``drop`` (mean class-wise drop over classes with both groups,
    so not always the difference of the two accuracies), ``worst_group_accuracy`` and ``mean_minus_worst``
    (over the cells of the design), ``ece`` (15 bins), ``tie_rate``, ``bias_ratio``. Each further contrast of
    the design is a metric under its own name, beside the accuracies of its sides (``Contrast.side_keys``).
    Each named share of cells is a metric ``average(NAME)``. Rows with ``class_index`` hold ``accuracy``,
    ``drop`` and contrasts of one class. What the photos do not show is null, never 0. The worst cell and the
    calibration error have no interval: chance alone lowers the one and raises the other, so an interval
    around them would often miss the truth.

    Args:
        predictions: the columns of ``predictions.parquet``, read one model at a time; a photo whose cluster
            is null is its own cluster.
        by_class: whether to add rows for each class.
        alpha: how often an interval may miss the truth.
        design: cells, contrasts and shares.

    Returns:
        The columns of ``SCORES_SCHEMA``, models in order of appearance.

    Raises:
        ValueError: a column is missing, a photo occurs twice under a model, or a value is impossible.
        UsageError: a contrast has the name of a metric.
        CounterGroundError: a package's metric cannot be loaded, or returns no `Estimate` of finite numbers.
    """
    records = []
    for key, answers in read_answers(predictions, _RESULTS, alpha=alpha, design=design):
        records += [(key, row) for row in _scores(answers, by_class=by_class)]
    return _over_models(scores_frame(records))


def score_contrast(
    predictions: pl.DataFrame | pl.LazyFrame,
    contrast: Contrast,
    *,
    design: Design = DESIGN,
) -> pl.DataFrame:
    """Return the rows of one contrast as in ``score_predictions``: its value, its sides, and by class.

    Args:
        predictions: as in ``score_predictions``.
        contrast: what is compared; the design need not have it.
        design: the design whose shares its averages use.

    Returns:
        The columns of ``SCORES_SCHEMA``.

    Raises:
        ValueError: a column is missing, or a photo occurs twice under a model.
        UsageError: the contrast has the name of a metric.
    """
    _refuse_taken([contrast], registered_metrics())
    records = []
    for key, answers in read_answers(predictions, design=design):
        for index, part in _parts(answers):
            records += [(key, (index, *row)) for row in _contrast(part, contrast)]
    return _over_models(scores_frame(records))


def scores_frame(records: Iterable[tuple[tuple[Any, ...], _Row]]) -> pl.DataFrame:
    """Return estimates as rows of scores.

    Args:
        records: of each row the values of ``KEYS``, then its class (None: all), key and estimate.
    """
    rows = [
        (*key, *about, index, None, *(getattr(estimate, name) for name in _ESTIMATE))
        for key, (index, about, estimate) in records
    ]
    return pl.DataFrame(rows, schema=SCORES_SCHEMA, orient="row")


def _over_models(scores: pl.DataFrame) -> pl.DataFrame:
    """Correct each contrast over all classes for the number of models (Holm 1979)."""
    rows = scores.with_row_index("row").filter(
        pl.col("class_index").is_null(), pl.col("p_value").is_not_null()
    )
    corrected: dict[int, tuple[float | None, int]] = {}
    for part in rows.partition_by("metric"):
        for row, p_value in zip(part["row"], holm(part["p_value"]), strict=True):
            corrected[row] = p_value, len(part)
    columns = list(zip(*(corrected.get(row, (None, None)) for row in range(len(scores))), strict=True))
    return scores.with_columns(
        pl.Series(name, column, SCORES_SCHEMA[name])
        for name, column in zip(("p_corrected", "family"), columns, strict=False)
    )


def correct_contrast(
    scores: pl.DataFrame, contrast: Contrast, models: Sequence[Answers], picked_from: int | None
) -> pl.DataFrame:
    """Return rows of a contrast whose values over all classes are `corrected_differences`.

    Args:
        scores: columns of ``SCORES_SCHEMA``, perhaps after a column ``run``.
        contrast: what is compared.
        models: what the models answered, in the order of the rows.
        picked_from: see `corrected_differences`.
    """
    key = contrast.difference_key
    overall = (pl.col("metric") == key.metric) & pl.col("class_index").is_null() & pl.col("column").is_null()
    places = scores.select(overall.arg_true()).to_series().to_list()
    estimates = corrected_differences([model.sides(contrast) for model in models], picked_from)
    columns = []
    for name in _ESTIMATE:
        values = scores[name].to_list()
        for place, estimate in zip(places, estimates, strict=True):
            values[place] = getattr(estimate, name)
        columns.append(pl.Series(name, values, SCORES_SCHEMA[name]))
    return scores.with_columns(columns)


def score_by(
    predictions: pl.DataFrame | pl.LazyFrame,
    columns: Sequence[str] = ("background",),
    *,
    balanced: bool = True,
    alpha: float = ALPHA,
    design: Design = DESIGN,
) -> pl.DataFrame:
    """Return the accuracy on each background, each value of an attribute or each cell, with 95 % intervals.

    It is class-wise, averaged over the classes that have photos there, so two
    backgrounds also differ in their classes. For what one background does to a class, see a contrast within
    classes or the pairs of ``discover``. By a column of clusters, intervals are for other photos of each.

    Args:
        predictions: the columns of ``predictions.parquet``; photos without a value of a column are left out.
        columns: the columns whose combinations photos are broken down by.
        balanced: average over classes; if not, accuracy is over photos, as in the metrics of cells
            (``worst_group_accuracy``).
        alpha: how often an interval may miss the truth.
        design: the design whose clusters count.

    Returns:
        The columns of ``SCORES_SCHEMA``: ``accuracy`` or, over photos, ``plain_accuracy``; for each model the
        highest first. ``column`` and ``level`` are those of ``columns``, joined by `` & ``.

    Raises:
        ValueError: a column is missing, or a photo occurs twice under a model.
    """
    metric, records = "accuracy" if balanced else "plain_accuracy", []
    cells = [*columns, "class_index"] if balanced else columns
    for key, rows in by_key(predictions, tuple(columns)):
        estimates, known = [], rows.drop_nulls(columns)
        single = {
            values[: len(columns)]: estimate
            for values, estimate in cell_accuracies(known, cells, alpha=alpha, design=design).items()
        }
        for values, part in known.partition_by(columns, as_dict=True).items():
            estimate = single[values]
            if balanced and part["class_index"].n_unique() != 1:
                clusters = cluster_columns(part, design, columns)
                estimate = balanced_interval(part["correct"], part["class_index"], alpha=alpha, **clusters)
            estimates.append((values, estimate))
        estimates.sort(key=lambda row: (-(row[1].value or 0.0), row[0]))
        for values, estimate in estimates:
            about = ScoreKey(metric, None, CELLS.join(columns), CELLS.join(map(str, values)))
            records.append((key, (None, about, estimate)))
    return scores_frame(records)


def cell_accuracies(
    rows: pl.DataFrame,
    columns: Sequence[str],
    *,
    alpha: float = ALPHA,
    design: Design = DESIGN,
) -> dict[tuple[Any, ...], Estimate]:
    """Return the accuracy over photos of each combination of values of columns, with 95 % intervals.

    Args:
        rows: the photos of one model, with ``correct`` and the clusters of the design.
        columns: names of columns without nulls.
        alpha: how often an interval may miss the truth.
        design: the design whose clusters count.

    Raises:
        ValueError: the photos lack a column of clusters.
    """
    if rows.is_empty():
        return {}
    values, row = rows.select(columns), f"row by {columns}"
    first = values.with_row_index(row).select(pl.col(row).first().over(columns)).to_series()
    starts, cell = np.unique(first.to_numpy(), return_inverse=True)
    clusters = cluster_columns(rows, design, columns)
    found = cell_intervals(rows["correct"], cell, alpha=alpha, **clusters)
    return dict(zip(values[starts.tolist()].rows(), found, strict=True))


def _scores(answers: Answers, *, by_class: bool) -> Iterator[_Row]:
    metrics, design = registered_metrics(), answers.photos.design
    contrasts = [contrast for contrast in design.contrasts if contrast != DROP]
    _refuse_taken(contrasts, metrics)
    has_groups = bool(answers.photos.strata.cell_sizes.any())
    for index, part in _parts(answers) if by_class else [(None, answers)]:
        for metric in metrics:
            if index is None:
                groups = metric.groups
            elif metric.by_class and not (metric.needs_groups and not has_groups):
                groups = metric.groups if has_groups else (None,)
            else:
                continue
            for group in groups:
                key = ScoreKey.of_group(group, metric.name)
                key = DROP.difference_key if metric.name == DROP.name else key
                yield index, key, _computed(metric, part, group)
        for contrast in contrasts:
            for key, estimate in _contrast(part, contrast):
                yield index, key, estimate
        if index is None:
            for name in design.weights:
                yield None, ScoreKey(f"average({name})"), part.named_average(name)


def _parts(answers: Answers) -> Iterator[tuple[int | None, Answers]]:
    """All classes, then each."""
    yield None, answers
    for place, index in enumerate(answers.photos.strata.classes.tolist()):
        yield index, answers.of_class(place)


def _contrast(answers: Answers, contrast: Contrast) -> Iterator[tuple[ScoreKey, Estimate]]:
    """The estimates of a contrast's sides and of its value."""
    sides = answers.sides(contrast)
    estimates = [UNKNOWN] * 3
    if sides is not None:
        left, right, n = sides
        estimates = [share_interval(left), share_interval(right), difference_interval(left, right, n)]
    if contrast.sides_apart:
        estimates[:2] = (answers.share(answers.cell_means, answers.cells(group)) for group in GROUPS)
    yield from zip((*contrast.side_keys, contrast.difference_key), estimates, strict=True)


def _refuse_taken(contrasts: Sequence[Contrast], metrics: Sequence[Metric]) -> None:
    taken = {metric.name for metric in metrics}
    for contrast in contrasts:
        if contrast.name in taken and contrast != DROP:
            raise UsageError(f"The contrast {contrast.name!r} has the name of a metric: rename it.")


def _computed(metric: Metric, answers: Answers, group: str | None) -> Estimate:
    found = metric.function(answers, group)
    if not isinstance(found, Estimate):
        raise CounterGroundError(
            f"The metric {metric.name!r} returned a {type(found).__name__}, not a "
            "counterground.metrics.Estimate."
        )
    if any(each is not None and not math.isfinite(each) for each in (found.value, found.low, found.high)):
        raise CounterGroundError(
            f"The metric {metric.name!r} returned {found.value} [{found.low}, {found.high}]: a value that "
            "cannot be computed is None (answers.unknown)."
        )
    return found
