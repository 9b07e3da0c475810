"""The commands of docs/write-up.md are run as they stand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from noise_photos import ANIMALS, save_noise

import counterground as cg
from counterground.cli import main

PAGE = (Path(__file__).parents[2] / "docs" / "write-up.md").read_text()
BLOCKS = re.findall(r"<!-- run -->\n```console\n(.*?)```", PAGE, flags=re.DOTALL)
LINES = [line for block in BLOCKS for line in block.strip().splitlines()]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, tiny_clip):
    """A folder with a run of a tiny CLIP on two classes of noise."""
    root = tmp_path_factory.mktemp("workplace")
    for number, (animal, places) in enumerate(ANIMALS.items()):
        for group, place in zip(("common", "counter"), places, strict=True):
            for photo in range(2):
                path = root / "photos" / animal / f"{group}-{place}" / f"{photo}.jpg"
                save_noise(path, seed=100 * number + 10 * photo + len(place))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COUNTERGROUND_CACHE", str(root / "cache"))
        cg.evaluate(root / "photos", f"open_clip:{tiny_clip}", out=root / "runs" / "mine")
    return root


@pytest.mark.parametrize("line", LINES, ids=[line.split("--format ")[-1] for line in LINES])
def test_the_line_runs(line, workplace, monkeypatch, capsys):
    monkeypatch.chdir(workplace)
    words = shlex.split(line)
    assert words[0] == "counterground"
    assert main(words[1:]) == 0, capsys.readouterr().err
    if "--out" in words:
        assert Path(words[-1]).stat().st_size > 300
    else:
        assert len(capsys.readouterr().out) > 300


def test_the_notebooks_lines_run(workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    scope: dict[str, object] = {}
    exec(code, scope)
    assert isinstance(scope["run"], cg.Run)
