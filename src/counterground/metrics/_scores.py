"""The table of scores: every metric of every model, overall and by class, with intervals."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl

from counterground.errors import CounterGroundError, UsageError
from counterground.metrics._estimate import UNKNOWN, Estimate
from counterground.metrics._registry import Answers, Metric, read_answers, registered_metrics
from counterground.metrics._settings import KEY_SCHEMA, by_key
from counterground.metrics.design import DESIGN, DROP, Contrast, Design
from counterground.metrics.intervals import (
    ALPHA,
    balanced_interval,
    cell_intervals,
    cluster_columns,
    difference_interval,
    share_interval,
)

SCORES_SCHEMA: dict[str, Any] = {
    **KEY_SCHEMA,
    "class_index": pl.Int32,
    "group": pl.String,
    "metric": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n": pl.Int64,
    "clusters": pl.Int64,
    "p_value": pl.Float64,
    "classes_low": pl.Float64,
    "classes_high": pl.Float64,
}
"""Columns of ``scores.parquet``; values and bounds are fractions.

If a design has two ways of clustering, ``clusters`` is the smaller number. ``low`` and ``high`` refer to
other photos of these classes and pairs; ``classes_low`` and ``classes_high``, for averages over classes,
refer to other classes of which these are a random sample. ``p_value`` is two-sided, for a drop of 0, and not
corrected for the number of models.
"""

BREAKDOWN_SCHEMA: dict[str, Any] = {
    **KEY_SCHEMA,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n": pl.Int64,
    "clusters": pl.Int64,
    "classes": pl.Int64,
}
"""Columns of ``score_by``, which adds those of the breakdown after the setting; fractions."""

_RESULTS = ("true_rank", "confidence", "top2_gap")
_Row = tuple[int | None, str | None, str, Estimate]


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
    (over the cells of the design), ``ece`` (15 bins), ``tie_rate``. Each further contrast of the design is a
    metric under its own name, with the accuracies of its sides as groups (``Contrast.side_keys``). Each named
    share of cells is a metric ``average(NAME)``. Rows with ``class_index`` hold ``accuracy``, ``drop`` and
    contrasts of one class. What the photos do not show is null, never 0. The worst cell and the calibration
    error have no interval: chance alone lowers the one and raises the other, so an interval around them would
    often miss the truth.

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
    return _table(records)


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
    """
    records = []
    for key, answers in read_answers(predictions, design=design):
        for index, part in _parts(answers):
            records += [(key, (index, *row)) for row in _contrast(part, contrast)]
    return _table(records)


def _table(records: Sequence[tuple[tuple[Any, ...], _Row]]) -> pl.DataFrame:
    rows = [
        (
            *(*key, index, group, metric, i.value, i.low, i.high, i.n, i.clusters),
            *(i.p_value, i.classes_low, i.classes_high),
        )
        for key, (index, group, metric, i) in records
    ]
    return pl.DataFrame(rows, schema=SCORES_SCHEMA, orient="row")


def score_by(
    predictions: pl.DataFrame | pl.LazyFrame,
    columns: Sequence[str] = ("background",),
    *,
    balanced: bool = True,
    design: Design = DESIGN,
) -> pl.DataFrame:
    """Return the accuracy on each background, each value of an attribute or each cell, with 95 % intervals.

    It is class-wise, averaged over the classes that have photos there (their number is ``classes``), so two
    backgrounds also differ in their classes. For what one background does to a class, see a contrast within
    classes or the pairs of ``discover``.

    Args:
        predictions: the columns of ``predictions.parquet``; photos without a value of a column are left out.
        columns: the columns whose combinations photos are broken down by.
        balanced: average over classes; if not, accuracy is over photos, as in the metrics of cells
            (``worst_group_accuracy``), and ``classes`` is null.
        design: the design whose clusters count.

    Returns:
        The columns of ``BREAKDOWN_SCHEMA`` (fractions) and ``columns``, for each model the highest accuracy
        first.

    Raises:
        ValueError: a column is missing, or a photo occurs twice under a model.
    """
    records = []
    for key, rows in by_key(predictions, tuple(columns)):
        found, kept = [], rows.drop_nulls(columns)
        cells = [*columns, "class_index"] if balanced else columns
        single = {
            values[: len(columns)]: interval
            for values, interval in cell_accuracies(kept, cells, design=design).items()
        }
        for values, part in kept.partition_by(columns, as_dict=True).items():
            classes, i = part["class_index"].n_unique() if balanced else None, single[values]
            if balanced and classes != 1:
                clusters = cluster_columns(part, design)
                i = balanced_interval(part["correct"], part["class_index"], **clusters)
            found.append((*key, *values, i.value, i.low, i.high, i.n, i.clusters, classes))
        at = len(key) + len(columns)
        records += sorted(found, key=lambda row: (-row[at], row[len(key) : at]))
    schema = {**KEY_SCHEMA, **dict.fromkeys(columns, pl.String), **BREAKDOWN_SCHEMA}
    return pl.DataFrame(records, schema=schema, orient="row")


def cell_accuracies(
    rows: pl.DataFrame,
    columns: Sequence[str],
    *,
    design: Design = DESIGN,
) -> dict[tuple[Any, ...], Estimate]:
    """Return the accuracy over photos of each combination of values of columns, with 95 % intervals.

    Args:
        rows: the photos of one model, with ``correct`` and the clusters of the design.
        columns: names of columns without nulls.
        design: the design whose clusters count.

    Raises:
        ValueError: the photos lack a column of clusters.
    """
    if rows.is_empty():
        return {}
    values, row = rows.select(columns), f"row by {columns}"
    first = values.with_row_index(row).select(pl.col(row).first().over(columns)).to_series()
    starts, cell = np.unique(first.to_numpy(), return_inverse=True)
    clusters = cluster_columns(rows, design)
    found = cell_intervals(rows["correct"], cell, **clusters)
    return dict(zip(values[starts.tolist()].rows(), found, strict=True))


def _scores(answers: Answers, *, by_class: bool) -> Iterator[_Row]:
    metrics, design = registered_metrics(), answers.photos.design
    contrasts = [contrast for contrast in design.contrasts if contrast != DROP]
    _refuse_taken(contrasts, metrics)
    has_groups = bool(answers.photos.strata.cell_sizes.any())
    for index, part in _parts(answers) if by_class else [(None, answers)]:
        for metric in metrics:
            if index is None:
                for group in metric.groups:
                    yield None, group, metric.name, _computed(metric, part, group)
            elif metric.by_class and not (metric.needs_groups and not has_groups):
                for group in metric.groups if has_groups else (None,):
                    yield index, group, metric.name, _computed(metric, part, group)
        for contrast in contrasts:
            for group, name, interval in _contrast(part, contrast):
                yield index, group, name, interval
        if index is None:
            for name in design.weights:
                yield None, None, f"average({name})", part.named_average(name)


def _parts(answers: Answers) -> Iterator[tuple[int | None, Answers]]:
    """All classes, then each."""
    yield None, answers
    for place, index in enumerate(answers.photos.strata.classes.tolist()):
        yield index, answers.of_class(place)


def _contrast(answers: Answers, contrast: Contrast) -> Iterator[tuple[str | None, str, Estimate]]:
    """Group, metric and figure of a contrast's sides and of its value."""
    found = answers.sides(contrast)
    intervals = [UNKNOWN] * 3
    if found is not None:
        left, right, n = found
        intervals = [share_interval(left), share_interval(right), difference_interval(left, right, n)]
    keys = (*contrast.side_keys, contrast.difference_key)
    for (metric, group), interval in zip(keys, intervals, strict=True):
        yield group, metric, interval


def _refuse_taken(contrasts: Sequence[Contrast], metrics: Sequence[Metric]) -> None:
    taken = {metric.name for metric in metrics}
    for contrast in contrasts:
        if contrast.name in taken:
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
