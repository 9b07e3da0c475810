"""Clarity by masks: small, off the centre, absent, unreadable."""

from __future__ import annotations

import pytest
from PIL import Image, ImageDraw

from counterground.construction.curation import curate


def drawn(box, size=(200, 100)):
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).rectangle(box, fill=255)
    return mask


@pytest.fixture
def masked(make_pool, animals):
    """Photos with masks: white on black, transparent, one that is no image, one that is not there."""
    photos = {f"a/{name}.jpg": image for name, image in list(animals.items())[:7]}
    names = list(photos)
    pool = make_pool({})
    masks = {
        "good": drawn((60, 20, 140, 80)),
        "small": drawn((95, 48, 104, 52)),
        "edge": drawn((170, 0, 199, 99)),
        "none": drawn((0, 0, 0, 0)).point(lambda _: 0),
        "alpha": Image.merge("RGBA", [Image.new("L", (50, 50), 255)] * 3 + [drawn((0, 0, 4, 4), (50, 50))]),
    }
    (pool.files / "masks").mkdir()
    for name, mask in masks.items():
        mask.save(pool.files / f"masks/{name}.png")
    (pool.files / "masks/broken.png").write_bytes(b"no image")
    chosen = dict(zip(names, [*masks, "broken", "missing"], strict=True))
    make_pool(photos, mask={path: f"files/masks/{name}.png" for path, name in chosen.items()})
    return pool, {name: path.split("/")[1] for path, name in chosen.items()}


def test_small_and_distant_objects_are_unclear(masked, rows_of):
    pool, photo = masked
    report = curate(pool.root)
    area, offset = rows_of(pool, "object area"), rows_of(pool, "object offset")
    flagged = {
        name: (area[photo[name]]["flagged"], offset[photo[name]]["flagged"])
        for name in photo
        if photo[name] in area
    }
    assert flagged == {
        "good": (False, False),
        "small": (True, False),
        "edge": (False, True),
        "none": (True, False),
        "alpha": (True, True),
    }
    assert area[photo["small"]]["reason"] == "clarity"
    assert area[photo["small"]]["value"] == pytest.approx(10 * 5 / 20_000)
    assert area[photo["none"]]["explanation"] == "The object covers 0 % of the photo (limit 2 %)."
    assert len(report.notes) == 2
    assert report.notes[0].startswith("The mask files/masks/broken.png (not an image)")
    assert "files/masks/missing.png" in report.notes[1]
    for mask in (pool.files / "masks").iterdir():
        mask.unlink()
    assert len(curate(pool.root).notes) == 7  # each mask "was ignored", and so is what was found in it before
    assert rows_of(pool, "object area") == rows_of(pool, "object offset") == {}


def test_masks_decide_the_clarity_of_their_photos(masked, rows_of, tmp_path, monkeypatch):
    pool, photo = masked
    (tmp_path / "my_flat.py").write_text(
        "import torch\n"
        "class Flat(torch.nn.Module):\n"
        "    def forward(self, batch):\n"
        "        return torch.zeros(len(batch), 3)\n"
        "def flat():\n"
        "    return Flat(), lambda image: torch.zeros(3, 4, 4), ['a', 'b', 'c']\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    curate(pool.root, model="my_flat:flat")
    assert set(rows_of(pool, "margin")) == {photo["broken"], photo["missing"]}
    assert all(row["flagged"] for row in rows_of(pool, "margin").values())
