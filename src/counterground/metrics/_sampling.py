"""Sampling error over clusters, and over classes: influence values, whose squares add to the variance."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from counterground.metrics._codes import Codes, Floats, Strata, cluster_codes
from counterground.metrics._confidence import CONFIDENCE, Confidence
from counterground.metrics._settings import PHOTO_COLUMNS

IDENTITY = ("path", "photo_id", "class_index", "group", "cluster")


class ClassScatter(NamedTuple):
    """How an average over classes would move had other classes been drawn.

    ``classes`` are the deviations of the classes ``[m]``, ``meetings`` those of what a cluster holds of a
    class.
    """

    classes: Floats
    meetings: Floats


@dataclass(frozen=True)
class InfluenceEstimate:
    """An estimate and its deviations; for two estimates, the products add to the covariance.

    ``n`` photos in ``clusters`` clusters stand behind it; the variance has ``df`` degrees of freedom.
    Deviations of one sampling are comparable, so the difference of two estimates has
    the difference of their deviations. ``scatter`` is None where the estimate is no average over classes.

    Several models' estimates of one quantity may stand together (``stacked``): values ``[k]``, deviations
    ``[k, clusters]``.
    """

    value: Any
    deviations: Floats
    n: int
    clusters: int
    df: Any
    confidence: Confidence = CONFIDENCE
    scatter: ClassScatter | None = None

    @cached_property
    def variance(self) -> Any:
        """The sampling variance."""
        return _squares(self.deviations)

    @classmethod
    def stacked(cls, estimates: Sequence[InfluenceEstimate]) -> InfluenceEstimate:
        """Put estimates of one quantity on the same photos together."""
        first = estimates[0]
        scatter = None
        if first.scatter is not None:
            scatter = ClassScatter(*map(np.stack, zip(*(each.scatter for each in estimates), strict=True)))
        values = np.array([each.value for each in estimates])
        deviations = np.stack([each.deviations for each in estimates])
        return replace(first, value=values, deviations=deviations, scatter=scatter)

    def at(self, places: int | Codes) -> InfluenceEstimate:
        """Return one of several estimates, or some."""
        scatter = None if self.scatter is None else ClassScatter(*(part[places] for part in self.scatter))
        value, deviations = self.value[places], self.deviations[places]
        return replace(self, value=value, deviations=deviations, scatter=scatter)

    def minus(self, other: InfluenceEstimate, *, n: int) -> InfluenceEstimate:
        """Return the difference of two estimates on the same strata."""
        scatter = None
        if self.scatter is not None and other.scatter is not None:
            scatter = ClassScatter(*(a - b for a, b in zip(self.scatter, other.scatter, strict=True)))
        value, deviations = self.value - other.value, self.deviations - other.deviations
        return replace(self, value=value, deviations=deviations, n=n, scatter=scatter)

    def of_random_classes(self) -> InfluenceEstimate | None:
        """Return the same estimate for a population of classes of which these are a random sample.

        Classes and clusters are crossed, so the variance is that between classes plus that between clusters,
        less what both contain: that between the meetings of a class and a cluster (Cameron, Gelbach and
        Miller 2011). Degrees of freedom are Satterthwaite's.
        """
        if self.scatter is None:
            return None
        m, between = self.scatter.classes.shape[-1], _squares(self.scatter.classes)
        # Clusters that lie in several classes.
        shared = np.maximum(0.0, self.variance - _squares(self.scatter.meetings))
        variance = np.maximum(between + shared, self.variance)
        mixed = (variance > between) & (between > 0)
        parts = between**2 / (m - 1) + (variance - between) ** 2 / self.df
        df = np.where(mixed, variance**2 / np.where(mixed, parts, 1.0), m - 1.0)
        return replace(self, deviations=np.sqrt(variance)[..., None], n=m, df=df, scatter=None)


def _squares(deviations: Floats) -> Any:
    return np.einsum("...i,...i->...", deviations, deviations)


class Sampling:
    """The clusters of a set of photos.

    Args:
        cluster: ``[n]`` codes 0 .. size - 1.
        size: number of clusters.
        confidence: of the intervals made of it.
    """

    def __init__(self, cluster: Codes, size: int, *, confidence: Confidence = CONFIDENCE) -> None:
        self.cluster, self.size, self.confidence = cluster, size, confidence


class _Rows(NamedTuple):
    """Averages over the rows of ``strata`` ``[m, q]``: what does not depend on the values averaged.

    ``pairs`` are those of each column, ``meeting`` the codes of what a cluster holds of a row.
    """

    n: int
    clusters: int
    df: float
    pairs: list[Codes]
    meeting: list[Codes]
    meetings: int


class Partition:
    """Photos cut into strata; what the clusters hold of each.

    Args:
        sampling: the clusters.
        stratum: ``[n]`` codes 0 .. size - 1; -1 for photos outside all strata.
        size: number of strata.
    """

    def __init__(self, sampling: Sampling, stratum: Codes, size: int) -> None:
        self.sampling, self.size = sampling, size
        self._inside = stratum >= 0
        keys = stratum[self._inside] * sampling.size + sampling.cluster[self._inside]
        # One pair for each stratum and cluster that meet, sorted by stratum.
        pairs, self._pair = np.unique(keys, return_inverse=True)
        self.pair_stratum, self.pair_cluster = np.divmod(pairs, max(1, sampling.size))
        self.pair_photos = np.bincount(self._pair, minlength=len(pairs))
        self.photos = np.bincount(self.pair_stratum, weights=self.pair_photos, minlength=size)
        self._start = np.searchsorted(self.pair_stratum, np.arange(size + 1))
        self._rows: dict[bytes, _Rows] = {}

    def sums(self, values: npt.NDArray[np.generic]) -> Floats:
        """Sum of ``values`` ``[n]`` in each pair."""
        weights = values[self._inside].astype(np.float64)
        return sum_by_code(self._pair, weights, len(self.pair_stratum))

    def rows(self, strata: Codes, *, pooled: bool = False) -> _Rows:
        """Look up what averages over the rows of ``strata`` ``[m, q]`` share, whatever is averaged.

        ``pooled``: strata count by their photos, not alike.
        """
        key = strata.tobytes() + bytes([strata.shape[1], pooled])
        if key not in self._rows:
            pairs = [self._pairs_of(column) for column in strata.T]
            row = np.zeros(self.size, dtype=np.intp)
            for column in strata.T:
                row[column] = np.arange(len(strata))
            size = self.sampling.size
            meets = [row[self.pair_stratum[p]] * size + self.pair_cluster[p] for p in pairs]
            names, codes = np.unique(np.concatenate(meets), return_inverse=True)
            meeting = np.split(codes, np.cumsum([len(p) for p in pairs])[:-1])
            clusters = len(np.unique(self.pair_cluster[np.concatenate(pairs)]))
            n = int(self.photos[np.unique(strata)].sum())
            stratum = [self.pair_stratum[p] for p in pairs]
            of = np.ones(self.size) if pooled else self.photos
            share = [self.pair_photos[p] / of[own] for p, own in zip(pairs, stratum, strict=True)]
            df = degrees_of_freedom(stratum, [self.pair_cluster[p] for p in pairs], share)
            self._rows[key] = _Rows(n, clusters, df, pairs, meeting, len(names))
        return self._rows[key]

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
        self._partition = partition
        self._sums = partition.sums(values)
        totals = np.bincount(partition.pair_stratum, weights=self._sums, minlength=partition.size)
        self.values = np.full(partition.size, np.nan)
        np.divide(totals, partition.photos, out=self.values, where=partition.photos > 0)

    def average(self, strata: Codes) -> InfluenceEstimate:
        """Unweighted average of the means of some strata, none of them empty."""
        return self.averages(strata[:, None])[0]

    def pooled(self, strata: Codes) -> InfluenceEstimate:
        """Mean over the photos of some strata, each of which has as many of them in other samples, too."""
        rows = self._partition.rows(strata[:, None], pooled=True)
        photos = self._partition.photos[strata]
        return replace(self._average(strata, rows, 0, rows.n, photos.astype(np.float64)), scatter=None)

    def averages(self, strata: Codes) -> list[InfluenceEstimate]:
        """Averages over the rows of ``strata`` ``[m, q]``, one for each column, comparable."""
        rows = self._partition.rows(strata)
        counts = self._partition.photos[strata].sum(axis=0)
        alike = np.ones(len(strata))
        return [
            self._average(column, rows, place, rows.n if strata.shape[1] == 1 else int(counts[place]), alike)
            for place, column in enumerate(strata.T)
        ]

    def _average(self, strata: Codes, rows: _Rows, place: int, n: int, weights: Floats) -> InfluenceEstimate:
        """Average weighted by ``weights`` ``[m]``."""
        part, m, pairs = self._partition, len(strata), rows.pairs[place]
        values, total = self.values[strata], weights.sum()
        value = float((weights * values).sum() / total)  # exactly 1 where all values are
        weights = weights / total
        of_stratum = np.zeros(part.size)
        of_stratum[strata] = weights
        weight = of_stratum[part.pair_stratum[pairs]]
        pulls = weight * self._scores[pairs]
        alone = part.pair_photos[pairs] == part.photos[part.pair_stratum[pairs]]
        scatter = None
        if m > 1:
            wider = np.sqrt(m / (m - 1))
            if alone.any():
                # The scatter between photos of a stratum with one cluster is unknown; its distance from the
                # average stands in for it, which errs on the wide side.
                away = self.values[part.pair_stratum[pairs]] - value
                pulls = np.where(alone, weight * wider * away, pulls)
            meetings = sum_by_code(rows.meeting[place], pulls, rows.meetings)
            scatter = ClassScatter(weights * wider * (values - value), meetings)
        deviations = sum_by_code(part.pair_cluster[pairs], pulls, part.sampling.size)
        confidence = part.sampling.confidence
        return InfluenceEstimate(value, deviations, n, rows.clusters, rows.df, confidence, scatter)

    @cached_property
    def _scores(self) -> Floats:
        """Influence of each pair on the mean of its stratum, enlarged for its leverage.

        A cluster that holds the share h of a stratum pulls the mean towards itself, which shrinks its
        residual; dividing by sqrt(1 - h) undoes this on average (CR2 of Bell and McCaffrey 2002, in
        closed form). With one stratum and equal clusters it is the factor G / (G - 1) on the variance.
        """
        part = self._partition
        photos = part.photos[part.pair_stratum]
        share = part.pair_photos / photos
        residual = (self._sums - self.values[part.pair_stratum] * part.pair_photos) / photos
        return np.where(share < 1, residual / np.sqrt(np.where(share < 1, 1 - share, 1)), 0.0)


class Stratification:
    """The strata that estimates on one set of photos share; models that saw these photos share one object.

    Args:
        class_index: ``[n]`` integers.
        group: ``[n]`` of ``common``, ``counter`` or null; None: no photo has one.
        cluster: ``[n]``; null is a cluster of its own; None: every photo is.
        confidence: of the intervals.
        photos: ``[n]`` rows that describe the photos, which ``fingerprint`` identifies.
    """

    def __init__(
        self,
        class_index: npt.ArrayLike,
        group: npt.ArrayLike | None,
        cluster: npt.ArrayLike | None,
        *,
        confidence: Confidence = CONFIDENCE,
        photos: pl.DataFrame | None = None,
        fingerprint: bytes = b"",
    ) -> None:
        n = len(np.asarray(class_index))
        self.photos, self.fingerprint = photos, fingerprint
        self.strata = Strata.of(class_index, group, n)
        self.sampling = Sampling(*cluster_codes(cluster, n), confidence=confidence)
        self.c = len(self.strata.classes)

    @cached_property
    def by_class(self) -> Partition:
        """A stratum for each class that has photos."""
        return Partition(self.sampling, self.strata.by_class, self.c)

    @cached_property
    def by_cell(self) -> Partition:
        """A stratum for each class and group, at ``2 * class + group``."""
        return Partition(self.sampling, self.strata.by_cell, 2 * self.c)

    @cached_property
    def whole(self) -> Partition:
        """All photos as one stratum."""
        return Partition(self.sampling, np.zeros(len(self.strata.group), dtype=np.intp), 1)


class Stratifications:
    """Stratifications of tables of predictions, made once for models that saw the same photos."""

    def __init__(self, confidence: Confidence = CONFIDENCE) -> None:
        self._confidence = confidence
        self._known: dict[bytes, Stratification] = {}

    def of(self, rows: pl.DataFrame) -> Stratification:
        """Return the stratification of the rows of one model; equal photos give the same object."""
        photos = rows.select(name for name in PHOTO_COLUMNS if name in rows.columns)
        hashes = photos.select(name for name in IDENTITY if name in photos.columns).hash_rows(seed=0)
        key = hashlib.sha256(hashes.to_numpy().tobytes()).digest()
        if key not in self._known:
            index = photos["class_index"].to_numpy()
            group, cluster = photos["group"].to_list(), photos["cluster"].to_list()
            self._known[key] = Stratification(
                index, group, cluster, confidence=self._confidence, photos=photos, fingerprint=key
            )
        return self._known[key]


def sum_by_code(codes: Codes, weights: npt.NDArray[np.generic], size: int) -> Floats:
    """Sum of weights for each code 0 .. size - 1."""
    return np.bincount(codes, weights=weights, minlength=size).astype(np.float64)


def effective_clusters(weight: Floats) -> float:
    """Kish's effective number of clusters of these weights: G if equal, else fewer, at least 2.

    A variance that rests on a few large clusters is as uncertain as if there were few.
    """
    return max(2.0, float(weight.sum() ** 2 / (weight**2).sum()))


def degrees_of_freedom(strata: list[Codes], clusters: list[Codes], shares: list[Floats]) -> float:
    """Return the degrees of freedom of the variance of averages over strata, at least 1.

    Clusters that meet in a stratum, directly or through others, make a group. One of its effective clusters
    (Kish) is not free, since the group's mean is estimated. Groups are combined as by Welch and
    Satterthwaite, each with the variance that it has where all clusters differ equally. With one group this
    is Kish's number less one, with independent photos of equal strata it is photos less strata; where
    photographs are nested in labels, it is what the labels that most classes have allow.

    Args:
        strata: for each average, the stratum of each pair of a stratum and a cluster that meet.
        clusters: likewise the cluster.
        shares: likewise the share of the stratum that the cluster holds.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    s, stratum = np.unique(np.concatenate(strata), return_inverse=True)
    c, cluster = np.unique(np.concatenate(clusters), return_inverse=True)
    weight = sum_by_code(cluster, np.concatenate(shares), len(c))
    if len(s) == 1:
        return effective_clusters(weight) - 1
    edges = coo_array((np.ones(len(stratum)), (stratum, len(s) + cluster)), shape=(len(s) + len(c),) * 2)
    number, group = connected_components(edges, directed=False)
    # Strata of one cluster each are compared with their average: together they are one group.
    alone = np.bincount(group[len(s) :], minlength=number) == 1
    group = np.where(alone, number, np.arange(number))[group]
    total, squares = (sum_by_code(group[len(s) :], w, number + 1) for w in (weight, weight**2))
    there = squares > 0
    effective = total[there] ** 2 / squares[there]
    held = [
        sum_by_code(group[np.searchsorted(s, own)], share, number + 1)[there]
        for own, share in zip(strata, shares, strict=True)
    ]
    variance = np.square(held).sum(axis=0) / effective
    return float(variance.sum() ** 2 / (variance**2 / np.maximum(1.0, effective - 1)).sum())
