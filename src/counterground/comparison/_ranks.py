"""Ranks with the places that the data cannot rule out."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any, Literal

import numpy as np
import polars as pl
from scipy.special import ndtr

from counterground.metrics import holm
from counterground.published import load_table

By = Literal["drop", "counter"]
RANKS_SCHEMA: dict[str, Any] = {
    "row": pl.UInt32,
    "model": pl.String,
    "source": pl.String,
    "by": pl.String,
    "value": pl.Float64,
    "standard_error": pl.Float64,
    "rank": pl.Int64,
    "rank_low": pl.Int64,
    "rank_high": pl.Int64,
    "of": pl.Int64,
}
"""Columns of ``rank_models``; ``row`` is the place among the points, values are fractions, rank 1 is best."""

_LEVEL = 0.05
_NORMAL = 1.959963984540054
Pair = tuple[int, int]


def rank_models(
    points: pl.DataFrame, *, by: By = "drop", paired: Mapping[Pair, float | None] | None = None
) -> pl.DataFrame:
    """Rank models (smallest drop or highest counter accuracy first) with a 95 % range of ranks.

    A model may hold any rank between one after those shown to be better and one before those shown to be
    worse, each pair tested and all pairs corrected together (Holm): the ranges hold together with 95 %. Pairs
    in ``paired`` are tested on their shared photos. Of the others the standard errors count as independent,
    which they are not on one set of photos, so that their ranges are on the wide side.

    Points with intervals have half their width over 1.96 as standard error. The paper prints none: for its
    rows (and the reproduction's) it is binomial from the group sizes of figure 3, with one accuracy for all
    classes, an approximation.

    Args:
        points: of one benchmark and label space, as ``model_points`` returns them.
        by: ``drop`` or ``counter``.
        paired: p-values of paired tests by places (i < j) among the points.

    Returns:
        The columns of ``RANKS_SCHEMA``, in the order of the points; ranks that nothing is known of reach
        from first to last.
    """
    # Equal drops differ in the last digit of a sum.
    values = points[by].round(9).to_numpy()
    errors = np.array([_standard_error(row, by) for row in points.iter_rows(named=True)])
    pairs = list(combinations(range(len(values)), 2))
    p_values = [_p_value(pair, values, errors, paired or {}) for pair in pairs]
    better, worse = np.zeros(len(values), dtype=int), np.zeros(len(values), dtype=int)
    sign = 1 if by == "drop" else -1
    for (first, second), p in zip(pairs, holm(p_values), strict=True):
        if p is None or p > _LEVEL or values[first] == values[second]:
            continue
        leads, follows = (first, second) if sign * (values[second] - values[first]) > 0 else (second, first)
        better[follows] += 1
        worse[leads] += 1
    order = [1 + int((sign * (values - value) < 0).sum()) for value in values]
    n = len(values)
    return pl.DataFrame(
        {
            "row": range(n),
            "model": points["model"],
            "source": points["source"],
            "by": [by] * n,
            "value": values,
            "standard_error": [None if np.isnan(error) else float(error) for error in errors],
            "rank": order,
            "rank_low": 1 + better,
            "rank_high": n - worse,
            "of": [n] * n,
        },
        schema=RANKS_SCHEMA,
    )


def _p_value(
    pair: Pair,
    values: np.ndarray[Any, Any],
    errors: np.ndarray[Any, Any],
    paired: Mapping[Pair, float | None],
) -> float | None:
    if pair in paired:
        return paired[pair]
    spread = float(np.hypot(errors[pair[0]], errors[pair[1]]))
    if not np.isfinite(spread) or spread <= 0:
        return None
    return float(2 * ndtr(-abs(values[pair[0]] - values[pair[1]]) / spread))


def _standard_error(point: dict[str, Any], by: By) -> float:
    low, high = point[f"{by}_low"], point[f"{by}_high"]
    if low is not None and high is not None:
        return float((high - low) / (2 * _NORMAL))
    if point["source"] not in ("paper", "reproduction"):
        return float("nan")
    groups = ("counter",) if by == "counter" else ("common", "counter")
    return float(np.sqrt(sum(_binomial(point[group], group) for group in groups)))


def _binomial(accuracy: float, group: str) -> float:
    """Variance of a balanced accuracy over the paper's classes, each with this accuracy."""
    sizes = load_table("group_sizes")[f"n_{group}_implied"].to_numpy()
    return float(accuracy * (1 - accuracy) * (1 / sizes).sum() / len(sizes) ** 2)
