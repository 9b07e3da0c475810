"""Rows of signals: how every signal is written, and how extreme a photo is among the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from counterground.construction.pool import SIGNAL_SCHEMA

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]


def signal_rows(
    signal: str,
    reason: str,
    paths: Sequence[str] | pl.Series,
    *,
    value: Sequence[float | None] | Floats,
    flagged: Sequence[bool] | Flags,
    priority: Sequence[float] | Floats,
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


def share_better(values: Floats, *, low_is_bad: bool) -> Floats:
    """Return the fraction of the other photos that are strictly better: 1 for the single worst."""
    if not low_is_bad:
        values = -values
    better = len(values) - np.searchsorted(np.sort(values), values, side="right")
    return better / max(1, len(values) - 1)


def among_others(share: float, *, low_is_bad: bool) -> str:
    """Say where a photo lies in the pool: "lower than 99 % of the pool", or "the lowest in the pool"."""
    if share == 1:
        return f"the {'lowest' if low_is_bad else 'highest'} in the pool"
    return f"{'lower' if low_is_bad else 'higher'} than {int(100 * share + 1e-9)} % of the pool"


def percent(fraction: float) -> str:
    """Format a fraction as percent: "83 %", "2.5 %"."""
    return f"{100 * fraction:.0f} %" if fraction >= 0.0995 else f"{100 * fraction:.2g} %"
