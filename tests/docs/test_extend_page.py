"""docs/extend.md: its examples are the files of a package, which is installed and used."""

import os
import re
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import forked
import polars as pl
import pytest
from made_runs import fresh_run, write_run
from PIL import Image

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "examples" / "counterground-extras"


def test_the_page_shows_the_files_of_the_package():
    shown = re.findall(r"```(?:python|toml)\n(.*?)```", (ROOT / "docs" / "extend.md").read_text(), re.DOTALL)
    files = [PACKAGE / "pyproject.toml", *sorted((PACKAGE / "src").glob("*/[!_]*.py"))]
    assert sorted(shown) == sorted(file.read_text() for file in files)
    assert all(len(file.read_text().splitlines()) < 60 for file in files)


@pytest.fixture(scope="module")
def command(tmp_path_factory, shared_cache):
    """Run ``counterground`` where the package is installed."""
    site = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site)]
    subprocess.run([*pip, str(PACKAGE)], check=True)
    found = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH", "")]))

    def run(*arguments: str) -> str:
        done = forked.command(*arguments, environment={"PYTHONPATH": found})
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.mark.slow
def test_the_package_adds_a_model_a_metric_benchmarks_and_a_format(command, tmp_path):
    assert "colour:0" in command("models", "colour:*")
    assert "plain-colours" in command("benchmarks")
    for name, place in product(("zebras", "ostriches"), ("savanna", "zoo")):
        folder = tmp_path / "unpacked" / "zoo-1.0" / "test" / name / place
        folder.mkdir(parents=True)
        Image.new("RGB", (9, 9), (len(name), len(place), 80)).save(folder / "0.png")
    assert "zoo: 4 photos of 2 classes" in command(
        "benchmarks", "get", "zoo", "--from", str(tmp_path / "unpacked")
    )
    command("evaluate", "zoo", "-m", "colour:0", "--out", str(tmp_path / "zoo"))
    command("evaluate", "plain-colours", "-m", "colour:0", "--out", str(tmp_path / "run"))
    scores = pl.read_parquet(tmp_path / "run" / "scores.parquet").filter(metric="top3_accuracy")
    assert scores["n"].to_list() == [16, 8, 8]
    assert "top3_accuracy" in command("scores", str(tmp_path / "run"), "--format", "csv")
    assert "Top-3" in command("scores", str(tmp_path / "run"), "--format", "markdown")
    photos = pl.read_parquet(tmp_path / "run" / "predictions.parquet").select("path", "class_name")
    lines = [f"{path} = {name} (0.9)" for path, name in photos.rows()]
    (tmp_path / "given.lines").write_text("\n".join(lines))
    given = ["--predictions", str(tmp_path / "given.lines"), "--out", str(tmp_path / "given")]
    command("evaluate", "plain-colours", *given)
    assert pl.read_parquet(tmp_path / "given" / "predictions.parquet")["correct"].all()
    assert "centred" in command("mitigate", "--list")
    mend = [
        "mitigate",
        "plain-colours",
        "-m",
        "colour:0",
        "--method",
        "centred",
        "--label-space",
        "benchmark",
    ]
    command(*mend, "--out", str(tmp_path / "centred"))
    mitigated = pl.read_parquet(tmp_path / "centred" / "predictions.parquet")
    assert mitigated["model"].unique(maintain_order=True).to_list() == ["colour:0", "colour:0 + centred"]
    command(
        "data", "export", "plain-colours", "--format", "jsonl", "--private", "--out", str(tmp_path / "out")
    )
    assert len((tmp_path / "out" / "photos.jsonl").read_text().splitlines()) == 16


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    """Run ``counterground`` with the changes of the page."""
    copy = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__"))
    diffs = re.findall(r"```diff\n(.*?)```", (ROOT / "docs" / "extend.md").read_text(), re.DOTALL)
    assert len(diffs) == 4
    for diff in diffs:
        assert len(diff.splitlines()) <= 25
        subprocess.run(["git", "apply", "-p0", "-"], input=diff, text=True, cwd=copy, check=True)
    environment = {**os.environ, "PYTHONPATH": str(copy / "src")}

    def run(*words) -> str:
        command = [sys.executable, "-m", "counterground", *map(str, words)]
        return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout

    return run


def test_a_metric_a_finding_and_a_setting_are_one_change_each(changed, tmp_path):
    run = write_run(fresh_run({"a": (0.9, 0.3)}), tmp_path / "run")
    assert "Top-3" in changed("scores", run, "--format", "markdown")
    changed("report", run, "--no-photos", "-o", tmp_path / "page.html")
    assert 'data-code="few_photos"' in (tmp_path / "page.html").read_text()
    assert "note=TEXT" in changed("evaluate", "-X", "help")


@pytest.mark.slow
def test_a_setting_is_recorded_and_a_contrast_of_a_benchmark_is_scored(changed, tmp_path, shared_cache):
    for number, (own, bg, co) in enumerate(product(("urban", "country"), repeat=3)):
        folder = tmp_path / f"bg-0.5_co_occur_obj-0.5/test/obj-{own}_bg-{bg}_co_occur_obj-{co}"
        folder.mkdir(parents=True)
        for copy in range(2):
            Image.new("RGB", (9, 9), (30 * number, 90 * copy, 80)).save(folder / f"{copy}.jpg")
            Image.new("L", (9, 9), 255).save(folder / f"{copy}_mask.png")
    out = tmp_path / "run"
    changed("benchmarks", "get", "urbancars", "--from", tmp_path)
    asked = ["-m", "counterground:stamps-biased", "--label-space", "benchmark", "-X", "note=again"]
    changed("evaluate", "urbancars", *asked, "-o", out)
    assert '"note": "again"' in (out / "run.json").read_text()
    assert "bg_alone" in changed("scores", out, "--contrast", "bg_alone")
