"""Drawn photos of discs, and folders of their masks."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from counterground.masks import Masks, make_masks
from counterground.photos import read_benchmark

SIZE = (120, 90)
DISC = (40, 25, 80, 65)


def disc(box: tuple[int, int, int, int] = DISC, size: tuple[int, int] = SIZE) -> Image.Image:
    """Return a mask: a white disc on black."""
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).ellipse(box, fill=255)
    return mask


def png(image: Image.Image) -> bytes:
    written = BytesIO()
    image.save(written, "PNG")
    return written.getvalue()


def inside(path: Path) -> np.ndarray:
    """Return which pixels of a mask's file are of the object."""
    return np.asarray(Image.open(path).convert("L")) >= 128


def save_masks(folder: Path) -> Masks:
    """Make masks of five photos: c is too large, e has none; a, b and d are good. Return them."""
    for number, name in enumerate("abcde"):
        photo = Image.new("RGB", SIZE, (90, 140, 60 + 20 * number))
        ImageDraw.Draw(photo).ellipse(DISC, fill=(200, 120, 60))
        file = folder / "photos" / "ox" / "grass" / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        photo.save(file)
        mask = folder / "drawn" / "ox" / "grass" / f"{name}.png"
        mask.parent.mkdir(parents=True, exist_ok=True)
        drawn = disc()
        if name == "c":
            ImageDraw.Draw(drawn).rectangle((2, 2, 117, 87), fill=255)
        if name != "e":
            drawn.save(mask)
    return make_masks(read_benchmark(folder / "photos"), str(folder / "drawn"), folder / "masks")
