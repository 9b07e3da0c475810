"""Ranks by drop, with the ranks that the data cannot rule out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
from scipy.special import ndtr

from counterground.comparison._points import answers_of
from counterground.comparison._published import standard_error
from counterground.metrics import DROP, LEVEL, Contrast, holm, paired_tests
from counterground.results import Run

RANKS_SCHEMA: dict[str, Any] = {
    "row": pl.UInt32,
    "model": pl.String,
    "source": pl.String,
    "drop": pl.Float64,
    "standard_error": pl.Float64,
    "rank": pl.Int64,
    "rank_low": pl.Int64,
    "rank_high": pl.Int64,
    "of": pl.Int64,
}
"""Columns of ``rank_models``; ``row`` is the place among the points, drops are fractions, rank 1 is best."""

Pair = tuple[int, int]
_Values = np.ndarray[Any, Any]


def rank_models(points: pl.DataFrame, *, paired: Mapping[Pair, float | None] | None = None) -> pl.DataFrame:
    """Rank models (smallest drop first) with a 95 % range of ranks.

    A model may hold any rank from one after those shown to be better to one before those shown to be worse.
    Each pair is tested and all pairs are corrected together (Holm): the ranges hold together with 95 %. Pairs
    in ``paired`` are tested on their shared photos. For the others, the standard errors (``standard_error``)
    are treated as independent, which they are not on one set of photos, so their ranges are on the wide side.

    Args:
        points: points of one benchmark and label space, as ``model_points`` returns them.
        paired: p-values of paired tests by places (i < j) among the points.

    Returns:
        The columns of ``RANKS_SCHEMA``, in the order of the points; ranks of which nothing is known range
        from first to last.
    """
    # Equal drops differ in the last digit of a sum.
    drops = points["drop"].round(9).to_numpy()
    errors = np.array([standard_error(row, "drop") for row in points.iter_rows(named=True)])
    better, worse = _significant(drops, errors, paired or {})
    n = len(drops)
    return pl.DataFrame(
        {
            "row": range(n),
            "model": points["model"],
            "source": points["source"],
            "drop": drops,
            "standard_error": [None if np.isnan(error) else float(error) for error in errors],
            "rank": [1 + int((drops < drop).sum()) for drop in drops],
            "rank_low": 1 + better,
            "rank_high": n - worse,
            "of": [n] * n,
        },
        schema=RANKS_SCHEMA,
    )


def _significant(
    drops: _Values, errors: _Values, paired: Mapping[Pair, float | None]
) -> tuple[_Values, _Values]:
    """Count, for each model, those shown to be better and those shown to be worse."""
    better, worse = np.zeros(len(drops), dtype=int), np.zeros(len(drops), dtype=int)
    pairs = list(combinations(range(len(drops)), 2))
    p_values = [_p_value(pair, drops, errors, paired) for pair in pairs]
    for (first, second), p in zip(pairs, holm(p_values), strict=True):
        if p is None or p > 1 - LEVEL or drops[first] == drops[second]:
            continue
        leads, follows = (first, second) if drops[first] < drops[second] else (second, first)
        better[follows] += 1
        worse[leads] += 1
    return better, worse


def _p_value(
    pair: Pair, drops: _Values, errors: _Values, paired: Mapping[Pair, float | None]
) -> float | None:
    if pair in paired:
        return paired[pair]
    spread = float(np.hypot(errors[pair[0]], errors[pair[1]]))
    if not np.isfinite(spread) or spread <= 0:
        return None
    return float(2 * ndtr(-abs(drops[pair[0]] - drops[pair[1]]) / spread))


def paired_drops(
    points: pl.DataFrame, runs_of_points: Sequence[Run | None], contrast: Contrast = DROP
) -> dict[Pair, float | None]:
    """Return p-values of the difference in drop by places (i < j) among the points.

    Pairs in which one saw other photos, or has none (the paper's rows), are left out. Names, prompts and
    protocols may differ: the photos are what is paired.

    Args:
        points: columns of ``model_points``.
        runs_of_points: the run that holds each point, None for published rows.
        contrast: a contrast other than the drop.
    """
    known = [
        (place, answers_of(run, row))
        for place, (run, row) in enumerate(zip(runs_of_points, points.iter_rows(named=True), strict=True))
        if run is not None
    ]
    same = [
        (i, j)
        for i, j in combinations(range(len(known)), 2)
        if known[i][1].photos.fingerprint == known[j][1].photos.fingerprint
    ]
    tests = paired_tests([answers for _, answers in known], same, "difference", contrast)
    return {(known[i][0], known[j][0]): p for (i, j), p in zip(same, tests["p_value"], strict=True)}
