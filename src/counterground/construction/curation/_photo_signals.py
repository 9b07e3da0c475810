"""Feature noise (unreadable, tiny, blurred, badly exposed, flat, nearly empty), and clarity by masks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import polars as pl

from counterground.construction.curation._signals import (
    CurateSettings,
    among_others,
    percent,
    share_better,
    signal_rows,
)
from counterground.construction.pool import Pool
from counterground.errors import CounterGroundError
from counterground.photos import ObjectPlace, UnreadablePhoto, mask_place

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


OBJECT_SIGNALS = ("object area", "object offset")


class MaskedPhotos(NamedTuple):
    """Signals of the photos whose masks could be read, their paths, and why other masks could not."""

    signals: pl.DataFrame
    paths: list[str]
    failures: list[str]


def object_signals(pool: Pool, photos: pl.DataFrame, settings: CurateSettings) -> MaskedPhotos:
    """Return the signals of all photos that have a mask."""
    places: dict[str, ObjectPlace] = {}
    failures = []
    for path, found in _places(pool, photos):
        if isinstance(found, str):
            failures.append(found)
        else:
            places[path] = found
    paths = list(places)
    area = np.array([place.area for place in places.values()], dtype=np.float64)
    offset = np.array([place.offset for place in places.values()], dtype=np.float64)
    limits = settings.min_area, settings.max_offset
    signals = [
        signal_rows(
            OBJECT_SIGNALS[0],
            "clarity",
            paths,
            value=area,
            flagged=area < limits[0],
            priority=share_better(area, low_is_bad=True),
            explanation=[
                f"The object covers {100 * part:.2g} % of the photo (limit {100 * limits[0]:g} %)."
                for part in area.tolist()
            ],
        ),
        signal_rows(
            OBJECT_SIGNALS[1],
            "clarity",
            paths,
            value=offset,
            flagged=offset > limits[1],
            priority=share_better(offset, low_is_bad=False),
            explanation=[
                f"The object's centre lies {100 * way:.0f} % of the way from the photo's centre to its edge "
                f"(limit {100 * limits[1]:.0f} %)."
                for way in offset.tolist()
            ],
        ),
    ]
    return MaskedPhotos(pl.concat(signals), paths, failures)


def _places(pool: Pool, photos: pl.DataFrame) -> Iterator[tuple[str, ObjectPlace | str]]:
    for path, mask in photos.filter(pl.col("mask").is_not_null()).select("path", "mask").iter_rows():
        try:
            yield path, mask_place(pool.photo_file(mask))
        except UnreadablePhoto as error:
            yield path, f"{mask} ({error.reason})"
        except CounterGroundError as error:
            yield path, f"{mask} ({str(error).rstrip('.')})"
