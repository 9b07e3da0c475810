"""Masks of boxes: the box itself, and what GrabCut finds in it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from masked_photos import SIZE, ellipse, make_benchmark, pixels

from counterground.errors import UsageError
from counterground.masks import make_masks
from counterground.settings import MaskSettings

BOXES = {"box_x": [15.0, None], "box_y": [8.0, None], "box_width": [30.0, None], "box_height": [24.0, None]}


def iou(mask, other):
    mask, other = np.asarray(mask) >= 128, np.asarray(other) >= 128
    return (mask & other).sum() / (mask | other).sum()


@pytest.fixture
def benchmark(tmp_path):
    return make_benchmark(tmp_path / "photos", {"a.png": ellipse(), "b.png": ellipse()}, **BOXES)


def test_a_box_is_a_mask_where_it_is_known(benchmark, tmp_path):
    masks = make_masks(benchmark, "boxes", tmp_path / "masks")
    assert masks.table["reason"].to_list() == [None, "no box"]
    expected = np.zeros(SIZE[::-1], np.uint8)
    expected[8:32, 15:45] = 255
    assert (pixels(tmp_path / "masks/files/a.png.png") == expected).all()
    assert masks.rough
    assert masks.table["box_iou"].to_list() == [1.0, None]


FIRST, SECOND, BEYOND = [15, 8, 10, 10], [30, 20, 12, 12], [-90, -90, 95, 95]  # 5 x 5 of it are inside


@pytest.mark.parametrize(
    ("boxes", "width", "several", "pixels_inside"),
    [
        ([FIRST, SECOND], SIZE[0], "union", 100 + 144),
        ([FIRST, SECOND], 0, "union", 100 + 144),  # as if the size were not stated
        ([FIRST, SECOND, BEYOND], SIZE[0], "largest", 144),
        ([FIRST, SECOND], 2 * SIZE[0], "union", None),
        ([FIRST, None], SIZE[0], "union", None),  # it would stay in the background
        ([FIRST, None], SIZE[0], "largest", None),
    ],
)
def test_boxes_come_from_annotations_too(tmp_path, boxes, width, several, pixels_inside):
    benchmark = make_benchmark(tmp_path / "photos", {"a.png": ellipse(), "b.png": ellipse()})
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": width, "height": SIZE[1]}],
        "annotations": [
            {"id": n, "image_id": 1, "category_id": 1} | ({"bbox": box} if box else {})
            for n, box in enumerate(boxes)
        ],
        "categories": [{"id": 1, "name": "ice bear"}],
    }
    file = tmp_path / "boxes.json"
    file.write_text(json.dumps(content))
    settings = MaskSettings(boxes=file, several=several)
    if pixels_inside is None:
        with pytest.raises(UsageError, match="photos have none"):
            make_masks(benchmark, "boxes", tmp_path / "masks", settings=settings)
        return
    masks = make_masks(benchmark, "boxes", tmp_path / "masks", settings=settings)
    assert masks.table["reason"].to_list() == [None, "no box"]
    assert (pixels(tmp_path / "masks/files/a.png.png") > 0).sum() == pixels_inside


def test_grabcut_finds_the_object_in_its_box(benchmark, tmp_path):
    masks = make_masks(benchmark, "grabcut", tmp_path / "masks")
    assert masks.table["reason"].to_list() == [None, "no box"]
    made = pixels(tmp_path / "masks/files/a.png.png")
    assert made.shape == SIZE[::-1]
    assert iou(made, ellipse()) > 0.9
    assert (made[:, :15] == 0).all()
    assert masks.rough
    assert masks.description["made_by"]["opencv"]
    assert "rough" in masks.summary()


def test_a_large_photo_is_segmented_at_a_smaller_size_and_keeps_its_own(tmp_path):
    mask = ellipse().resize((900, 600))
    boxes = {name: [value[0] * 15] for name, value in BOXES.items()}
    benchmark = make_benchmark(tmp_path / "photos", {"a.png": mask}, **boxes)
    make_masks(benchmark, "grabcut", tmp_path / "masks")
    made = pixels(tmp_path / "masks/files/a.png.png")
    assert made.shape == (600, 900)
    assert iou(made, mask) > 0.9


def test_without_a_box_grabcut_must_be_told_what_stands_for_it(tmp_path):
    benchmark = make_benchmark(tmp_path / "photos", {"a.png": ellipse()})
    with pytest.raises(UsageError, match=r"photos have none.*-X inset=10%"):
        make_masks(benchmark, "grabcut", tmp_path / "masks")
    make_masks(benchmark, "grabcut", tmp_path / "masks", settings=MaskSettings(inset=0.1))
    assert iou(pixels(tmp_path / "masks/files/a.png.png"), ellipse()) > 0.9


def test_a_box_that_says_nothing_gives_no_mask(tmp_path):
    columns = {
        "box_x": [0.0, 100.0],
        "box_y": [0.0, 0.0],
        "box_width": [60.0, 5.0],
        "box_height": [40.0, 5.0],
    }
    benchmark = make_benchmark(tmp_path / "photos", {"a.png": ellipse(), "b.png": ellipse()}, **columns)
    masks = make_masks(benchmark, "grabcut", tmp_path / "masks")
    assert masks.table["reason"].to_list() == ["no box", "no box"]
