"""Limits and rows of signals: how every signal is written, and how extreme a photo is among the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import polars as pl

from counterground.construction.pool import SIGNAL_SCHEMA
from counterground.errors import UsageError, did_you_mean

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class CurateSettings:
    """Limits of the signals; README.md explains each and says how often it flags good photos.

    Attributes:
        min_side: pixels of the shorter side.
        min_sharpness: energy of second over first differences: 1 / (2 s^2) for an edge blurred by s pixels.
        max_dark: fraction of pixels that are nearly black.
        max_bright: fraction of pixels that are nearly white.
        min_contrast: grey levels (of 256) that the middle 90 % of the pixels span.
        min_entropy: bits (of 8) of the histogram of grey levels.
        hash_radius: most bits (of 64) by which perceptual hashes of near duplicates differ.
        min_similarity: cosine between features of near duplicates.
        max_rank: rank of the class among the candidate names, the first being 1.
        max_rank_share: the same as a fraction of the names; the stricter of the two holds.
        min_gap: difference of the two highest probabilities (fraction) below which a second class is close.
        min_both: sum that those two must reach (fraction); below it no class is likely.
        min_margin: lead of the first name (fraction) that the photo or one of its crops must reach.
        min_area: fraction of the photo that the object covers, if there is a mask.
        max_offset: position of its centre from the photo's centre (0) to the edge (1), if there is a mask.
    """

    min_side: float = 128
    min_sharpness: float = 0.5
    max_dark: float = 0.75
    max_bright: float = 0.5
    min_contrast: float = 32
    min_entropy: float = 4.5
    hash_radius: int = 8
    min_similarity: float = 0.95
    max_rank: int = 10
    max_rank_share: float = 0.1
    min_gap: float = 0.1
    min_both: float = 0.5
    min_margin: float = 0.1
    min_area: float = 0.02
    max_offset: float = 0.6

    @classmethod
    def with_limits(cls, words: Iterable[str]) -> CurateSettings:
        """Return the defaults with the limits that ``NAME=VALUE`` words set.

        Raises:
            UsageError: an unknown name, or a value that is not a number.
        """
        kinds = {field.name: int if field.type == "int" else float for field in fields(cls)}
        chosen: dict[str, float] = {}
        for word in words:
            name, equals, text = word.partition("=")
            if not equals or name not in kinds:
                hint = "" if name in kinds else did_you_mean(name, kinds)
                raise UsageError(
                    f"A threshold is NAME=VALUE with one of {', '.join(kinds)}, not {word!r}.{hint}"
                )
            try:
                chosen[name] = kinds[name](text)
            except ValueError as error:
                raise UsageError(f"The threshold {name} must be a number, not {text!r}.") from error
        return cls(**chosen)  # type: ignore[arg-type]


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
