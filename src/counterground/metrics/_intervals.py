"""95 % intervals: score intervals for shares, and their combination for a drop."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from counterground.metrics._codes import as_flags, same_length
from counterground.metrics._confidence import CONFIDENCE, Confidence
from counterground.metrics._distributions import t_quantile
from counterground.metrics._sampling import InfluenceEstimate, Method, Stratification, StratumMeans

_NO_SPREAD = 1e-12


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval (fractions), the photos and clusters behind it.

    ``low`` and ``high`` are None under two clusters; ``value`` too where there is nothing to measure.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    clusters: int
    method: Method


def proportion_interval(
    correct: npt.ArrayLike,
    cluster: npt.ArrayLike | None = None,
    *,
    method: Method = "analytic",
    seed: int = 0,
    draws: int = 2000,
) -> Interval:
    """Return plain accuracy with its interval.

    Args:
        correct: ``[n]`` Booleans.
        cluster: ``[n]``; photos of one cluster count together, null is a cluster of its own.
        method: ``analytic`` (linearised, exact and fast) or ``bootstrap``.
        seed: decides the draws of the bootstrap.
        draws: how many draws.
    """
    flags = as_flags(correct)
    if not flags.size:
        return Interval(None, None, None, 0, 0, method)
    photos = Stratification(
        np.zeros(len(flags), dtype=np.intp), None, cluster, method=method, seed=seed, draws=draws
    )
    return share_interval(StratumMeans(photos.whole, flags).average(np.array([0])), method)


def balanced_interval(
    correct: npt.ArrayLike,
    class_index: npt.ArrayLike,
    cluster: npt.ArrayLike | None = None,
    *,
    method: Method = "analytic",
    seed: int = 0,
    draws: int = 2000,
) -> Interval:
    """Return balanced accuracy (unweighted over classes) with its interval.

    Args:
        correct: ``[n]`` Booleans.
        class_index: ``[n]`` integers.
        cluster: ``[n]``; may span classes; null is a cluster of its own.
        method: ``analytic`` or ``bootstrap``.
        seed: decides the draws of the bootstrap.
        draws: how many draws.
    """
    flags = as_flags(correct)
    if not flags.size:
        return Interval(None, None, None, 0, 0, method)
    same_length(len(flags), np.asarray(class_index), "class_index")
    photos = Stratification(class_index, None, cluster, method=method, seed=seed, draws=draws)
    return share_interval(StratumMeans(photos.by_class, flags).average(np.arange(photos.c)), method)


def drop_interval(
    correct: npt.ArrayLike,
    class_index: npt.ArrayLike,
    group: npt.ArrayLike | None,
    cluster: npt.ArrayLike | None = None,
    *,
    method: Method = "analytic",
    seed: int = 0,
    draws: int = 2000,
    confidence: Confidence = CONFIDENCE,
) -> Interval:
    """Return the mean class-wise drop over classes with both groups, with its interval; None without such.

    Args:
        correct: ``[n]`` Booleans.
        class_index: ``[n]`` integers.
        group: ``[n]`` of ``common``, ``counter`` or null.
        cluster: ``[n]``; may span classes and groups; null is a cluster of its own.
        method: ``analytic`` or ``bootstrap``.
        seed: decides the draws of the bootstrap.
        draws: how many draws.
        confidence: how often the interval may miss the truth.
    """
    flags = as_flags(correct)
    same_length(len(flags), np.asarray(class_index), "class_index")
    photos = Stratification(
        class_index, group, cluster, method=method, seed=seed, draws=draws, confidence=confidence
    )
    paired = photos.strata.paired
    if not len(paired):
        return Interval(None, None, None, 0, 0, method)
    common, counter = StratumMeans(photos.by_cell, flags).averages(2 * paired[:, None] + np.arange(2))
    return difference_interval(common, counter, method)


def critical(moment: InfluenceEstimate) -> float:
    """The t value of the estimate's interval, with one degree of freedom less than effective clusters."""
    # One more error would change the variance about so much; less is an accident.
    tail = moment.confidence.tail(max(moment.variance, 1 / max(1, moment.n) ** 2))
    return t_quantile(moment.effective - 1, 1 - tail)


def share_interval(moment: InfluenceEstimate, method: Method) -> Interval:
    """Return the score (Wilson) interval of a share, with as many effective photos as its variance tells.

    Close to estimate +- t x standard error, but inside [0, 1], and wide where nothing varies: four right of
    four is no certainty.
    """
    low, high = _score_limits(moment, critical(moment))
    return Interval(moment.value, low, high, moment.n, moment.clusters, method)


def difference_interval(common: InfluenceEstimate, counter: InfluenceEstimate, method: Method) -> Interval:
    """Return the interval of ``common - counter`` from the intervals of both and their correlation.

    Zou and Donner 2008 (MOVER): close to estimate +- t x standard error of the difference, with the score
    intervals' behaviour near 0 and 1.
    """
    value = common.value - counter.value
    n = common.n + counter.n
    change = common.deviations - counter.deviations
    t = critical(replace(common, deviations=change, n=n))
    (low_1, high_1), (low_2, high_2) = _score_limits(common, t), _score_limits(counter, t)
    if low_1 is None or high_1 is None or low_2 is None or high_2 is None:
        return Interval(value, None, None, n, common.clusters, method)
    spread = np.sqrt(common.variance * counter.variance)
    # A difference that no cluster moves rests on too little to believe in a correlation of one.
    moved = spread > _NO_SPREAD**2 and float(change @ change) > _NO_SPREAD**2
    r = float(common.deviations @ counter.deviations) / spread if moved else 0.0
    down, up = (common.value - low_1, high_2 - counter.value), (high_1 - common.value, counter.value - low_2)
    below, above = (np.sqrt(max(0.0, a * a + b * b - 2 * r * a * b)) for a, b in (down, up))
    low, high = max(-1.0, value - float(below)), min(1.0, value + float(above))
    return Interval(value, low, high, n, common.clusters, method)


def _score_limits(moment: InfluenceEstimate, t: float) -> tuple[float | None, float | None]:
    if moment.clusters < 2:
        return None, None
    p, error = moment.value, np.sqrt(moment.variance)
    inner = p * (1 - p)
    # Where no cluster differs from another, photos count as independent, with the t of the clusters.
    effective = inner / error**2 if error > _NO_SPREAD and inner > 0 else max(1, moment.n - 1)
    shrink = 1 + t * t / effective
    centre = (p + t * t / (2 * effective)) / shrink
    half = t / shrink * np.sqrt(inner / effective + t * t / (4 * effective**2))
    return float(max(0.0, min(p, centre - half))), float(min(1.0, max(p, centre + half)))
