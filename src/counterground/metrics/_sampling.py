"""Sampling error over clusters, and over classes: influence values, whose squares add up to the variance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from counterground.metrics._codes import Codes, Floats

LEVEL = 0.95
"""The level of intervals unless another one is requested."""
ALPHA = 0.05
"""How often such an interval may miss the truth."""


class ClassScatter(NamedTuple):
    """How an average over classes would move had other classes been drawn.

    ``classes`` are the deviations of the classes ``[m]``, ``meetings`` those of the part of a class in a
    cluster.
    """

    classes: Floats
    meetings: Floats


class Ways(NamedTuple):
    """How many deviations belong to each way of clustering; none: all belong to one way.

    Two ways that cross have three parts: the clusters of the first, of the second, and their pairs.
    """

    clusters: tuple[int, ...] = ()
    meetings: tuple[int, ...] = ()


ONE_WAY = Ways()


@dataclass(frozen=True)
class InfluenceEstimate:
    """An estimate and its deviations; the products of two estimates' deviations add up to the covariance.

    It is based on ``n`` photos in ``clusters`` clusters (of the way that has fewer); the variance has ``df``
    degrees of freedom. Deviations from one sampling are comparable, so the difference of two estimates has
    the difference of their deviations. ``scatter`` is None if the estimate is not an average over classes.

    ``effective`` is the number of photos that it counts as, if these, not the deviations, are what is known:
    for a single stratum (``SingleStrata``). ``lone`` says that all photos of a side are in one cluster:
    nothing shows how far another cluster would be from it, however many photos and strata it has.

    Several models' estimates of one quantity may be held together (``stacked``): values ``[k]``, deviations
    ``[k, clusters]``.
    """

    value: Any
    deviations: Floats
    n: int
    clusters: int
    df: Any
    alpha: Any = ALPHA
    scatter: ClassScatter | None = None
    ways: Ways = ONE_WAY
    effective: float | None = None
    lone: bool = False
    clusters_by_way: tuple[int, int] | None = None

    @property
    def bounded(self) -> bool:
        """Whether it has an interval, for which clusters must be comparable."""
        return self.clusters > 1 and not self.lone

    @cached_property
    def variance(self) -> Any:
        """The sampling variance."""
        return _squares(self.deviations, self.ways.clusters)

    def covariance(self, other: InfluenceEstimate) -> float:
        """Return the covariance with an estimate of the same sampling, both single."""
        if not self.ways.clusters:
            return float(self.deviations @ other.deviations)
        return float(self.variance + other.variance - self.minus(other, n=self.n).variance) / 2

    def by_way(self) -> list[Floats]:
        """Return the deviations of the clusters of each way."""
        ends = np.cumsum(self.ways.clusters or (self.deviations.shape[-1],))
        return np.split(self.deviations, ends[:-1], axis=-1)[:2]

    @classmethod
    def crossed(cls, ways: Sequence[InfluenceEstimate]) -> InfluenceEstimate:
        """Combine one estimate by the clusters of one way, or of two ways and their pairs.

        The variance by two ways is that by the first plus that by the second minus that by the pairs, which
        both contain (Cameron, Gelbach and Miller 2011). It is never less than the smaller of the first two;
        bounding it by the larger would undo pairing, since pairs are unrelated by the other way. Degrees of
        freedom are the smaller of both.
        """
        first = ways[0]
        if len(ways) == 1:
            return first
        scatter: ClassScatter | None = None
        meetings: tuple[int, ...] = ()
        if first.scatter is not None:
            parts = [way.scatter.meetings for way in ways if way.scatter is not None]
            scatter = ClassScatter(first.scatter.classes, np.concatenate(parts))
            meetings = tuple(map(len, parts))
        return replace(
            first,
            deviations=np.concatenate([way.deviations for way in ways]),
            clusters=min(way.clusters for way in ways[:2]),
            df=min(way.df for way in ways[:2]),
            scatter=scatter,
            ways=Ways(tuple(len(way.deviations) for way in ways), meetings),
            clusters_by_way=(first.clusters, ways[1].clusters),
            lone=any(way.lone for way in ways[:2]),
        )

    @classmethod
    def stacked(cls, estimates: Sequence[InfluenceEstimate]) -> InfluenceEstimate:
        """Stack estimates of one quantity on the same photos."""
        first = estimates[0]
        scatter = None
        if first.scatter is not None:
            scatter = ClassScatter(*map(np.stack, zip(*(each.scatter for each in estimates), strict=True)))
        values = np.array([each.value for each in estimates])
        deviations = np.stack([each.deviations for each in estimates])
        return replace(first, value=values, deviations=deviations, scatter=scatter)

    def at(self, places: int | Codes) -> InfluenceEstimate:
        """Return one or some of several estimates."""
        scatter = None if self.scatter is None else ClassScatter(*(part[places] for part in self.scatter))
        value, deviations = self.value[places], self.deviations[places]
        return replace(self, value=value, deviations=deviations, scatter=scatter)

    def minus(self, other: InfluenceEstimate, *, n: int) -> InfluenceEstimate:
        """Return the difference of two estimates on the same strata."""
        scatter = None
        if self.scatter is not None and other.scatter is not None:
            scatter = ClassScatter(*(a - b for a, b in zip(self.scatter, other.scatter, strict=True)))
        value, deviations = self.value - other.value, self.deviations - other.deviations
        lone = self.lone or other.lone
        return replace(
            self, value=value, deviations=deviations, n=n, scatter=scatter, effective=None, lone=lone
        )

    def combined(self, weights: Floats) -> InfluenceEstimate:
        """Return linear combinations of several estimates, one for each row of ``weights`` ``[m, k]``."""
        return replace(self, value=weights @ self.value, deviations=weights @ self.deviations, scatter=None)

    def compressed(self) -> InfluenceEstimate:
        """Return the estimates with the same covariances and only as many deviations as estimates."""
        ends = np.cumsum(self.ways.clusters)[:-1]
        parts = [
            np.asarray(np.linalg.qr(part.T, mode="r")).T for part in np.split(self.deviations, ends, axis=-1)
        ]
        ways = Ways(tuple(part.shape[-1] for part in parts)) if self.ways.clusters else ONE_WAY
        return replace(self, deviations=np.concatenate(parts, axis=-1), scatter=None, ways=ways)

    def of_random_classes(self) -> InfluenceEstimate | None:
        """Return the same estimate for a population of classes of which these are a random sample.

        Classes and clusters are crossed, so the variance is that between classes plus that between clusters
        minus what both contain: that between the meetings of a class and a cluster (Cameron, Gelbach and
        Miller 2011). Degrees of freedom are Satterthwaite's.
        """
        if self.scatter is None:
            return None
        m, between = self.scatter.classes.shape[-1], _squares(self.scatter.classes)
        # Clusters that lie in several classes.
        shared = np.maximum(0.0, self.variance - _squares(self.scatter.meetings, self.ways.meetings))
        variance = np.maximum(between + shared, self.variance)
        mixed = (variance > between) & (between > 0)
        parts = between**2 / (m - 1) + (variance - between) ** 2 / self.df
        df = np.where(mixed, variance**2 / np.where(mixed, parts, 1.0), m - 1.0)
        deviations = np.sqrt(variance)[..., None]
        return replace(self, deviations=deviations, n=m, df=df, scatter=None, ways=ONE_WAY)


def _squares(deviations: Floats, ways: tuple[int, ...] = ()) -> Any:
    if not ways:
        return np.einsum("...i,...i->...", deviations, deviations)
    first, second, pairs = map(_squares, np.split(deviations, np.cumsum(ways)[:-1], axis=-1))
    return np.maximum(first + second - pairs, np.minimum(first, second))


class Sampling:
    """The clusters of a set of photos.

    Args:
        cluster: ``[n]`` codes 0 .. size - 1.
        size: number of clusters.
        crossed: the codes and the number of clusters of a second way, which cross the first, as background
            photographs cross foregrounds; None: there is one way.
        alpha: how often intervals made from it may miss the truth.

    Attributes:
        ways: itself, or itself, the second way and the pairs of both.
    """

    def __init__(
        self,
        cluster: Codes,
        size: int,
        *,
        crossed: tuple[Codes, int] | None = None,
        alpha: float = ALPHA,
    ) -> None:
        self.cluster, self.size, self.alpha = cluster, size, alpha
        self.ways: tuple[Sampling, ...] = (self,)
        if crossed is not None:
            second, number = crossed
            pairs, pair = np.unique(cluster * number + second, return_inverse=True)
            others = ((second, number), (pair.astype(np.intp), len(pairs)))
            self.ways = (self, *(Sampling(*way, alpha=alpha) for way in others))


class Average(NamedTuple):
    """An average of the means of strata.

    Attributes:
        strata: ``[m]``, each once.
        weights: ``[m]``, in any unit; the same in other samples.
        classes: ``[m]``, the class of each stratum, if these could be a random sample of classes.
    """

    strata: Codes
    weights: Floats
    classes: Codes | None = None

    @classmethod
    def alike(cls, strata: Codes, classes: Codes | None = None) -> Average:
        """Count every stratum once."""
        return cls(strata, np.ones(len(strata)), classes)

    @property
    def key(self) -> bytes:
        """What identifies an average."""
        classes = b"" if self.classes is None else self.classes.tobytes()
        return b"|".join([self.strata.tobytes(), self.weights.tobytes(), classes])


class _Rows(NamedTuple):
    """What comparable averages share, regardless of what is averaged.

    ``n`` photos, each counted once, in ``clusters`` clusters. For each average: its photos, the ``pairs`` of
    its strata, the weight of each pair's stratum, which pairs are ``alone`` in theirs, whether all are in one
    cluster (``lone``), and the codes ``meeting`` of the part of a class in a cluster.
    """

    n: int
    clusters: int
    df: float
    photos: list[int]
    pairs: list[Codes]
    weights: list[Floats]
    alone: list[npt.NDArray[np.bool_]]
    lone: list[bool]
    meeting: list[Codes]
    meetings: int


class Partition:
    """Strata of photos, and the part of each in every cluster. A photo may be in several strata, or in none.

    Args:
        sampling: the clusters.
        stratum: ``[k]`` codes 0 .. size - 1; -1 for photos outside all strata.
        size: number of strata.
        photos: ``[k]`` positions of the photos in these strata; None: all in their order, ``k = n``.
    """

    def __init__(self, sampling: Sampling, stratum: Codes, size: int, photos: Codes | None = None) -> None:
        self.sampling, self.size, self._given = sampling, size, (stratum, size, photos)
        inside = np.flatnonzero(stratum >= 0)
        self.stratum = stratum[inside]
        self.places = inside if photos is None else photos[inside]
        keys = self.stratum * sampling.size + sampling.cluster[self.places]
        # One pair for each stratum and cluster that meet, sorted by stratum.
        pairs, self._pair = np.unique(keys, return_inverse=True)
        self.pair_stratum, self.pair_cluster = np.divmod(pairs, max(1, sampling.size))
        self.pair_photos = np.bincount(self._pair, minlength=len(pairs))
        self.photos = np.bincount(self.pair_stratum, weights=self.pair_photos, minlength=size)
        self._start = np.searchsorted(self.pair_stratum, np.arange(size + 1))
        self._rows: dict[bytes, _Rows] = {}

    @cached_property
    def ways(self) -> tuple[Partition, ...]:
        """The same strata by each way of clustering, itself first."""
        return (self, *(Partition(way, *self._given) for way in self.sampling.ways[1:]))

    @cached_property
    def uncrossed(self) -> Partition:
        """The same strata by the first way alone if the clusters of both ways are the same, else itself."""
        first, *others = self.sampling.ways
        numbers = {len(np.unique(way.cluster[self.places])) for way in (first, *others)}
        if not others or len(numbers) > 1:
            return self
        alone = Sampling(first.cluster, first.size, alpha=first.alpha)
        return Partition(alone, *self._given)

    @property
    def unclustered(self) -> Partition:
        """The same strata as if each photo were a cluster of its own."""
        n = len(self.sampling.cluster)
        return Partition(Sampling(np.arange(n), n, alpha=self.sampling.alpha), *self._given)

    @classmethod
    def beside(cls, parts: Sequence[Partition]) -> Partition:
        """Concatenate the strata of partitions of the same photos, numbered consecutively."""
        starts = np.cumsum([0, *(part.size for part in parts)])
        strata = [part.stratum + start for part, start in zip(parts, starts, strict=False)]
        photos = np.concatenate([part.places for part in parts])
        return cls(parts[0].sampling, np.concatenate(strata), int(starts[-1]), photos)

    @cached_property
    def meetings(self) -> Floats:
        """Ordered pairs of photos that share a cluster, including each with itself, in each stratum."""
        return sum_by_code(self.pair_stratum, self.pair_photos**2, self.size)

    def sums(self, values: npt.NDArray[np.generic]) -> Floats:
        """Return the sum of ``values`` ``[n]`` in each pair."""
        weights = values[self.places].astype(np.float64)
        return sum_by_code(self._pair, weights, len(self.pair_stratum))

    def count(self, averages: Sequence[Average]) -> int:
        """Return the number of photos in the strata of some averages; one in several counts once."""
        return self.rows(averages).n

    def rows(self, averages: Sequence[Average]) -> _Rows:
        """Look up what averages share, regardless of what is averaged."""
        key = b"||".join(average.key for average in averages)
        if key not in self._rows:
            self._rows[key] = self._made(averages)
        return self._rows[key]

    def _made(self, averages: Sequence[Average]) -> _Rows:
        pairs = [self._pairs_of(average.strata) for average in averages]
        weight, of_class = np.zeros(self.size), np.zeros(self.size, dtype=np.intp)
        for average in averages:
            weight[average.strata] = average.weights / average.weights.sum()
            of_class[average.strata] = 0 if average.classes is None else average.classes
        size = self.sampling.size
        meets = [of_class[self.pair_stratum[p]] * size + self.pair_cluster[p] for p in pairs]
        names, codes = np.unique(np.concatenate(meets), return_inverse=True)
        stratum, cluster = [self.pair_stratum[p] for p in pairs], [self.pair_cluster[p] for p in pairs]
        held = weight[self.pair_stratum] * self.pair_photos / self.photos[self.pair_stratum]
        whole = self.pair_photos == self.photos[self.pair_stratum]
        return _Rows(
            self._distinct(np.concatenate([average.strata for average in averages])),
            len(np.unique(np.concatenate(cluster))),
            degrees_of_freedom(stratum, cluster, [held[p] for p in pairs]),
            [int(self.photos[average.strata].sum()) for average in averages],
            pairs,
            [weight[own] for own in stratum],
            [whole[p] for p in pairs],
            [len(np.unique(own)) == 1 for own in cluster],
            np.split(codes, np.cumsum([len(p) for p in pairs])[:-1]),
            len(names),
        )

    def _distinct(self, strata: Codes) -> int:
        if not self._overlaps:
            return int(self.photos[strata].sum())
        chosen = np.zeros(self.size, dtype=bool)
        chosen[strata] = True
        return len(np.unique(self.places[chosen[self.stratum]]))

    @cached_property
    def _overlaps(self) -> bool:
        """Whether a photo is in several strata."""
        return len(self.places) > len(np.unique(self.places))

    def _pairs_of(self, strata: Codes) -> Codes:
        """Positions of the pairs of some strata."""
        if len(strata) == 1:
            return np.arange(self._start[strata[0]], self._start[strata[0] + 1])
        return np.flatnonzero(np.isin(self.pair_stratum, strata))


class StratumMeans:
    """Means of a value in the strata of a partition, and averages of such means.

    Args:
        partition: the strata.
        values: ``[n]``, one for each photo.
    """

    def __init__(self, partition: Partition, values: npt.NDArray[np.generic]) -> None:
        self.partition, self._given = partition, values
        self.kept = np.ones(partition.size)
        self._sums = partition.sums(values)
        totals = np.bincount(partition.pair_stratum, weights=self._sums, minlength=partition.size)
        self.values = np.full(partition.size, np.nan)
        np.divide(totals, partition.photos, out=self.values, where=partition.photos > 0)

    def average(self, strata: Codes) -> InfluenceEstimate:
        """Return the unweighted average of the means of some strata, none empty, each of its own class."""
        return self.averages(strata[:, None])[0]

    def pooled(self, strata: Codes) -> InfluenceEstimate:
        """Return the mean over the photos of some strata, whose sizes are the same in other samples."""
        return self.weighted([Average(strata, self.partition.photos[strata].astype(np.float64))])[0]

    def averages(self, strata: Codes) -> list[InfluenceEstimate]:
        """Return comparable averages over the rows of ``strata`` ``[m, q]``, each a class, one per column."""
        return self.weighted([Average.alike(column, np.arange(len(column))) for column in strata.T])

    def weighted(self, averages: Sequence[Average]) -> list[InfluenceEstimate]:
        """Return comparable averages, none of them empty."""
        rows = self.partition.rows(averages)
        own = [self._average(average, rows, place) for place, average in enumerate(averages)]
        others = [way.weighted(averages) for way in self._others]
        return [InfluenceEstimate.crossed(ways) for ways in zip(own, *others, strict=True)]

    @property
    def by_way(self) -> list[StratumMeans]:
        """These means by each way of clustering, themselves first."""
        return [self, *self._others]

    @cached_property
    def _others(self) -> list[StratumMeans]:
        """The same means by the further ways of clustering; pairs keep what both ways contain."""
        others = [StratumMeans(way, self._given) for way in self.partition.ways[1:]]
        if others:
            second, pairs = others
            pairs.kept = np.sqrt(_contained(self, second, pairs))
        return others

    def _average(self, average: Average, rows: _Rows, place: int) -> InfluenceEstimate:
        part, pairs, weight, alone = self.partition, rows.pairs[place], rows.weights[place], rows.alone[place]
        m, values, total = len(average.strata), self.values[average.strata], average.weights.sum()
        value = float((average.weights * values).sum() / total)  # exactly 1 where all values are
        weights = average.weights / total
        pulls = weight * self._scores[pairs]
        if m > 1 and alone.any():
            # The scatter between photos of a stratum with one cluster is unknown; its distance from the
            # average stands in for it, which errs on the wide side.
            away = self.values[part.pair_stratum[pairs]] - value
            pulls = np.where(alone, weight * np.sqrt(m / (m - 1)) * away, pulls)
        scatter = None
        if average.classes is not None and (c := int(average.classes.max()) + 1) > 1:
            moved = sum_by_code(average.classes, weights * (values - value), c)
            meetings = sum_by_code(rows.meeting[place], pulls, rows.meetings)
            scatter = ClassScatter(np.sqrt(c / (c - 1)) * moved, meetings)
        deviations = sum_by_code(part.pair_cluster[pairs], pulls, part.sampling.size)
        n, lone = rows.photos[place], rows.lone[place]
        return InfluenceEstimate(
            value, deviations, n, rows.clusters, rows.df, part.sampling.alpha, scatter, lone=lone
        )

    @cached_property
    def _scores(self) -> Floats:
        """Influence of each pair on the mean of its stratum, enlarged for its leverage.

        A cluster that holds the share h of a stratum pulls the mean towards itself, which shrinks its
        residual; dividing by sqrt(1 - h) undoes this on average (CR2 of Bell and McCaffrey 2002, in
        closed form). With one stratum and equal clusters it is the factor G / (G - 1) on the variance.
        """
        part = self.partition
        photos = part.photos[part.pair_stratum]
        share = part.pair_photos / photos
        residual = self.residuals / photos * self.kept[part.pair_stratum]
        return np.where(share < 1, residual / np.sqrt(np.where(share < 1, 1 - share, 1)), 0.0)

    @cached_property
    def residuals(self) -> Floats:
        """Sum of the residuals of each pair."""
        part = self.partition
        return np.asarray(self._sums - self.values[part.pair_stratum] * part.pair_photos)

    def squares(self) -> Floats:
        """Sum of the squared residuals of the pairs of each stratum."""
        return sum_by_code(self.partition.pair_stratum, self.residuals**2, self.partition.size)


def _contained(first: StratumMeans, second: StratumMeans, pairs: StratumMeans) -> Floats:
    """Return, for each stratum, the share of the variance by pairs that both ways contain.

    The variance by the first way contains what clusters of the second do to single photos, and vice versa;
    subtracting the variance by pairs removes both once. But a cluster of the first way that meets many of the
    second holds little of this: if all meet all, the mean over it has no more of it than the mean of the
    stratum, from which residuals are measured. Residuals of two photos that share a cluster of one way have
    the covariance ``-effect / number`` by the other way, whose effect has a variance estimated, over all
    strata, from photos that share only a cluster of that way. This part is no longer subtracted.
    """
    left = pairs.squares()
    total = left.copy()
    for way, other in ((first, second), (second, first)):
        meetings = way.partition.meetings - pairs.partition.meetings
        effect = (way.squares() - pairs.squares()).sum() / max(1.0, meetings.sum())
        n = np.maximum(1, other.partition.photos)
        across = (other.partition.meetings - pairs.partition.meetings) * way.partition.meetings / n**2
        left -= max(0.0, effect) * across
    return np.divide(np.maximum(0.0, left), total, out=np.ones_like(total), where=total > 0)


def sum_by_code(codes: Codes, weights: npt.NDArray[np.generic], size: int) -> Floats:
    """Return the sum of weights for each code 0 .. size - 1."""
    return np.bincount(codes, weights=weights, minlength=size).astype(np.float64)


def effective_clusters(weight: Floats) -> float:
    """Return Kish's effective number of clusters of these weights: G if equal, else fewer, at least 2.

    A variance that rests on a few large clusters is as uncertain as if there were few.
    """
    return max(2.0, float(weight.sum() ** 2 / (weight**2).sum()))


def _groups(stratum: Codes, cluster: Codes) -> tuple[Codes, Codes]:
    """Number the groups of strata and clusters that meet, directly or through others, as numbers from 0.

    SciPy has this too, but takes 0.15 s to import, a quarter of a command.
    """
    of_stratum = np.arange(stratum.max() + 1)
    while True:
        of_cluster = np.full(cluster.max() + 1, len(of_stratum))
        np.minimum.at(of_cluster, cluster, of_stratum[stratum])
        lower = of_stratum.copy()
        np.minimum.at(lower, stratum, of_cluster[cluster])
        if np.array_equal(lower, of_stratum):
            break
        of_stratum = lower
    names, of_stratum = np.unique(of_stratum, return_inverse=True)
    return of_stratum, np.searchsorted(names, of_cluster)


def degrees_of_freedom(strata: list[Codes], clusters: list[Codes], shares: list[Floats]) -> float:
    """Return the degrees of freedom of the variance of averages over strata, at least 1.

    Clusters that meet in a stratum, directly or through others, make a group. One of its effective clusters
    (Kish) is not free, since the group's mean is estimated. Groups are combined as by Welch and
    Satterthwaite, each with the variance that it has if all clusters differ equally. With one group this is
    Kish's number minus one; with independent photos of equal strata it is photos minus strata; if photographs
    are nested in labels, it is limited by the labels that most classes have.

    Args:
        strata: for each average, the stratum of each pair of a stratum and a cluster that meet.
        clusters: likewise the cluster.
        shares: likewise the share of the stratum that the cluster holds.
    """
    s, stratum = np.unique(np.concatenate(strata), return_inverse=True)
    c, cluster = np.unique(np.concatenate(clusters), return_inverse=True)
    weight = sum_by_code(cluster, np.concatenate(shares), len(c))
    if len(s) == 1:
        return effective_clusters(weight) - 1
    of_stratum, of_cluster = _groups(stratum, cluster)
    number = int(of_stratum.max()) + 1
    # Strata of one cluster each are compared with their average: together they are one group.
    group = np.where(np.bincount(of_cluster, minlength=number) == 1, number, np.arange(number))
    of_stratum, of_cluster = group[of_stratum], group[of_cluster]
    total, squares = (sum_by_code(of_cluster, w, number + 1) for w in (weight, weight**2))
    there = squares > 0
    effective = total[there] ** 2 / squares[there]
    held = [
        sum_by_code(of_stratum[np.searchsorted(s, own)], share, number + 1)[there]
        for own, share in zip(strata, shares, strict=True)
    ]
    variance = np.square(held).sum(axis=0) / effective
    return float(variance.sum() ** 2 / (variance**2 / np.maximum(1.0, effective - 1)).sum())
