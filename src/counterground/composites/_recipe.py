"""One composite: the object of a photo on the background of another, made in memory when it is read.

OpenCV does the expensive work. What several composites share, the cut-out object and the background without
its object, is kept for a while in each process.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from counterground.errors import needs_extra
from counterground.photos import MadePhoto, UnreadablePhoto, load_photo, photo_size, read_mask

if TYPE_CHECKING:
    Pixels = npt.NDArray[np.uint8]
    Floats = npt.NDArray[np.float32]

VERSION = 2
"""Version of the pixels that a recipe gives; part of its hash."""
GREY = 128
OBJECT = 128
"""The lowest value of a mask that counts as object."""
SIDE = 512
"""Pixels of the shorter side, at most: larger photos are reduced before anything else."""
_CERTAIN = 2000  # pixels of an object from which on cutting it out is not tried beforehand
_FILLED_SIDE = 160  # a hole is filled at this size: what OpenCV makes of it has no more detail than that
_EDGE = 0.008  # half the width of a soft edge, as a fraction of the shorter side
_DETAIL = 0.02  # what is finer than this fraction of the shorter side is detail
_STEPS = 8  # across and down, for moving a photo in search of fine detail for a hole
_COMPARED = 400  # pixels of a hole, in that search
_EMPTY = 30  # levels of difference that detail is worth
_REACH = 0.02  # a hole exceeds its object by this, which hides shadows and soft edges

# Kept in each process: some 0.3 MB for an object of a usual photo; rows of one background follow each other.
_OBJECTS, _BACKGROUNDS = 256, 16


@dataclass(frozen=True)
class MaskedPhoto:
    """A photo, the mask of its object (0 to 255), and the SHA-256 of both files in hex."""

    photo: Path
    photo_id: str
    mask: Path
    mask_id: str

    def absolute(self) -> MaskedPhoto:
        """Return the same with absolute paths."""
        return replace(self, photo=self.photo.absolute(), mask=self.mask.absolute())


class Placement(NamedTuple):
    """Where an object is put: fraction of the frame's area, and centre as fractions of width and height."""

    area: float
    across: float
    down: float


@dataclass(frozen=True)
class Composite(MadePhoto):
    """An object on a background, as large as the object's photo, or as the background's without an object.

    Attributes:
        foreground: photo whose object is pasted; None for the background alone.
        background: photo whose background is used; None for plain grey.
        refill: fill the hole that the background's own object leaves; else it stays.
        placement: where the object is put; None for where it was.
    """

    foreground: MaskedPhoto | None
    background: MaskedPhoto | None
    refill: bool = True
    placement: Placement | None = None

    def __str__(self) -> str:
        return " on ".join(part.photo.name if part else "nothing" for part in self._parts.values())

    @property
    def _parts(self) -> dict[str, MaskedPhoto | None]:
        return {"foreground": self.foreground, "background": self.background}

    @cached_property
    def photo_id(self) -> str:
        """SHA-256 of the recipe in hex."""
        recipe = {
            "version": VERSION,
            **{name: part and (part.photo_id, part.mask_id) for name, part in self._parts.items()},
            "refill": self.refill,
            "placement": self.placement,
        }
        return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()

    @property
    def files(self) -> Mapping[Path, str]:
        """Photos and masks, with the SHA-256 of each."""
        parts = list(filter(None, self._parts.values()))
        photos = {part.photo: part.photo_id for part in parts}
        return photos | {part.mask: part.mask_id for part in parts}

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels: those of the frame's photo, reduced to `SIDE`."""
        frame = self.foreground or self.background
        assert frame is not None, "a composite has an object or a background"
        return _reduced(photo_size(frame.photo))

    def absolute(self) -> Composite:
        """Return the same recipe with absolute paths."""
        foreground, background = (part and part.absolute() for part in self._parts.values())
        return replace(self, foreground=foreground, background=background)

    def make(self) -> Image.Image:
        """Return the composite in RGB.

        Raises:
            UnreadablePhoto: one of its files is missing, has different content or cannot be read.
            MissingExtraError: OpenCV is not installed.
        """
        try:
            size = self.size
            if self.background is None:
                canvas: Pixels = np.full((size[1], size[0], 3), GREY, np.uint8)
            else:
                canvas = _covering((_background if self.refill else _photo)(self.background), size)
            if self.foreground is not None:
                _paste(_object(self.foreground), canvas, self.placement)
        except UnreadablePhoto as error:
            raise UnreadablePhoto(error.path, f"{error.reason} ({Path(str(error.path)).name})") from error
        return Image.fromarray(canvas)


@dataclass(frozen=True)
class Cutout:
    """An object: its colours ``[h, w, 3]`` and alpha ``[h, w]``, and where it was in its photo.

    ``corner`` is its left upper corner, ``frame`` the photo's width and height.
    """

    colours: Pixels
    alpha: Pixels
    corner: tuple[int, int]
    frame: tuple[int, int]


@lru_cache(_OBJECTS)
def _object(source: MaskedPhoto) -> Cutout:
    cutout = cut_out(_photo(source), _mask(source))
    if cutout.alpha.max() < OBJECT:  # a composite without its object would be counted as one with it
        raise UnreadablePhoto(source.mask, "marks no object, or one too thin to be cut out")
    return cutout


@lru_cache(_BACKGROUNDS)
def _background(source: MaskedPhoto) -> Pixels:
    photo, mask = _photo(source), _mask(source)
    if _holes(mask)[1].all():
        raise UnreadablePhoto(source.mask, "leaves nothing of the background")
    return refill(photo, mask)


def _reduced(size: tuple[int, int]) -> tuple[int, int]:
    ratio = min(1.0, SIDE / min(size))
    return max(1, round(size[0] * ratio)), max(1, round(size[1] * ratio))


def _photo(source: MaskedPhoto) -> Pixels:
    """Return the photo ``[h, w, 3]``, its shorter side reduced to `SIDE`."""
    size = _reduced(photo_size(source.photo))
    image = load_photo(source.photo, expect_id=source.photo_id, at_least=SIDE).image
    return _resized(np.asarray(image), size)


def _mask(source: MaskedPhoto) -> Pixels:
    """Return the mask ``[h, w]`` at the size that its photo is reduced to; a hard one stays hard."""
    size = photo_size(source.photo)
    mask: Pixels = read_mask(source.mask, expect_id=source.mask_id)
    if mask.shape[::-1] != size:
        raise UnreadablePhoto(source.mask, "has another size than its photo")
    reduced = _resized(mask, _reduced(size))
    # The steps of a hard edge are averaged, which must not pass for a soft edge of its own.
    return reduced if _is_soft(mask) else np.where(reduced >= OBJECT, np.uint8(255), np.uint8(0))


def has_cutout(source: MaskedPhoto) -> bool:
    """Return whether anything of the object is left when it is cut out; tried where its mask is small.

    Raises:
        UnreadablePhoto: a file is missing, has different content or cannot be read, or the mask has another
            size.
        MissingExtraError: OpenCV is not installed.
    """
    mask = _mask(source)
    large = int((mask >= OBJECT).sum()) >= _CERTAIN
    return large or bool(cut_out(_photo(source), mask).alpha.max() >= OBJECT)


def cut_out(photo: Pixels, mask: Pixels) -> Cutout:
    """Return the object of a photo ``[h, w, 3]``: soft edges, free of the background's colour.

    A mask without soft edges gets them: they follow the photo's own edges within a narrow band (guided
    filter, He et al. 2013).
    """
    height, width = mask.shape
    edge = _pixels_of(_EDGE, mask.shape)
    alpha = mask if _is_soft(mask) else _soft_edge(photo, mask, edge)
    rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
    if not len(rows):
        return Cutout(photo[:1, :1], alpha[:1, :1], (0, 0), (width, height))
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    up, back = min(top, 4 * edge), min(left, 4 * edge)
    around = np.s_[top - up : bottom + 4 * edge, left - back : right + 4 * edge]
    colours = _own_colours(photo[around], alpha[around])[up:, back:][: bottom - top, : right - left]
    return Cutout(colours.copy(), alpha[top:bottom, left:right].copy(), (left, top), (width, height))


def _is_soft(mask: Pixels) -> bool:
    """Return whether a mask has a soft edge of its own: more pixels in between than half its outline has."""
    cv2 = _cv2()
    firm = (mask >= OBJECT).astype(np.uint8)
    outline = int(firm.sum()) - int(cv2.erode(firm, np.ones((3, 3), np.uint8)).sum())
    return int(((mask > 12) & (mask < 243)).sum()) > outline // 2


def _soft_edge(photo: Pixels, mask: Pixels, edge: int) -> Pixels:
    cv2 = _cv2()
    firm = (mask >= OBJECT).astype(np.float32)
    guide = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    size = (2 * edge + 1, 2 * edge + 1)
    mean, mean_mask = cv2.blur(guide, size), cv2.blur(firm, size)
    slope = (cv2.blur(guide * firm, size) - mean * mean_mask) / (
        cv2.blur(guide * guide, size) - mean * mean + 1e-3
    )
    offset = mean_mask - slope * mean
    soft = cv2.blur(slope, size) * guide + cv2.blur(offset, size)
    # The outermost pixels of a mask are mostly background: the edge lies a little inside. What is further
    # inside stays opaque, however much it looks like the background.
    soft = np.clip((cv2.GaussianBlur(np.clip(soft, 0, 1), (0, 0), edge / 3) - 0.25) / 0.7, 0, 1)
    core = np.clip((cv2.GaussianBlur(firm, (0, 0), 1) - 0.5) / 0.4, 0, 1)
    return np.asarray(np.maximum(soft, core) * 255 + 0.5, np.uint8)


def _own_colours(photo: Pixels, alpha: Pixels) -> Pixels:
    """Estimate the object's own colours where it is translucent (Forte 2021: two passes of blurs)."""
    cv2 = _cv2()
    image = photo.astype(np.float32)
    opacity = (alpha.astype(np.float32) / 255)[..., None]
    own, behind = image, image
    for size in (max(9, min(alpha.shape) // 8), 7):
        box = (size, size)
        share = cv2.blur(opacity, box)[..., None]
        mean_own = cv2.blur(own * opacity, box) / (share + 1e-4)
        mean_behind = cv2.blur(behind * (1 - opacity), box) / (1 - share + 1e-4)
        own = np.clip(mean_own + opacity * (image - opacity * mean_own - (1 - opacity) * mean_behind), 0, 255)
        behind = mean_behind
    return np.asarray(own + 0.5, np.uint8)


def refill(photo: Pixels, mask: Pixels) -> Pixels:
    """Return a photo ``[h, w, 3]`` without the object of its mask: the hole is filled from around it.

    It is filled (Telea 2004) at a reduced size, which blurs no more than the method does and takes a
    twentieth of the time. The method leaves a smooth patch, so fine detail from another part of the photo is
    added.
    """
    cv2 = _cv2()
    height, width = mask.shape
    reach = _pixels_of(_REACH, mask.shape)
    hole, small_hole = _holes(mask)
    reduced = _resized(photo, (small_hole.shape[1], small_hole.shape[0]))
    filled_small = cv2.inpaint(reduced, small_hole, 3, cv2.INPAINT_TELEA)
    across, down = _like(reduced, filled_small, small_hole)
    step = round(down * height), round(across * width)
    filled = _resized(filled_small, (width, height)) + np.roll(_detail(photo, hole), step, (0, 1))
    # Outside the hole's outer rim the photo is untouched, inside the object nothing of it is left.
    weight = cv2.GaussianBlur(hole.astype(np.float32), (0, 0), reach / 3)[..., None]
    return np.asarray(np.clip(photo + weight * (filled - photo), 0, 255) + 0.5, np.uint8)


def has_background(mask: Pixels) -> bool:
    """Return whether the object of a photo's whole mask ``[h, w]`` leaves anything to fill its hole from."""
    height, width = mask.shape
    return not _holes(_resized(mask, _reduced((width, height))))[1].all()


def _holes(mask: Pixels) -> tuple[Pixels, Pixels]:
    """Return the hole that an object leaves, 1 inside, and the same at the size at which it is filled."""
    cv2 = _cv2()
    height, width = mask.shape
    reach = _pixels_of(_REACH, mask.shape)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    hole: Pixels = cv2.dilate((mask > 12).astype(np.uint8), disc)
    ratio = min(1.0, _FILLED_SIDE / min(mask.shape))
    small = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    # What touches the hole is part of it, or the object's colours would spread into it.
    return hole, (_resized(hole * np.uint8(255), small) > 0).astype(np.uint8)


def _like(photo: Pixels, filled: Pixels, hole: Pixels) -> tuple[float, float]:
    """Return the fractions of width and height to move a photo by to be most like what fills its hole."""
    height, width = hole.shape
    rows, columns = np.nonzero(hole)
    some = slice(None, None, max(1, len(rows) // _COMPARED))
    rows, columns = rows[some], columns[some]
    wanted = filled[rows, columns].astype(np.float32)

    def unlike(move: tuple[float, float]) -> float:
        from_rows, from_columns = rows - round(move[1] * height), columns - round(move[0] * width)
        difference = np.abs(photo[from_rows, from_columns] - wanted).mean()
        return float(difference + _EMPTY * hole[from_rows, from_columns].mean())

    parts = np.arange(_STEPS) / _STEPS
    return min(((float(x), float(y)) for x in parts for y in parts if x or y), key=unlike)


def _detail(photo: Pixels, hole: Pixels) -> Floats:
    """Return the fine detail of a photo ``[h, w, 3]``; 0 in its hole."""
    cv2 = _cv2()
    side = 2 * _pixels_of(_DETAIL, hole.shape) + 1
    outside = (1 - hole).astype(np.float32)[..., None]
    known = photo * outside
    share = cv2.blur(outside, (side, side))[..., None]
    return np.asarray(known - outside * cv2.blur(known, (side, side)) / (share + 1e-4), np.float32)


def _covering(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Return the middle of a picture, scaled so that it just covers a frame; always a copy."""
    height, width = pixels.shape[:2]
    ratio = max(size[0] / width, size[1] / height)
    used = size[0] / ratio, size[1] / ratio
    left, top = (width - used[0]) / 2, (height - used[1]) / 2
    first, start = round(top), round(left)
    last, end = max(round(top + used[1]), first + 1), max(round(left + used[0]), start + 1)
    part = pixels[first:last, start:end]  # at least one pixel, however narrow the strip is
    resized = _resized(part, size)
    return resized.copy() if resized is part else resized


def _resized(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    cv2 = _cv2()
    if (pixels.shape[1], pixels.shape[0]) == size:
        return pixels
    smaller = size[0] < pixels.shape[1]
    resized: Pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
    return resized


def _paste(cutout: Cutout, canvas: Pixels, placement: Placement | None) -> None:
    """Blend an object into a canvas of its frame's size."""
    colours, alpha, (left, top) = cutout.colours, cutout.alpha, cutout.corner
    if placement is not None:
        (left, top), size = _placed(cutout, placement)
        colours, alpha = _resized(colours, size), _resized(alpha, size)
    height, width = alpha.shape
    below = canvas[top : top + height, left : left + width]
    weight = alpha[..., None].astype(np.float32) / 255
    below[:] = below + weight * (colours.astype(np.float32) - below) + 0.5


def _placed(cutout: Cutout, placement: Placement) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the left upper corner and the size of an object that is put elsewhere, wholly in the frame.

    A side that the frame had cut off stays at the frame's edge.
    """
    opacity = cutout.alpha.astype(np.float64)
    total = opacity.sum() or 1.0
    height, width = cutout.alpha.shape
    ratio = math.sqrt(placement.area * math.prod(cutout.frame) * 255 / total)
    ratio = min(ratio, cutout.frame[0] / width, cutout.frame[1] / height)
    size = max(1, round(width * ratio)), max(1, round(height * ratio))
    middle = (
        float(opacity.sum(axis=0) @ (np.arange(width) + 0.5)) / total,
        float(opacity.sum(axis=1) @ (np.arange(height) + 0.5)) / total,
    )
    corner = []
    for axis, wanted in enumerate((placement.across, placement.down)):
        frame, room = cutout.frame[axis], cutout.frame[axis] - size[axis]
        first = cutout.corner[axis] == 0
        last = cutout.corner[axis] + (width, height)[axis] == frame
        start = round(wanted * frame - middle[axis] * ratio)
        corner.append(0 if first and not last else room if last and not first else min(max(start, 0), room))
    return (corner[0], corner[1]), size


def _pixels_of(part: float, shape: tuple[int, ...]) -> int:
    return max(2, round(part * min(shape)))


def check_installed() -> str:
    """Check that composites can be made; return the version of OpenCV.

    Raises:
        MissingExtraError: OpenCV is not installed.
    """
    return str(_cv2().__version__)


def _cv2() -> Any:
    with needs_extra("masks"):
        import cv2
    return cv2
