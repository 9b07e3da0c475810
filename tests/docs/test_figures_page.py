"""The commands of docs/figures.md are run as they stand, and its list of figures is complete."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from noise_photos import ANIMALS, save_noise

import counterground as cg
from counterground.cli import main
from counterground.paper.settings import TheorySettings
from counterground.paper.study.theory import simulate_grid

PAGE = (Path(__file__).parents[2] / "docs" / "figures.md").read_text()
(BLOCK,) = re.findall(r"<!-- run -->\n```console\n(.*?)```", PAGE, flags=re.DOTALL)
LINES = BLOCK.strip().splitlines()


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, tiny_clip):
    """Photos of noise, a run of a tiny CLIP on them, and the grid of a theory study."""
    root = tmp_path_factory.mktemp("workplace")
    seed = 0
    for animal, places in ANIMALS.items():
        for group, place in zip(("common", "counter"), places, strict=True):
            for photo in range(2):
                seed += 1
                save_noise(root / "photos" / animal / f"{group}-{place}" / f"{photo}.jpg", seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COUNTERGROUND_CACHE", str(root / "cache"))
        cg.evaluate(root / "photos", f"open_clip:{tiny_clip}", out=root / "runs" / "mine")
    folder = root / "studies" / "theory"
    folder.mkdir(parents=True)
    simulate_grid(TheorySettings(n=500, seeds=2, mu_spu=(1.5,), p_spu=(0.6, 0.9))).write_parquet(
        folder / "grid.parquet"
    )
    (folder / "run.json").write_text('{"study": "theory"}')
    return root


@pytest.mark.slow
def test_the_lines_run(workplace, monkeypatch, capsys):
    monkeypatch.chdir(workplace)
    for line in LINES[1:]:
        words = shlex.split(line)
        assert words[0] == "counterground"
        assert main(words[1:]) == 0, capsys.readouterr().err
        assert {".pdf", ".svg"} & {path.suffix for path in Path(words[-1]).iterdir()}
    assert Path("figures-mine/figure-1-own.pdf").is_file()
    assert Path("figures-beside/figure-2a.svg").is_file()
    assert Path("figures-theory/theory-own.png").is_file()


@pytest.mark.slow
def test_the_notebooks_lines_run(workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    exec(code, {})
    assert Path("figures-mine/figure-2a-own.svg").is_file()
