"""Where an object is in its photo, by its mask or box."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from counterground.photos._photo import (
    load_photo,
)

BOX = ("box_x", "box_y", "box_width", "box_height")
"""Covariates that give an object's box in pixels: left and upper edge, width and height, as in COCO."""
_HALF = 128
_LARGEST_8_BIT = 255


class ObjectPlace(NamedTuple):
    """Where an object is.

    ``area`` is its fraction of the photo; ``distance`` is from the photo's centre to its own, in half
    diagonals; ``offset`` is the same as a fraction of the distance to the edge, across or down, whichever is
    larger.
    """

    area: float
    distance: float
    offset: float


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
    right, below = abs(across - width / 2), abs(down - height / 2)
    distance = 2 * math.hypot(right, below) / math.hypot(width, height)
    return ObjectPlace(pixels / (width * height), distance, max(2 * right / width, 2 * below / height))


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
