"""Small photos with an object of known shape, as a benchmark."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image, ImageDraw

from counterground.photos import Benchmark, benchmark_of_frame

SIZE = (60, 40)


def ellipse(box=(15, 8, 44, 31), size=SIZE, value=255):
    """A mask with an ellipse: PIL, grey."""
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).ellipse(box, fill=value)
    return mask


def photo_of(mask, seed=0):
    """A photo on which the object is reddish noise, and what is around it greenish noise."""
    noise = np.random.default_rng(seed).integers(0, 40, (mask.height, mask.width, 3), dtype=np.uint8)
    inside = np.asarray(mask)[..., None] >= 128
    return Image.fromarray(noise + np.where(inside, np.uint8([180, 40, 30]), np.uint8([30, 150, 40])))


def make_benchmark(root: Path, masks, **columns) -> Benchmark:
    """Write a photo for each ``{path: mask}``; columns are lists in the order of the paths."""
    for seed, (path, mask) in enumerate(masks.items()):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        photo_of(mask, seed).save(file)
    names = columns.pop("class_name", None) or ["ice bear"] * len(masks)
    return benchmark_of_frame(
        pl.DataFrame({"path": list(masks), "class_name": names, **columns}), root, "made"
    )


def pixels(file) -> np.ndarray:
    return np.asarray(Image.open(file))
