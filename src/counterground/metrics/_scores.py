"""The table of scores: every metric of every model, overall and by class, with intervals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from counterground.metrics._accuracy import tied, within_top_k
from counterground.metrics._calibration import BINS, confidence_bins
from counterground.metrics._codes import COMMON, COUNTER, Strata, as_flags, cluster_codes
from counterground.metrics._intervals import Interval, difference_interval, share_interval
from counterground.metrics._sampling import Method, Partition, Sampling, StratumMeans, mean_absolute_sum
from counterground.metrics._settings import KEY_SCHEMA, by_key, checked

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
}
"""Columns of ``scores.parquet``; ``value``, ``low`` and ``high`` are fractions."""

_GROUPS: tuple[tuple[str, int], ...] = (("common", COMMON), ("counter", COUNTER))
_Row = tuple[int | None, str | None, str, Interval]


def score_predictions(
    predictions: pl.DataFrame,
    *,
    by_class: bool = True,
    method: Method = "bootstrap",
    seed: int = 0,
    draws: int = 2000,
) -> pl.DataFrame:
    """Return every score of every model, names, prompts, protocol and label space, with 95 % intervals.

    Metrics: ``accuracy`` and ``top5_accuracy`` (unweighted means over the classes that have photos, for all
    photos and for each group), ``plain_accuracy`` (over photos, likewise), ``drop`` (mean class-wise drop
    over classes with both groups, so not always the difference of the two accuracies),
    ``worst_group_accuracy`` (its interval is that of the cell that came out worst, and knows nothing of the
    choice), ``ece`` (15 bins), ``tie_rate``. Rows with ``class_index`` hold ``accuracy`` and ``drop`` of one
    class. What the photos cannot tell is null, never 0.

    Args:
        predictions: the columns of ``predictions.parquet``; a photo whose cluster is null is its own cluster.
        by_class: whether to add rows for each class.
        method: ``bootstrap`` or ``analytic``; simulated coverage of both is 93 to 96 % with 20 or more
            clusters or none, 93 to 94 % with 6 (this room's README).
        seed: decides the draws; the order of rows does not.
        draws: number of bootstrap draws.

    Returns:
        The columns of ``SCORES_SCHEMA``, models in order of appearance.

    Raises:
        ValueError: a column is missing, a photo stands twice under a model, or a value is impossible.
    """
    rows_of_photos = checked(predictions, ("true_rank", "confidence", "top2_gap"))
    cuts: dict[bytes, _Cut] = {}
    records = []
    for key, photos in by_key(predictions, rows_of_photos):
        cut = _Cut.of(photos, cuts, method, seed, draws)
        rows = list(_overall(photos, cut))
        if by_class:
            rows += _class_rows(photos, cut)
        records += [
            (*key, index, group, metric, i.value, i.low, i.high, i.n, i.clusters)
            for index, group, metric, i in rows
        ]
    return pl.DataFrame(records, schema=SCORES_SCHEMA, orient="row")


class _Cut:
    """One set of photos by class, by cell and whole; shared by all models that saw these photos."""

    def __init__(self, photos: pl.DataFrame, method: Method, seed: int, draws: int) -> None:
        n = photos.height
        self.method = method
        self.strata = Strata.of(photos["class_index"].to_numpy(), photos["group"].to_list(), n)
        self.sampling = Sampling(*cluster_codes(photos["cluster"].to_list(), n), method, seed, draws)
        self.c = len(self.strata.classes)
        self.by_class = Partition(self.sampling, self.strata.by_class, self.c)
        self.by_cell = Partition(self.sampling, self.strata.by_cell, 2 * self.c)
        self.by_group = Partition(self.sampling, self.strata.group, 3)
        self.whole = Partition(self.sampling, np.zeros(n, dtype=np.intp), 1)
        self.nothing = Interval(None, None, None, 0, 0, method)

    @classmethod
    def of(
        cls, photos: pl.DataFrame, known: dict[bytes, _Cut], method: Method, seed: int, draws: int
    ) -> _Cut:
        columns = photos.select("path", "class_index", "group", "cluster")
        key = columns.hash_rows(seed=0).to_numpy().tobytes()
        if key not in known:
            known.clear()
            known[key] = cls(photos, method, seed, draws)
        return known[key]


def _overall(photos: pl.DataFrame, cut: _Cut) -> Iterator[_Row]:
    correct = as_flags(photos["correct"].to_numpy())
    yield from _balanced("accuracy", correct, cut)
    yield None, None, "plain_accuracy", _mean(cut.whole, correct, 0, cut)
    for name, code in _GROUPS:
        yield None, name, "plain_accuracy", _mean(cut.by_group, correct, code, cut)
    cells = StratumMeans(cut.by_cell, correct)
    yield None, None, "drop", _drop(cells, cut.strata.paired, cut)
    yield None, None, "worst_group_accuracy", _worst(cells, cut)
    if photos["true_rank"].null_count() < photos.height:
        yield from _balanced("top5_accuracy", within_top_k(photos["true_rank"].to_numpy()), cut)
    else:
        yield from ((None, name, "top5_accuracy", cut.nothing) for name in (None, "common", "counter"))
    yield None, None, "ece", _calibration(photos, correct, cut)
    gaps = photos["top2_gap"]
    known = gaps.null_count() < photos.height
    ties = _mean(cut.whole, tied(gaps.to_numpy()), 0, cut) if known else cut.nothing
    yield None, None, "tie_rate", ties


def _balanced(metric: str, hits: npt.NDArray[np.bool_], cut: _Cut) -> Iterator[_Row]:
    means = StratumMeans(cut.by_class, hits)
    yield None, None, metric, share_interval(means.average(np.arange(cut.c)), cut.method)
    cells = StratumMeans(cut.by_cell, hits)
    for name, code in _GROUPS:
        filled = np.flatnonzero(cut.strata.cell_sizes[:, code])
        found = share_interval(cells.average(2 * filled + code), cut.method) if len(filled) else cut.nothing
        yield None, name, metric, found


def _mean(partition: Partition, hits: npt.NDArray[np.bool_], stratum: int, cut: _Cut) -> Interval:
    if not partition.photos[stratum]:
        return cut.nothing
    return share_interval(StratumMeans(partition, hits).average(np.array([stratum])), cut.method)


def _drop(cells: StratumMeans, places: npt.NDArray[np.intp], cut: _Cut) -> Interval:
    if not len(places):
        return cut.nothing
    common, counter = cells.averages(2 * places[:, None] + np.arange(2))
    return difference_interval(common, counter, cut.method)


def _worst(cells: StratumMeans, cut: _Cut) -> Interval:
    sizes = cut.strata.cell_sizes
    if not sizes.any(axis=0).all():
        return cut.nothing
    lowest = np.flatnonzero(cells.values == np.nanmin(cells.values))
    cell = lowest[np.argmax(sizes.ravel()[lowest])]
    return share_interval(cells.average(np.array([cell])), cut.method)


def _calibration(photos: pl.DataFrame, correct: npt.NDArray[np.bool_], cut: _Cut) -> Interval:
    if photos["confidence"].null_count() == photos.height:
        return cut.nothing
    confidence = photos["confidence"].cast(pl.Float64).to_numpy()
    partition = Partition(cut.sampling, confidence_bins(confidence), BINS)
    return share_interval(mean_absolute_sum(partition, confidence - correct), cut.method)


def _class_rows(photos: pl.DataFrame, cut: _Cut) -> Iterator[_Row]:
    correct = as_flags(photos["correct"].to_numpy())
    whole, cells = StratumMeans(cut.by_class, correct), StratumMeans(cut.by_cell, correct)
    sizes = cut.strata.cell_sizes
    for place, index in enumerate(cut.strata.classes.tolist()):
        yield index, None, "accuracy", share_interval(whole.average(np.array([place])), cut.method)
        if not sizes.any():
            continue
        for name, code in _GROUPS:
            cell = np.array([2 * place + code])
            known = sizes[place, code] > 0
            yield (
                index,
                name,
                "accuracy",
                share_interval(cells.average(cell), cut.method) if known else cut.nothing,
            )
        paired = np.array([place]) if sizes[place].all() else np.array([], dtype=np.intp)
        yield index, None, "drop", _drop(cells, paired, cut)
