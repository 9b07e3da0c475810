"""95 % intervals: score intervals for shares, their combination for a drop, and both over other classes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from counterground.metrics._codes import as_flags, same_length
from counterground.metrics._confidence import CONFIDENCE, Confidence
from counterground.metrics._distributions import t_quantile
from counterground.metrics._sampling import InfluenceEstimate, Stratification, StratumMeans

_NO_SPREAD = 1e-12


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval (fractions), the photos and clusters behind it.

    ``low`` and ``high`` are about other photos of the same classes (and pairs of backgrounds); they are None
    under two clusters, ``value`` too where there is nothing to measure. ``classes_low`` and ``classes_high``
    are about other classes, of which these are taken as a random sample; None where the value is no average
    over classes. ``p_value`` is two-sided, of a drop of 0; None where the value is no drop.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    clusters: int
    p_value: float | None = None
    classes_low: float | None = None
    classes_high: float | None = None


UNKNOWN = Interval(None, None, None, 0, 0)


def proportion_interval(
    correct: npt.ArrayLike,
    cluster: npt.ArrayLike | None = None,
) -> Interval:
    """Return plain accuracy with its interval.

    Args:
        correct: ``[n]`` Booleans.
        cluster: ``[n]``; photos of one cluster count together, null is a cluster of its own.
    """
    flags = as_flags(correct)
    if not flags.size:
        return UNKNOWN
    photos = Stratification(np.zeros(len(flags), dtype=np.intp), None, cluster)
    return share_interval(StratumMeans(photos.whole, flags).average(np.array([0])))


def balanced_interval(
    correct: npt.ArrayLike,
    class_index: npt.ArrayLike,
    cluster: npt.ArrayLike | None = None,
    *,
    confidence: Confidence = CONFIDENCE,
) -> Interval:
    """Return balanced accuracy (unweighted over classes) with its interval.

    Args:
        correct: ``[n]`` Booleans.
        class_index: ``[n]`` integers.
        cluster: ``[n]``; may span classes; null is a cluster of its own.
        confidence: how often the interval may miss the truth.
    """
    flags = as_flags(correct)
    if not flags.size:
        return UNKNOWN
    same_length(len(flags), np.asarray(class_index), "class_index")
    photos = Stratification(class_index, None, cluster, confidence=confidence)
    return share_interval(StratumMeans(photos.by_class, flags).average(np.arange(photos.c)))


def drop_interval(
    correct: npt.ArrayLike,
    class_index: npt.ArrayLike,
    group: npt.ArrayLike | None,
    cluster: npt.ArrayLike | None = None,
    *,
    confidence: Confidence = CONFIDENCE,
) -> Interval:
    """Return the mean class-wise drop over classes with both groups, with its interval; None without such.

    Args:
        correct: ``[n]`` Booleans.
        class_index: ``[n]`` integers.
        group: ``[n]`` of ``common``, ``counter`` or null.
        cluster: ``[n]``; may span classes and groups; null is a cluster of its own.
        confidence: how often the interval may miss the truth.
    """
    flags = as_flags(correct)
    same_length(len(flags), np.asarray(class_index), "class_index")
    photos = Stratification(class_index, group, cluster, confidence=confidence)
    paired = photos.strata.paired
    if not len(paired):
        return UNKNOWN
    common, counter = StratumMeans(photos.by_cell, flags).averages(2 * paired[:, None] + np.arange(2))
    return difference_interval(common, counter)


def critical(moment: InfluenceEstimate) -> float:
    """The t value of the estimate's interval."""
    # One more error would change the variance about so much; less is an accident.
    tail = moment.confidence.tail(max(moment.variance, 1 / max(1, moment.n) ** 2))
    return t_quantile(moment.df, 1 - tail)


def share_interval(moment: InfluenceEstimate) -> Interval:
    """Return the score (Wilson) interval of a share, with as many effective photos as its variance tells.

    Close to estimate +- t x standard error, but inside [0, 1], and wide where nothing varies: four right of
    four is no certainty.
    """
    if moment.clusters < 2:
        return Interval(moment.value, None, None, moment.n, moment.clusters)
    low, high = _score_limits(moment, critical(moment))
    other = moment.of_random_classes()
    classes = (None, None) if other is None else _hull((low, high), _score_limits(other, critical(other)))
    return Interval(moment.value, low, high, moment.n, moment.clusters, None, *classes)


def difference_interval(common: InfluenceEstimate, counter: InfluenceEstimate) -> Interval:
    """Return the interval of ``common - counter`` from the intervals of both and their correlation.

    Zou and Donner 2008 (MOVER): close to estimate +- t x standard error of the difference, with the score
    intervals' behaviour near 0 and 1, and never narrower than that: with few clusters, score intervals end
    at 0 and 1, and their difference would be too narrow.
    """
    change = common.minus(counter, n=common.n + counter.n)
    if change.clusters < 2:
        return Interval(change.value, None, None, change.n, change.clusters)
    limits = difference_limits(common, counter)
    photos = limits(change.confidence)
    p_value = _least_error(limits, change.confidence)
    classes = random_classes_limits(change, photos, largest=1.0)
    return Interval(change.value, *photos, change.n, change.clusters, p_value, *classes)


def difference_limits(
    common: InfluenceEstimate, counter: InfluenceEstimate
) -> Callable[[Confidence], tuple[float, float]]:
    """Return the ends of the interval of ``common - counter`` as a function of the confidence."""
    change = common.minus(counter, n=common.n + counter.n)
    spread = np.sqrt(common.variance * counter.variance)
    # A difference that no cluster moves rests on too little to believe in a correlation of one.
    moved = spread > _NO_SPREAD**2 and change.variance > _NO_SPREAD**2
    r = float(common.deviations @ counter.deviations) / spread if moved else 0.0

    def limits(confidence: Confidence) -> tuple[float, float]:
        t = critical(replace(change, confidence=confidence))
        (low_1, high_1), (low_2, high_2) = _score_limits(common, t), _score_limits(counter, t)
        sides = (
            (common.value - low_1, high_2 - counter.value),
            (high_1 - common.value, counter.value - low_2),
        )
        half = t * np.sqrt(change.variance) if change.variance else 0.0  # t may be infinite
        below, above = (max(half, np.sqrt(max(0.0, a * a + b * b - 2 * r * a * b))) for a, b in sides)
        return max(-1.0, change.value - float(below)), min(1.0, change.value + float(above))

    return limits


def random_classes_limits(
    change: InfluenceEstimate, photos: tuple[float, float], *, largest: float
) -> tuple[float | None, float | None]:
    """Return the interval of a difference over a population of classes, of which these are a random sample.

    Args:
        change: the difference over these classes.
        photos: its interval over other photos of these classes.
        largest: the largest that it can be.
    """
    other = change.of_random_classes()
    if other is None:
        return None, None
    half = half_width(other, largest)
    return _hull(photos, (max(-largest, other.value - half), min(largest, other.value + half)))


def _hull(photos: tuple[float, float], classes: tuple[float, float]) -> tuple[float, float]:
    """Return an interval over classes that holds the one over photos: it has all of that one's uncertainty.

    Near 0 and 1 it might not, where classes that are all alike tell nothing of their scatter.
    """
    return min(photos[0], classes[0]), max(photos[1], classes[1])


def half_width(change: InfluenceEstimate, largest: float) -> float:
    """Return t x standard error of a difference that is ``largest`` at most."""
    error, t = float(np.sqrt(change.variance)), critical(change)
    # No cluster differs from another: the true share of photos that would is under t^2 / (t^2 + n - 1).
    return t * error if error > _NO_SPREAD else largest * t * t / (t * t + change.n - 1)


def _least_error(limits: Callable[[Confidence], tuple[float, float]], confidence: Confidence) -> float:
    """Return the p-value of a difference of 0: the least error at which its interval leaves 0 out."""
    least, most = math.log(1e-16), math.log(0.5 if confidence.anytime else 1.0)
    leaves_out = False
    for _ in range(50):
        middle = (least + most) / 2
        low, high = limits(replace(confidence, error=math.exp(middle)))
        if low > 0 or high < 0:
            most, leaves_out = middle, True
        else:
            least = middle
    return math.exp(most) if leaves_out else 1.0


def _score_limits(moment: InfluenceEstimate, t: float) -> tuple[float, float]:
    p, error = moment.value, math.sqrt(moment.variance)
    inner = max(0.0, p * (1 - p))
    # Where no cluster differs from another, photos count as independent, with the t of the clusters.
    effective = inner / error**2 if error > _NO_SPREAD and inner > 0 else max(1, moment.n - 1)
    shrink = 1 + t * t / effective
    centre = (p + t * t / (2 * effective)) / shrink
    half = t / shrink * math.sqrt(inner / effective + t * t / (4 * effective**2))
    return max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half))
