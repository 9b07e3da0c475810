"""Sampling error over clusters: influence values, whose squares add to the variance, and bootstrap draws."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from counterground.metrics._codes import Codes, Floats, Strata, cluster_codes
from counterground.metrics._confidence import CONFIDENCE, Confidence

PHOTO = ("path", "class_index", "group", "cluster")
Method = Literal["bootstrap", "analytic"]
_CHUNK = 2_000_000


@dataclass(frozen=True)
class InfluenceEstimate:
    """An estimate and its deviations; for two estimates, the products add to the covariance.

    ``n`` photos in ``clusters`` clusters stand behind it, which tell as much as ``effective`` equal clusters.
    Deviations of one sampling are comparable, so the difference of two estimates has
    the difference of their deviations.
    """

    value: float
    deviations: Floats
    n: int
    clusters: int
    effective: float
    confidence: Confidence = CONFIDENCE

    @property
    def variance(self) -> float:
        """The sampling variance."""
        return float(self.deviations @ self.deviations)


class Sampling:
    """The clusters of a set of photos and the way their variance is reckoned.

    ``bootstrap``: clusters are drawn with replacement ``draws`` times, **once for the whole set**, so that a
    cluster counts as often in every stratum it occurs in. ``analytic``: no draws.

    Args:
        cluster: ``[n]`` codes 0 .. size - 1.
        size: number of clusters.
        method: one of the two.
        seed: decides the draws.
        draws: how many.
        confidence: of the intervals made of it.
    """

    def __init__(
        self,
        cluster: Codes,
        size: int,
        method: Method,
        seed: int = 0,
        draws: int = 2000,
        *,
        confidence: Confidence = CONFIDENCE,
    ) -> None:
        if method not in ("bootstrap", "analytic"):
            raise ValueError(f"There is no interval method {method!r}; choose 'bootstrap' or 'analytic'.")
        if method == "bootstrap" and draws < 2:
            raise ValueError(f"A bootstrap needs at least 2 draws, not {draws}.")
        self.cluster, self.size, self.method, self.confidence = cluster, size, method, confidence
        self._seed, self._draws = seed, draws

    @cached_property
    def weights(self) -> npt.NDArray[np.uint8]:
        """How often each cluster is drawn, ``[draws, clusters]``; one byte each, as none comes near 256."""
        generator = np.random.default_rng(self._seed)
        weights = np.empty((self._draws, self.size), dtype=np.uint8)
        rows = max(1, _CHUNK // max(1, self.size))
        for start in range(0, self._draws, rows):
            count = min(rows, self._draws - start)
            drawn = generator.integers(0, self.size, (count, self.size))
            drawn += np.arange(count)[:, None] * self.size
            flat = np.bincount(drawn.ravel(), minlength=count * self.size)
            weights[start : start + count] = flat.reshape(count, self.size)
        return weights


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
        self.clusters = np.bincount(self.pair_stratum, minlength=size)
        self._start = np.searchsorted(self.pair_stratum, np.arange(size + 1))

    def sums(self, values: npt.NDArray[np.generic]) -> Floats:
        """Sum of ``values`` ``[n]`` in each pair."""
        weights = values[self._inside].astype(np.float64)
        return sum_by_code(self._pair, weights, len(self.pair_stratum))

    def drawn(self, pair_sums: Floats) -> Floats:
        """Sums of each stratum in each draw, ``[draws, strata]``."""
        from scipy import sparse

        shape = (self.sampling.size, self.size)
        matrix = sparse.csr_matrix((pair_sums, (self.pair_cluster, self.pair_stratum)), shape=shape)
        weights = self.sampling.weights
        rows = max(1, _CHUNK // max(1, self.sampling.size))
        found = np.empty((len(weights), self.size))
        for start in range(0, len(weights), rows):
            found[start : start + rows] = weights[start : start + rows].astype(np.float64) @ matrix
        return found

    @cached_property
    def drawn_photos(self) -> Floats:
        """Photos of each stratum in each draw, ``[draws, strata]``."""
        return self.drawn(self.pair_photos.astype(np.float64))

    def pairs_of(self, strata: Codes) -> Codes:
        """Positions of the pairs of some strata."""
        if len(strata) == 1:
            return np.arange(self._start[strata[0]], self._start[strata[0] + 1])
        return np.flatnonzero(np.isin(self.pair_stratum, strata))

    def count(self, strata: Codes) -> tuple[int, int]:
        """Photos in some strata, and clusters that have one there."""
        met = np.unique(self.pair_cluster[self.pairs_of(strata)])
        return int(self.photos[strata].sum()), len(met)


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

    def averages(self, strata: Codes) -> list[InfluenceEstimate]:
        """Averages over the rows of ``strata`` ``[m, q]``, one for each column, comparable."""
        n, clusters = self._partition.count(np.unique(strata))
        bootstrap = self._partition.sampling.method == "bootstrap"
        deviations = self._drawn(strata, clusters) if bootstrap else self._linearised(strata)
        values = self.values[strata].mean(axis=0)
        counts = self._partition.photos[strata].sum(axis=0)
        effective, confidence = self._effective(strata), self._partition.sampling.confidence
        if strata.shape[1] > 1:
            return [
                InfluenceEstimate(float(value), row, int(count), clusters, effective, confidence)
                for value, row, count in zip(values, deviations, counts, strict=True)
            ]
        return [InfluenceEstimate(float(values[0]), deviations[0], n, clusters, effective, confidence)]

    def _effective(self, strata: Codes) -> float:
        part = self._partition
        pairs = part.pairs_of(np.unique(strata))
        weights = part.pair_photos[pairs] / part.photos[part.pair_stratum[pairs]]
        return effective_clusters(sum_by_code(part.pair_cluster[pairs], weights, part.sampling.size))

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

    def _linearised(self, strata: Codes) -> list[Floats]:
        part, m = self._partition, len(strata)
        found = []
        for column in strata.T:
            pairs = part.pairs_of(column)
            weights = self._scores[pairs] / m
            alone = part.pair_photos[pairs] == part.photos[part.pair_stratum[pairs]]
            if alone.any() and m > 1:
                # The scatter between photos of a stratum with one cluster is unknown; its distance from the
                # average stands in for it, which errs on the wide side.
                away = self.values[part.pair_stratum[pairs]] - self.values[column].mean()
                weights = np.where(alone, away / np.sqrt(m * (m - 1)), weights)
            found.append(sum_by_code(part.pair_cluster[pairs], weights, part.sampling.size))
        return found

    @cached_property
    def _drawn_means(self) -> Floats:
        photos = self._partition.drawn_photos
        means = np.full(photos.shape, np.nan)
        np.divide(self._partition.drawn(self._sums), photos, out=means, where=photos > 0)
        return means

    def _drawn(self, strata: Codes, clusters: int) -> list[Floats]:
        # A row of strata that misses one of its strata in a draw is left out of this draw's averages.
        means = self._drawn_means[:, strata]
        missed = np.isnan(means).any(axis=2, keepdims=True)
        total = np.where(missed, 0, means).sum(axis=1)
        count = means.shape[1] - np.count_nonzero(missed, axis=1)
        averages = np.full(total.shape, np.nan)
        np.divide(total, count, out=averages, where=count > 0)
        return [scaled_draws(column, clusters) for column in averages.T]


class Stratification:
    """The strata that estimates on one set of photos share; models that saw these photos share one object.

    Args:
        class_index: ``[n]`` integers.
        group: ``[n]`` of ``common``, ``counter`` or null; None: no photo has one.
        cluster: ``[n]``; null is a cluster of its own; None: every photo is.
        method: how variances are estimated.
        seed: decides the draws of the bootstrap.
        draws: how many draws.
        confidence: of the intervals.
    """

    def __init__(
        self,
        class_index: npt.ArrayLike,
        group: npt.ArrayLike | None,
        cluster: npt.ArrayLike | None,
        *,
        method: Method,
        seed: int = 0,
        draws: int = 2000,
        confidence: Confidence = CONFIDENCE,
    ) -> None:
        n = len(np.asarray(class_index))
        self.method: Method = method
        self.strata = Strata.of(class_index, group, n)
        self.sampling = Sampling(*cluster_codes(cluster, n), method, seed, draws, confidence=confidence)
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
    def by_group(self) -> Partition:
        """Common photos, counter photos, the others."""
        return Partition(self.sampling, self.strata.group, 3)

    @cached_property
    def whole(self) -> Partition:
        """All photos as one stratum."""
        return Partition(self.sampling, np.zeros(len(self.strata.group), dtype=np.intp), 1)


class Stratifications:
    """Stratifications of tables of predictions, made once for models that saw the same photos."""

    def __init__(
        self, method: Method, seed: int = 0, draws: int = 2000, confidence: Confidence = CONFIDENCE
    ) -> None:
        self._options: dict[str, Any] = {
            "method": method,
            "seed": seed,
            "draws": draws,
            "confidence": confidence,
        }
        self._known: dict[bytes, Stratification] = {}

    def of(self, photos: pl.DataFrame, *, identity: tuple[str, ...] = PHOTO) -> Stratification:
        """Return the stratification of the rows of one model; equal photos give the same object."""
        key = photos.select(identity).hash_rows(seed=0).to_numpy().tobytes()
        if key not in self._known:
            group, cluster = photos["group"].to_list(), photos["cluster"].to_list()
            index = photos["class_index"].to_numpy()
            self._known[key] = Stratification(index, group, cluster, **self._options)
        return self._known[key]


def sum_by_code(codes: Codes, weights: npt.NDArray[np.generic], size: int) -> Floats:
    """Sum of weights for each code 0 .. size - 1."""
    return np.bincount(codes, weights=weights, minlength=size).astype(np.float64)


def effective_clusters(weight: Floats) -> float:
    """Kish's effective number of clusters of these weights: G if equal, else fewer, at least 2.

    A variance that rests on a few large clusters is as uncertain as if there were few.
    """
    return max(2.0, float(weight.sum() ** 2 / (weight**2).sum()))


def scaled_draws(draws: Floats, clusters: int) -> Floats:
    """Turn bootstrap values ``[draws]`` into deviations; NaN draws (nothing left to average) count as none.

    The variance of draws from G clusters is too small by (G - 1) / G; this is made good.
    """
    missing = np.isnan(draws)
    count = len(draws) - np.count_nonzero(missing)
    if count < 2 or clusters < 2:
        return np.zeros_like(draws)
    scale = float(np.sqrt(clusters / (clusters - 1) / (count - 1)))
    return scale * np.where(missing, 0.0, draws - np.nanmean(draws))


def mean_absolute_sum(partition: Partition, values: npt.NDArray[np.generic]) -> InfluenceEstimate:
    """Sum over strata of the absolute sum of ``values`` ``[n]``, over the photos: calibration errors."""
    sampling, pair_sums = partition.sampling, partition.sums(values)
    sums = np.bincount(partition.pair_stratum, weights=pair_sums, minlength=partition.size)
    n, clusters = partition.count(np.arange(partition.size))
    value = float(np.abs(sums).sum() / n)
    effective = effective_clusters(
        sum_by_code(partition.pair_cluster, partition.pair_photos / n, sampling.size)
    )
    if sampling.method == "bootstrap":
        photos = partition.drawn_photos.sum(axis=1)
        errors = np.abs(partition.drawn(pair_sums)).sum(axis=1) / photos
        return InfluenceEstimate(
            value, scaled_draws(errors, clusters), n, clusters, effective, sampling.confidence
        )
    pulls = (np.sign(sums)[partition.pair_stratum] * pair_sums - value * partition.pair_photos) / n
    scale = float(np.sqrt(clusters / (clusters - 1))) if clusters > 1 else 0.0
    deviations = scale * sum_by_code(partition.pair_cluster, pulls, sampling.size)
    return InfluenceEstimate(value, deviations, n, clusters, effective, sampling.confidence)
