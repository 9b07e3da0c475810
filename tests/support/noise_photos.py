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


@cache
def _noise(seed: int, size: tuple[int, int], suffix: str) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    file = BytesIO()
    photo = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
    photo.save(file, Image.registered_extensions()[suffix.lower()], quality=95)
    return file.getvalue()


def save_animals(root: Path, per_group: int = 8) -> Path:
    """Write three classes of two groups in the CounterAnimal layout; return ``root``."""
    seed = 0
    for animal, backgrounds in ANIMALS.items():
        for group, background in zip(("common", "counter"), backgrounds, strict=True):
            for number in range(per_group):
                save_noise(root / animal / f"{group}-{background}" / f"{number}.jpg", seed := seed + 1)
    return root
