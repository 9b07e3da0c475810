"""Figure 1, on drawn pictures."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from PIL import Image, ImageDraw

from counterground.errors import UsageError
from counterground.photos import read_benchmark
from counterground.results import PREDICTIONS_SCHEMA

GROUNDS = {"snow": (235, 240, 245), "grass": (90, 150, 60), "water": (60, 110, 170), "sky": (150, 200, 240)}
ANIMALS = {"ice bear": ("snow", "grass"), "flamingo": ("water", "sky")}


@pytest.fixture
def drawn(tmp_path):
    rng = np.random.default_rng(0)
    for animal, backgrounds in ANIMALS.items():
        for group, background in zip(("common", "counter"), backgrounds, strict=True):
            folder = tmp_path / "drawn" / animal / f"{group}-{background}"
            folder.mkdir(parents=True)
            for number in range(8):
                picture = Image.new("RGB", (160, 120), GROUNDS[background])
                left = int(rng.integers(20, 70))
                ImageDraw.Draw(picture).ellipse([left, 40, left + 60, 90], fill=(250, 250, 235))
                picture.save(folder / f"{number}.png")
    return read_benchmark(tmp_path / "drawn")


@pytest.fixture
def run(drawn, make_run):
    """A run on the benchmark's photos that is wrong on ice bears on grass alone."""
    rows = []
    for photo in drawn.photos.iter_rows(named=True):
        name = drawn.classes.names[photo["class_index"]]
        correct = (name, photo["group"]) != ("ice bear", "counter")
        row = {key: photo.get(key) for key in PREDICTIONS_SCHEMA}
        row |= {"class_name": name, "cluster": photo["path"], "model": "efficientnet-lite0"}
        row |= {"names": "openai", "prompts": "simple", "protocol": "classification"}
        row |= {"predicted_name": name if correct else "$wolf$", "correct": correct}
        rows.append(row | {"label_space": "imagenet", "true_index": 0, "predicted_index": 0, "true_rank": 0})
    predictions = pl.DataFrame(rows, schema=PREDICTIONS_SCHEMA)
    return replace(
        make_run({"efficientnet-lite0": (0.8, 0.5)}, classes=["ice bear"]), predictions=predictions
    )


def pictures(figure):
    return [axes.get_images()[0].get_array() for axes in figure.axes if axes.get_images()]


def headings(figure):
    return [part._suptitle.get_text() for part in figure.subfigs]


def test_photos_of_both_groups_with_what_the_model_answered(drawn, run, draw):
    drawings, absent = draw(["1"], runs=[run], photos=drawn)
    assert absent == []
    drawing = drawings["figure-1-own"]
    assert drawing.caption.startswith("ice bear: ")  # its drop is the largest
    assert "efficientnet-lite0" in drawing.caption
    common, counter = headings(drawing.figure)
    assert common.startswith("common: snow, 100.0 % correct [")
    assert counter.startswith("counter: grass, 0.0 % correct [")
    shown = pictures(drawing.figure)
    assert len(shown) == 12
    for place, picture in enumerate(shown):
        ground = GROUNDS["snow" if place < 6 else "grass"]
        np.testing.assert_allclose(picture[2, 2], ground, atol=2)
    texts = [text.get_text() for axes in drawing.figure.axes for text in axes.texts]
    assert texts == ["✓ ice bear"] * 6 + ["✗ $wolf$"] * 6


def test_the_class_that_is_asked_for(drawn, run, draw):
    drawings, _ = draw(["1"], runs=[run], photos=drawn, class_name="Flamingo")
    common, counter = headings(drawings["figure-1-own"].figure)
    assert (common.partition(",")[0], counter.partition(",")[0]) == ("common: water", "counter: sky")
    with pytest.raises(UsageError, match=r"no class 'flaming'.* Did you mean 'flamingo'"):
        draw(["1"], runs=[run], photos=drawn, class_name="flaming")


def test_a_changed_photo_is_left_out_and_told(drawn, run, draw):
    first = drawn.photos.filter(pl.col("group") == "common", pl.col("class_index") == 0).sort("photo_id")
    drawn.photo_path(first["path"][0]).write_bytes(b"no photo")
    drawings, _ = draw(["1"], runs=[run], photos=drawn, class_name="flamingo")
    assert len(pictures(drawings["figure-1-own"].figure)) == 11
    assert "cannot be read" in drawings["figure-1-own"].notes[0]
