"""What the cache holds, and what pruning removes of it."""

from __future__ import annotations

import json
import os
import sqlite3

import colour_model
import pytest

from counterground.cli import main
from counterground.inference import encode_photos
from counterground.models import load_model
from counterground.photos import read_benchmark


@pytest.fixture
def filled(photos, cache):
    """A cache with features of photos, and with answers that were paid for."""
    model = load_model(f"{colour_model.__file__}:brightness", device="cpu")
    encode_photos(model, read_benchmark(photos), cache / "features", batch_size=32, show_progress=False)
    (cache / "answers").mkdir()
    with sqlite3.connect(cache / "answers" / "paid.sqlite") as answers:
        answers.execute("CREATE TABLE answers (photo_id TEXT, question TEXT)")
        answers.execute("INSERT INTO answers VALUES ('a', 'one'), ('a', 'two'), ('b', 'one')")
    return cache


def listed(capsys, *arguments) -> dict:
    capsys.readouterr()
    assert main(["cache", "info", "--format", "json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def parts(cache) -> set[str]:
    found = [path for path in cache.glob("*/*") if path.is_file() or any(path.glob("[!.]*.safetensors"))]
    return {path.parent.name for path in found}


def test_info_names_models_and_counts_photos(filled, capsys):
    found = listed(capsys)
    by_part = {entry["part"]: entry for entry in found["entries"]}
    features = by_part["features"]
    assert features["photos"] == 48
    assert features["about"]["model"].endswith("colour_model.py:brightness")
    assert (features["about"]["device"], features["about"]["batch_size"]) == ("cpu", 32)
    assert features["bytes"] == sum(path.stat().st_size for path in filled.glob("features/*/*"))
    assert by_part["answers"]["photos"] == 2
    assert found["bytes"] == sum(entry["bytes"] for entry in found["entries"])
    assert main(["cache", "info"]) == 0
    table = capsys.readouterr().out
    assert "features" in table
    assert str(filled) in "".join(table.split("\n"))


def test_prune_keeps_what_cannot_be_computed_again(filled, capsys):
    assert main(["cache", "prune", "--older-than", "0m", "--dry-run"]) == 0
    assert "Would remove" in capsys.readouterr().out
    assert {"features", "answers"} <= parts(filled)
    assert main(["cache", "prune", "--older-than", "0m"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("Removed ")
    assert "features" not in parts(filled)
    assert "answers" in parts(filled)
    assert main(["cache", "prune", "--what", "answers"]) == 0
    assert "answers" not in parts(filled)


def test_prune_removes_what_was_not_used_for_long(filled):
    assert main(["cache", "prune", "--older-than", "30d"]) == 0
    assert "features" in parts(filled)
    for path in filled.glob("features/*/*"):
        os.utime(path, (0, 0))
    assert main(["cache", "prune", "--older-than", "30d"]) == 0
    assert not list(filled.glob("features/*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Say what to remove"),
        (["--older-than", "30"], "not a number with one of m, h, d, w"),
        (["--what", "feature"], "Did you mean 'features'"),
    ],
)
def test_a_mistake_removes_nothing(arguments, message, filled, capsys):
    assert main(["cache", "prune", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert {"features", "answers"} <= parts(filled)


def test_a_file_of_a_benchmark_is_no_store(filled, capsys):
    """Whatever a downloaded benchmark calls its files."""
    folder = filled / "benchmarks" / "mine"
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text("[1, 2]")
    (folder / "photo.jpg").write_bytes(b"a photo")
    assert "mine" in str(listed(capsys))
    assert main(["cache", "prune", "--what", "benchmarks"]) == 0
    assert not folder.exists()
