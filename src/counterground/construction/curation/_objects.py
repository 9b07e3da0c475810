"""Clarity if a mask marks the object: its share of the photo, and how far off-centre it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import polars as pl

from counterground.construction.curation._settings import CurateSettings
from counterground.construction.curation._signals import share_better, signal_rows
from counterground.construction.pool import Pool
from counterground.errors import CounterGroundError
from counterground.photos import ObjectPlace, UnreadablePhoto, mask_place

OBJECT_SIGNALS = ("object area", "object offset")
_REASON = "clarity"


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
            _REASON,
            paths,
            value=area,
            flagged=area < limits[0],
            priority=share_better(area, low_is_bad=True),
            explanation=[_area_sentence(part, limits[0]) for part in area.tolist()],
        ),
        signal_rows(
            OBJECT_SIGNALS[1],
            _REASON,
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


def _area_sentence(area: float, limit: float) -> str:
    if not area:
        return "Its mask marks no object."
    return f"The object covers {100 * area:.2g} % of the photo (limit {100 * limit:g} %)."


def _places(pool: Pool, photos: pl.DataFrame) -> Iterator[tuple[str, ObjectPlace | str]]:
    for path, mask in photos.filter(pl.col("mask").is_not_null()).select("path", "mask").iter_rows():
        try:
            yield path, mask_place(pool.photo_file(mask))
        except UnreadablePhoto as error:
            yield path, f"{mask} ({error.reason})"
        except CounterGroundError as error:
            yield path, f"{mask} ({str(error).rstrip('.')})"
