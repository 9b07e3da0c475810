"""Intervals of single strata, such as one class or cell; what clusters do is estimated from all strata."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from counterground.metrics._codes import Codes, Floats, as_flags
from counterground.metrics._distributions import t_quantile
from counterground.metrics._estimate import Estimate
from counterground.metrics._intervals import share_interval
from counterground.metrics._sampling import ALPHA, ONE_WAY, InfluenceEstimate, StratumMeans, sum_by_code
from counterground.metrics._stratification import Sides, Stratification

OTHERS = 8.0
"""Degrees of freedom that many other strata count for: clusters may have a different effect in this one."""


class _Evidence(NamedTuple):
    """What some strata, or pairs of strata, show about the correlation between photos of one cluster.

    ``excess`` are the sums of products beyond those of independent photos, ``unit`` what they are if the
    correlation is 1, ``degrees`` the degrees of freedom, 0 where they show nothing.
    """

    excess: Floats
    unit: Floats
    degrees: Floats

    def moderated(self, unknown: float) -> tuple[Floats, Floats]:
        """Return the correlation in each stratum, informed by the others, and its degrees of freedom.

        The mean of the others counts with `OTHERS` degrees of freedom, fewer if they have few themselves (a
        moderated variance, Smyth 2004). If none shows anything, it is ``unknown``.
        """
        known = self.degrees > 0
        excess, unit, own = (np.where(known, each, 0.0) for each in self)
        excess_left, unit_left, left = (each.sum() - each for each in (excess, unit, own))
        weight = np.where(left > 0.5, left * OTHERS / (left + OTHERS), 0.0)
        total = own + weight
        mean = own * _over(excess, unit) + weight * _over(excess_left, unit_left)
        return np.where(total > 0, _over(mean, total), unknown), np.where(total > 0, total, np.inf)


class _Way:
    """Single strata by one way of clustering."""

    def __init__(self, means: StratumMeans) -> None:
        self.part, self.kept = means.partition, means.kept
        n, p = self.part.photos, means.values
        self.n = np.maximum(1.0, n)
        self.scatter = np.where(n > 1, p * (1 - p) * n / np.maximum(1.0, n - 1), 0.0)
        self.share = np.where(n > 0, self.part.meetings / self.n**2, 1.0)  # of one effective cluster
        share = self.part.pair_photos / self.n[self.part.pair_stratum]
        self.moved = np.where(share < 1, means.residuals / np.sqrt(np.where(share < 1, 1 - share, 1)), 0.0)

    @cached_property
    def _free(self) -> Floats:
        """Degrees of freedom of the clusters of each stratum; 0 with one cluster, or if all is alike."""
        effective = 1 / self.share
        free = np.where(effective > 1 + 1e-9, np.maximum(1.0, effective - 1), 0.0)
        return np.where(self.scatter > 0, free, 0.0)

    def within(self) -> tuple[Floats, Floats]:
        """Return the variance of each mean, as a share of that of one photo, and its degrees of freedom."""
        lone, unit = self.scatter * self.n, self.scatter * (self.part.meetings - self.n)
        squares = sum_by_code(self.part.pair_stratum, self.moved**2, self.part.size)
        evidence = _Evidence(squares - lone, unit, np.where(unit > 0, self._free, 0.0))
        correlation, degrees = evidence.moderated(unknown=1.0)
        return (1 + np.clip(correlation, 0, 1) * (self.n * self.share - 1)) / self.n, degrees

    def between(self, left: Codes, right: Codes) -> Floats:
        """Return the covariance of means of pairs of strata, in the same unit; 0 where one does not vary."""
        part, number = self.part, len(left)
        (keys, pairs), (others, more) = self._pairs_in(left), self._pairs_in(right)
        _, at, other = np.intersect1d(keys, others, assume_unique=True, return_indices=True)
        place, one, other = keys[at] // part.sampling.size, pairs[at], more[other]
        products = sum_by_code(place, self.moved[one] * self.moved[other], number)
        meetings = sum_by_code(place, part.pair_photos[one] * part.pair_photos[other], number)
        unit = np.sqrt(self.scatter[left] * self.scatter[right]) * meetings
        free = np.where(unit > 0, np.minimum(self._free[left], self._free[right]), 0.0)
        correlation, _ = _Evidence(products, unit, free).moderated(unknown=0.0)
        alike = np.where(unit > 0, np.clip(correlation, -1, 1), 0.0) * self.kept[left] * self.kept[right]
        return np.asarray(alike * meetings / (self.n[left] * self.n[right]))

    def _pairs_in(self, strata: Codes) -> tuple[Codes, Codes]:
        """Keys of place and cluster of the pairs of some strata, each once, and the pairs."""
        place = np.full(self.part.size, -1)
        place[strata] = np.arange(len(strata))
        pairs = np.flatnonzero(place[self.part.pair_stratum] >= 0)
        at = place[self.part.pair_stratum[pairs]]
        return at * self.part.sampling.size + self.part.pair_cluster[pairs], pairs


class SingleStrata:
    """The strata of a partition one by one, with score intervals from their effective numbers of photos.

    The design effect of a stratum is that of a correlation between photos of one cluster, estimated from it
    and the other strata: two or three clusters show little, hundreds of strata of them much. Effective photos
    are corrected for the degrees of freedom of that correlation (Korn and Graubard 1998). They are no more
    than the photos and no fewer than Kish's number of clusters.

    Args:
        means: shares of right answers.
    """

    def __init__(self, means: StratumMeans) -> None:
        self._means = means
        self._ways = [_Way(each) for each in means.by_way]
        self._known: dict[int, Floats] = {}

    @cached_property
    def effective(self) -> Floats:
        """Effective photos of each stratum."""
        n = self._ways[0].n
        variances, degrees = zip(*(way.within() for way in self._ways), strict=True)
        variance = _both_ways([each * way.kept**2 for each, way in zip(variances, self._ways, strict=True)])
        if len(self._ways) > 1:
            variance = np.maximum(variance, np.minimum(*variances[:2]))
        tail = self._means.partition.sampling.alpha / 2
        most = np.maximum(1, n - 1)
        df = np.clip(np.minimum.reduce(degrees[:2]), 1, most)
        ratio = t_quantile(most, tail) / t_quantile(df, tail)
        fewest = 1 / np.maximum.reduce([way.share for way in self._ways[:2]])
        return np.asarray(np.clip(ratio**2 / variance, fewest, n))

    def share(self, estimate: InfluenceEstimate, stratum: int) -> InfluenceEstimate:
        """Return the estimate of a stratum's mean as one from effective photos, whose t is normal."""
        value, effective = float(estimate.value), float(self.effective[stratum])
        deviations = np.array([np.sqrt(max(0.0, value * (1 - value)) / effective), 0.0])
        known = replace(estimate, deviations=deviations, df=np.inf, scatter=None, ways=ONE_WAY)
        return replace(known, effective=effective, lone=False)  # other strata show what clusters do

    def sides(
        self, left: InfluenceEstimate, right: InfluenceEstimate, sides: Sides, place: int
    ) -> tuple[InfluenceEstimate, InfluenceEstimate]:
        """Return such estimates of both sides of a contrast in one class, with their correlation.

        If the class has several strata on a side, they are returned as they were.
        """
        classes, *strata = sides.one_by_one
        at = np.flatnonzero(classes == place)
        if not len(at):
            return left, right
        first, second = (
            self.share(estimate, int(of[at[0]])) for estimate, of in zip((left, right), strata, strict=True)
        )
        r = float(self.correlations(sides)[at[0]])
        return first, replace(second, deviations=second.deviations[0] * np.array([r, math.sqrt(1 - r * r)]))

    def correlations(self, sides: Sides) -> Floats:
        """Return the correlation of a contrast's sides in each class that has one stratum on each side."""
        key = id(sides)  # which lives as long as the photos
        if key not in self._known:
            _, left, right = sides.one_by_one
            covariance = _both_ways([way.between(left, right) for way in self._ways])
            in_units = covariance * np.sqrt(self.effective[left] * self.effective[right])
            self._known[key] = np.clip(in_units, -1, 1)
        return self._known[key]


def cell_intervals(
    correct: npt.ArrayLike,
    cell: npt.ArrayLike,
    cluster: npt.ArrayLike | None = None,
    *,
    crossed: npt.ArrayLike | None = None,
    alpha: float = ALPHA,
) -> list[Estimate]:
    """Return plain accuracy in each cell, in the order of their codes, with its interval.

    Args:
        correct: ``[n]`` Booleans.
        cell: ``[n]`` codes 0 .. number of cells - 1, each of which occurs.
        cluster: ``[n]``; may span cells; null is a cluster of its own.
        crossed: ``[n]`` clusters of a second way of clustering (``Design.clusters``); None: there is one way.
        alpha: how often an interval may miss the truth.

    Raises:
        ValueError: the columns have different lengths, or hold other values.
    """
    photos = Stratification(cell, None, cluster, crossed=crossed, alpha=alpha)
    means = StratumMeans(photos.by_class, as_flags(correct))
    single = SingleStrata(means)
    return [share_interval(single.share(means.average(np.array([at])), at)) for at in range(photos.c)]


def _both_ways(ways: Sequence[Floats]) -> Floats:
    """Return the sum of both ways minus that of their pairs, or the value of the only way."""
    return ways[0] if len(ways) == 1 else ways[0] + ways[1] - ways[2]


def _over(top: Floats, bottom: Floats) -> Floats:
    """Divide; 0 where there is nothing to divide by."""
    return np.divide(top, bottom, out=np.zeros_like(bottom), where=bottom > 0)
