"""Measures of one mask, and which limits it breaks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from counterground.masks._found import OBJECT, Box, Mask
from counterground.settings import MaskSettings

_SPECK = 0.02  # parts below this share of the object are noise of its edge


class Quality(NamedTuple):
    """The measures of a mask.

    Attributes:
        area: area of the object, as a fraction of the photo.
        edges: sides of the photo that it touches.
        parts: its separate parts, without specks.
        holes: area of its holes, as a fraction of the object with its holes filled.
        box_iou: agreement of its bounding box with the known box; None if none is known.
    """

    area: float
    edges: int
    parts: int
    holes: float
    box_iou: float | None


def measure(mask: Mask, boxes: Sequence[Box] = ()) -> Quality:
    """Measure a mask ``[h, w]``; ``boxes`` are those of the objects it should show."""
    from scipy import ndimage

    inside = mask >= OBJECT
    pixels = int(inside.sum())
    if not pixels:
        return Quality(0.0, 0, 0, 0.0, 0.0 if boxes else None)
    sides = (inside[0], inside[-1], inside[:, 0], inside[:, -1])
    labels, _ = ndimage.label(inside, structure=np.ones((3, 3)))
    sizes = np.bincount(labels.ravel())[1:]
    filled = int(ndimage.binary_fill_holes(inside).sum())
    return Quality(
        area=pixels / inside.size,
        edges=sum(bool(side.any()) for side in sides),
        parts=int((sizes >= _SPECK * pixels).sum()),
        holes=1 - pixels / filled,
        box_iou=_box_iou(inside, boxes) if boxes else None,
    )


def broken_limits(quality: Quality, limits: MaskSettings) -> list[str]:
    """Return the reasons (keys of ``REASONS``) for which a mask is not usable, none if it is."""
    if not quality.area:
        return ["empty"]
    if quality.area == 1:
        return ["full"]
    broken = {
        "too small": quality.area < limits.min_area,
        "too large": quality.area > limits.max_area,
        "touches edges": quality.edges > limits.max_edges,
        "many parts": quality.parts > limits.max_parts,
        "holes": quality.holes > limits.max_holes,
        "box disagrees": quality.box_iou is not None and quality.box_iou < limits.min_box_iou,
    }
    return [reason for reason, is_broken in broken.items() if is_broken]


def _box_iou(inside: npt.NDArray[np.bool_], boxes: Sequence[Box]) -> float:
    """Return the intersection over union of the mask's bounding box and the one around all ``boxes``."""
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    mine = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    known = (
        max(0.0, min(box[0] for box in boxes)),
        max(0.0, min(box[1] for box in boxes)),
        min(float(inside.shape[1]), max(box[0] + box[2] for box in boxes)),
        min(float(inside.shape[0]), max(box[1] + box[3] for box in boxes)),
    )
    across = min(mine[2], known[2]) - max(mine[0], known[0])
    down = min(mine[3], known[3]) - max(mine[1], known[1])
    common = max(0.0, float(across)) * max(0.0, float(down))
    areas = sum(float((box[2] - box[0]) * (box[3] - box[1])) for box in (mine, known))
    return common / (areas - common) if areas > common else 0.0
