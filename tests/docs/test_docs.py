"""What the documentation shows is run as it stands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import forked
import pytest
from PIL import Image

from counterground.benchmarks import composite, load_backgrounds, load_cutouts
from counterground.photos import Benchmark, read_benchmark

ROOT = Path(__file__).parents[2]


def blocks(page: str) -> list[tuple[str, str]]:
    text = (ROOT / page).read_text()
    return re.findall(r"<!-- run -->\n```(console|python)\n(.*?)```", text, flags=re.DOTALL)


@pytest.fixture
def my_photos(tmp_path, shared_cache, monkeypatch) -> Path:
    """Two animals, each large on one background and hardly visible on the other."""
    with monkeypatch.context() as patch:
        patch.setenv("COUNTERGROUND_CACHE", str(shared_cache))
        animals = {cutout.class_name: cutout.image for cutout in load_cutouts()}
        grounds = {ground.label: ground.image for ground in reversed(load_backgrounds())}
    for animal, places in {"zebra": ("grass", "rock"), "pelican": ("water", "sky")}.items():
        for place, scale in zip(places, (0.8, 0.06), strict=True):
            folder = tmp_path / "my-photos" / animal / place
            folder.mkdir(parents=True)
            for number in range(8):
                center = (0.3 + 0.04 * number, 0.5)
                photo, _ = composite(animals[animal], grounds[place], size=200, scale=scale, center=center)
                photo.save(folder / f"{number}.jpg", quality=95)
    return tmp_path


def read_shown(head: str, root: Path) -> Benchmark:
    """Read the manifest of docs/data.md that begins with ``head``, with photos where it says."""
    shown = re.findall(r"```csv\n(.*?)```", (ROOT / "docs/data.md").read_text(), flags=re.DOTALL)
    (text,) = (each for each in shown if each.strip().startswith(head))
    lines = [line.strip() for line in text.strip().splitlines()]
    for seed, line in enumerate(lines[1:]):
        photo = root / line.partition(",")[0]
        photo.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (40 * seed, 9, 9)).save(photo)
    (root / "my-photos.csv").write_text("\n".join(lines) + "\n")
    return read_benchmark(root / "my-photos.csv")


def test_the_manifest_that_is_shown_is_one(tmp_path):
    found = read_shown("path,class_name,background", tmp_path)
    assert found.notes == ()
    assert found.classes.imagenet == (144, 340)
    assert set(found.photos.select("class_name", "group").rows()) == {
        (name, group) for name in ("zebra", "pelican") for group in ("common", "counter")
    }


@pytest.mark.slow
def test_the_readmes_three_commands(my_photos):
    shown = blocks("README.md")
    assert [kind for kind, _ in shown] == ["console", "python"]
    for command in shown[0][1].strip().splitlines():
        program, *words = shlex.split(command)
        assert program == "counterground"
        done = forked.command(*words, folder=my_photos)
        assert done.returncode == 0, done.stderr
    found = read_benchmark(my_photos / "pairs")
    pairs = set(found.photos.select("class_name", "background", "group").rows())
    assert pairs == {
        ("zebra", "grass", "common"),
        ("zebra", "rock", "counter"),
        ("pelican", "water", "common"),
        ("pelican", "sky", "counter"),
    }
    assert (my_photos / "report.html").stat().st_size > 10_000
