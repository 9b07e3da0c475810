"""Ordinary least squares with t-intervals, as stated by the formula it prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from counterground.metrics._codes import Floats
from counterground.metrics._distributions import normal_quantile, t_cdf, t_quantile
from counterground.metrics._sampling import LEVEL

INTERCEPT = "1"


class Coefficient(NamedTuple):
    """One term of a regression: its value with standard error, 95 % t-interval and two-sided p-value."""

    term: str
    value: float
    standard_error: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True)
class Regression:
    """A fitted ordinary least squares regression.

    ``formula`` states it, as in ``drop ~ 1 + log10(parameters)``; ``coefficients`` are in its order, the
    intercept first. ``residual_sd`` (unit of the outcome) has ``n - len(coefficients)`` degrees of freedom,
    ``df``. ``r_squared`` is about the mean; None if the outcome does not vary.
    """

    formula: str
    coefficients: tuple[Coefficient, ...]
    residual_sd: float
    r_squared: float | None
    n: int
    df: int

    def __getitem__(self, term: str) -> Coefficient:
        """The coefficient of a term, named as in the formula.

        Raises:
            KeyError: the formula has no such term.
        """
        for coefficient in self.coefficients:
            if coefficient.term == term:
                return coefficient
        raise KeyError(f"{term!r} is not a term of {self.formula}")


def ordinary_least_squares(
    outcome: npt.ArrayLike, terms: Mapping[str, npt.ArrayLike], *, name: str = "y"
) -> Regression:
    """Regress an outcome on an intercept and on every term, with intervals from Student's t.

    Args:
        outcome: ``[n]`` numbers.
        terms: name of each term and its ``[n]`` numbers, or Booleans (0 and 1).
        name: what the formula calls the outcome.

    Raises:
        ValueError: lengths differ, a number is missing, terms depend on each other (one that never varies
            depends on the intercept), or there are not more rows than coefficients.
    """
    y = _column(outcome, name)
    columns = [np.ones(len(y)), *(_column(values, term, len(y)) for term, values in terms.items())]
    design, formula = np.column_stack(columns), " + ".join([f"{name} ~ {INTERCEPT}", *terms])
    n, k = design.shape
    if n <= k:
        raise ValueError(f"{formula} has {k} coefficients and needs more than {k} rows, not {n}.")
    q, r = np.linalg.qr(design)
    sizes = np.linalg.norm(design, axis=0)
    if (np.abs(np.diag(r)) < 1e-9 * sizes).any():
        raise ValueError(f"{formula} cannot be fitted: its terms do not vary independently of each other.")
    inverse = np.linalg.inv(r)
    beta = inverse @ (q.T @ y)
    residuals = y - design @ beta
    squares, df = float(residuals @ residuals), n - k
    errors = np.sqrt(squares / df * (inverse**2).sum(axis=1))
    total = float(((y - y.mean()) ** 2).sum())
    named = zip((INTERCEPT, *terms), beta, errors, strict=True)
    return Regression(
        formula,
        tuple(_coefficient(term, float(value), float(error), df) for term, value, error in named),
        float(np.sqrt(squares / df)),
        1 - squares / total if total > 0 else None,
        n,
        df,
    )


def _coefficient(term: str, value: float, error: float, df: int) -> Coefficient:
    half = float(t_quantile(df, (1 + LEVEL) / 2)) * error
    exact = 1.0 if value == 0 else 0.0
    p_value = float(2 * t_cdf(df, -abs(value) / error)) if error > 0 else exact
    return Coefficient(term, value, error, value - half, value + half, p_value)


def _column(values: npt.ArrayLike, name: str, n: int | None = None) -> Floats:
    column = np.asarray(values, dtype=np.float64)
    if column.ndim != 1 or (n is not None and len(column) != n):
        raise ValueError(f"{name!r} has shape {column.shape}, but there are {n} rows.")
    if not np.isfinite(column).all():
        raise ValueError(f"{name!r} lacks {int((~np.isfinite(column)).sum())} of its {len(column)} numbers.")
    return column


class Correlation(NamedTuple):
    """A correlation (-1 to 1) with its 95 % interval.

    ``value`` is None if a column does not vary; the interval is None for fewer than four pairs, or at +-1.
    """

    value: float | None
    low: float | None
    high: float | None


def rank_correlation(first: npt.ArrayLike, second: npt.ArrayLike) -> Correlation:
    """Return Spearman's correlation of two ``[n]`` columns, ties sharing their mean rank.

    The interval is Fisher's z with the variance ``(1 + r^2 / 2) / (n - 3)`` (Bonett and Wright 2000).

    Raises:
        ValueError: the columns differ in length or hold something that is not a number.
    """
    x, y = (np.asarray(values, dtype=np.float64) for values in (first, second))
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"The columns differ in shape: {x.shape} and {y.shape}.")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("A rank correlation needs a number in every place.")
    r = float(np.clip(_standard_ranks(x) @ _standard_ranks(y), -1, 1)) if len(x) else np.nan
    return Correlation(None, None, None) if np.isnan(r) else correlation_of(r, len(x))


def correlation_of(r: float, n: int) -> Correlation:
    """Return Spearman's ``r`` of ``n`` pairs with its interval, none of fewer than four pairs or of +-1."""
    if n < 4 or abs(r) > 1 - 1e-12:
        return Correlation(r, None, None)
    half = float(normal_quantile((1 + LEVEL) / 2)) * np.sqrt((1 + r * r / 2) / (n - 3))
    return Correlation(r, float(np.tanh(np.arctanh(r) - half)), float(np.tanh(np.arctanh(r) + half)))


def _standard_ranks(values: Floats) -> Floats:
    """Ranks ``[n]``, ties sharing theirs, with mean 0 and length 1; NaN where none varies."""
    # scipy.stats has this too, but takes two seconds to import.
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    ranks = ranks[place] - (len(values) + 1) / 2
    length = np.linalg.norm(ranks)
    return np.asarray(ranks / length if length > 0 else np.full(len(values), np.nan))
