"""What a source of masks is, and what it finds for one photo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from counterground.photos import UnreadablePhoto, load_photo

if TYPE_CHECKING:
    from PIL import Image

Mask = npt.NDArray[np.uint8]
"""``[h, w]``, 0 to 255: how much of each pixel belongs to the object."""

Box = tuple[float, float, float, float]
"""Left and upper edge, width and height in pixels."""

OBJECT = 128
"""From this value on, a pixel counts as the object's."""

REASONS = {
    "missing": "there is no mask of the photo",
    "ambiguous": "several files may be the mask of the photo, or several photos share one",
    "unreadable": "the photo or its mask cannot be read",
    "wrong size": "mask and photo differ in size",
    "empty": "the mask marks no object",
    "full": "the mask marks every pixel",
    "other category": "only objects of other categories are annotated or found",
    "crowd only": "the class is annotated as a crowd only, without single objects",
    "incomplete": "an object of the class has no outline",
    "no box": "the box of the object, or of one of several, is not known",
    "too small": "the object's area is below the limit",
    "too large": "the object's area is above the limit",
    "touches edges": "the object touches more sides of the photo than the limit",
    "many parts": "the object has more separate parts than the limit",
    "holes": "the object's holes are larger than the limit",
    "box disagrees": "the object's bounding box agrees too little with its known box",
    "photo changed": "the photo has changed since its manifest was written",
    "rejected": "rejected in review",
}
"""Why a photo has no usable mask: what ``masks.csv`` says, and what it means."""

NO_OBJECT = ("empty", "full")
"""Reasons that no review removes: the mask has no object, or no background."""


class Found(NamedTuple):
    """The mask of a photo, in the photo's size, or None and a key of ``REASONS``; ``detail`` in words."""

    mask: Mask | None
    reason: str = ""
    detail: str = ""


class MaskRequest(NamedTuple):
    """A photo that needs a mask.

    Attributes:
        path: path in the manifest.
        file: file on disk.
        class_name: its class.
        mask: the manifest's own mask.
        size: width and height in pixels.
        boxes: the boxes of its object, empty if none is known.
    """

    path: str
    file: Path
    class_name: str
    mask: Path | None
    size: tuple[int, int]
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Weights:
    """A weight file: who may use it for what, and how that is known.

    Attributes:
        name: the source it belongs to, as in ``rembg:u2net``.
        licence: its name, which must be accepted to use the weights.
        terms: its main terms, in a few words.
        origin: who made it and from what, if known.
        verified: where the licence was read; empty if it was not verified.
    """

    name: str
    licence: str
    terms: str = ""
    origin: str = ""
    verified: str = ""


@dataclass(frozen=True)
class MaskSource:
    """Where masks come from.

    Attributes:
        origin: what ``masks.csv`` calls it.
        find: function that finds the mask of one photo, or raises `UnreadablePhoto`; called from one thread
            unless ``slow`` is False.
        slow: whether results are worth keeping: existing masks are then not regenerated.
        rough: whether its masks are approximations that need review.
        record: what else decides the masks: versions and hashes, as JSON types.
        notes: sentences on what was read.
        weights: weights of a model.
    """

    origin: str
    find: Callable[[MaskRequest], Found]
    slow: bool = False
    rough: bool = False
    record: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()
    weights: Weights | None = None


def read_image(
    file: Path, size: tuple[int, int], *, rgb: bool = True, whole: bool = False
) -> Image.Image | Found:
    """Read an image of a photo's size (see `load_photo`), or return why it cannot be used."""
    try:
        image = load_photo(file, rgb=rgb, whole=whole).image
    except UnreadablePhoto as error:
        reason = "missing" if error.reason == "missing" else "unreadable"
        return Found(None, reason, f"{file.name}: {error.reason}")
    if image.size != size:
        there, wanted = (f"{width} x {height}" for width, height in (image.size, size))
        return Found(None, "wrong size", f"{file.name} has {there} pixels, the photo {wanted}")
    return image


def read_mask(file: Path, size: tuple[int, int]) -> Found:
    """Read a mask file: what is opaque if it has alpha, else what is white.

    ``size`` is the photo's width and height in pixels. A file that cannot be used gives a reason, no error.
    """
    image = read_image(file, size, rgb=False, whole=True)
    if isinstance(image, Found):
        return image
    if image.has_transparency_data:
        return Found(np.asarray(image.convert("RGBA").getchannel("A")))
    colours = np.asarray(image.convert("RGB")) if image.mode in ("1", "L", "P", "RGB") else None
    if colours is None or (colours != colours[..., :1]).any():
        return Found(None, "unreadable", f"{file.name}: a mask is 8-bit grey (white is object) or has alpha")
    mask = np.ascontiguousarray(colours[..., 0])
    if 0 < mask.max() < OBJECT:
        detail = f"the brightest value of {file.name} is {mask.max()} of 255: white is object"
        return Found(mask, "empty", detail)
    return Found(mask)
