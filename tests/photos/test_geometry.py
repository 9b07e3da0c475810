"""The size of photos and their objects, and how far these are from the middle."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from PIL import Image, ImageDraw

from counterground.photos import benchmark_of_frame, mask_place, object_place, photo_geometry


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


def test_masks_boxes_and_sizes(benchmark):
    found = photo_geometry(
        benchmark(
            [(100, 100), (200, 100), (60, 40), (50, 50)],
            {"m.png": drawn((0, 0, 49, 99), (100, 100))},
            mask=["m.png", None, None, None],
            box_x=[0.0, 150, -10.0, None],
            box_y=[0.0, 25, 30.0, None],
            box_width=[1.0, 50, 30.0, None],
            box_height=[1.0, 50, 30.0, None],
        )
    )
    assert found.warnings == []
    rows = found.columns.rows_by_key("path", named=True, unique=True)
    assert rows["0.png"]["object_area"] == 0.5  # of the mask, not of the box
    assert rows["0.png"]["object_distance"] == pytest.approx(25 / math.hypot(50, 50))
    assert rows["1.png"]["object_area"] == pytest.approx(50 * 50 / 20_000)
    assert rows["1.png"]["object_distance"] == pytest.approx(75 / math.hypot(100, 50))
    assert rows["2.png"]["object_area"] == pytest.approx(20 * 10 / 2400)  # what is in the photo
    assert rows["3.png"]["object_area"] is None
    assert [rows[f"{n}.png"]["photo_pixels"] for n in range(4)] == [10_000, 20_000, 2400, 2500]


def test_what_cannot_be_measured_is_said(benchmark, tmp_path):
    made = benchmark(
        [(10, 10)] * 5,
        {"black.png": Image.new("L", (10, 10), 1), "good.png": drawn((0, 0, 4, 4), (10, 10))},
        mask=["black.png", "none.png", "bad.png", "good.png", None],
        **{name: [None] * 4 + [12.0] for name in ("box_x", "box_y", "box_width", "box_height")},
    )
    (tmp_path / "bad.png").write_bytes(b"no image")
    found = photo_geometry(made)
    assert found.columns["object_area"].to_list() == [None, None, None, 0.25, None]
    (warning,) = found.warnings
    assert warning == (
        "The object of 4 photos could not be measured: black.png (it marks no object: that is what is "
        "opaque, or white (255)), none.png (missing), bad.png (not an image) and 1 more."
    )


def test_numbers_of_the_manifest_stay(benchmark):
    made = benchmark([(10, 10)], {"m.png": drawn((0, 0, 4, 4), (10, 10))}, mask=["m.png"], object_area=[0.9])
    assert photo_geometry(made).columns.columns == ["path", "object_distance", "photo_pixels"]


def test_measures_are_kept_for_the_same_photos_and_masks(benchmark, tmp_path):
    made = benchmark([(10, 10)], {"m.png": drawn((0, 0, 4, 4), (10, 10))}, mask=["m.png"])
    first = photo_geometry(made, tmp_path / "kept")
    (file,) = (tmp_path / "kept").iterdir()
    (tmp_path / "0.png").unlink()  # the photo is not opened again
    assert photo_geometry(made, tmp_path / "kept").columns.equals(first.columns)
    drawn((0, 0, 9, 4), (10, 10)).save(tmp_path / "m.png")
    assert photo_geometry(made, tmp_path / "kept").columns["object_area"].to_list() == [0.5]
    drawn((0, 0, 4, 4), (10, 10)).save(tmp_path / "m.png")
    file.write_bytes(file.read_bytes()[:100])
    assert photo_geometry(made, tmp_path / "kept").unreadable == 1


def test_measures_of_a_photo_that_cannot_be_read_are_not_kept(benchmark, tmp_path):
    made = benchmark([(10, 10)])
    (tmp_path / "0.png").rename(tmp_path / "away.png")
    assert photo_geometry(made, tmp_path / "kept").unreadable == 1
    (tmp_path / "away.png").rename(tmp_path / "0.png")
    assert photo_geometry(made, tmp_path / "kept").columns["photo_pixels"].to_list() == [100]


def test_photos_that_viewers_turn_are_counted_also_when_their_measures_are_kept(benchmark, tmp_path):
    made = benchmark([(20, 10)] * 8)
    upright, turned, mirrored, undefined = (Image.Exif() for _ in range(4))
    upright[0x112], turned[0x112], mirrored[0x112], undefined[0x112] = 1, 6, 2, 9
    image = Image.new("RGB", (20, 10), "grey")
    tags = ("JPEG", turned), ("PNG", mirrored), ("WEBP", turned), ("JPEG", upright), ("JPEG", undefined)
    for number, (kind, exif) in enumerate(tags):
        image.save(tmp_path / f"{number}.png", kind, exif=exif)
    image.save(tmp_path / "5.png", "TIFF", exif=turned)  # PIL turns it itself
    image.save(tmp_path / "6.png", "JPEG", exif=b"Exif\0\0no header of any kind")
    for _ in range(2):
        found = photo_geometry(made, tmp_path / "kept")
        assert found.columns.columns == ["path", "photo_pixels"]
        assert found.columns["photo_pixels"].to_list() == [200] * 8
        (warning,) = found.warnings
        assert warning.startswith("3 of 8 photos have an EXIF orientation that turns or mirrors them")
        assert "PIL.ImageOps.exif_transpose" in warning
        for photo in tmp_path.glob("*.png"):
            photo.unlink()
