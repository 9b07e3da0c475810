"""Spearman's rank correlation with an interval."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from counterground.metrics._codes import Floats
from counterground.metrics._distributions import normal_quantile
from counterground.metrics._intervals import LEVEL


class Correlation(NamedTuple):
    """A correlation with its 95 % interval; None where it is not defined (under four places, or at 1)."""

    value: float | None
    low: float | None
    high: float | None


def rank_correlation(first: npt.ArrayLike, second: npt.ArrayLike) -> Correlation:
    """Return Spearman's correlation of two ``[n]`` columns, ties sharing their mean rank.

    The interval is Fisher's z with the variance ``(1 + r^2 / 2) / (n - 3)`` (Bonett and Wright 2000).

    Raises:
        ValueError: the columns differ in length or hold what is no number.
    """
    x, y = (np.asarray(values, dtype=np.float64) for values in (first, second))
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"The columns differ in shape: {x.shape} and {y.shape}.")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("A rank correlation needs a number in every place.")
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return Correlation(None, None, None)
    r = float(np.clip(np.corrcoef(_mean_ranks(x), _mean_ranks(y))[0, 1], -1, 1))
    if len(x) < 4 or abs(r) > 1 - 1e-12:
        return Correlation(r, None, None)
    half = float(normal_quantile((1 + LEVEL) / 2)) * np.sqrt((1 + r * r / 2) / (len(x) - 3))
    return Correlation(r, float(np.tanh(np.arctanh(r) - half)), float(np.tanh(np.arctanh(r) + half)))


def _mean_ranks(values: Floats) -> Floats:
    # scipy.stats has this too, and takes two seconds to import.
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    return np.asarray(ranks[place], dtype=np.float64)
