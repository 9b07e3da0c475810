"""Blocks of the README and of pages without a test of their own, run as they stand on a small world."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from noise_photos import save_noise
from PIL import Image

import counterground as cg
from counterground import construction
from counterground.cli import main
from counterground.metrics import DROP, Contrast, Design
from counterground.photos import read_benchmark, write_benchmark

ROOT = Path(__file__).parents[2]
PLACES = {"landbird": ("land", "water"), "waterbird": ("water", "land")}


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"<!-- run[^\n]* -->\n```{language}\n(.*?)```", text, flags=re.DOTALL)


def commands(page: str, starting: str) -> list[list[str]]:
    lines = "".join(blocks(page, "console")).splitlines()
    found = [line.removeprefix("$ ") for line in lines if line.removeprefix("$ ").startswith(starting)]
    assert found, starting
    return [shlex.split(line, comments=True)[1:] for line in found]


@pytest.fixture(scope="module")
def world(tmp_path_factory, tiny_clip):
    """Birds on land and water with every column that the pages name, and runs of two tiny CLIPs on them."""
    root, rows, random = tmp_path_factory.mktemp("world"), [], np.random.default_rng(0)
    for kind, places in PLACES.items():
        for group, place in zip(("common", "counter"), places, strict=True):
            for number in range(24):
                path = save_noise(root / "birds" / kind / f"{group}-{place}" / f"{number}.jpg", len(rows))
                rows.append(
                    {
                        "path": path.relative_to(root / "birds").as_posix(),
                        "class_name": kind,
                        "background": place,
                        "group": group,
                        "place": place,
                        "weather": ("clear", "fog")[number % 2],
                        "variant": ("mixed_same", "mixed_rand")[number // 2 % 2],
                        "object": f"{kind} {number // 8}",
                        "object_area": float(random.uniform(0.1, 0.6)),
                        "object_distance": float(random.uniform(0, 0.5)),
                        "blur": float(random.uniform(0, 1)),
                        "cluster": f"{kind} {number}",
                    }
                )
    pl.DataFrame(rows).write_csv(root / "birds" / "photos.csv")
    gap = Contrast.parse("bg_gap: variant=mixed_same - variant=mixed_rand within object")
    read = replace(read_benchmark(root / "birds" / "photos.csv"), design=Design(contrasts=(DROP, gap)))
    write_benchmark(read, root / "benchmark")
    how = {"label_space": "benchmark", "report": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COUNTERGROUND_CACHE", str(root / "cache"))
        cg.evaluate(root / "benchmark", f"open_clip:{tiny_clip}", out=root / "runs" / "first", **how)
        for name, prompts in (("a", "simple"), ("b", "openai")):
            cg.evaluate(
                root / "benchmark", f"open_clip:{tiny_clip}", prompts=prompts, out=root / "runs" / name, **how
            )
    return root


@pytest.fixture
def here(world, monkeypatch):
    monkeypatch.chdir(world)
    return world


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        *commands("docs/contrasts.md", "counterground"),
        # The run of the paper's models is not here; tests/comparison compares one.
        *(
            words
            for words in commands("docs/write-up.md", "counterground compare runs/")
            if "runs/paper" not in words
        ),
    ],
    ids=" ".join,
)
def test_the_command_runs(words, here, capsys):
    assert main(words) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert said or words[0] in ("report", "figures")
    if "--out" in words:
        assert Path(words[words.index("--out") + 1]).exists()


@pytest.mark.slow
def test_a_design_in_python_leads_to_its_contrast(here):
    (code,) = blocks("docs/contrasts.md", "python")
    exec(code, {})
    assert read_benchmark("birds/benchmark").design.contrasts[0].name == "place_gap"


def test_photos_that_viewers_turn_are_turned(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tag = Image.Exif()
    tag[0x112] = 6
    Path("my-photos/zebra").mkdir(parents=True)
    sideways = Image.new("RGB", (40, 20), "blue")
    sideways.paste("red", (0, 0, 20, 20))
    sideways.save("my-photos/zebra/0.jpg", exif=tag)
    (code,) = blocks("docs/data.md", "python")
    exec(code, {})
    upright = read_benchmark("upright/my-photos")
    image = Image.open(upright.photo_path("zebra/0.jpg"))
    assert image.size == (20, 40)
    assert image.getpixel((10, 5))[0] > 200  # what was on the left is on top


@pytest.mark.slow
def test_the_readmes_python_runs(tmp_path, monkeypatch):
    from noise_photos import save_animals

    save_animals(tmp_path / "my-photos", per_group=2)
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("README.md", "python")
    scope: dict = {}
    exec(code, scope)
    assert set(scope["run"].predictions["model"]) == {"efficientnet-lite0", "efficientnet-lite1"}
    assert Path("report.html").stat().st_size > 10_000


def test_a_pool_is_labelled_by_a_table_and_by_a_script(tmp_path, monkeypatch):
    page = "docs/build-a-benchmark.md"
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("zebra", "zebra", "lion", "lion")):
        save_noise(tmp_path / "photos" / name / f"{number}.jpg", number)
    assert main(["data", "import", "photos", "-o", "my-pool"]) == 0
    kept = pl.read_parquet("my-pool/photos.parquet").sort("key").select("path", "class_name")
    files = sorted(Path("photos").rglob("*.jpg"))
    paths = [str(files[0]), *("my-pool/" + kept["path"])[1:3]]
    rows = {"path": paths, "class_name": kept["class_name"][:3], "background": ["grass", "sand", "dune"]}
    pl.DataFrame(rows).write_csv("labels.csv")
    (command,) = (each for each in commands(page, "counterground data import") if "labels.csv" in each)
    assert main(command) == 0
    with construction.open_pool("my-pool") as pool:
        found = pool.verdicts("background").filter(pl.col("label").is_not_null())
        assert dict(found.select("path", "label").iter_rows()) == dict(
            zip(kept["path"][:3], rows["background"], strict=True)
        )
        assert len(pool.photos()) == 4
    given = [(kept["path"][0], "review", "clarity"), (kept["path"][3], "background", "savanna")]
    pl.DataFrame(given, schema=["path", "task", "label"], orient="row").write_csv("decisions.csv")
    (code,) = (each for each in blocks(page, "python") if "decisions.csv" in each)
    for _ in range(2):
        exec(code, {})
    with construction.open_pool("my-pool") as pool:
        assert len(pool.decisions()) == 5
        assert set(pool.freeze().photos["background"]) == {"sand", "dune", "savanna"}
