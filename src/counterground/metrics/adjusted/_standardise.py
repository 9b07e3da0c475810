"""Accuracy standardised to other covariates: linear models within strata, and their influences by cluster."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from counterground.metrics._codes import Codes, Flags, Floats
from counterground.metrics.intervals import InfluenceEstimate, Sampling, effective_clusters, sum_by_code

_FULL = 1e-9
"""A leverage is 1, or a term a sum of others, if no more than this is missing."""
_CONSTANT = 1e-7
"""Standard deviation of a term, about 1 overall, below which it is constant except for rounding."""


class DependentTermsError(ValueError):
    """Terms do not vary independently of each other within strata; ``varies`` ``[k]`` says which vary."""

    def __init__(self, varies: Flags) -> None:
        super().__init__("The terms do not vary independently of each other within strata.")
        self.varies = varies


class Pool(NamedTuple):
    """The photos of both sides of a contrast, in strata that have photos on both.

    Attributes:
        rows: ``[m]`` places of the photos among those of the sampling.
        stratum: ``[m]`` codes 0 .. size - 1.
        membership: ``[m]`` `LEFT`, `RIGHT`, or their sum for photos on both sides.
        terms: ``[m, k]`` functions of the covariates.
        size: number of strata.
    """

    rows: Codes
    stratum: Codes
    membership: Codes
    terms: Floats
    size: int


LEFT, RIGHT = 1, 2


class _Design(NamedTuple):
    """A matrix with few entries per row: their columns and values ``[n, k + 1]``; ``size`` columns."""

    columns: Codes
    values: Floats
    size: int

    @property
    def matrix(self) -> Any:
        from scipy.sparse import csr_array

        n, filled = self.columns.shape
        start = np.arange(n + 1) * filled
        return csr_array((self.values.ravel(), self.columns.ravel(), start), shape=(n, self.size))


class StandardisedSide:
    """Mean over strata of the accuracy that a side would have with the covariates of both sides.

    A photo's chance of being right is linear in the terms, with an intercept for each stratum, and slopes for
    each stratum or shared by all. So the standardised accuracy is a sum of the answers with weights that
    depend on the photos alone: models that saw the same photos share one object.

    Args:
        sampling: the clusters of all photos.
        pool: the photos of both sides.
        side: ``LEFT`` or ``RIGHT``.
        shared: whether slopes are shared by all strata.

    Raises:
        DependentTermsError: the terms do not vary independently of each other on this side.
    """

    def __init__(self, sampling: Sampling, pool: Pool, side: int, *, shared: bool) -> None:
        own = np.flatnonzero(pool.membership & side)
        self._sampling, self._pool, self._rows = sampling, pool, pool.rows[own]
        self._stratum, self._cluster = pool.stratum[own], sampling.cluster[self._rows]
        self._model = np.zeros(pool.size, dtype=np.intp) if shared else np.arange(pool.size)
        self._n = np.bincount(self._stratum, minlength=pool.size)
        centre = means_by_code(self._stratum, pool.terms[own], pool.size)
        self._shift = means_by_code(pool.stratum, pool.terms, pool.size) - centre
        self._terms = pool.terms[own] - centre[self._stratum]
        self._root = _inverse_roots(self._terms, self._model[self._stratum], 1 if shared else pool.size)

    @cached_property
    def _design(self) -> _Design:
        """The columns of the models, orthonormal: an intercept for each stratum, then slopes."""
        model = self._model[self._stratum]
        slopes = np.einsum("ij,ijk->ik", self._terms, self._root[model])
        k = slopes.shape[1]
        columns = np.column_stack([self._stratum, self._pool.size + model[:, None] * k + np.arange(k)])
        values = np.column_stack([1 / np.sqrt(self._n[self._stratum]), slopes])
        return _Design(columns, values, self._pool.size + len(self._root) * k)

    @cached_property
    def _loads(self) -> Floats:
        """Weights of the design's fitted columns in the standardised accuracy ``[p]``."""
        size = self._pool.size
        shift = np.zeros((len(self._root), self._terms.shape[1]))
        np.add.at(shift, self._model, self._shift / size)
        slopes = np.einsum("mj,mjk->mk", shift, self._root)
        return np.concatenate([1 / (size * np.sqrt(self._n)), slopes.ravel()])

    @cached_property
    def pulls(self) -> Floats:
        """Weight of each photo's residual in the estimate ``[n]``, enlarged for leverage.

        CR2 of Bell and McCaffrey 2002: residuals of a cluster are multiplied by the inverse root of one minus
        its block of the hat matrix, which makes the variance unbiased if photos are independent. A direction
        that one cluster alone determines has no residual and is left out.
        """
        columns, values, _ = self._design
        missing = 1 - (values**2).sum(axis=1)
        found = (values * self._loads[columns]).sum(axis=1) * _inverse_root(missing)
        order = np.argsort(self._cluster, kind="stable")
        start = np.flatnonzero(np.diff(self._cluster[order], prepend=-1))
        for rows in np.split(order, start[1:]):
            if len(rows) == 1:
                continue  # done
            held, place = np.unique(columns[rows], return_inverse=True)
            block = np.zeros((len(rows), len(held)))
            np.put_along_axis(block, place.reshape(len(rows), -1), values[rows], axis=1)
            leverage, axes = np.linalg.eigh(block.T @ block)
            loads = axes.T @ self._loads[held]
            found[rows] = block @ (axes @ (_inverse_root(1 - leverage) * loads))
        return np.asarray(found)

    @cached_property
    def alone(self) -> Codes:
        """For each stratum, the cluster that all its photos are in; -1 if there are several ``[s]``."""
        first, last = np.full(self._pool.size, self._sampling.size), np.full(self._pool.size, -1)
        np.minimum.at(first, self._stratum, self._cluster)
        np.maximum.at(last, self._stratum, self._cluster)
        return np.asarray(np.where(first == last, first, -1))

    def estimate(self, correct: npt.NDArray[np.bool_], df: float) -> InfluenceEstimate:
        """Return the standardised accuracy of a model, with the deviations of all clusters.

        Args:
            correct: ``[n]``, for all photos of the sampling.
            df: degrees of freedom of its variance.
        """
        pool, size, model = self._pool, self._pool.size, self._model[self._stratum]
        answers = correct[self._rows].astype(np.float64)
        means = np.bincount(self._stratum, weights=answers, minlength=size) / self._n
        products = np.zeros((len(self._root), self._terms.shape[1]))
        np.add.at(products, model, self._terms * answers[:, None])
        slopes = np.einsum("mjk,mlk,ml->mj", self._root, self._root, products)
        fitted = means[self._stratum] + np.einsum("ij,ij->i", self._terms, slopes[model])
        values = means + np.einsum("sj,sj->s", self._shift, slopes[self._model])
        value = float(values.mean())
        clusters = self._sampling.size
        deviations = sum_by_code(self._cluster, self.pulls * (answers - fitted), clusters)
        deviations += self._of_covariates(slopes)
        if size > 1:
            # As for means: the distance from the average stands in for a scatter that cannot be observed.
            strata = np.flatnonzero(self.alone >= 0)
            away = (values[strata] - value) / np.sqrt(size * (size - 1))
            deviations += sum_by_code(self.alone[strata], away, clusters)
        held = len(np.unique(self._sampling.cluster[pool.rows]))
        lone, confidence = len(np.unique(self._cluster)) == 1, self._sampling.confidence
        return InfluenceEstimate(value, deviations, len(self._rows), held, df, confidence, lone=lone)

    def _of_covariates(self, slopes: Floats) -> Floats:
        """Return how the estimate moves because other photos have other covariates ``[clusters]``.

        Other samples have as many photos of each stratum on either side, so covariates are compared with
        their mean there.
        """
        pool = self._pool
        cell = 4 * pool.stratum + pool.membership
        inside = pool.terms - means_by_code(cell, pool.terms, 4 * pool.size)[cell]
        share = 1 / (pool.size * np.bincount(pool.stratum, minlength=pool.size))
        moves = share[pool.stratum] * np.einsum("ij,ij->i", inside, slopes[self._model[pool.stratum]])
        return sum_by_code(self._sampling.cluster[pool.rows], moves, self._sampling.size)

    @cached_property
    def spread(self) -> _Spread:
        """What the degrees of freedom need of this side."""
        from scipy.sparse import csr_array

        n, clusters = len(self._rows), self._sampling.size
        pulled = csr_array((self.pulls, (self._cluster, np.arange(n))), shape=(clusters, n))
        strata = np.flatnonzero(self.alone >= 0)
        weights = np.full(len(strata), 1 / self._pool.size)
        return _Spread(
            sum_by_code(self._cluster, self.pulls**2, clusters),
            pulled @ self._design.matrix,
            sum_by_code(self.alone[strata], weights, clusters),
        )


class _Spread(NamedTuple):
    """By cluster: squared pulls, their weights of the design's columns, and the weight of lone strata."""

    squares: Floats
    pulled: Any
    alone: Floats


def degrees_of_freedom(*sides: StandardisedSide) -> float:
    """Return Satterthwaite's degrees of freedom of the difference of standardised sides, at least 1.

    They are those of Bell and McCaffrey 2002, for independent photos that vary alike. Clusters of unequal
    size count as by Kish; with one stratum, equal clusters and no shift they are the clusters of a side minus
    one, summed over sides. Strata of one cluster are compared with their average: Kish's number minus one.
    """
    from scipy.sparse import hstack

    spreads = [side.spread for side in sides]
    # Deviations of clusters have the covariance diag(own) - taken taken'.
    own = np.sum([each.squares for each in spreads], axis=0)
    taken = hstack([each.pulled for each in spreads]).tocsr()
    of_cluster = np.asarray(taken.multiply(taken).sum(axis=1)).ravel()
    trace = float((own - of_cluster).sum())
    norm = float((own**2 - 2 * own * of_cluster).sum() + (taken.T @ taken).power(2).sum())
    parts = [(trace, trace**2 / norm)] if trace > _FULL * own.sum() else []
    lone = np.sum([each.alone for each in spreads], axis=0)
    if lone.any():
        parts.append((float((lone**2).sum()), effective_clusters(lone) - 1))
    if not parts:
        return 1.0
    return float(sum(v for v, _ in parts) ** 2 / sum(v**2 / max(1.0, df) for v, df in parts))


def means_by_code(codes: Codes, values: Floats, size: int) -> Floats:
    """Return the mean of the rows of ``values`` ``[n, k]`` for each code ``[size, k]``; 0 without rows."""
    sums = np.zeros((size, values.shape[1]))
    for sum_, column in zip(sums.T, values.T, strict=True):
        sum_[:] = sum_by_code(codes, column, size)
    return np.asarray(sums / np.maximum(1, np.bincount(codes, minlength=size))[:, None])


def _inverse_root(missing: Floats) -> Floats:
    """Return one over the root of one minus leverages; 0 where a leverage is 1."""
    return np.where(missing > _FULL, 1 / np.sqrt(np.maximum(missing, _FULL)), 0.0)


def _inverse_roots(terms: Floats, model: Codes, size: int) -> Floats:
    """Return for each model what makes its centred terms orthonormal ``[size, k, k]``."""
    k = terms.shape[1]
    squares = np.zeros((size, k, k))
    for first in range(k):
        for second in range(k):
            squares[:, first, second] = sum_by_code(model, terms[:, first] * terms[:, second], size)
    scale = np.sqrt(np.einsum("mkk->mk", squares))
    varies = scale > _CONSTANT * np.sqrt(np.bincount(model, minlength=size))[:, None]
    if not varies.all():
        raise DependentTermsError(np.asarray(varies.all(axis=0)))
    alike = squares / (scale[:, :, None] * scale[:, None, :])
    if (np.linalg.eigvalsh(alike)[:, 0] < _FULL).any():
        raise DependentTermsError(np.ones(k, dtype=bool))
    root = np.linalg.cholesky(np.linalg.inv(alike))
    return np.asarray(root / scale[:, :, None])
