"""Files of earlier versions: read, or refused with one line that says what to do.

The first versions had no columns for how models were loaded and how answers were scored, and did not write
the referee into a benchmark. Their files are written here by code, as they were.
"""

from __future__ import annotations

import json

import polars as pl
import pytest
from noise_photos import save_animals

import counterground as cg
from counterground.cli import main
from counterground.discovery import read_discovery
from counterground.photos import read_benchmark

BRIGHTNESS = "colour_model:brightness"
ASK = ["--label-space", "benchmark"]


def refused(capsys, *words: object) -> str:
    capsys.readouterr()
    assert main([str(word) for word in words]) == 1
    said = capsys.readouterr().err
    assert said.startswith("Error: ")
    assert said.count("\n") == 1
    return said


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_animals(tmp_path / "photos")
    return tmp_path


def make_old_run(folder) -> None:
    for name in ("predictions.parquet", "scores.parquet"):
        table = pl.read_parquet(folder / name)
        table.drop("as_published", "answer_score").write_parquet(folder / name)
    record = json.loads((folder / "run.json").read_text())
    del record["model_warnings"]
    (folder / "run.json").write_text(json.dumps(record))


def test_an_old_run_is_refused_with_what_to_do_and_overwritten_on_request(here, capsys):
    evaluate = ["evaluate", "photos", "-m", BRIGHTNESS, *ASK, "-o", "run", "-q"]
    cg.evaluate("photos", BRIGHTNESS, label_space="benchmark", out="run", report=False)
    new = pl.read_parquet("run/scores.parquet")
    make_old_run(here / "run")
    for words in (
        ["scores", "run"],
        ["compare", "run"],
        ["report", "run", "-o", "r.html"],
        ["figures", "run", "-o", "figures"],
        evaluate,
    ):
        said = refused(capsys, *words)
        assert "The run in run was written by another version of CounterGround" in said
        assert "Evaluate again into a new folder, or with --overwrite" in said
    assert main([*evaluate, "--overwrite"]) == 0
    assert pl.read_parquet("run/scores.parquet").equals(new)


def test_old_pairs_are_read_and_not_taken_for_new_ones(here, capsys):
    discover = [
        "discover",
        "photos",
        "--referee",
        BRIGHTNESS,
        *ASK,
        "--min-drop",
        "0",
        "--split",
        "none",
        "--write-anyway",
        "-q",
    ]
    assert main([*discover, "-o", "pairs"]) == 0
    version = read_benchmark("pairs").version
    record = json.loads((here / "pairs/benchmark.json").read_text())
    old = {key: record[key] for key in ("name", "notes", "root", "version")}
    (here / "pairs/benchmark.json").write_text(json.dumps(old))
    make_old_run(here / "pairs/referee")
    assert read_benchmark("pairs").version == version
    cg.evaluate("pairs", BRIGHTNESS, label_space="benchmark", out="run", report=False)
    assert main(["report", "run", "--discovery", "pairs", "-o", "r.html"]) == 0
    assert "by another version of CounterGround" in refused(capsys, *discover, "-o", "pairs")
    assert main([*discover, "-o", "pairs", "--overwrite"]) == 0
    assert json.loads((here / "pairs/benchmark.json").read_text()) == record


def test_old_pairs_are_shown_without_what_chance_would_have_given(here, capsys):
    cg.discover("photos", BRIGHTNESS, out="pairs", label_space="benchmark", min_drop=0, write_anyway=True)
    record = json.loads((here / "pairs/discovery.json").read_text())
    added = ("choose", "comparable", "exceeds_chance", "photos_needed", "referees")
    for name in [*added, *(name for name in record if name.endswith("_by_chance"))]:
        del record[name]
    record["min_photos"] = 1
    (here / "pairs/discovery.json").write_text(json.dumps(record))
    pairs = pl.read_parquet("pairs/pairs.parquet")
    pairs.drop("half").write_parquet("pairs/pairs.parquet")

    evaluate = ["evaluate", "pairs", "-m", BRIGHTNESS, *ASK, "-q"]
    assert main([*evaluate, "-o", "run"]) == 0
    page = (here / "run/report.html").read_text(encoding="utf-8")
    assert "did not compare them with chance" in page
    assert record["sentence"] in page
    assert main(["report", "run", "--discovery", "pairs", "-o", "r.html"]) == 0
    read = read_discovery(here / "pairs")
    assert not read.exceeds_chance
    assert "–" in repr(read)

    (here / "pairs/discovery.json").write_text("{}")
    assert "The discovery in pairs is damaged" in refused(capsys, *evaluate, "-o", "not run")
    assert not (here / "not run").exists()
