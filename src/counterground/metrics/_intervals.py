"""95 % intervals: score intervals of shares, combined for differences, and both over other classes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from counterground.metrics._codes import Floats, as_flags, same_length
from counterground.metrics._design import DROP
from counterground.metrics._distributions import t_cdf, t_quantile
from counterground.metrics._estimate import UNKNOWN, Estimate
from counterground.metrics._sampling import ALPHA, InfluenceEstimate, StratumMeans
from counterground.metrics._stratification import Stratification

_NO_SPREAD = 1e-12
_FARTHEST = 1e15
_LEAST_P = 1e-16


def proportion_interval(
    correct: npt.ArrayLike,
    cluster: npt.ArrayLike | None = None,
    *,
    crossed: npt.ArrayLike | None = None,
) -> Estimate:
    """Return plain accuracy with its interval.

    Args:
        correct: ``[n]`` Booleans.
        cluster: ``[n]``; photos of one cluster count together, null is a cluster of its own.
        crossed: ``[n]`` clusters of a second way of clustering (``Design.clusters``); None: there is one way.

    Raises:
        ValueError: the columns have different lengths, or ``correct`` holds something else.
    """
    flags = as_flags(correct)
    if not flags.size:
        return UNKNOWN
    photos = Stratification(np.zeros(len(flags), dtype=np.intp), None, cluster, crossed=crossed)
    return share_interval(StratumMeans(photos.whole, flags).average(np.array([0])))


def balanced_interval(
    correct: npt.ArrayLike,
    class_index: npt.ArrayLike,
    cluster: npt.ArrayLike | None = None,
    *,
    crossed: npt.ArrayLike | None = None,
    alpha: float = ALPHA,
) -> Estimate:
    """Return balanced accuracy (unweighted over classes) with its interval.

    Args:
        correct: ``[n]`` Booleans.
        class_index: ``[n]`` integers.
        cluster: ``[n]``; may span classes; null is a cluster of its own.
        crossed: ``[n]`` clusters of a second way of clustering (``Design.clusters``); None: there is one way.
        alpha: how often the interval may miss the truth.

    Raises:
        ValueError: the columns have different lengths, or hold other values.
    """
    flags = as_flags(correct)
    if not flags.size:
        return UNKNOWN
    same_length(len(flags), np.asarray(class_index), "class_index")
    photos = Stratification(class_index, None, cluster, crossed=crossed, alpha=alpha)
    return share_interval(StratumMeans(photos.by_class, flags).average(np.arange(photos.c)))


def drop_interval(
    correct: npt.ArrayLike,
    class_index: npt.ArrayLike,
    group: npt.ArrayLike | None,
    cluster: npt.ArrayLike | None = None,
    *,
    crossed: npt.ArrayLike | None = None,
) -> Estimate:
    """Return the mean class-wise drop over classes with both groups, with its interval; None without any.

    Args:
        correct: ``[n]`` Booleans.
        class_index: ``[n]`` integers.
        group: ``[n]`` of ``common``, ``counter`` or null.
        cluster: ``[n]``; may span classes and groups; null is a cluster of its own.
        crossed: ``[n]`` clusters of a second way of clustering (``Design.clusters``); None: there is one way.

    Raises:
        ValueError: the columns have different lengths, or hold other values.
    """
    flags = as_flags(correct)
    same_length(len(flags), np.asarray(class_index), "class_index")
    photos = Stratification(class_index, group, cluster, crossed=crossed)
    sides = photos.sides(DROP)
    averages = sides.averages()
    if averages is None:
        return UNKNOWN
    common, counter = StratumMeans(sides.partition, flags).weighted(averages)
    return difference_interval(common, counter)


def critical(moment: InfluenceEstimate) -> Floats:
    """Return the t value of the estimate's interval."""
    return t_quantile(moment.df, 1 - moment.alpha / 2)


def share_interval(moment: InfluenceEstimate) -> Estimate:
    """Return the score (Wilson) interval of a share, with as many effective photos as its variance implies.

    Close to estimate +- t x standard error, but inside [0, 1], and wide if nothing varies: four right out of
    four do not prove that all are right.
    """
    if not moment.bounded:
        return estimate_of(moment)
    low, high = _score_limits(moment)(float(critical(moment)))
    classes: tuple[float | None, float | None] = (None, None)
    if (other := moment.of_random_classes()) is not None:
        classes = _hull((low, high), _score_limits(other)(float(critical(other))))
    return estimate_of(moment, (low, high), None, classes)


def difference_interval(left: InfluenceEstimate, right: InfluenceEstimate, n: int | None = None) -> Estimate:
    """Return the interval of ``left - right`` from the intervals of both and their correlation.

    Zou and Donner 2008 (MOVER): close to estimate +- t x standard error of the difference, with the score
    intervals' behaviour near 0 and 1. It is never narrower than that: with few clusters, score intervals end
    at 0 and 1, and their difference would be too narrow. For two single strata, which have effective photos,
    it has no such lower bound: without correlation it is Newcombe's (1998).

    Args:
        left: an accuracy.
        right: another, comparable with it.
        n: number of photos behind both; by default left and right share none.
    """
    change = left.minus(right, n=left.n + right.n if n is None else n)
    if not change.bounded:
        return estimate_of(change)
    limits = difference_limits(left, right)
    photos = limits(float(critical(change)))
    classes = random_classes_limits(change, photos, largest=1.0)
    return estimate_of(change, photos, _p_value(change, limits), classes)


def estimate_of(
    moment: InfluenceEstimate,
    photos: tuple[Any, Any] = (None, None),
    p_value: float | None = None,
    classes: tuple[Any, Any] = (None, None),
) -> Estimate:
    """Return an estimate with its interval over other photos and other classes, and its p-value."""
    clusters, second = moment.clusters_by_way or (moment.clusters, None)
    return Estimate(
        moment.value,
        *photos,
        moment.n,
        clusters,
        p_value,
        *classes,
        clusters_2=second,
        confidence=1 - moment.alpha,
    )


def ratio_limits(
    top: InfluenceEstimate, bottom: InfluenceEstimate
) -> tuple[float, float] | tuple[None, None]:
    """Return the interval of ``top / bottom``, comparable estimates (Fieller 1954).

    None if ``bottom`` is not clearly above 0: the ratio is then unbounded.
    """
    squared = float(critical(bottom)) ** 2
    a = bottom.value**2 - squared * bottom.variance
    b = top.value * bottom.value - squared * top.covariance(bottom)
    c = top.value**2 - squared * top.variance
    inside = b * b - a * c
    if not bottom.bounded or bottom.value <= 0 or not a > 0 or inside < 0:
        return None, None
    return (b - math.sqrt(inside)) / a, (b + math.sqrt(inside)) / a


def plain_interval(change: InfluenceEstimate, largest: float = 1.0) -> Estimate:
    """Return estimate +- t x standard error of a sum of differences, and the p-value of 0.

    Args:
        change: the sum.
        largest: the largest value that it can have; the interval ends there.
    """
    if not change.bounded:
        return estimate_of(change)
    half = float(half_width(change, largest))
    p_value = _two_sided(float(t_cdf(change.df, -t_of_zero(change, largest))))
    low, high = max(-largest, change.value - half), min(largest, change.value + half)
    return estimate_of(change, (low, high), p_value)


_Limits = Callable[[float], tuple[float, float]]


def difference_limits(left: InfluenceEstimate, right: InfluenceEstimate) -> _Limits:
    """Return the ends of the interval of ``left - right`` as a function of its t value."""
    change = left.minus(right, n=left.n)
    value, error = change.value, math.sqrt(change.covariance(change))
    # A difference that no cluster moves is too little evidence for a correlation of one. A side that no
    # cluster moves has no correlation: what rounding leaves of its scatter may look like any.
    moved = min(error, math.sqrt(min(left.variance, right.variance))) > _NO_SPREAD
    r = left.covariance(right) / math.sqrt(left.variance * right.variance) if moved else 0.0
    if left.ways.clusters:  # whose variances are bounded below, each by itself
        r = min(1.0, max(-1.0, r))
    first, second = _score_limits(left), _score_limits(right)

    def limits(t: float) -> tuple[float, float]:
        (low_1, high_1), (low_2, high_2) = first(t), second(t)
        sides = (
            (left.value - low_1, high_2 - right.value),
            (high_1 - left.value, right.value - low_2),
        )
        half = t * error if error and left.effective is None else 0.0  # t may be infinite
        below, above = (max(half, math.sqrt(max(0.0, a * a + b * b - 2 * r * a * b))) for a, b in sides)
        return max(-1.0, value - below), min(1.0, value + above)

    return limits


def random_classes_limits(
    change: InfluenceEstimate, photos: tuple[Any, Any], *, largest: float
) -> tuple[Any, Any]:
    """Return the interval of a difference over a population of classes, of which these are a random sample.

    Args:
        change: the difference over these classes, or several.
        photos: its interval over other photos of these classes.
        largest: the largest value that it can have.
    """
    other = change.of_random_classes()
    if other is None:
        return None, None
    half = half_width(other, largest)
    return _hull(photos, (np.maximum(-largest, other.value - half), np.minimum(largest, other.value + half)))


def _hull(photos: tuple[Any, Any], classes: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return an interval over classes that contains the one over photos: it has all of its uncertainty.

    Near 0 and 1 it might not otherwise, since classes that are all alike say nothing about their scatter.
    """
    return np.minimum(photos[0], classes[0]), np.maximum(photos[1], classes[1])


def half_width(change: InfluenceEstimate, largest: float) -> Floats:
    """Return t x standard error of a difference that is at most ``largest``."""
    error, t = np.sqrt(change.variance), critical(change)
    # If no cluster differs from another, the true share of photos that would is below t^2 / (t^2 + n - 1).
    return np.where(error > _NO_SPREAD, t * error, largest * t * t / (t * t + _independent(change) - 1))


def t_of_zero(change: InfluenceEstimate, largest: float) -> Floats:
    """Return the t value at which the interval of `half_width` around a difference ends at 0."""
    error, size = np.sqrt(change.variance), np.abs(change.value)
    spread = error > _NO_SPREAD
    by_photos = np.sqrt(size * (_independent(change) - 1) / np.maximum(largest - size, 1e-300))
    return np.asarray(np.where(spread, size / np.where(spread, error, 1.0), by_photos))


def _independent(moment: InfluenceEstimate) -> int:
    """Return how many photos count as independent if no cluster differs from another.

    All do, as nothing shows that they are not. Composites repeat each object and each background photograph,
    so no more of them are independent than there are of either.
    """
    return moment.clusters if moment.ways.clusters else moment.n


def _p_value(change: InfluenceEstimate, limits: _Limits) -> float:
    """Return the p-value of a difference of 0: the least ``alpha`` at which its interval excludes 0."""
    from scipy.optimize import brentq

    side = 0 if change.value > 0 else 1

    def away(t: float) -> float:
        end = limits(t)[side]
        return -end if side else end

    beyond = 1.0
    if away(0.0) <= 0:
        return 1.0
    while away(beyond) > 0:
        beyond *= 2
        if beyond > _FARTHEST:  # the ends of the interval stay within 0 and 1, so it may never include 0
            return _two_sided(0.0)
    t = brentq(away, 0.0, beyond, xtol=1e-15, rtol=1e-15)
    return _two_sided(float(t_cdf(change.df, -t)))


def _two_sided(tail: float) -> float:
    return max(_LEAST_P, 2 * tail)


def _score_limits(moment: InfluenceEstimate) -> _Limits:
    """Return the ends of the score interval of a share as a function of its t value."""
    p, error = moment.value, math.sqrt(moment.variance)
    inner = max(0.0, p * (1 - p))
    # If no cluster differs from another, photos count as independent, with the t of the clusters.
    effective = inner / error**2 if error > _NO_SPREAD and inner > 0 else max(1, _independent(moment) - 1)
    if moment.effective is not None:
        effective = moment.effective

    def limits(t: float) -> tuple[float, float]:
        shrink = 1 + t * t / effective
        centre = (p + t * t / (2 * effective)) / shrink
        half = t / shrink * math.sqrt(inner / effective + t * t / (4 * effective**2))
        return max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half))

    return limits
