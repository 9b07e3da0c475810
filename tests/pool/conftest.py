"""A pool of eight photos in two classes."""

import numpy as np
import pytest
from PIL import Image

from counterground.photos import photo_id
from counterground.pool import open_pool

CLASSES = ("ice bear", "flamingo")


@pytest.fixture
def pool(tmp_path):
    pool = open_pool(tmp_path / "pool", create=True)
    rows = []
    for class_name in CLASSES:
        for number in range(4):
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
