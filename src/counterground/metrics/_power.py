"""How reliably photos would show a contrast: its sampling error, and how often its interval lies above 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from counterground.metrics._codes import Floats
from counterground.metrics._design import DROP, Contrast
from counterground.metrics._distributions import noncentral_t_sf, t_quantile
from counterground.metrics._intervals import critical, difference_limits
from counterground.metrics._sampling import ALPHA, LEVEL, Average, InfluenceEstimate, Partition, StratumMeans
from counterground.metrics._stratification import Stratification

_FEW_REPEATED = 0.1  # 1 - clusters / photos: below it hardly any cluster has several photos
_STEPS = 24  # halvings, which place a border to 1e-7


@dataclass(frozen=True)
class ContrastError:
    """What determines how reliably a contrast is detected.

    Attributes:
        left: accuracy on the left side (fraction), or the difference of two models' accuracies.
        right: the same on the right side.
        covariance: ``[2, 2]`` sampling variances of both and their covariance.
        degrees: degrees of freedom of the interval.
        known: how well the variance of the contrast is known, in degrees of freedom, from the scatter of the
            clusters' squared deviations: fewer if a few clusters make up most of it, at most ``degrees``.
            With two ways of clustering, the smaller of the two.
        photos: number of photos in the strata that count.
        clusters: number of clusters that hold them; of two ways, the smaller number.
        bounded: whether the contrast has an interval: no side has all photos in one cluster.
        between: the part of ``covariance`` that is due to differences between clusters, so that it shrinks
            with more clusters only. The rest shrinks with more photos.
        strata: number of strata that count, of both sides together.
    """

    left: float
    right: float
    covariance: Floats
    degrees: float
    known: float
    photos: int
    clusters: int
    bounded: bool = True
    between: Floats = field(default_factory=lambda: np.zeros((2, 2)))
    strata: int = 2

    @property
    def variance(self) -> float:
        """The sampling variance of left minus right."""
        return _variance(self.covariance)

    def power(self, alpha: float = ALPHA) -> float:
        """Return the probability that `drop_interval` lies above 0 if the true drop is this one, 0 to 1."""
        return self._beyond(0.0, alpha, above=True)

    def power_to_decide(self, limit: float, alpha: float = ALPHA) -> float:
        """Return the probability (0 to 1) that the interval lies on this drop's side of a limit.

        This drop is taken as the true one.

        Args:
            limit: a drop (fraction).
            alpha: how often the interval may miss the truth.
        """
        return self._beyond(limit, alpha, above=self.left - self.right > limit)

    def power_of_difference(self) -> float:
        """Return `power` of `paired_tests`, if left and right are differences of two models."""
        return self._reached(float(t_quantile(self.degrees, (1 + LEVEL) / 2)) * float(np.sqrt(self.variance)))

    def _beyond(self, limit: float, alpha: float, *, above: bool) -> float:
        """Return how often the interval lies above a limit, or below it.

        The interval is computed where one end is at the limit, on the likeliest path there. A noncentral t
        accounts for the scatter of its width.
        """
        return self._reached(self._border(limit, alpha, above=above), limit, above=above)

    def _reached(self, border: float, limit: float = 0.0, *, above: bool = True) -> float:
        """Return how often the estimate is farther from the limit than the border is."""
        error, sign = float(np.sqrt(self.variance)), 1 if above else -1
        distance, border = sign * (self.left - self.right - limit), sign * (border - limit)
        if error == 0:
            return float(distance > border)
        return noncentral_t_sf(self.degrees, distance / error, border / error)

    def _border(self, limit: float, alpha: float, *, above: bool) -> float:
        """Return the drop at which the interval begins at the limit, or ends there."""
        lowest, highest = (limit, 1.0) if above else (-1.0, limit)
        for _ in range(_STEPS):
            middle = (lowest + highest) / 2
            if self._interval(middle, alpha)[0 if above else 1] > limit:
                highest = middle
            else:
                lowest = middle
        return highest

    def _interval(self, drop: float, alpha: float) -> tuple[float, float]:
        """Return the interval if chance turns this drop into another."""
        (v_left, both), (_, v_right) = self.covariance
        moved = (self.left - self.right) - drop
        share = (v_left - both) / self.variance if self.variance else 0.5
        left, right = self.left - moved * share, self.right + moved * (1 - share)
        if not (0 <= left <= 1 and 0 <= right <= 1):
            left = min(1 + min(0.0, drop), max(left, 0.0, drop))
            right = left - drop
        a, b = (
            np.sqrt(variance * _spread(now) / max(_spread(was), 1e-9))
            for variance, now, was in (
                (v_left, left, self.left),
                (v_right, right, self.right),
            )
        )
        r = both / np.sqrt(v_left * v_right) if v_left * v_right > 0 else 0.0
        deviations = np.array([a, 0.0]), np.array([r * b, np.sqrt(max(0.0, 1 - r * r)) * b])
        first, second = (
            InfluenceEstimate(value, deviation, self.photos // 2, self.clusters, self.degrees, alpha)
            for value, deviation in zip((left, right), deviations, strict=True)
        )
        change = first.minus(second, n=first.n + second.n)
        return difference_limits(first, second)(float(critical(change)))


def _spread(accuracy: float) -> float:
    return max(1e-4, accuracy * (1 - accuracy))


def contrast_error(
    photos: Stratification, values: npt.ArrayLike, contrast: Contrast = DROP
) -> ContrastError | None:
    """Return the sampling error of a contrast of some photos; None if they do not show both sides.

    Args:
        photos: the photos, with their strata and clusters.
        values: ``[n]``, 1 for a hit; or the difference of two models' hits.
        contrast: what is to be detected.
    """
    sides = photos.sides(contrast)
    averages = sides.averages()
    if averages is None:
        return None
    hits = np.asarray(values, dtype=np.float64)
    left, right = StratumMeans(sides.partition, hits).weighted(averages)
    n = sides.partition.count(averages)
    covariance, change = _covariance(left, right), left.minus(right, n=n)
    alone = StratumMeans(sides.partition.unclustered, hits).weighted(averages)
    return ContrastError(
        float(left.value),
        float(right.value),
        covariance,
        float(left.df),
        min(left.df, *map(_known, change.by_way())),
        n,
        change.clusters,
        change.bounded,
        _between(covariance, _covariance(*alone), _inside(sides.partition, averages)),
        sum(len(average.strata) for average in averages),
    )


def _covariance(left: InfluenceEstimate, right: InfluenceEstimate) -> Floats:
    both = left.covariance(right)
    return np.array([[left.variance, both], [both, right.variance]])


def _variance(covariance: Floats) -> float:
    """Return the variance of left minus right."""
    (left, both), (_, right) = covariance
    return float(max(0.0, left + right - 2 * both))


def _between(now: Floats, alone: Floats, inside: Floats) -> Floats:
    """Return the part of a covariance that is due to differences between clusters.

    What clusters add to the variance of a side is less than that: independent photos would have differences
    between clusters, too, each photo its own. With a variance B between G clusters of n photos, and W within,
    the variance is B / G + W / n and that of independent photos (B + W) / n. ``inside`` is what B / G must be
    divided by to be what is added, (1 / G - 1 / n) G.
    """
    added, error = now - alone, _variance(now)
    share = 1 - _variance(alone) / error if error else 0.0
    if share <= 0:  # clusters add nothing that can be seen
        return np.zeros((2, 2))
    # Where few photos share a cluster, what clusters add is mostly noise, and is not enlarged.
    lacking = np.diag(added).clip(0) * np.where(inside < _FEW_REPEATED, 0, 1 / np.maximum(inside, 1e-9) - 1)
    lacking = np.minimum(lacking, np.diag(alone))  # no more than there is
    if np.linalg.eigvalsh(added)[0] < 0:  # not a covariance, but what they add to the contrast is known
        return np.asarray(min(1.0, share + float(lacking.sum()) / error) * now)
    return np.asarray(added + np.diag(lacking))


def _inside(partition: Partition, averages: Sequence[Average]) -> Floats:
    """Return 1 - G / n for each side: n effective photos in G effective clusters, by Kish.

    Of two ways of clustering, the one with fewer effective clusters counts.
    """
    shares = []
    for average in averages:
        weight = np.zeros(partition.size)
        weight[average.strata] = average.weights / partition.photos[average.strata]
        alone = float((weight[partition.stratum] ** 2).sum())
        together = [alone]
        for way in partition.ways[:2]:
            of_pair = weight[way.pair_stratum] * way.pair_photos
            together.append(float((np.bincount(way.pair_cluster, weights=of_pair) ** 2).sum()))
        shares.append(1 - alone / max(together))
    return np.array(shares)


def _known(deviations: npt.NDArray[np.float64]) -> float:
    """Return how well the variance due to clusters of one way is known, in degrees of freedom."""
    squares = deviations**2
    scatter = float(((squares - squares.mean()) ** 2).sum())
    return 2 * float(squares.sum()) ** 2 / scatter if scatter > 0 else np.inf
