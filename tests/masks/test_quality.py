"""Which masks are usable."""

from __future__ import annotations

import numpy as np
import pytest
from masked_photos import SIZE, ellipse, make_benchmark
from PIL import Image, ImageDraw

from counterground.errors import UsageError
from counterground.masks import make_masks
from counterground.settings import MaskSettings

WIDTH, HEIGHT = SIZE


def rectangles(*boxes, holes=()):
    mask = Image.new("L", SIZE)
    for box in boxes:
        ImageDraw.Draw(mask).rectangle(box, fill=255)
    for hole in holes:
        ImageDraw.Draw(mask).rectangle(hole, fill=0)
    return mask


@pytest.fixture
def judged(tmp_path):
    """Return the row of masks.csv of a mask."""

    def judge(mask, limits=None, **columns):
        columns = {name: [value] for name, value in columns.items()}
        benchmark = make_benchmark(tmp_path / "photos", {"a.jpg": ellipse()}, **columns)
        (tmp_path / "pngs").mkdir(exist_ok=True)
        mask.save(tmp_path / "pngs/a.png")
        settings = limits or MaskSettings()
        made = make_masks(benchmark, tmp_path / "pngs", tmp_path / "masks", settings=settings)
        return made.table.row(0, named=True)

    return judge


def test_measures_of_a_mask_are_counted_by_hand(judged):
    mask = rectangles((0, 0, 19, 9), (30, 20, 49, 29), holes=[(35, 22, 39, 26)])
    row = judged(mask)
    pixels = 200 + 200 - 25
    assert row["area"] == pytest.approx(pixels / (WIDTH * HEIGHT), abs=1e-6)
    assert (row["edges"], row["parts"]) == (2, 2)
    assert row["holes"] == pytest.approx(25 / 400, abs=1e-6)
    assert row["reason"] is None


@pytest.mark.parametrize(
    ("mask", "limits", "reason"),
    [
        (rectangles((5, 5, 8, 9)), {}, "too small"),
        (rectangles((0, 0, WIDTH, HEIGHT), holes=[(30, 0, 31, HEIGHT)]), {"max_edges": 4}, "too large"),
        (rectangles((0, 10, WIDTH, HEIGHT)), {}, "touches edges"),
        (rectangles(*[(9 * n, 5, 9 * n + 5, 30) for n in range(1, 6)]), {"max_parts": 4}, "many parts"),
        (rectangles((5, 5, 40, 35), holes=[(10, 10, 30, 30)]), {}, "holes"),
        (
            rectangles((0, 0, 59, 39), holes=[(10, 10, 49, 29)]),
            {"min_area": 0.8},
            "too small; touches edges; holes",
        ),
    ],
)
def test_each_limit_gives_its_reason(judged, mask, limits, reason):
    assert judged(mask, MaskSettings(**limits))["reason"] == reason


def test_specks_are_no_parts(judged):
    row = judged(rectangles((5, 5, 40, 35), (50, 5, 51, 6), (50, 15, 51, 16)), MaskSettings(max_parts=1))
    assert (row["parts"], row["reason"]) == (1, None)


def test_a_mask_must_agree_with_the_known_box(judged):
    box = {"box_x": 10.0, "box_y": 10.0, "box_width": 20.0, "box_height": 20.0}
    row = judged(rectangles((10, 10, 29, 19)), **box)
    assert row["box_iou"] == pytest.approx(0.5)
    assert row["reason"] is None
    row = judged(rectangles((10, 10, 29, 18)), **box)
    assert row["box_iou"] == pytest.approx(0.45)
    assert row["reason"] == "box disagrees"


def test_limits_judge_anew_and_make_nothing_anew(judged, tmp_path):
    mask = rectangles((5, 5, 8, 9))
    assert judged(mask)["reason"] == "too small"
    before = (tmp_path / "masks/files/a.jpg.png").stat().st_mtime_ns
    assert judged(mask, MaskSettings(min_area=0))["reason"] is None
    assert (tmp_path / "masks/files/a.jpg.png").stat().st_mtime_ns == before


def test_limits_that_no_mask_keeps_are_refused():
    with pytest.raises(UsageError, match="limits of a mask"):
        MaskSettings(min_area=0.5, max_area=0.5)


def test_soft_alpha_counts_from_the_middle(judged):
    soft = Image.fromarray(np.where(np.arange(WIDTH) < 30, 127, 128).astype(np.uint8)[None].repeat(HEIGHT, 0))
    assert judged(soft, MaskSettings(max_edges=4))["area"] == pytest.approx(0.5)
