"""Photos of one colour, which ``colour_model`` classifies correctly as often as it is said."""

from pathlib import Path

import numpy as np
from colour_model import NAMES
from PIL import Image


def save_coloured(root: Path, photos: int, *, common: float, counter: float, seed: int = 0) -> Path:
    """Write ``photos`` of each class in each group, of which these shares are right; return ``root``."""
    rng = np.random.default_rng(seed)
    for place, name in enumerate(NAMES):
        for group, right in (("common-snow", common), ("counter-grass", counter)):
            folder = root / name / group
            folder.mkdir(parents=True)
            for number, is_right in enumerate(rng.permutation(np.arange(photos) < round(right * photos))):
                pixels = rng.integers(0, 60, (4, 4, 3), dtype=np.uint8)
                pixels[..., (place + (not is_right)) % 3] += 150
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return root
