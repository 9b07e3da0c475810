"""Pools of small photos of noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from counterground.construction.pool import Pool, class_folder, open_pool
from counterground.photos import photo_id


def fill_pool(
    folder: Path,
    sizes: Mapping[str, int],
    *,
    width: int = 8,
    height: int = 8,
    **columns: Callable[[int], Any],
) -> Pool:
    """Make a pool with so many photos in each class, no two alike; return it open.

    Each of ``columns`` maps a photo's number in its class to its value.
    """
    pool = open_pool(folder, create=True)
    rows = []
    for class_name, count in sizes.items():
        for number in range(count):
            path = f"files/{class_folder(class_name)}/{number:03d}.png"
            file = pool.root / path
            file.parent.mkdir(exist_ok=True)
            random = np.random.default_rng([number, *class_name.encode()])
            Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8)).save(file)
            row = {"path": path, "photo_id": photo_id(file), "class_name": class_name}
            rows.append(row | {name: value(number) for name, value in columns.items()})
    assert pool.add_photos(rows) == len(rows)
    return pool
