"""Duplicates and copies in other classes, on real photographs that were edited."""

from __future__ import annotations

import pytest
from PIL import ImageDraw, ImageOps

from counterground.construction.curation import curate
from counterground.construction.settings import CurateSettings


@pytest.fixture
def fox(animals):
    return animals["red_panda"]


def test_edited_copies_point_at_the_larger_photo(make_pool, fox, spoil, rows_of, flagged_of):
    pool = make_pool(
        {
            "red_panda/original.png": fox,
            "red_panda/encoded.jpg": spoil.encoded(fox, 40),
            "red_panda/small.jpg": spoil.encoded(fox, 80, longest=160),
            "red_panda/brighter.jpg": spoil.scaled_light(fox, 1.2),
            "red_panda/blurred.jpg": spoil.blurred(fox, 2),
            "red_panda/cropped.jpg": spoil.cropped(fox, 0.97),
            "red_panda/grey.jpg": fox.convert("L"),
        }
    )
    curate(pool.root)
    rows = rows_of(pool, "perceptual hash")
    copies = ["blurred.jpg", "brighter.jpg", "cropped.jpg", "encoded.jpg", "grey.jpg", "small.jpg"]
    assert flagged_of(pool, "perceptual hash") == copies
    assert rows["original.png"]["related"] is None
    assert rows["original.png"]["value"] is None
    assert rows["small.jpg"]["value"] <= 8
    assert "bits of the perceptual hash (limit 8) from files/red_panda/" in rows["small.jpg"]["explanation"]
    assert rows["encoded.jpg"]["reason"] == "duplicate"
    assert 0.5 <= rows["encoded.jpg"]["priority"] <= 1


def test_what_is_no_copy_is_not_flagged(make_pool, animals, fox, spoil, flagged_of):
    """Another photo, even of the same observation; a mirrored one; a part of it."""
    pool = make_pool(
        {
            "red_panda/1.jpg": fox,
            "red_panda/2.jpg": animals["squirrel"],
            "red_panda/mirrored.jpg": ImageOps.mirror(fox),
            "red_panda/part.jpg": spoil.cropped(fox, 0.5),
        },
        observation={"red_panda/1.jpg": "inaturalist:7", "red_panda/2.jpg": "inaturalist:7"},
    )
    curate(pool.root)
    for signal in ("same content", "perceptual hash"):
        assert flagged_of(pool, signal) == []


def test_57_different_photos_hold_no_duplicate(make_pool, animals):
    pool = make_pool({f"animal/{name}.jpg": image for name, image in animals.items()})
    report = curate(pool.root)
    assert report.photos == 57
    assert report.flagged == 0
    assert report.queue["score"].to_list() == [0.0] * 57


def test_the_same_file_twice(make_pool, fox, rows_of, flagged_of):
    pool = make_pool({"red_panda/b.jpg": fox})
    make_pool({"red_panda/a.jpg": fox, "red_panda/c.jpg": fox})
    curate(pool.root)
    assert flagged_of(pool, "same content") == ["a.jpg", "c.jpg"]
    rows = rows_of(pool, "same content")
    assert rows["a.jpg"]["related"] == "files/red_panda/b.jpg"
    assert rows["b.jpg"]["explanation"] == "Identical later files: 2."
    assert flagged_of(pool, "perceptual hash") == []


def test_hashes_need_not_be_equal(make_pool, animals, rows_of):
    """The trap: a near duplicate taken for a photo with an *equal* perceptual hash."""
    photo = animals["kitten"]
    stamped = photo.copy()
    ImageDraw.Draw(stamped).rectangle((0, 0, 60, 20), fill="white")
    pool = make_pool({"cat/photo.png": photo, "cat/stamped.jpg": stamped})
    curate(pool.root)
    row = rows_of(pool, "perceptual hash")["stamped.jpg"]
    assert row["flagged"]
    assert 0 < row["value"] <= 8
    curate(pool.root, CurateSettings(hash_radius=int(row["value"]) - 1))
    assert not rows_of(pool, "perceptual hash")["stamped.jpg"]["flagged"]
