"""Photographs of noise, and folders of them."""

from __future__ import annotations

from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

ANIMALS = {"ice bear": ("snow", "grass"), "black swan": ("water", "earth"), "flamingo": ("water", "sky")}


def save_noise(path: Path, seed: int, size: tuple[int, int] = (48, 40)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_noise(seed, size, path.suffix))
    return path


def noise(size: tuple[int, int], seed: int = 0, coarse: tuple[int, int] = (6, 6)) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (*coarse, 3), dtype=np.uint8)
    return Image.fromarray(values).resize(size, Image.Resampling.BICUBIC)


@cache
def _noise(seed: int, size: tuple[int, int], suffix: str) -> bytes:
    file = BytesIO()
    noise(size, seed).save(file, Image.registered_extensions()[suffix.lower()], quality=95)
    return file.getvalue()


def save_animals(root: Path, per_group: int = 8) -> Path:
    """Write three classes of two groups in the CounterAnimal layout; return ``root``."""
    seed = 0
    for animal, backgrounds in ANIMALS.items():
        for group, background in zip(("common", "counter"), backgrounds, strict=True):
            for number in range(per_group):
                save_noise(root / animal / f"{group}-{background}" / f"{number}.jpg", seed := seed + 1)
    return root
