"""Pools of small photos of noise."""

import numpy as np
import pytest
from PIL import Image

from counterground.photos import photo_id
from counterground.pool import open_pool

CLASSES = ("ice bear", "flamingo")


def fill_pool(folder, sizes):
    """Make a pool with so many photos in each class."""
    pool = open_pool(folder, create=True)
    rows = []
    for class_name, count in sizes.items():
        for number in range(count):
            path = f"files/{pool.class_folder(class_name)}/{number}.png"
            file = pool.root / path
            file.parent.mkdir(exist_ok=True)
            values = np.random.default_rng([number, len(class_name)]).integers(0, 255, (8, 8, 3), np.uint8)
            Image.fromarray(values).save(file)
            rows.append(
                {"path": path, "photo_id": photo_id(file), "class_name": class_name, "licence": "cc0"}
            )
    assert pool.add_photos(rows) == len(rows)
    return pool


@pytest.fixture(scope="session")
def make_pool():
    return fill_pool


@pytest.fixture
def pool(tmp_path):
    """Eight photos in two classes."""
    with fill_pool(tmp_path / "pool", dict.fromkeys(CLASSES, 4)) as pool:
        yield pool
