"""A contrast with covariates held: regression standardisation within strata, where the sides overlap."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from counterground.metrics._codes import Codes, Flags, Floats
from counterground.metrics.adjusted._overlap import overlaps, refuse_apart
from counterground.metrics.adjusted._standardise import (
    LEFT,
    RIGHT,
    DependentTermsError,
    Pool,
    StandardisedSide,
    degrees_of_freedom,
    means_by_code,
)
from counterground.metrics.intervals import (
    Average,
    InfluenceEstimate,
    Interval,
    Partition,
    Sampling,
    StratumMeans,
    difference_interval,
    half_width,
)

CLUSTERS_PER_COEFFICIENT = 10
"""A stratum has its own model if all strata have this many clusters per coefficient on either side."""
_KNOTS = (0.1, 0.5, 0.9)
_FEWEST_VALUES = 5


class AdjustedContrast(NamedTuple):
    """A contrast as it is, with covariates held, and the second minus the first, each with its interval."""

    unadjusted: Interval
    adjusted: Interval
    difference: Interval


class Words(NamedTuple):
    """What messages call the sides of a contrast and its strata."""

    left: str = "the left side"
    right: str = "the right side"
    within: str = "a stratum"


_WORDS = Words()


class Adjustment:
    """What holding covariates does to a contrast, for any model that saw these photos.

    The outcome model of a side is linear in the covariates' splines, with an intercept for each stratum, and
    with slopes for each if all strata are large enough (``CLUSTERS_PER_COEFFICIENT``). It gives the accuracy
    that the side would have with the covariates of a stratum's photos on either side. The adjusted contrast
    is the mean over strata of the difference. A photo on both sides counts once among the covariates. Photos
    on neither side, and strata with photos on only one side, are ignored.

    Args:
        sampling: the clusters of all photos.
        left: ``[n]`` Booleans.
        right: ``[n]`` Booleans.
        stratum: ``[n]`` codes from 0.
        covariates: name -> ``[n]`` numbers, none missing on either side.
        words: names used in messages.

    Attributes:
        strata: number of strata with photos on both sides.
        shared: whether slopes are shared by all strata.
        overlap: overlap of the sides in each covariate.

    Raises:
        ValueError: no stratum has photos on both sides, the sides do not overlap, or a covariate does not
            vary within strata or depends on the others; one line says which.
    """

    def __init__(
        self,
        sampling: Sampling,
        left: Flags,
        right: Flags,
        stratum: Codes,
        covariates: Mapping[str, Floats],
        *,
        words: Words = _WORDS,
    ) -> None:
        self._sampling, self._names, self._words = sampling, tuple(covariates), words
        codes, self.strata = _side_by_side(left, right, stratum)
        if not self.strata:
            raise ValueError(
                f"No stratum of {words.within} has photos of both {words.left} and {words.right}."
            )
        rows = self._rows = np.flatnonzero((codes >= 0).any(axis=0))
        on_left, on_right = codes[:, rows] >= 0
        membership = LEFT * on_left + RIGHT * on_right
        values = np.column_stack([column[rows] for column in covariates.values()])
        pool = Pool(rows, codes[:, rows].max(axis=0) // 2, membership, values, self.strata)
        self._check_variation(pool)
        terms = [_spline(column, membership) for column in values.T]
        self._of_term = np.repeat(np.arange(len(terms)), [term.shape[1] for term in terms])
        pool = pool._replace(terms=np.column_stack(terms))
        self.shared = not self._enough_for_each(pool)
        self.overlap, distance = overlaps(pool, values, self._names, shared=self.shared)
        refuse_apart(self.overlap, distance, words.left, words.right)
        self._sides = self._fitted(pool)
        self._df = [degrees_of_freedom(*way) for way in self._sides]
        everyone = np.tile(np.arange(codes.shape[1]), 2)
        self._partition = Partition(sampling, codes.ravel(), 2 * self.strata, everyone)
        self._averages = [Average.alike(2 * np.arange(self.strata) + side) for side in (0, 1)]

    def of(self, correct: npt.NDArray[np.bool_]) -> AdjustedContrast:
        """Return the contrast of a model whose right answers are ``correct`` ``[n]``."""
        before = tuple(StratumMeans(self._partition, correct).weighted(self._averages))
        after, n = self.sides(correct), len(self._rows)
        plain, held = (left.minus(right, n=n) for left, right in (before, after))
        change = held.minus(plain, n=n)
        low = high = None
        if change.bounded:
            half = float(half_width(change, largest=1.0))
            low, high = change.value - half, change.value + half
        difference = Interval(change.value, low, high, n, change.clusters)
        unadjusted, adjusted = (difference_interval(left, right, n) for left, right in (before, after))
        return AdjustedContrast(unadjusted, adjusted, difference)

    def sides(self, correct: npt.NDArray[np.bool_]) -> tuple[InfluenceEstimate, InfluenceEstimate]:
        """Return the standardised accuracies of left and right, comparable with each other."""
        by_way = [
            [side.estimate(correct, df) for side in way]
            for way, df in zip(self._sides, self._df, strict=True)
        ]
        left, right = map(InfluenceEstimate.crossed, zip(*by_way, strict=True))
        return left, right

    def _check_variation(self, pool: Pool) -> None:
        inside = pool.terms - means_by_code(pool.stratum, pool.terms, pool.size)[pool.stratum]
        for name, column, within in zip(self._names, pool.terms.T, inside.T, strict=True):
            if np.ptp(column) == 0:
                raise ValueError(f"There is no {name} to hold: it is the same in every photo.")
            if np.abs(within).max() <= 1e-9 * np.abs(column).max():
                raise ValueError(
                    f"{name} does not vary within {self._words.within}, so the contrast holds it already: "
                    "leave it out."
                )

    def _enough_for_each(self, pool: Pool) -> bool:
        """Whether every stratum has enough clusters on both sides for slopes of its own."""
        needed = CLUSTERS_PER_COEFFICIENT * (1 + pool.terms.shape[1])
        for way, side in product(self._sampling.ways[:2], (LEFT, RIGHT)):
            own = (pool.membership & side) > 0
            meets = np.unique(pool.stratum[own] * way.size + way.cluster[pool.rows[own]])
            if np.bincount(meets // way.size, minlength=pool.size).min() < needed:
                return False
        return True

    def _fitted(self, pool: Pool) -> list[tuple[StandardisedSide, StandardisedSide]]:
        """Return both sides by each way of clustering."""
        if not self.shared:
            try:
                return [self._fit(pool, way) for way in self._sampling.ways]
            except ValueError:  # in one stratum, at least
                self.shared = True
        return [self._fit(pool, way) for way in self._sampling.ways]

    def _fit(self, pool: Pool, way: Sampling) -> tuple[StandardisedSide, StandardisedSide]:
        return self._side(pool, way, LEFT), self._side(pool, way, RIGHT)

    def _side(self, pool: Pool, way: Sampling, side: int) -> StandardisedSide:
        try:
            return StandardisedSide(way, pool, side, shared=self.shared)
        except DependentTermsError as error:
            own = self._words.left if side == LEFT else self._words.right
            constant = np.flatnonzero(~error.varies)
            if len(constant):
                name = self._names[self._of_term[constant[0]]]
                reason = f"{name} does not vary within {self._words.within} on the side {own}"
            else:
                names = ", ".join(self._names)
                reason = f"On the side {own}, {names} depend on each other, or photos are too few"
            raise ValueError(f"{reason}: hold fewer covariates.") from error


def _side_by_side(left: Flags, right: Flags, stratum: Codes) -> tuple[Codes, int]:
    """Return ``2 * stratum + side`` of the photos of both sides ``[2, n]``, else -1, and how many strata.

    Strata are recoded: only those with photos on both sides count.
    """
    size = int(stratum.max(initial=-1)) + 1
    there = [np.bincount(stratum[side], minlength=size) > 0 for side in (left, right)]
    both = there[0] & there[1]
    code = np.where(both, 2 * (np.cumsum(both) - 1), -1)[stratum]
    codes = [np.where(on & (code >= 0), code + side, -1) for side, on in enumerate((left, right))]
    return np.stack(codes), int(both.sum())


def _spline(values: Floats, membership: Codes) -> Floats:
    """Return a covariate as terms ``[m, 1 or 2]``: a cubic spline with three knots, linear beyond the outer.

    Knots are at 10, 50 and 90 %. If knots coincide or a side has few values, the covariate is linear.
    """
    x = (values - values.mean()) / values.std()
    knots = np.quantile(x, _KNOTS)
    fewest = min(len(np.unique(x[(membership & side) > 0])) for side in (LEFT, RIGHT))
    if fewest < _FEWEST_VALUES or (np.diff(knots) < 1e-6).any():
        return np.asarray(x[:, None])
    low, middle, high = knots
    first, second, third = (np.maximum(0.0, x - knot) ** 3 for knot in knots)
    bend = first - (second * (high - low) - third * (middle - low)) / (high - middle)
    return np.column_stack([x, bend / (high - low) ** 2])
