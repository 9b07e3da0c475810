"""How reliably photos would show a drop: its sampling error, and how often its interval lies above 0."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from counterground.metrics.design import DROP
from counterground.metrics.intervals import (
    ALPHA,
    LEVEL,
    InfluenceEstimate,
    Stratification,
    StratumMeans,
    critical,
    difference_limits,
    noncentral_t_sf,
    t_quantile,
)

_STEPS = 24  # halvings, which place a border to 1e-7


@dataclass(frozen=True)
class DropError:
    """What determines how reliably a drop is detected.

    Attributes:
        common: class-wise accuracy on common photos (fraction), or the difference of two models' accuracies.
        counter: the same on counter photos.
        covariance: ``[2, 2]`` sampling variances of both and their covariance.
        degrees: degrees of freedom of the interval.
        known: how well the variance of the drop is known, in degrees of freedom, from the scatter of the
            clusters' squared deviations: fewer if a few clusters make up most of it, at most ``degrees``.
            With two ways of clustering, the smaller of the two.
        photos: number of photos of classes with both groups.
        clusters: number of clusters that hold them; of two ways, the smaller number.
        bounded: whether the drop has an interval: no side has all photos in one cluster.
    """

    common: float
    counter: float
    covariance: npt.NDArray[np.float64]
    degrees: float
    known: float
    photos: int
    clusters: int
    bounded: bool = True

    @property
    def variance(self) -> float:
        """The sampling variance of the drop."""
        (common, both), (_, counter) = self.covariance
        return float(max(0.0, common + counter - 2 * both))

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
        return self._beyond(limit, alpha, above=self.common - self.counter > limit)

    def power_of_difference(self) -> float:
        """Return `power` of `paired_test`, if common and counter are differences of two models."""
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
        distance, border = sign * (self.common - self.counter - limit), sign * (border - limit)
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
        (v_common, both), (_, v_counter) = self.covariance
        moved = (self.common - self.counter) - drop
        share = (v_common - both) / self.variance if self.variance else 0.5
        common, counter = self.common - moved * share, self.counter + moved * (1 - share)
        if not (0 <= common <= 1 and 0 <= counter <= 1):
            common = min(1 + min(0.0, drop), max(common, 0.0, drop))
            counter = common - drop
        a, b = (
            np.sqrt(variance * _spread(now) / max(_spread(was), 1e-9))
            for variance, now, was in (
                (v_common, common, self.common),
                (v_counter, counter, self.counter),
            )
        )
        r = both / np.sqrt(v_common * v_counter) if v_common * v_counter > 0 else 0.0
        deviations = np.array([a, 0.0]), np.array([r * b, np.sqrt(max(0.0, 1 - r * r)) * b])
        first, second = (
            InfluenceEstimate(value, deviation, self.photos // 2, self.clusters, self.degrees, alpha)
            for value, deviation in zip((common, counter), deviations, strict=True)
        )
        change = first.minus(second, n=first.n + second.n)
        return difference_limits(first, second)(float(critical(change)))


def _spread(accuracy: float) -> float:
    return max(1e-4, accuracy * (1 - accuracy))


def drop_error(
    values: npt.ArrayLike,
    class_index: npt.ArrayLike,
    group: npt.ArrayLike | None,
    cluster: npt.ArrayLike | None = None,
    crossed: npt.ArrayLike | None = None,
) -> DropError | None:
    """Return the sampling error of the drop of some photos; None if no class has both groups.

    Args:
        values: ``[n]``, 1 for a hit; or the difference of two models' hits.
        class_index: ``[n]`` integers.
        group: ``[n]`` of ``common``, ``counter`` or null.
        cluster: ``[n]``; null is a cluster of its own; None: every photo is.
        crossed: ``[n]`` clusters of a second way; None: there is one way.

    Raises:
        ValueError: the columns have different lengths, or hold other values.
    """
    sides = Stratification(class_index, group, cluster, crossed=crossed).sides(DROP)
    averages = sides.averages()
    if averages is None:
        return None
    common, counter = StratumMeans(sides.partition, np.asarray(values, dtype=np.float64)).weighted(averages)
    n = common.n + counter.n
    both = common.covariance(counter)
    covariance = np.array([[common.variance, both], [both, counter.variance]])
    drop = common.minus(counter, n=n)
    known = min(common.df, *map(_known, drop.by_way()))
    return DropError(
        common.value, counter.value, covariance, common.df, known, n, drop.clusters, drop.bounded
    )


def _known(deviations: npt.NDArray[np.float64]) -> float:
    """Return how well the variance due to clusters of one way is known, in degrees of freedom."""
    squares = deviations**2
    scatter = float(((squares - squares.mean()) ** 2).sum())
    return 2 * float(squares.sum()) ** 2 / scatter if scatter > 0 else np.inf
