"""The commands of docs/intervene.md are run as they stand, and its table names what swap prints."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from disc_photos import CLASSES, COMMON, LABELS, disc, save

import counterground as cg
from counterground.cli import counterground, main
from counterground.photos import assign_classes
from counterground.results import EFFECTS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "intervene.md").read_text()
BLOCKS = re.findall(r"<!-- run -->\n```(console|python)\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """Four discs of each class on each of two backgrounds, and their masks in a folder of their own."""
    rng = np.random.default_rng(0)
    for name, colour in CLASSES.items():
        for label, behind in LABELS.items():
            group = "common" if COMMON[name] == label else "counter"
            for number in range(4):
                mask = disc(rng.integers(28, 37, 2), int(rng.integers(10, 18)), soft=True)
                pixels = behind + (mask[..., None] / 255) * (np.array(colour) - behind)
                pixels += rng.integers(-8, 9, pixels.shape)
                file = f"{name}/{group}-{label}/{number}.png"
                save(tmp_path / "my-photos" / file, pixels.clip(0, 255).astype(np.uint8))
                save(tmp_path / "my-masks" / file, mask)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_own_photos_on_the_command_line_and_in_python(workplace, capsys):
    (_, one_way), (console, commands), (_, code) = BLOCKS
    assert console == "console"
    for command in commands.strip().splitlines():
        assert main(shlex.split(command)[1:]) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    assert "16 of 16 photos have a usable mask" in printed
    for title in ("Observed drop", "= background", "+ size and position", "+ rest", "Mixed-Same"):
        assert title in printed, title
    exec(code, {})
    assert "efficientnet-lite0" in capsys.readouterr().out
    exec(one_way.replace("runs/swap", "runs/mine"), {})
    assert capsys.readouterr().out.count("efficientnet-lite0") == 2
    assert cg.open_run("runs/python").info.intervention.foregrounds == 4


@pytest.mark.slow
def test_the_contrast_on_the_page_can_be_asked_for(workplace, capsys):
    (command,) = (
        line for line in PAGE.splitlines() if line.startswith("counterground scores") and "same" in line
    )
    model = {"kinds": ["same", "other"], "foregrounds": 2, "backgrounds_per_label": 1, "report": False}
    cg.swap("my-photos", "efficientnet-lite0", masks="my-masks", out="runs/mine", **model)
    assert main(shlex.split(command)[1:]) == 0, capsys.readouterr().err
    assert "swap=same" in capsys.readouterr().out


def test_every_option_of_its_own_is_explained():
    options = {long for option in counterground.commands["swap"].params for long in option.opts}
    own = {"--masks", "--kinds", "--labels", "--backgrounds-per-label", "--foregrounds", "--placement"}
    own |= {"--match-colour", "--examples", "--saliency"}
    assert own <= options
    for option in own:
        assert re.search(rf"{option}(?![\w-])", PAGE), option


def test_every_effect_is_explained():
    for title in EFFECTS.values():
        assert f"| {title.format(background='LABEL', k='*k*')} |" in PAGE, title


def test_boxes_of_the_natural_photos_are_inside_and_their_classes_imagenets():
    shown = pl.read_csv(ROOT / "scripts" / "gcompris_photos.csv")
    for low, high in (("left", "right"), ("top", "bottom")):
        inside = (shown[low] >= 0) & (shown[low] < shown[high]) & (shown[high] <= 100)
        assert inside.all(), shown.filter(~inside)
    assert None not in assign_classes(shown["class_name"].to_list()).label_space.imagenet
    assert f"{len(shown)} show an animal" in PAGE
