"""The metrics in a table of scores: one open list that other packages may add to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from counterground.metrics._bias import background_errors
from counterground.metrics._codes import COMMON, COUNTER, GROUPS, Codes, Flags, Floats, as_flags, same_length
from counterground.metrics._design import DESIGN, DROP, Contrast, Design
from counterground.metrics._estimate import UNKNOWN, Estimate
from counterground.metrics._intervals import (
    balanced_interval,
    difference_interval,
    estimate_of,
    share_interval,
)
from counterground.metrics._sampling import ALPHA, Average, InfluenceEstimate, Partition, StratumMeans
from counterground.metrics._settings import by_key
from counterground.metrics._single import SingleStrata
from counterground.metrics._stratification import Stratification, Stratifications, cluster_columns
from counterground.plugins import Registry

LAST = 1000
BINS = 15
Quantity = Literal["accuracy", "left", "right", "difference"]
"""What models are compared on: accuracy over classes, or a contrast's sides or value."""
SIDES: tuple[Quantity, Quantity] = ("left", "right")
_CODES = {"common": COMMON, "counter": COUNTER}


@dataclass(frozen=True)
class Answers:
    """What one model answered under one setting: the input of a metric.

    Attributes:
        rows: the model's rows of ``predictions.parquet``, by path.
        photos: their strata and clusters.
        classes: positions among ``photos.strata.classes`` of the classes that count: all, or a single one.
    """

    rows: pl.DataFrame
    photos: Stratification
    classes: Codes

    @classmethod
    def of(cls, rows: pl.DataFrame, photos: Stratification) -> Answers:
        """Take all classes into account."""
        return cls(rows, photos, np.arange(photos.c))

    def of_class(self, place: int) -> Answers:
        """Return the answers of one class only, sharing what is already computed."""
        chosen = replace(self, classes=np.array([place]))
        for name in ("correct", "_means", "_single"):
            chosen.__dict__[name] = getattr(self, name)
        return chosen

    @cached_property
    def correct(self) -> Flags:
        """``[n]`` Booleans."""
        return as_flags(self.rows["correct"].to_numpy())

    @cached_property
    def _means(self) -> dict[int, StratumMeans]:
        return {}

    def means(self, partition: Partition) -> StratumMeans:
        """Accuracy in each stratum of a partition of these photos."""
        key = id(partition)  # which lives as long as the photos
        if key not in self._means:
            self._means[key] = StratumMeans(partition, self.correct)
        return self._means[key]

    @cached_property
    def bias(self) -> tuple[Estimate, Estimate]:
        """The share of `background_errors` that the background fits, and what chance gives."""
        wrong = background_errors(self.rows)
        if wrong.is_empty():
            return self.unknown, self.unknown
        clusters = cluster_columns(wrong, self.photos.design)
        share = balanced_interval(wrong["follows"], np.zeros(len(wrong), np.intp), **clusters)
        chance = float(np.mean(wrong["chance"].to_numpy()))
        return share, replace(share, value=chance, low=None, high=None)

    @cached_property
    def _single(self) -> dict[int, SingleStrata]:
        return {}

    def single(self, means: StratumMeans) -> SingleStrata:
        """The strata of some means one by one."""
        key = id(means.partition)
        if means is not self._means.get(key):  # of hits other than right answers, such as a package's
            return SingleStrata(means)
        if key not in self._single:
            self._single[key] = SingleStrata(means)
        return self._single[key]

    @property
    def place(self) -> int | None:
        """The class that counts, if it is one of several."""
        return None if len(self.classes) == self.photos.c else int(self.classes[0])

    @property
    def class_means(self) -> StratumMeans:
        """Accuracy of each class."""
        return self.means(self.photos.by_class)

    @property
    def cell_means(self) -> StratumMeans:
        """Accuracy of each class and group."""
        return self.means(self.photos.by_cell)

    def sides(self, contrast: Contrast) -> tuple[InfluenceEstimate, InfluenceEstimate, int] | None:
        """Return the accuracies of a contrast's sides, and the number of photos behind both.

        None if the photos do not show both. For one class, it is the contrast within that class.

        Raises:
            ValueError: the photos lack a column that it names.
        """
        place = self.place
        sides = self.photos.sides(contrast if place is None else contrast.of_classes())
        averages = sides.averages(place)
        if averages is None:
            return None
        means = self.means(sides.partition)
        left, right = means.weighted(averages)
        if place is not None:
            left, right = self.single(means).sides(left, right, sides, place)
        return left, right, sides.partition.count(averages)

    def averages(
        self, quantity: Quantity, contrast: Contrast = DROP
    ) -> tuple[Partition, list[Average], list[int]]:
        """Return the averages over all classes that make up a quantity, each with its sign."""
        if quantity == "accuracy" or (contrast.sides_apart and quantity != "difference"):
            partition, strata = self.photos.by_class, self.classes
            if quantity != "accuracy":
                partition, strata = self.photos.by_cell, self.cells(GROUPS[quantity == "right"])
            return partition, [Average.alike(strata, np.arange(len(strata)))], [1]
        sides = self.photos.sides(contrast)
        signs = {"left": [1, 0], "right": [0, 1], "difference": [1, -1]}[quantity]
        return sides.partition, [sides.left, sides.right], signs

    def estimate(self, quantity: Quantity, contrast: Contrast = DROP) -> InfluenceEstimate | None:
        """Return the estimate of a quantity over all classes; None if the photos do not show it."""
        partition, averages, signs = self.averages(quantity, contrast)
        if not all(average.weights.sum() > 0 for average in averages):
            return None
        estimates = self.means(partition).weighted(averages)
        if quantity == "difference":
            return estimates[0].minus(estimates[1], n=partition.count(averages))
        return estimates[signs.index(1)]

    def difference(self, contrast: Contrast) -> Estimate:
        """Return left minus right with its interval and the p-value of no difference."""
        found = self.sides(contrast)
        return self.unknown if found is None else difference_interval(*found)

    def named_average(self, name: str) -> Estimate:
        """Return the accuracy of cells averaged by named shares of the design.

        Raises:
            KeyError: the design does not name these shares.
        """
        average = self.photos.named_average(name)
        if average is None:
            return self.unknown
        return share_interval(self.means(self.photos.cells.partition).weighted([average])[0])

    @property
    def unknown(self) -> Estimate:
        """The interval of what these photos do not show."""
        return UNKNOWN

    def knows(self, column: str) -> bool:
        """Return whether a column has a value for any photo."""
        return self.rows[column].null_count() < self.rows.height

    def balanced_share(self, hits: npt.NDArray[np.bool_], group: str | None) -> Estimate:
        """Return the share of hits in each class, averaged over classes, for all photos or a group."""
        if group is None:
            return self.share(StratumMeans(self.photos.by_class, hits), self.classes)
        return self.share(StratumMeans(self.photos.by_cell, hits), self.cells(group))

    def plain_share(self, hits: npt.NDArray[np.bool_], group: str | None) -> Estimate:
        """Return the share of hits over all photos or those of a group; classes keep their sizes."""
        if group is None:
            means, strata = StratumMeans(self.photos.by_class, hits), self.classes
        else:
            means, strata = StratumMeans(self.photos.by_cell, hits), self.cells(group)
        return share_interval(means.pooled(strata)) if len(strata) else self.unknown

    def share(self, means: StratumMeans, strata: Codes) -> Estimate:
        """Return the unweighted average of the means of some strata; unknown if there are none."""
        if not len(strata):
            return self.unknown
        average = means.average(strata)
        if self.place is not None and len(strata) == 1:
            average = self.single(means).share(average, int(strata[0]))
        return share_interval(average)

    def cells(self, group: str) -> Codes:
        """The cells of a group that have photos, among the classes that count."""
        sizes = self.photos.strata.cell_sizes[self.classes, _CODES[group]]
        return np.asarray(2 * self.classes[sizes > 0] + _CODES[group])


def read_answers(
    predictions: pl.DataFrame | pl.LazyFrame,
    extra: Sequence[str] = (),
    columns: Sequence[str] | None = None,
    *,
    alpha: float = ALPHA,
    design: Design = DESIGN,
) -> Iterator[tuple[tuple[Any, ...], Answers]]:
    """Read what each model answered under each setting; models that saw the same photos share their strata.

    Args:
        predictions: as in ``by_key``.
        extra: as in ``by_key``.
        columns: as in ``by_key``.
        alpha: how often an interval may miss the truth.
        design: the design whose cells, contrasts and shares are used.

    Yields:
        The values of ``KEYS``, and the answers.

    Raises:
        ValueError: as in ``by_key``, or the photos lack a column of clusters.
    """
    stratifications = Stratifications(alpha, design)
    for key, rows in by_key(predictions, extra, columns):
        yield key, Answers.of(rows, stratifications.of(rows))


@dataclass(frozen=True)
class TableColumn:
    """A column of the tables of scores; columns are ordered by ``place``, the lowest first."""

    group: str | None
    title: str
    meaning: str
    place: int


@dataclass(frozen=True)
class Metric:
    """One metric of the table of scores.

    Attributes:
        name: what ``scores.parquet`` calls it.
        groups: what it is computed for: None (all photos), ``common``, ``counter``.
        function: (answers, group) -> its value and interval, fractions; ``answers.unknown`` if the photos do
            not show it.
        title: what tables call it.
        meaning: a sentence that explains it.
        place: position of its column in tables, which leave out the last ones for lack of room; None: it has
            none.
        by_class: whether it is also computed for each class, through ``answers.classes``.
        needs_groups: whether it is of no use without common and counter photos.
        group_columns: further columns, for its groups.
    """

    name: str
    groups: tuple[str | None, ...]
    function: Callable[[Answers, str | None], Estimate]
    title: str
    meaning: str
    place: int | None = LAST
    by_class: bool = False
    needs_groups: bool = False
    group_columns: tuple[TableColumn, ...] = ()

    @property
    def table_columns(self) -> tuple[TableColumn, ...]:
        """The columns that tables show."""
        if self.place is None:
            return self.group_columns
        return (*self.group_columns, TableColumn(self.groups[0], self.title, self.meaning, self.place))


def _accuracy(answers: Answers, group: str | None) -> Estimate:
    if group is None:
        return answers.share(answers.class_means, answers.classes)
    return answers.share(answers.cell_means, answers.cells(group))


def _plain_accuracy(answers: Answers, group: str | None) -> Estimate:
    return answers.plain_share(answers.correct, group)


def _drop(answers: Answers, _group: str | None) -> Estimate:
    return answers.difference(DROP)


def _worst_group(answers: Answers, _group: str | None) -> Estimate:
    found = _cells(answers)
    if found is None:
        return answers.unknown
    values, sizes = found
    lowest, cells = np.flatnonzero(values == values.min()), answers.photos.cells
    cell = cells.strata[lowest[np.argmax(sizes[lowest])]]
    worst = answers.share(answers.means(cells.partition), np.array([cell]))
    return replace(worst, low=None, high=None)


def _mean_minus_worst(answers: Answers, _group: str | None) -> Estimate:
    found = _cells(answers)
    if found is None:
        return answers.unknown
    values, cells = found[0], answers.photos.cells
    mean = answers.means(cells.partition).average(cells.strata)
    return replace(estimate_of(mean), value=float(values.mean() - values.min()))


def _cells(answers: Answers) -> tuple[Floats, npt.NDArray[Any]] | None:
    """Return accuracy and photos of each cell of the design.

    None if a column other than the class has only one value: the worst group of a benchmark without counter
    photos is unknown.
    """
    cells = answers.photos.cells
    values = list(zip(*cells.values, strict=True))
    named = dict(zip(answers.photos.design.cells, values, strict=False))
    if not values or any(len(set(of)) < 2 for name, of in named.items() if name != "class_name"):
        return None
    return answers.means(cells.partition).values[cells.strata], cells.partition.photos[cells.strata]


def _top5(answers: Answers, group: str | None) -> Estimate:
    if not answers.knows("true_rank"):
        return answers.unknown
    return answers.balanced_share(within_top_k(answers.rows["true_rank"].to_numpy()), group)


def _calibration(answers: Answers, _group: str | None) -> Estimate:
    if not answers.knows("confidence"):
        return answers.unknown
    confidence = answers.rows["confidence"].cast(pl.Float64).to_numpy()
    error = expected_calibration_error(confidence, answers.correct)
    clusters, *second = (way.size for way in answers.photos.sampling.ways[:2])
    return Estimate(error, n=answers.rows.height, clusters=clusters, clusters_2=(*second, None)[0])


def _ties(answers: Answers, _group: str | None) -> Estimate:
    if not answers.knows("top2_gap"):
        return answers.unknown
    return answers.plain_share(tied(answers.rows["top2_gap"].to_numpy()), None)


def within_top_k(true_rank: npt.ArrayLike, k: int = 5) -> npt.NDArray[np.bool_]:
    """Return ``[n]`` Booleans: the true class ranks under ``k``, counted from 0.

    A null or negative rank means that the true name did not compete: such a photo counts as wrong.
    """
    ranks = np.asarray(true_rank, dtype=np.float64)
    return np.asarray((ranks >= 0) & (ranks < k))


def tied(top2_gap: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Return ``[n]`` Booleans: the two highest scores are equal. A null gap (one competitor) is not a tie."""
    return np.asarray(np.asarray(top2_gap, dtype=np.float64) == 0.0)


def expected_calibration_error(
    confidence: npt.ArrayLike, correct: npt.ArrayLike, bins: int = BINS
) -> float | None:
    """Return the expected calibration error (fraction), over photos; None without photos.

    Confidence falls in ``bins`` bins of equal width, open below and closed above; the error is the mean over
    bins, weighted by photos, of the absolute difference between mean confidence and accuracy.

    Args:
        confidence: ``[n]`` probabilities of the predicted class.
        correct: ``[n]`` Booleans.
        bins: number of bins.

    Raises:
        ValueError: a confidence is null or not a probability, or the columns have different lengths.
    """
    flags = as_flags(correct)
    if not flags.size:
        return None
    values = np.asarray(confidence, dtype=np.float64)
    same_length(len(flags), values, "confidence")
    if not ((values >= -1e-6) & (values <= 1 + 1e-6)).all():  # rounding
        raise ValueError("'confidence' must hold a probability between 0 and 1 for every photo.")
    places = np.searchsorted(np.linspace(0, 1, bins + 1), values, side="left") - 1
    sums = np.bincount(np.clip(places, 0, bins - 1), weights=values - flags)
    return float(np.abs(sums).sum() / len(flags))


_ALL_AND_GROUPS = (None, *GROUPS)
BUILT_IN = (
    Metric(
        "accuracy",
        _ALL_AND_GROUPS,
        _accuracy,
        "Balanced",
        "Class-wise accuracy on all photos, averaged over classes.",
        place=4,
        by_class=True,
        group_columns=tuple(
            TableColumn(
                group,
                group.capitalize(),
                f"Class-wise accuracy on {group} photos, averaged over classes.",
                at,
            )
            for at, group in enumerate(GROUPS, start=1)
        ),
    ),
    Metric(
        "plain_accuracy",
        _ALL_AND_GROUPS,
        _plain_accuracy,
        "Accuracy",
        "Share of photos classified correctly; shown only where classes differ in size.",
        place=5,
    ),
    Metric(
        "drop",
        (None,),
        _drop,
        "Drop",
        "Mean over classes of common minus counter accuracy.",
        place=3,
        by_class=True,
        needs_groups=True,
    ),
    Metric(
        "worst_group_accuracy",
        (None,),
        _worst_group,
        "Worst group",
        "Accuracy in the cell (class and group, or what the benchmark says) where it is lowest; few photos "
        "make it lower, often 0.",
        place=6,
        needs_groups=True,
    ),
    Metric(
        "mean_minus_worst",
        (None,),
        _mean_minus_worst,
        "Mean − worst",
        "Mean of the accuracies of cells minus the lowest of them; few photos make it larger.",
        place=None,
        needs_groups=True,
    ),
    Metric(
        "top5_accuracy",
        _ALL_AND_GROUPS,
        _top5,
        "Top-5",
        "Share of photos whose true class is among the five highest.",
        place=7,
    ),
    Metric(
        "ece",
        (None,),
        _calibration,
        "ECE",
        "Expected calibration error: how far confidence is from accuracy, 15 bins. Few photos raise it.",
        place=8,
    ),
    Metric(
        "tie_rate", (None,), _ties, "Ties", "Share of photos whose two highest scores are equal.", place=None
    ),
    Metric(
        "bias_ratio",
        ("counter",),
        lambda answers, _: answers.bias[0],
        "Bias ratio",
        "Of wrong predictions on counter photos that name another class of the benchmark, the share that "
        "names one whose common photos have that background.",
        place=None,
        needs_groups=True,
    ),
    Metric(
        "bias_ratio_chance",
        ("counter",),
        lambda answers, _: answers.bias[1],
        "Bias by chance",
        "The bias ratio if these predictions were spread evenly over the other classes.",
        place=None,
        needs_groups=True,
    ),
)


_METRICS = Registry("counterground.metrics", Metric, {metric.name: metric for metric in BUILT_IN})


def registered_metrics() -> tuple[Metric, ...]:
    """Return the built-in metrics, then those of installed packages (entry points ``counterground.metrics``).

    Raises:
        CounterGroundError: the metric of a package cannot be loaded, is not a metric, or has a name that is
            taken.
    """
    found = (_METRICS.find(name) for name in _METRICS.names())
    return tuple(metric for metric in found if metric is not None)
