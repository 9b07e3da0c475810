"""Feature noise: photos that are unreadable, tiny, blurred, badly exposed, flat or nearly empty."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from counterground.construction.curation._settings import CurateSettings
from counterground.construction.curation._signals import among_others, percent, share_better, signal_rows

_REASON = "feature noise"


class _Check(NamedTuple):
    """A figure (a column), the name of its limit, which side is bad, and the sentence that explains it."""

    signal: str
    limit: str
    low_is_bad: bool
    sentence: str


_CHECKS = (
    _Check("size", "min_side", True, "Its shorter side has {value:,.0f} pixels (limit {limit:,.0f})"),
    _Check("sharpness", "min_sharpness", True, "Its sharpness is {value:.2f} (limit {limit:g})"),
    _Check("shadows", "max_dark", False, "{percent} of its pixels are nearly black (limit {limit_percent})"),
    _Check(
        "highlights", "max_bright", False, "{percent} of its pixels are nearly white (limit {limit_percent})"
    ),
    _Check(
        "contrast",
        "min_contrast",
        True,
        "The middle 90 % of its pixels span {value:.0f} of 256 grey levels (limit {limit:.0f})",
    ),
    _Check("entropy", "min_entropy", True, "Its grey levels hold {value:.1f} of 8 bits (limit {limit:g})"),
)
NOISE_SIGNALS = ("unreadable", *(check.signal for check in _CHECKS))


def feature_noise(measured: pl.DataFrame, settings: CurateSettings) -> pl.DataFrame:
    """Return the signals of feature noise; see ``Measured`` for the columns of ``measured``."""
    readable = measured.filter(pl.col("unreadable").is_null()).with_columns(
        size=pl.min_horizontal("width", "height").cast(pl.Float64),
        shadows="dark",
        highlights="bright",
    )
    return pl.concat([_unreadable(measured), *(_judged(readable, check, settings) for check in _CHECKS)])


def _unreadable(measured: pl.DataFrame) -> pl.DataFrame:
    reasons = measured["unreadable"]
    unread = reasons.is_not_null().to_numpy()
    explanations = [
        "It can be read." if reason is None else f"It cannot be read: {reason}." for reason in reasons
    ]
    return signal_rows(
        NOISE_SIGNALS[0],
        _REASON,
        measured["path"],
        value=unread.astype(np.float64),
        flagged=unread,
        priority=unread.astype(np.float64),
        explanation=explanations,
    )


def _judged(readable: pl.DataFrame, check: _Check, settings: CurateSettings) -> pl.DataFrame:
    values, limit = readable[check.signal].to_numpy(), getattr(settings, check.limit)
    share = share_better(values, low_is_bad=check.low_is_bad)
    explanations = []
    for value, part in zip(values, share, strict=True):
        figures = {"percent": percent(value), "limit_percent": percent(limit)}
        first = check.sentence.format(value=value, limit=limit, **figures)
        explanations.append(f"{first}, {among_others(part, low_is_bad=check.low_is_bad)}.")
    return signal_rows(
        check.signal,
        _REASON,
        readable["path"],
        value=values,
        flagged=values < limit if check.low_is_bad else values > limit,
        priority=share,
        explanation=explanations,
    )
