"""Rows of signals: how every signal is written down, and how far out a photo lies among the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from counterground.pool import SIGNAL_SCHEMA

Numbers = np.ndarray[Any, np.dtype[np.float64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]


def signal_rows(
    signal: str,
    reason: str,
    paths: Sequence[str] | pl.Series,
    *,
    value: Sequence[float | None] | Numbers,
    flagged: Sequence[bool] | Flags,
    priority: Sequence[float] | Numbers,
    explanation: Sequence[str],
    related: Sequence[str | None] | None = None,
) -> pl.DataFrame:
    """Return one row per path, as ``SIGNAL_SCHEMA``."""
    count = len(paths)
    columns: dict[str, Any] = {
        "path": paths,
        "signal": [signal] * count,
        "reason": [reason] * count,
        "value": value,
        "flagged": flagged,
        "priority": priority,
        "explanation": explanation,
        "related": [None] * count if related is None else related,
    }
    series = [pl.Series(name, list(columns[name]), kind) for name, kind in SIGNAL_SCHEMA.items()]
    return pl.DataFrame(series)


def share_better(values: Numbers, *, low_is_bad: bool) -> Numbers:
    """Return the fraction of the other photos that are strictly better: 1 for the single worst."""
    if not low_is_bad:
        values = -values
    better = len(values) - np.searchsorted(np.sort(values), values, side="right")
    return better / max(1, len(values) - 1)


def among_others(share: float, *, low_is_bad: bool) -> str:
    """Say where a photo lies in the pool: "less than in 99 % of the pool's photos"."""
    return f"{'less' if low_is_bad else 'more'} than in {int(100 * share + 1e-9)} % of the pool's photos"


def percent(fraction: float) -> str:
    """Write a fraction as percent: "83 %", "2.5 %"."""
    return f"{100 * fraction:.0f} %" if fraction >= 0.0995 else f"{100 * fraction:.2g} %"
