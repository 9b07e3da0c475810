"""Masks of COCO annotations, compared with pycocotools."""

from __future__ import annotations

import json

import numpy as np
import pytest
from masked_photos import SIZE, ellipse, make_benchmark, pixels
from no_hang import no_hang
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from counterground.errors import UsageError
from counterground.masks import OutlineError, draw_outline, make_masks
from counterground.settings import MaskSettings

WIDTH, HEIGHT = SIZE
POLYGON = [10.5, 5.2, 40.3, 8.9, 35.0, 30.1, 12.7, 25.4]
OTHER = [45.0, 20.0, 55.0, 20.0, 55.0, 35.5, 45.0, 35.5]
CATEGORIES = [{"id": 1, "name": "Ice_bear"}, {"id": 2, "name": "rock"}]


def rle(mask, *, compressed):
    encoded = coco_mask.encode(np.asfortranarray(np.asarray(mask) >= 128))
    if compressed:
        return {"size": encoded["size"], "counts": encoded["counts"].decode()}
    flat = (np.asarray(mask) >= 128).T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges, flat.size]).tolist()
    return {"size": [HEIGHT, WIDTH], "counts": [0, *runs] if flat[0] else runs}


@pytest.fixture
def annotated(tmp_path):
    """Make a benchmark of a photo for each list of annotations, and the file of the annotations."""

    def make(shown, sizes=None, photos=None, names=None):
        names = names or [f"{number}.jpg" for number in range(len(shown))]
        benchmark = make_benchmark(tmp_path / "photos", dict.fromkeys(photos or names, ellipse()))
        images = [
            {"id": 7 + number, "file_name": name, "width": WIDTH, "height": HEIGHT}
            | (sizes or {}).get(number, {})
            for number, name in enumerate(names)
        ]
        listed = [
            {"category_id": 1, "iscrowd": 0, "area": 1, **each, "image_id": 7 + number}
            for number, several in enumerate(shown)
            for each in several
        ]
        for number, each in enumerate(listed):
            each["id"] = 100 + number
        file = tmp_path / "instances.json"
        file.write_text(json.dumps({"images": images, "annotations": listed, "categories": CATEGORIES}))
        return benchmark, file

    return make


def made(annotated, tmp_path, settings=None):
    benchmark, file = annotated
    masks = make_masks(benchmark, file, tmp_path / "masks", settings=settings)
    rows = {row["path"]: row for row in masks.table.iter_rows(named=True)}
    return masks, [rows[path] for path in sorted(rows)]


def test_every_kind_of_outline_is_as_pycocotools_draws_it(annotated, tmp_path):
    kinds = [
        [{"segmentation": [POLYGON]}],
        [{"segmentation": [POLYGON, OTHER]}],
        [{"segmentation": rle(ellipse(), compressed=False)}],
        [{"segmentation": rle(ellipse(), compressed=True)}],
        [{"segmentation": rle(ellipse((-5, -5, 30, 30)), compressed=False)}],  # begins with the object
        [{"segmentation": rle(ellipse((-5, -5, 30, 30)), compressed=True)}],
        [{"segmentation": [POLYGON]}, {"segmentation": rle(ellipse(), compressed=True)}],
    ]
    benchmark, file = annotated(kinds)
    _, rows = made((benchmark, file), tmp_path)
    assert [row["reason"] for row in rows] == [None] * len(kinds)
    oracle = COCO(str(file))
    for number, row in enumerate(rows):
        drawn = [oracle.annToMask(each) for each in oracle.imgToAnns[7 + number]]
        expected = np.maximum.reduce(drawn) * 255
        assert (pixels(tmp_path / "masks" / row["mask"]) == expected).all()
        assert row["area"] == pytest.approx((expected > 0).mean(), abs=1e-5)


@pytest.mark.parametrize(
    "polygon",
    [
        [0, 0, 1e9, 0, 1e9, 1e9],
        [0, 0, 10**400, 0, 5, 5],
        [-1e300, 0, 5, 0, 5, 5],
        [0, 0, 9e5, 9e5] * 20,
        [float("nan"), 0, 5, 0, 5, 5],
    ],
)
def test_points_far_outside_are_refused_and_not_drawn(annotated, tmp_path, polygon):
    """They ended the process: pycocotools computes their pixels in C, without bounds."""
    _, rows = made(annotated([[{"segmentation": [polygon]}], [{"segmentation": [POLYGON]}]]), tmp_path)
    assert [row["reason"] for row in rows] == ["unreadable", None]


def test_the_largest_of_several_objects(annotated, tmp_path):
    both = [{"segmentation": [OTHER]}, {"segmentation": [POLYGON]}]
    benchmark, file = annotated([both])
    _, rows = made((benchmark, file), tmp_path, MaskSettings(several="largest"))
    oracle = COCO(str(file))
    assert (pixels(tmp_path / "masks" / rows[0]["mask"]) == oracle.annToMask(oracle.anns[101]) * 255).all()


def test_crowds_other_categories_and_what_is_missing_are_named(annotated, tmp_path):
    whole = rle(ellipse(), compressed=True)
    shown = [
        [],
        [{"segmentation": [POLYGON], "category_id": 2}],
        [{"segmentation": whole, "iscrowd": 1}],
        [{"segmentation": whole, "iscrowd": 1}, {"segmentation": [OTHER]}],
        [{"segmentation": [POLYGON]}, {"segmentation": []}],
        [{"segmentation": [[1, 2, 3]]}],
        [{"segmentation": {"size": [HEIGHT, WIDTH], "counts": [5, 5]}}],
        [{"segmentation": {"size": [HEIGHT, WIDTH], "counts": whole["counts"] * 2}}],
        [{"segmentation": {"size": [WIDTH, HEIGHT], "counts": whole["counts"]}}],
        [{"segmentation": rle(Image.new("L", SIZE), compressed=True)}],
        [{"segmentation": [POLYGON]}],
    ]
    masks, rows = made(annotated(shown, {10: {"width": 30, "height": 20}}), tmp_path)
    assert {row["path"]: row["reason"] for row in rows} == {
        "0.jpg": "missing",
        "1.jpg": "other category",
        "2.jpg": "crowd only",
        "3.jpg": None,
        "4.jpg": "incomplete",
        **dict.fromkeys(("5.jpg", "6.jpg", "7.jpg"), "unreadable"),
        "8.jpg": "wrong size",
        "9.jpg": "empty",
        "10.jpg": "wrong size",
    }
    assert masks.usable == 1


@pytest.mark.parametrize(
    ("photos", "images", "expected"),
    [
        (["hen/grass/1.jpg", "hen/grass/2.jpg"], ["hen/road/1.jpg", "hen/grass/2.jpg"], ["missing", None]),
        (["hen/grass/1.jpg", "ox/grass/2.jpg"], ["cow/road/1.jpg", "2.jpg"], ["missing", None]),
        (["hen/grass/1.jpg", "ox/grass/2.jpg"], ["train/1.jpg", "train/2.jpg"], [None, None]),
        (["1.jpg", "2.jpg"], ["hen/grass/1.jpg", "hen/road/2.jpg"], [None, None]),
        (["hen/grass/1.jpg", "hen/grass/2.jpg"], ["grass\\1.jpg", "hen/grass/2.jpg"], [None, None]),
        (["hen/a/1.jpg", "hen/b/1.jpg"], ["hen/a/1.jpg", "hen/c/1.jpg"], [None, "missing"]),
        (["hen/1.jpg", "ox/2.jpg"], ["train2017/1.jpg", "val2017/2.jpg"], [None, None]),
        (["photos/hen/1.jpg", "photos/ox/2.jpg"], ["images/hen/1.jpg", "images/ox/2.jpg"], [None, None]),
        (["photos/hen/1.jpg", "photos/ox/2.jpg"], ["/data/x/hen/1.jpg", "photos/2.jpg"], [None, "missing"]),
    ],
)
def test_an_image_in_other_folders_is_another_photo(annotated, tmp_path, photos, images, expected):
    made_of = annotated([[{"segmentation": [POLYGON]}]] * 2, photos=photos, names=images)
    assert [row["reason"] for row in made(made_of, tmp_path)[1]] == expected


def test_a_class_may_have_another_name_among_the_categories(annotated, tmp_path):
    benchmark, file = annotated([[{"segmentation": [POLYGON], "category_id": 2}]])
    _, rows = made((benchmark, file), tmp_path, MaskSettings(categories={"ice bear": "Rock"}))
    assert rows[0]["reason"] is None
    with pytest.raises(UsageError, match="no category 'bolder'"):
        make_masks(benchmark, file, tmp_path / "x", settings=MaskSettings(categories={"ice bear": "bolder"}))
    file.write_text(file.read_text().replace("Ice_bear", "bear"))
    with pytest.raises(UsageError, match="with --category CLASS=CATEGORY"):
        make_masks(benchmark, file, tmp_path / "x")


def test_panoptic_segments_are_the_colours_of_a_png(tmp_path):
    benchmark = make_benchmark(
        tmp_path / "photos", dict.fromkeys(["a.jpg", "b.jpg", "c.jpg", "d.jpg"], ellipse())
    )
    ids = {3: ellipse((2, 2, 20, 20)), 70_000: ellipse((30, 10, 55, 35)), 256: ellipse((22, 0, 28, 39))}
    painted = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for number, mask in ids.items():
        painted[np.asarray(mask) > 0] = (number % 256, number // 256 % 256, number // 65536)
    folder = tmp_path / "panoptic_val"
    folder.mkdir()
    for name in "ab":
        Image.fromarray(painted).save(folder / f"{name}.png")
    Image.fromarray(painted[:-1]).save(folder / "c.png")
    images = [{"id": name, "file_name": f"{name}.jpg", "width": WIDTH, "height": HEIGHT} for name in "abcd"]
    segments = [
        {"id": 3, "category_id": 1, "iscrowd": 0},
        {"id": 70_000, "category_id": 1, "iscrowd": 0},
        {"id": 256, "category_id": 2, "iscrowd": 0},
    ]
    listed = [{"image_id": name, "file_name": f"{name}.png", "segments_info": segments} for name in "abcd"]
    listed[1]["segments_info"] = [*segments, {"id": 9, "category_id": 1, "iscrowd": 0}]
    file = tmp_path / "panoptic_val.json"
    file.write_text(json.dumps({"images": images, "annotations": listed, "categories": CATEGORIES}))
    masks = make_masks(benchmark, file, tmp_path / "masks")
    found = dict(masks.table.select("path", "reason").iter_rows())
    assert found == {"a.jpg": None, "b.jpg": "incomplete", "c.jpg": "wrong size", "d.jpg": "missing"}
    expected = np.maximum(np.asarray(ids[3]), np.asarray(ids[70_000]))
    assert (pixels(tmp_path / "masks/files/a.jpg.png") == expected).all()
    moved = tmp_path / "elsewhere"
    folder.rename(moved)
    with pytest.raises(UsageError, match=r"a.png, into .*panoptic_val"):
        make_masks(benchmark, file, tmp_path / "again")


def test_a_text_of_run_lengths_that_never_ends_takes_no_time():
    with no_hang(), pytest.raises(OutlineError, match="Invalid RLE"):
        draw_outline({"id": 1, "segmentation": {"size": [HEIGHT, WIDTH], "counts": "o" * 1_000_000}}, SIZE)
