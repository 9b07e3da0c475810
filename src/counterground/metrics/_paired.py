"""Paired tests between two models on the same photos, and Holm's correction."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr

from counterground.metrics._codes import COMMON, COUNTER, Strata, as_flags, cluster_codes, same_length
from counterground.metrics._intervals import critical
from counterground.metrics._sampling import Moment, Partition, Sampling, StratumMeans

Quantity = Literal["accuracy", "common", "counter", "drop"]
_NO_SPREAD = 1e-12


@dataclass(frozen=True)
class PairedTest:
    """The difference a - b (fraction) with its 95 % interval and two-sided p-value.

    ``low``, ``high`` and ``p_value`` are None under two clusters; ``difference`` too where nothing can be
    compared. ``n`` photos in ``clusters`` clusters stand behind it.
    """

    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None
    n: int
    clusters: int


def paired_test(
    correct_a: npt.ArrayLike,
    correct_b: npt.ArrayLike,
    class_index: npt.ArrayLike,
    group: npt.ArrayLike | None = None,
    cluster: npt.ArrayLike | None = None,
    *,
    quantity: Quantity = "accuracy",
) -> PairedTest:
    """Test whether two models differ on the same photos, row by row.

    The influence of each photo on a - b is summed in its cluster over all classes and groups, so what a photo
    does to both models cancels; the squares give the variance (corrected for leverage), and t has one degree
    of freedom less than (effective) clusters. Where no cluster differs from another the p-value is that
    of exchanging signs, 2^(1 - clusters), or 1 without a difference.

    Args:
        correct_a: ``[n]`` Booleans of the first model.
        correct_b: ``[n]`` of the second, same photos in the same order.
        class_index: ``[n]`` integers.
        group: ``[n]`` of ``common``, ``counter`` or null.
        cluster: ``[n]``; null is a cluster of its own.
        quantity: balanced ``accuracy`` of all, of ``common`` or of ``counter`` photos, or mean ``drop``.

    Raises:
        ValueError: the columns have different lengths, or the quantity is unknown.
    """
    first, second = as_flags(correct_a, "correct_a"), as_flags(correct_b, "correct_b")
    same_length(len(first), second, "correct_b")
    strata = Strata.of(class_index, group, len(first))
    sampling = Sampling(*cluster_codes(cluster, len(first)), "analytic")
    change = first.astype(np.float64) - second
    moment = _change(change, strata, sampling, quantity)
    return _tested(moment, 2.0 if quantity == "drop" else 1.0)


def holm(p_values: Iterable[float | None]) -> list[float | None]:
    """Adjust p-values for their number (Holm 1979); None stays None and does not count."""
    values = list(p_values)
    order = sorted((p, place) for place, p in enumerate(values) if p is not None)
    adjusted: list[float | None] = [None] * len(values)
    highest = 0.0
    for done, (p, place) in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - done) * p))
        adjusted[place] = highest
    return adjusted


def _change(
    change: npt.NDArray[np.float64], strata: Strata, sampling: Sampling, quantity: Quantity
) -> Moment | None:
    if quantity == "accuracy":
        if not change.size:
            return None
        partition = Partition(sampling, strata.by_class, len(strata.classes))
        return StratumMeans(partition, change).average(np.arange(len(strata.classes)))
    cells = 2 * strata.paired[:, None] + np.arange(2)
    if quantity in ("common", "counter"):
        side = COMMON if quantity == "common" else COUNTER
        cells = 2 * np.flatnonzero(strata.cell_sizes[:, side])[:, None] + side
    elif quantity != "drop":
        raise ValueError(f"Compare 'accuracy', 'common', 'counter' or 'drop', not {quantity!r}.")
    if not len(cells):
        return None
    means = StratumMeans(Partition(sampling, strata.by_cell, 2 * len(strata.classes)), change)
    if quantity != "drop":
        return means.average(cells[:, 0])
    common, counter = means.averages(cells)
    return Moment(
        common.value - counter.value,
        common.deviations - counter.deviations,
        common.n + counter.n,
        common.clusters,
        common.effective,
    )


def _tested(moment: Moment | None, largest: float) -> PairedTest:
    if moment is None:
        return PairedTest(None, None, None, None, 0, 0)
    difference, clusters = moment.value, moment.clusters
    if clusters < 2:
        return PairedTest(difference, None, None, None, moment.n, clusters)
    error, t = float(np.sqrt(moment.variance)), critical(moment)
    if error > _NO_SPREAD:
        half = t * error
        p_value = float(2 * stdtr(moment.effective - 1, -abs(difference) / error))
    else:
        # No cluster differs from another: the true share of photos that would is under t^2 / (t^2 + n - 1).
        half = largest * t * t / (t * t + moment.n - 1)
        p_value = 1.0 if abs(difference) <= _NO_SPREAD else 2.0 ** (1 - clusters)
    low, high = max(-largest, difference - half), min(largest, difference + half)
    return PairedTest(difference, low, high, p_value, moment.n, clusters)
