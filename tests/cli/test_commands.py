"""The command line as a user meets it: a process, its exit status, its lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import polars as pl
import pytest
from noise_photos import save_animals

import counterground as cg
from counterground.cli import main


def command(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    given = [sys.executable, "-m", "counterground", *map(str, words)]
    return subprocess.run(
        given, capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )


def failed(capsys, *words: object) -> tuple[int, str]:
    status = main([str(word) for word in words])
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert "Traceback" not in captured.err
    assert len(lines) == 1, captured.err
    return status, lines[0]


def test_evaluate_then_scores_compare_and_report(photos, tiny_clip, tmp_path, capsys):
    out = tmp_path / "run"
    ran = main(
        [
            "evaluate",
            str(photos),
            "-m",
            f"open_clip:{tiny_clip}",
            "--label-space",
            "benchmark",
            "--out",
            str(out),
        ]
    )
    assert ran == 0
    shown = capsys.readouterr().out
    assert "48 of 48 photos" in shown
    assert sorted(path.name for path in out.iterdir()) == [
        "label_space.json",
        "predictions.parquet",
        "report.html",
        "run.json",
        "scores.parquet",
        "unreadable.csv",
    ]
    assert main(["scores", str(out), "--format", "csv"]) == 0
    frame = pl.read_csv(capsys.readouterr().out.encode())
    overall = frame.filter((pl.col("metric") == "drop") & pl.col("class_index").is_null())
    kept = pl.read_parquet(out / "scores.parquet").filter(
        (pl.col("metric") == "drop") & pl.col("class_index").is_null()
    )
    assert overall["value"].item() == pytest.approx(kept["value"].item())
    assert main(["compare", str(out)]) == 0
    capsys.readouterr()
    assert main(["report", str(out), "--out", str(tmp_path / "page.html")]) == 0
    assert (tmp_path / "page.html").read_text().startswith("<!")


def test_what_is_no_more_than_chance_is_one_line_and_no_mistake(photos, tmp_path, cache, capsys):
    words = ["discover", str(photos), "--referee", "colour_model:brightness", "--label-space", "benchmark"]
    words += ["--out", str(tmp_path / "pairs"), "-q"]
    assert main(words) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("No more than chance: the pairs that colour_model:brightness chose")
    assert line.endswith("No benchmark was written. To write one anyway: --write-anyway.")
    assert not (tmp_path / "pairs" / "benchmark.json").exists()
    words_of_evaluate = ["evaluate", str(tmp_path / "pairs"), "-m", "colour_model:brightness"]
    assert main([*words_of_evaluate, "--out", str(tmp_path / "run")]) == 1
    assert "or no more than chance (discovery.json says which)" in capsys.readouterr().err
    shard = next((cache / "features").glob("*/*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-1])
    assert main([*words, "--write-anyway"]) == 0
    printed, warned = capsys.readouterr()
    assert f"Warning: {shard} is damaged: it is rebuilt." in warned.splitlines()
    assert "Is it more than chance?" in printed
    assert printed.endswith(f"Benchmark: {tmp_path / 'pairs'}\n")


def test_models_are_listed_without_a_network(capsys):
    assert main(["models", "*lite*", "--format", "json"]) == 0
    listed = {row["spec"]: row for row in json.loads(capsys.readouterr().out)}
    assert not listed["efficientnet-lite0"]["needs_network"]
    assert listed["efficientnet-lite0"]["parameters"] > 4_000_000


def test_an_output_that_cannot_be_written(photos, tiny_clip, tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("")
    words = ["evaluate", photos, "-m", f"open_clip:{tiny_clip}", "--label-space", "benchmark", "--out"]
    status, said = failed(capsys, *words, blocked / "run")
    assert (status, "Cannot write" in said) == (1, True)
    status, said = failed(capsys, *words, "/proc/run")
    assert (status, "Cannot write" in said) == (1, True)


def test_debug_shows_the_traceback(tmp_path):
    plain, debug = command("scores", tmp_path), command("scores", tmp_path, "--debug")
    assert "Traceback" not in plain.stderr
    assert "Traceback" in debug.stderr
    assert plain.returncode == debug.returncode == 1


@pytest.mark.slow
@pytest.mark.parametrize("words", ["models --format json", "models"])
def test_a_reader_that_leaves_is_no_failure(words):
    shell = f"{sys.executable} -m counterground {words} | head -1; exit ${{PIPESTATUS[0]}}"
    ran = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    assert ran.returncode == 0
    assert ran.stdout.count("\n") == 1
    assert "Error" not in ran.stderr


def shell(line: str, *words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a line of Bash in which "$@" is the command."""
    given = ["bash", "-c", line, "bash", sys.executable, "-m", "counterground", *map(str, words)]
    return subprocess.run(
        given, capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )


@pytest.fixture(scope="module")
def bright(tmp_path_factory):
    """A run with a drop of which nothing is certain."""
    root = tmp_path_factory.mktemp("bright")
    save_animals(root / "photos")
    cg.evaluate(root / "photos", "colour_model:thousand", out=root / "run", report=False)
    return root / "run"


def test_a_verdict_remains_if_the_reader_leaves(bright):
    ran = shell(
        '"$@" | true; exit ${PIPESTATUS[0]}', "check", bright, "--max-drop", "0%", PYTHONUNBUFFERED="1"
    )
    assert ran.returncode == main(["check", str(bright), "--max-drop", "0"])
    assert ran.returncode in (3, 4)
    assert ran.stderr == ""


def test_shells_complete_commands_and_options():
    complete = {"_COUNTERGROUND_COMPLETE": "bash_complete"}
    ran = command(**complete, COMP_WORDS="counterground evaluate --li", COMP_CWORD="2")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "plain,--limit\n", "")
    assert command(_COUNTERGROUND_COMPLETE="nonsense").returncode == 1


def test_a_mistyped_second_model_is_told_before_the_first_is_run(photos, tiny_clip, tmp_path, cache, capsys):
    words = [
        "evaluate",
        photos,
        "-m",
        f"open_clip:{tiny_clip}",
        "-m",
        "efficientnet-lite9",
        "--out",
        tmp_path / "out",
    ]
    status, said = failed(capsys, *words)
    assert (status, "efficientnet-lite" in said) == (2, True)
    assert not (cache / "features").exists()
