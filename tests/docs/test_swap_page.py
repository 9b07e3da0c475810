"""The commands of docs/swap.md are run as they stand, and its table names what swap prints."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from disc_photos import CLASSES, COMMON, LABELS, disc, save

import counterground as cg
from counterground.cli import main

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "swap.md").read_text()
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
    (console, commands), (_, code), (_, one_way) = BLOCKS
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
