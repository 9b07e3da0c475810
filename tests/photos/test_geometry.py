"""The size of photos and their objects, and how far these are from the middle."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from PIL import Image, ImageDraw

from counterground.photos import benchmark_of_frame, mask_place, object_place


def drawn(box, size):
    """A mask with a white rectangle, corners included."""
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).rectangle(box, fill=255)
    return mask


@pytest.fixture
def benchmark(tmp_path):
    """Make a benchmark of grey photos with these masks and further columns."""

    def make(sizes, masks=(), **columns):
        for number, size in enumerate(sizes):
            Image.new("RGB", size, "grey").save(tmp_path / f"{number}.png")
        for name, mask in dict(masks).items():
            mask.save(tmp_path / name)
        names = [f"{number}.png" for number in range(len(sizes))]
        frame = pl.DataFrame({"path": names, "class_name": ["tabby, tabby cat"] * len(sizes), **columns})
        return benchmark_of_frame(frame, tmp_path, "made")

    return make


def test_the_place_of_a_rectangle():
    mask = np.zeros((100, 200), dtype=np.uint8)
    mask[40:60, 150:190] = 255
    place = object_place(mask)
    assert place.area == pytest.approx(20 * 40 / 20_000)
    assert place.distance == pytest.approx(70 / (math.hypot(100, 200) / 2))
    assert place.offset == pytest.approx(0.7)  # its centre is at 170 of 200
    assert object_place(mask.T) == pytest.approx(place)
    assert object_place(np.full((3, 5), 255)) == (1, 0, 0)
    assert object_place(np.zeros((3, 5))) == (0, 0, 0)
    corner = np.zeros((1000, 1000))
    corner[0, 0] = 255
    assert object_place(corner).distance == pytest.approx(1, abs=0.002)


def test_masks_of_every_kind_mean_the_same(tmp_path):
    white = drawn((10, 20, 29, 39), (100, 50))
    kinds = {
        "white.png": white,
        "bits.png": white.convert("1"),
        "palette.png": white.convert("P"),
        "alpha.png": Image.merge("RGBA", [Image.new("L", white.size, 9)] * 3 + [white]),
    }
    for name, image in kinds.items():
        image.save(tmp_path / name)
        assert mask_place(tmp_path / name) == object_place(np.asarray(white)), name


def test_a_mask_of_16_bits_is_scaled_and_not_clipped(tmp_path):
    values = np.full((50, 100), 600, np.uint16)  # 2 of 255
    values[20:40, 10:30] = 65535
    Image.fromarray(values).save(tmp_path / "deep.png")
    assert mask_place(tmp_path / "deep.png") == object_place((values > 600) * 255)
    assert mask_place(tmp_path / "deep.png").area == pytest.approx(0.08)
    Image.fromarray((values > 600).astype(np.uint16) * 255).save(tmp_path / "deep.png")  # 8 bits in 16
    assert mask_place(tmp_path / "deep.png").area == pytest.approx(0.08)
