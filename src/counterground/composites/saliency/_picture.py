"""A photo with the outline of its object, and beside it what the answer depends on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from counterground.composites._recipe import OBJECT
from counterground.composites.saliency._attribution import parts_of
from counterground.errors import needs_extra

if TYPE_CHECKING:
    from counterground.composites._recipe import Floats, Pixels

_HEIGHT, _GAP = 224, 6
_WIDEST = 20 * _HEIGHT  # of a panel: JPEG ends at 65,500 pixels
_FADED = 0.55  # of the photo's brightness is left under the map


def draw_saliency(photo: Pixels, mask: Pixels, attribution: Floats) -> Image.Image:
    """Return both panels side by side; the part with the most attribution, of either sign, is the brightest.

    Args:
        photo: ``[h, w, 3]``.
        mask: ``[h, w]``, 0 to 255.
        attribution: ``[p]``, of the parts of the mask.
    """
    with needs_extra("intervention"):
        import cv2
    height, width = mask.shape
    ratio = min(_HEIGHT / height, _WIDEST / width)
    size = max(1, round(width * ratio)), max(1, round(height * ratio))
    picture = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
    amount = np.abs(attribution) / (np.abs(attribution).max() or 1.0)
    amount = cv2.resize(amount[parts_of(mask)], size, interpolation=cv2.INTER_NEAREST)
    colours = cv2.cvtColor(
        cv2.applyColorMap(np.asarray(255 * amount, np.uint8), cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB
    )
    faded = _FADED * cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    heat = np.uint8(np.clip(faded * (1 - amount[..., None]) + colours * np.sqrt(amount)[..., None], 0, 255))
    inside = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_AREA) >= OBJECT, np.uint8)
    outline, _ = cv2.findContours(inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    panels = []
    for panel in (picture, heat):
        drawn = np.ascontiguousarray(panel)
        cv2.drawContours(drawn, outline, -1, (0, 0, 0), 3)
        cv2.drawContours(drawn, outline, -1, (255, 255, 255), 1)
        panels.append(drawn)
    space = np.full((size[1], _GAP, 3), 255, np.uint8)
    return Image.fromarray(np.hstack([panels[0], space, panels[1]]))
