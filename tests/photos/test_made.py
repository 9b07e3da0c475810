"""Photos that are made in memory: whoever reads photos reads them as files are read."""

from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from counterground.photos import (
    Benchmark,
    MadePhoto,
    UnreadablePhoto,
    load_photo,
    photo_id,
    photo_size,
)


class Half(MadePhoto):
    """The left half of a photo."""

    def __init__(self, file: Path, content: str) -> None:
        self.file, self.content = file, content

    @property
    def photo_id(self):
        return self.content[::-1]

    @property
    def files(self):
        return {self.file: self.content}

    @property
    def size(self):
        width, height = photo_size(self.file)
        return width // 2, height

    def absolute(self):
        return Half(self.file.absolute(), self.content)

    def make(self):
        image = load_photo(self.file, expect_id=self.content).image
        return image.crop((0, 0, image.width // 2, image.height))


@pytest.fixture
def half(tmp_path):
    Image.new("RGB", (40, 20), (1, 2, 3)).save(tmp_path / "a.png")
    return Half(tmp_path / "a.png", photo_id(tmp_path / "a.png"))


def test_it_is_loaded_measured_and_hashed_as_a_file_is(half):
    loaded = load_photo(half, expect_id=half.photo_id)
    assert (loaded.image.size, loaded.image.getpixel((0, 0)), loaded.converted) == (
        (20, 20),
        (1, 2, 3),
        False,
    )
    assert photo_size(half) == (20, 20)
    assert photo_id(half) == half.photo_id


def test_another_recipe_or_another_file_is_an_error(half):
    with pytest.raises(UnreadablePhoto, match="content changed"):
        load_photo(half, expect_id="0" * 64)
    Image.new("RGB", (40, 20)).save(half.file)
    for read in (load_photo, photo_id):
        with pytest.raises(UnreadablePhoto, match=r"a\.png: content changed"):
            read(half)


def test_what_fails_while_it_is_made_makes_it_unreadable(half):
    half.make = lambda: 1 / 0
    with pytest.raises(UnreadablePhoto, match="division by zero"):
        load_photo(half)


def test_a_benchmark_says_what_a_photo_is_read_from(half):
    rows = {
        "path": ["a.png", "half of a"],
        "photo_id": [half.content, half.photo_id],
        "class_name": ["ox", "ox"],
    }
    plain = Benchmark.from_frame(pl.DataFrame(rows).head(1), root=half.file.parent)
    photos = pl.DataFrame(rows).with_columns(class_index=pl.lit(0, pl.Int32))
    benchmark = Benchmark("halves", half.file.parent, photos, plain.classes, made={"half of a": half})
    assert benchmark.photo_source("half of a") is half
    assert benchmark.photo_source("a.png") == half.file
