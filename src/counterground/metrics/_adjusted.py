"""A contrast with covariates held: regression standardisation within strata, where the sides overlap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from counterground.metrics._codes import Codes, Flags, Floats
from counterground.metrics._intervals import Interval, difference_interval, half_width
from counterground.metrics._sampling import InfluenceEstimate, Partition, Sampling, StratumMeans
from counterground.metrics._sampling import degrees_of_freedom as _of_means
from counterground.metrics._standardise import (
    LEFT,
    RIGHT,
    DependentTermsError,
    Pool,
    StandardisedSide,
    degrees_of_freedom,
    means_by_code,
)

MOST_SHIFT = 1.0
"""Standard deviations that the sides' means may differ by, of one covariate or of all together."""
MOST_OUTSIDE = 0.2
"""Share of a side's photos that may lie outside the range of the other side."""
_KNOTS = (0.1, 0.5, 0.9)
_FEWEST_VALUES = 5
_CLUSTERS_PER_COEFFICIENT = 10


@dataclass(frozen=True)
class Overlap:
    """How far a covariate of the left side lies from that of the right.

    Attributes:
        covariate: its name.
        shift: the mean of the left less that of the right, averaged over strata, in standard deviations
            within strata and sides.
        left_outside: share of the left side's photos outside the range of the right side's.
        right_outside: the same of the right side's.
    """

    covariate: str
    shift: float
    left_outside: float
    right_outside: float

    @property
    def outside(self) -> float:
        """The larger share of the two."""
        return max(self.left_outside, self.right_outside)


class AdjustedContrast(NamedTuple):
    """A contrast as it is, with covariates held, and the second less the first, each with its interval."""

    unadjusted: Interval
    adjusted: Interval
    difference: Interval


@dataclass(frozen=True)
class Words:
    """What messages call the sides and the strata of a contrast."""

    left: str = "the left side"
    right: str = "the right side"
    within: str = "a stratum"

    def side(self, side: int) -> str:
        """Return what a side is called."""
        return self.left if side == LEFT else self.right


class Adjustment:
    """What holding covariates does to a contrast, for any model that saw these photos.

    Photos outside both sides, and strata with photos on one side only, play no part. The covariates of a
    stratum are those of its photos on either side; a photo on both sides counts once.

    Args:
        sampling: the clusters of all photos.
        left: ``[n]`` Booleans.
        right: ``[n]`` Booleans.
        stratum: ``[n]`` codes from 0.
        covariates: numbers of each photo ``[n]``, none missing.
        words: for messages.

    Raises:
        ValueError: no stratum has photos on both sides, the sides do not overlap, or a covariate does not
            vary within strata or depends on the others.
    """

    def __init__(
        self,
        sampling: Sampling,
        left: Flags,
        right: Flags,
        stratum: Codes,
        covariates: Mapping[str, Floats],
        words: Words = Words(),  # noqa: B008 - frozen
    ) -> None:
        self._sampling, self._words = sampling, words
        self._left, self._right, self._stratum, size = _with_both(left, right, stratum)
        self.strata = size
        if not size:
            raise ValueError(
                f"No {words.within} has photos both of {words.left} and of {words.right}, so there is nothing to adjust."
            )
        rows = np.flatnonzero(self._stratum >= 0)
        membership = LEFT * self._left[rows] + RIGHT * self._right[rows]
        values = np.column_stack([covariate[rows] for covariate in covariates.values()])
        self._pool = Pool(rows, self._stratum[rows], membership, values, size)
        self._names = tuple(covariates)
        self._check_variation()
        terms = [_spline(column, membership) for column in values.T]
        self._of_term = np.repeat(np.arange(len(terms)), [term.shape[1] for term in terms])
        self._pool = self._pool._replace(terms=np.column_stack(terms))
        self.shared = not self._enough_for_each()
        self.overlap, distance = self._overlap(values)
        self._refuse(distance)
        self._sides = self._fitted()
        self._df = degrees_of_freedom(*self._sides)

    def of(self, correct: npt.NDArray[np.bool_]) -> AdjustedContrast:
        """Return the contrast of a model that got ``correct`` ``[n]`` right."""
        before, after = self._means(correct), self.sides(correct)
        plain, adjusted = (left.minus(right, n=left.n) for left, right in (before, after))
        change = adjusted.minus(plain, n=adjusted.n)
        low = high = None
        if change.clusters > 1:
            half = float(half_width(change, largest=1.0))
            low, high = change.value - half, change.value + half
        difference = Interval(change.value, low, high, change.n, change.clusters)
        return AdjustedContrast(difference_interval(*before), difference_interval(*after), difference)

    def sides(self, correct: npt.NDArray[np.bool_]) -> tuple[InfluenceEstimate, InfluenceEstimate]:
        """Return the standardised accuracies of left and right, comparable with each other."""
        left, right = (side.estimate(correct, self._df) for side in self._sides)
        return left, right

    def _means(self, correct: npt.NDArray[np.bool_]) -> tuple[InfluenceEstimate, InfluenceEstimate]:
        """The accuracies of left and right as they are."""
        left, right = (
            replace(StratumMeans(part, correct).average(np.arange(self.strata)), df=self._plain_df, scatter=None)
            for part in self._partitions
        )
        return left, right

    @cached_property
    def _partitions(self) -> list[Partition]:
        return [Partition(self._sampling, np.where(side, self._stratum, -1), self.strata) for side in (self._left, self._right)]

    @cached_property
    def _plain_df(self) -> float:
        stratum = [part.pair_stratum + place * self.strata for place, part in enumerate(self._partitions)]
        share = [part.pair_photos / part.photos[part.pair_stratum] for part in self._partitions]
        return _of_means(stratum, [part.pair_cluster for part in self._partitions], share)

    def _check_variation(self) -> None:
        pool = self._pool
        inside = pool.terms - means_by_code(pool.stratum, pool.terms, pool.size)[pool.stratum]
        for name, column, within in zip(self._names, pool.terms.T, inside.T, strict=True):
            if np.ptp(column) == 0:
                raise ValueError(f"{name} is {column[0]:g} in every photo, so there is nothing to hold: leave it out.")
            if np.abs(within).max() <= 1e-9 * np.abs(column).max():
                raise ValueError(
                    f"{name} does not vary within {self._words.within}, so the contrast holds it already: leave it out."
                )

    def _enough_for_each(self) -> bool:
        """Whether every stratum has enough clusters on both sides for slopes of its own."""
        pool, clusters = self._pool, self._sampling.size
        needed = _CLUSTERS_PER_COEFFICIENT * (1 + pool.terms.shape[1])
        for side in (LEFT, RIGHT):
            own = (pool.membership & side) > 0
            meets = np.unique(pool.stratum[own] * clusters + self._sampling.cluster[pool.rows[own]])
            if np.bincount(meets // clusters, minlength=pool.size).min() < needed:
                return False
        return True

    def _fitted(self) -> tuple[StandardisedSide, StandardisedSide]:
        if not self.shared:
            try:
                return self._fit(LEFT), self._fit(RIGHT)
            except ValueError:  # in one of the strata only
                self.shared = True
        return self._fit(LEFT), self._fit(RIGHT)

    def _fit(self, side: int) -> StandardisedSide:
        try:
            return StandardisedSide(self._sampling, self._pool, side, shared=self.shared)
        except DependentTermsError as error:
            own, within = self._words.side(side), self._words.within
            constant = np.flatnonzero(~error.varies)
            if len(constant):
                name = self._names[self._of_term[constant[0]]]
                reason = f"{name} does not vary within {within} on the side {own}"
            else:
                reason = f"{', '.join(self._names)} depend on each other on the side {own}, or there are too few photos"
            raise ValueError(f"{reason}, so the contrast cannot be adjusted: hold fewer covariates.") from error

    def _overlap(self, values: Floats) -> tuple[tuple[Overlap, ...], float]:
        """Return the overlap in each covariate, and the distance of the sides in all of them together."""
        pool, size = self._pool, self._pool.size
        sides = [np.flatnonzero(pool.membership & side) for side in (LEFT, RIGHT)]
        stratum, held = [pool.stratum[own] for own in sides], [values[own] for own in sides]
        means = [means_by_code(codes, own, size) for codes, own in zip(stratum, held, strict=True)]
        inside = np.concatenate(
            [own - mean[codes] for own, mean, codes in zip(held, means, stratum, strict=True)]
        )
        spread = inside.T @ inside / max(1, len(inside) - 2 * size)
        difference = (means[0] - means[1]).mean(axis=0)
        deviation = np.sqrt(np.diag(spread))
        shift = np.divide(difference, deviation, out=np.full_like(difference, np.inf), where=deviation > 0)
        shift[difference == 0] = 0.0
        distance = float(np.sqrt(max(0.0, difference @ np.linalg.pinv(spread, hermitian=True) @ difference)))
        scope = [np.zeros_like(codes) if self.shared else codes for codes in stratum]
        left, right = (
            _outside(held[side], scope[side], held[1 - side], scope[1 - side], size) for side in (0, 1)
        )
        found = zip(self._names, shift.tolist(), left.tolist(), right.tolist(), strict=True)
        return tuple(Overlap(*each) for each in found), distance

    def _refuse(self, distance: float) -> None:
        """Refuse sides so far apart that the models would say what photos cannot."""
        far = max(self.overlap, key=lambda each: max(abs(each.shift) / MOST_SHIFT, each.outside / MOST_OUTSIDE))
        if max(abs(far.shift), distance) <= MOST_SHIFT and far.outside <= MOST_OUTSIDE:
            return
        words = self._words
        above = "above" if far.shift > 0 else "below"
        sentence = (
            f"The sides do not overlap: in {far.covariate}, {words.left} lies {abs(far.shift):.2g} standard deviations "
            f"{above} {words.right}, {100 * far.left_outside:.0f} % and {100 * far.right_outside:.0f} % of their photos are "
            f"outside each other's range"
        )
        if len(self.overlap) > 1:
            sentence += f", and in {', '.join(self._names)} together they are {distance:.2g} standard deviations apart"
        raise ValueError(
            f"{sentence} (limits: {MOST_SHIFT:g} and {100 * MOST_OUTSIDE:g} %). Hold other covariates, or compare photos that overlap."
        )


def _with_both(left: Flags, right: Flags, stratum: Codes) -> tuple[Flags, Flags, Codes, int]:
    """Keep photos of either side in strata that have photos on both; return strata coded anew and their number."""
    size = int(stratum.max(initial=-1)) + 1
    counts = [np.bincount(stratum[side], minlength=size) for side in (left, right)]
    both = (counts[0] > 0) & (counts[1] > 0)
    code = np.where(both, np.cumsum(both) - 1, -1)
    kept = np.where(left | right, code[stratum], -1)
    return left & (kept >= 0), right & (kept >= 0), kept, int(both.sum())


def _spline(values: Floats, membership: Codes) -> Floats:
    """Return a covariate as terms ``[m, 1 or 2]``: a cubic spline with three knots, linear beyond the outer ones.

    Knots are at 10, 50 and 90 %. A covariate with few values on a side, or with knots that coincide, is
    taken as linear.
    """
    spread = values.std()
    x = (values - values.mean()) / spread
    knots = np.quantile(x, _KNOTS)
    fewest = min(len(np.unique(x[(membership & side) > 0])) for side in (LEFT, RIGHT))
    if fewest < _FEWEST_VALUES or (np.diff(knots) < 1e-6).any():
        return x[:, None]
    low, middle, high = knots
    cubes = [np.maximum(0.0, x - knot) ** 3 for knot in knots]
    bend = cubes[0] - cubes[1] * (high - low) / (high - middle) + cubes[2] * (middle - low) / (high - middle)
    return np.column_stack([x, bend / (high - low) ** 2])


def _outside(values: Floats, scope: Codes, other: Floats, other_scope: Codes, size: int) -> Floats:
    """Return the share of ``values`` ``[n, k]`` outside the range of the other side's of their scope ``[k]``."""
    low, high = np.full((size, values.shape[1]), np.inf), np.full((size, values.shape[1]), -np.inf)
    np.minimum.at(low, other_scope, other)
    np.maximum.at(high, other_scope, other)
    return np.asarray(((values < low[scope]) | (values > high[scope])).mean(axis=0))
