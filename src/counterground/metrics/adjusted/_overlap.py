"""How much the covariates of the two sides of a contrast overlap, and when that is too little."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from counterground.metrics._codes import Codes, Floats
from counterground.metrics.adjusted._standardise import LEFT, RIGHT, Pool, means_by_code

MOST_SHIFT = 1.0
"""Standard deviations by which the means of the sides may differ, in one covariate or in all together."""
MOST_OUTSIDE = 0.2
"""Share of a side's photos that may lie outside the range of the other side."""


@dataclass(frozen=True)
class Overlap:
    """How far a covariate of the left side lies from that of the right.

    Attributes:
        covariate: its name.
        shift: mean of the left minus mean of the right, averaged over strata, in standard deviations within
            strata and sides.
        left_outside: fraction of the left side's photos outside the range of the right side's; within strata
            if these have their own models.
        right_outside: the same for the right side's.
    """

    covariate: str
    shift: float
    left_outside: float
    right_outside: float


def overlaps(
    pool: Pool, values: Floats, names: Sequence[str], *, shared: bool
) -> tuple[tuple[Overlap, ...], float]:
    """Return the overlap in each covariate, and the distance of the sides in all of them together.

    The distance is that of the means in standard deviations, in the direction that best separates the sides
    (Mahalanobis): Rubin's B of 2001 with the linear discriminant as propensity score.

    Args:
        pool: the photos.
        values: ``[m, k]`` covariates.
        names: names of the covariates.
        shared: whether one model is fitted to all strata of a side, so that their photos have one range.
    """
    sides = [np.flatnonzero(pool.membership & side) for side in (LEFT, RIGHT)]
    stratum, held = [pool.stratum[own] for own in sides], [values[own] for own in sides]
    means = [means_by_code(codes, own, pool.size) for codes, own in zip(stratum, held, strict=True)]
    inside = np.concatenate([own - mean[at] for own, mean, at in zip(held, means, stratum, strict=True)])
    spread = inside.T @ inside / max(1, len(inside) - 2 * pool.size)
    apart, deviation = (means[0] - means[1]).mean(axis=0), np.sqrt(np.diag(spread))
    shift = np.divide(apart, deviation, out=np.copysign(np.inf, apart), where=deviation > 0)
    distance = float(np.sqrt(max(0.0, apart @ np.linalg.pinv(spread, hermitian=True) @ apart)))
    scope = [np.zeros_like(codes) if shared else codes for codes in stratum]
    outside = [
        _outside(held[own], scope[own], held[other], scope[other], pool.size)
        for own, other in ((0, 1), (1, 0))
    ]
    found = zip(names, shift.tolist(), *(shares.tolist() for shares in outside), strict=True)
    return tuple(Overlap(*each) for each in found), distance


def _outside(values: Floats, scope: Codes, other: Floats, other_scope: Codes, size: int) -> Floats:
    """Return the share of ``values`` ``[n, k]`` outside the range of the others of their scope ``[k]``."""
    low, high = np.full((size, values.shape[1]), np.inf), np.full((size, values.shape[1]), -np.inf)
    np.minimum.at(low, other_scope, other)
    np.maximum.at(high, other_scope, other)
    return np.asarray(((values < low[scope]) | (values > high[scope])).mean(axis=0))


def refuse_apart(found: Sequence[Overlap], distance: float, left: str, right: str) -> None:
    """Refuse sides so far apart that a model would say what no photo shows.

    Args:
        found: overlap in each covariate.
        distance: distance in all together.
        left: what messages call the sides.
        right: likewise.

    Raises:
        ValueError: one line that says in which covariate, and how far.
    """
    shifted = max(found, key=lambda each: abs(each.shift))
    beyond = max(found, key=lambda each: max(each.left_outside, each.right_outside))
    if abs(shifted.shift) > MOST_SHIFT:
        above = "above" if shifted.shift > 0 else "below"
        far = (
            f"in {shifted.covariate}, {left} lies {abs(shifted.shift):.2f} standard deviations {above} "
            f"{right} (limit {MOST_SHIFT:g})"
        )
    elif max(beyond.left_outside, beyond.right_outside) > MOST_OUTSIDE:
        far = (
            f"in {beyond.covariate}, {100 * beyond.left_outside:.0f} % of {left} and "
            f"{100 * beyond.right_outside:.0f} % of {right} are outside the range of the other "
            f"(limit {100 * MOST_OUTSIDE:.0f} %)"
        )
    elif distance > MOST_SHIFT:
        names = ", ".join(each.covariate for each in found)
        far = f"in {names} together, they are {distance:.2f} standard deviations apart (limit {MOST_SHIFT:g})"
    else:
        return
    raise ValueError(
        f"Its sides do not overlap: {far}. Hold other covariates, or compare photos that overlap."
    )
