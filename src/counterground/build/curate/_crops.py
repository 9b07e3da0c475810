"""A model that sees one part of each photo: crops go the way of whole photos, through the same store."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from counterground.models import Encoder

if TYPE_CHECKING:
    import torch
    from PIL import Image

CROPS: dict[str, tuple[float, float]] = {
    "centre": (1 / 6, 1 / 6),
    "top left": (0, 0),
    "top right": (1 / 3, 0),
    "bottom left": (0, 1 / 3),
    "bottom right": (1 / 3, 1 / 3),
}
"""Crops of two thirds of each side: where their left and upper edges lie."""

_PART = 2 / 3


class CroppedView(Encoder):
    """The model ``whole`` on one of the ``CROPS`` of each photo; another fingerprint, so other features."""

    def __init__(self, whole: Encoder, crop: str) -> None:
        self.whole, self.crop = whole, crop
        self.spec = f"{whole.spec}, {crop} crop"
        self.kind = whole.kind  # type: ignore[misc]
        place = f"{whole.fingerprint} {CROPS[crop]} {_PART}"
        self.fingerprint = hashlib.sha256(place.encode()).hexdigest()
        self.dim, self.device, self.dtype = whole.dim, whole.device, whole.dtype
        self.description = whole.description
        self.convert_rgb_first = whole.convert_rgb_first

    def preprocess(self, image: Image.Image) -> torch.Tensor:
        """Return the model's input for the crop of one photo."""
        left, top = (round(start * side) for start, side in zip(CROPS[self.crop], image.size, strict=True))
        width, height = (max(1, round(_PART * side)) for side in image.size)
        return self.whole.preprocess(image.crop((left, top, left + width, top + height)))

    def encode(self, batch: torch.Tensor) -> torch.Tensor:
        """Return what the model makes of the crops."""
        return self.whole.encode(batch)
