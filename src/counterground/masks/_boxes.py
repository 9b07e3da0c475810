"""Masks from boxes: the box itself, or what GrabCut finds in it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

import numpy as np
import numpy.typing as npt
from PIL import Image

from counterground.errors import UsageError, needs_extra
from counterground.masks._found import OBJECT, Box, Found, Mask, MaskRequest, MaskSource
from counterground.photos import load_photo
from counterground.settings import MaskSettings

_Inside = npt.NDArray[np.bool_]
_ITERATIONS = 5
_SIDE = 640  # a larger photo is segmented at this side: matting takes a minute on 12 megapixels
_BAND = 0.02  # half the width of the band in which matting decides, as a fraction of the object's extent


def boxes_source() -> MaskSource:
    """Return the source of masks that are the boxes of the objects."""
    return MaskSource("boxes", _of_boxes, rough=True)


def _of_boxes(photo: MaskRequest) -> Found:
    if not photo.boxes:
        return Found(None, "no box")
    inside = _rectangles(photo.boxes, photo.size)
    if not inside.any():
        return Found(None, "no box", "its box does not lie in the photo")
    return Found(inside.astype(np.uint8) * 255)


def grabcut_source(settings: MaskSettings, *, any_box: bool) -> MaskSource:
    """Return the source of masks that GrabCut finds in the boxes, with an edge that matting softens.

    GrabCut (Rother, Kolmogorov and Blake 2004) separates the object's colours from those around its box;
    matting is closed-form (Levin, Lischinski and Weiss 2008) or KNN (Chen, Li and Tang 2013). Neither knows
    about objects: the masks are rough.

    Raises:
        UsageError: no photo has a box, and no margin replaces one.
        MissingExtraError: a package is not installed.
    """
    if not any_box and settings.inset is None:
        raise UsageError(
            "GrabCut starts from a box, and the photos have none: add columns box_x, box_y, box_width and "
            "box_height, or use `data masks` with --boxes FILE.json, or with -X inset=10%: the photo "
            "without a margin of 10 % is then the box."
        )
    with needs_extra("masks"):
        import cv2

        if settings.refine != "none":
            import pymatting  # noqa: F401 - checked before any photo is read

    def find(photo: MaskRequest) -> Found:
        boxes = photo.boxes or _inset(photo.size, settings.inset)
        if not boxes:
            return Found(None, "no box")
        detail = "" if photo.boxes else "from the photo without its margin, not from a box"
        return _cut(load_photo(photo.file).image, boxes, settings.refine, detail)

    record = {"opencv": cv2.__version__}
    if settings.refine != "none":
        record["pymatting"] = version("pymatting")
    return MaskSource("grabcut", find, slow=True, rough=True, record=record)


def _inset(size: tuple[int, int], margin: float | None) -> tuple[Box, ...]:
    if margin is None:
        return ()
    width, height = size
    return ((margin * width, margin * height, (1 - 2 * margin) * width, (1 - 2 * margin) * height),)


def _cut(image: Image.Image, boxes: Sequence[Box], refine: str, detail: str) -> Found:
    factor = min(1.0, _SIDE / max(image.size))
    width, height = (max(1, round(side * factor)) for side in image.size)
    small = image if factor == 1 else image.resize((width, height), Image.Resampling.LANCZOS)
    scaled = [(left * factor, top * factor, w * factor, h * factor) for left, top, w, h in boxes]
    around = _rectangles(scaled, small.size)
    if not around.any():
        return Found(None, "no box", "its box does not lie in the photo")
    if around.all():
        return Found(None, "no box", "its box is the whole photo, so nothing is known to be background")
    colours = np.asarray(small)
    inside = _grabcut(colours, around)
    if not inside.any():
        return Found(np.zeros(image.size[::-1], np.uint8), "empty", "GrabCut found nothing in the box")
    alpha = inside * 255.0 if refine == "none" else 255 * _soft(colours, inside, around, refine)
    mask: Mask = np.rint(alpha).astype(np.uint8)
    if factor < 1:
        mask = np.asarray(Image.fromarray(mask).resize(image.size, Image.Resampling.BILINEAR))
    return Found(mask, "", detail)


def _grabcut(colours: npt.NDArray[np.uint8], around: _Inside) -> _Inside:
    """Return what GrabCut takes for the object inside the boxes."""
    import cv2

    cv2.setRNGSeed(0)  # for this thread: GrabCut's colour clusters start at random
    state = np.where(around, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))  # Gaussian mixtures, filled by GrabCut
    bgr = np.ascontiguousarray(colours[..., ::-1])
    cv2.grabCut(bgr, state, (0, 0, 1, 1), background, foreground, _ITERATIONS, cv2.GC_INIT_WITH_MASK)
    return np.isin(state, (cv2.GC_FGD, cv2.GC_PR_FGD))


def _soft(
    colours: npt.NDArray[np.uint8], inside: _Inside, around: _Inside, refine: str
) -> npt.NDArray[np.float64]:
    """Return alpha ``[h, w]``, 0 to 1, estimated again in a band along the edge of ``inside``."""
    from pymatting import estimate_alpha_cf, estimate_alpha_knn
    from scipy import ndimage

    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    extent = min(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    radius = max(2, round(_BAND * extent))
    surely = ndimage.binary_erosion(inside, iterations=radius, border_value=1)
    maybe = ndimage.binary_dilation(inside, iterations=radius) & around
    if not surely.any() or maybe.all():
        return inside.astype(np.float64)
    trimap = np.where(surely, 1.0, np.where(maybe, 0.5, 0.0))
    estimate = estimate_alpha_cf if refine == "closed-form" else estimate_alpha_knn
    alpha = np.clip(np.asarray(estimate(colours / 255.0, trimap), np.float64), 0, 1)
    # A solver that fails must not lose the object.
    return alpha if (alpha * 255 >= OBJECT).any() else inside.astype(np.float64)


def _rectangles(boxes: Sequence[Box], size: tuple[int, int]) -> _Inside:
    """Return the pixels ``[h, w]`` whose centres lie in one of the boxes."""
    across, down = (np.arange(side) + 0.5 for side in size)
    drawn = np.zeros(size[::-1], bool)
    for left, top, width, height in boxes:
        columns = (across >= left) & (across < left + width)
        rows = (down >= top) & (down < top + height)
        drawn |= rows[:, None] & columns[None, :]
    return drawn
