"""Sizes of photos and their objects, and objects' distances from the centre, from masks and boxes."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from counterground._version import __version__
from counterground.files import read_rebuildable, write_bytes
from counterground.photos._benchmark import Benchmark
from counterground.photos._photo import (
    UnreadablePhoto,
    load_photo,
    photo_head,
    photo_id,
)
from counterground.text import and_more, counted

BOX = ("box_x", "box_y", "box_width", "box_height")
"""Covariates that give an object's box in pixels: left and upper edge, width and height, as in COCO."""
_HALF = 128
_LARGEST_8_BIT = 255
_NAMED = 3
_TOGETHER = 32
_TURNED = "turned"  # whether a photo is stored turned or mirrored: kept with the measures, not one of them
_File = TypeVar("_File")
_Found = TypeVar("_Found")


class ObjectPlace(NamedTuple):
    """Where an object is.

    ``area`` is its fraction of the photo; ``distance`` is from the photo's centre to its own, in half
    diagonals; ``offset`` is the same as a fraction of the distance to the edge, across or down, whichever is
    larger.
    """

    area: float
    distance: float
    offset: float


class Geometry(NamedTuple):
    """Measures of photos: ``path`` and those of the columns ``metrics.MEASURED`` that any photo has.

    ``unreadable`` counts the photos that could not be read.
    """

    columns: pl.DataFrame
    warnings: list[str]
    unreadable: int = 0


def object_place(mask: npt.NDArray[np.generic]) -> ObjectPlace:
    """Return where the object of a mask ``[h, w]`` (0 to 255, white is object) is; all 0 without one."""
    inside = np.asarray(mask) >= _HALF
    height, width = inside.shape
    rows, columns = inside.sum(axis=1), inside.sum(axis=0)
    pixels = int(rows.sum())
    if not pixels:
        return ObjectPlace(0.0, 0.0, 0.0)
    across = float(columns @ (np.arange(width) + 0.5)) / pixels
    down = float(rows @ (np.arange(height) + 0.5)) / pixels
    return placed(pixels, (across, down), (width, height))


def placed(pixels: float, centre: tuple[float, float], size: tuple[float, float]) -> ObjectPlace:
    """Return where an object of so many pixels is, by its centre and the size of its photo."""
    away = [abs(middle - side / 2) for middle, side in zip(centre, size, strict=True)]
    offset = max(2 * way / side for way, side in zip(away, size, strict=True))
    return ObjectPlace(pixels / math.prod(size), 2 * math.hypot(*away) / math.hypot(*size), offset)


def box_inside(box: Sequence[float], size: tuple[float, float]) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of the part of a box (left, top, width, height) in a photo.

    All are in pixels; ``size`` is the photo's width and height. A box that lies outside has no width or no
    height there.
    """
    left, top = (max(0.0, float(edge)) for edge in box[:2])
    right, bottom = (min(float(side), box[axis] + box[axis + 2]) for axis, side in enumerate(size))
    return left, top, max(left, right), max(top, bottom)


def read_mask(path: Path, *, expect_id: str | None = None) -> npt.NDArray[np.uint8]:
    """Return the mask of a file, ``[h, w]`` (0 to 255): its alpha channel if it has one, else its brightness.

    Args:
        path: the file.
        expect_id: SHA-256 of the file; other content is an error.

    Raises:
        UnreadablePhoto: it cannot be decoded, or has other content.
    """
    photo = load_photo(path, rgb=False, expect_id=expect_id, whole=True)
    image = photo.image
    # Of 16 bits, PIL would clip what is above 255: nearly black would count as white.
    if photo.mode.startswith("I") and np.asarray(image).max() > _LARGEST_8_BIT:
        image = photo.in_rgb(path).image
    grey = image.convert("RGBA").getchannel("A") if image.has_transparency_data else image.convert("L")
    return np.asarray(grey)


def mask_place(path: Path) -> ObjectPlace:
    """Return where the object of a mask file is: what is opaque if it has alpha, else what is white.

    Raises:
        UnreadablePhoto: it cannot be decoded.
    """
    return object_place(read_mask(path))


def photo_geometry(benchmark: Benchmark, kept: Path | None = None) -> Geometry:
    """Measure photos and their objects, from masks or, if a photo has none, from boxes (columns ``BOX``).

    ``object_area`` is the fraction of the photo's area; ``object_distance`` is the distance from the photo's
    centre to the object's, in half diagonals of the photo; ``photo_pixels`` is width times height. A
    covariate that the manifest already has is left out: its own numbers stay. A warning counts photos whose
    EXIF orientation asks viewers to turn them, because models get them as stored.

    Args:
        benchmark: benchmark whose photos are measured.
        kept: folder that keeps the measures of all photos, for later calls with the same photos and masks.
    """
    if kept is None:
        return _with_turned(_measured(benchmark))
    path = kept / f"{_identity(benchmark)}.measures"
    if (stored := read_rebuildable(path, pl.read_ipc)) is not None:
        return _with_turned(Geometry(stored, []))
    found = _measured(benchmark)
    if not found.warnings and not found.unreadable:  # a missing file may come back
        file = BytesIO()
        found.columns.write_ipc(file)
        write_bytes(path, file.getvalue())
    return _with_turned(found)


def _with_turned(found: Geometry) -> Geometry:
    """Return the measures without the column `_TURNED`, and with a warning that counts its photos."""
    turned, photos = int(found.columns[_TURNED].sum()), len(found.columns)
    found = found._replace(columns=found.columns.drop(_TURNED))
    if not turned:
        return found
    warning = (
        f"{turned:,} of {counted(photos, 'photo')} have an EXIF orientation that turns or mirrors them in "
        "viewers, but models get the pixels as stored. Accuracy may drop for that reason alone: turn the "
        "photos with PIL.ImageOps.exif_transpose and save them, masks and boxes likewise."
    )
    return found._replace(warnings=[*found.warnings, warning])


def _identity(benchmark: Benchmark) -> str:
    """Hash what the measures depend on: the manifest, and the content of masks."""
    masks = benchmark.photos["mask"].to_list()
    named = list(dict.fromkeys(mask for mask in masks if mask is not None))
    content = dict(zip(named, _read(lambda mask: photo_id(benchmark.mask_path(mask)), named), strict=True))
    parts = [__version__, _TURNED, benchmark.version, *(content.get(mask, "") for mask in masks)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _measured(benchmark: Benchmark) -> Geometry:
    photos = benchmark.photos
    sources = [benchmark.photo_source(path) for path in photos["path"]]
    heads = _read(photo_head, sources)
    sizes = [head if isinstance(head, str) else head.size for head in heads]
    pixels = [None if isinstance(size, str) else math.prod(size) for size in sizes]
    places, failures = _objects(benchmark, sizes)
    columns: dict[str, list[Any]] = {
        "object_area": [place and place.area for place in places],
        "object_distance": [place and place.distance for place in places],
        "photo_pixels": pixels,
    }
    known = {
        name: pl.Series(name, values, pl.Float64)
        for name, values in columns.items()
        if name not in photos.columns and any(value is not None for value in values)
    }
    unreadable = sum(isinstance(size, str) for size in sizes)
    turned = [not isinstance(head, str) and head.turned for head in heads]
    known[_TURNED] = pl.Series(_TURNED, turned, pl.Boolean)
    warnings = []
    if failures:
        photo = counted(len(failures), "photo")
        warnings = [f"The object of {photo} could not be measured: {and_more(failures, _NAMED)}."]
    return Geometry(photos.select("path").with_columns(**known), warnings, unreadable)


def _objects(
    benchmark: Benchmark, sizes: Sequence[tuple[int, int] | str]
) -> tuple[list[ObjectPlace | None], list[str]]:
    """Return the object of each photo, None if it has none, and why others could not be measured."""
    photos = benchmark.photos
    masks = photos["mask"].drop_nulls().unique(maintain_order=True).to_list()
    by_mask = dict(zip(masks, _read(lambda mask: mask_place(benchmark.mask_path(mask)), masks), strict=True))
    boxes: Sequence[Any] = [None] * len(photos)
    if set(BOX) <= set(photos.columns):
        boxes = photos.select(BOX).rows()
    places: list[ObjectPlace | None] = []
    failures = []
    for path, mask, box, size in zip(photos["path"], photos["mask"], boxes, sizes, strict=True):
        found: ObjectPlace | str | None = None
        if mask is not None:
            found, what = by_mask[mask], mask
        elif box is not None and None not in box and not isinstance(size, str):
            found, what = _box_place(box, size), f"the box of {path}"
        if isinstance(found, ObjectPlace) and not found.area:
            found = "it marks no object: that is what is opaque, or white (255)"
        if isinstance(found, str):
            failures.append(f"{what} ({found})")
        places.append(found if isinstance(found, ObjectPlace) else None)
    return places, failures


def _box_place(box: Sequence[float], size: tuple[int, int]) -> ObjectPlace | str:
    """Return where a box is, clipped to the photo."""
    left, top, right, bottom = box_inside(box, size)
    if not (right > left and bottom > top):
        return f"it does not lie in the photo of {size[0]} x {size[1]} pixels"
    return placed((right - left) * (bottom - top), ((left + right) / 2, (top + bottom) / 2), size)


def _read(function: Callable[[_File], _Found], paths: Sequence[_File]) -> list[_Found | str]:
    """Return what a function finds in each file, or the reason why it cannot be read."""

    def find(path: _File) -> _Found | str:
        try:
            return function(path)
        except UnreadablePhoto as error:
            return error.reason

    with ThreadPoolExecutor(min(16, 2 * (os.cpu_count() or 1))) as threads:
        # A file of a few kilobytes is read in less time than it takes to hand it to a thread.
        parts = [paths[first : first + _TOGETHER] for first in range(0, len(paths), _TOGETHER)]
        return list(chain.from_iterable(threads.map(lambda part: [find(path) for path in part], parts)))
