"""The GitHub Action: its step runs in bash as GitHub's runner does, and fails a job only on what must."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import made_runs
import pytest
import yaml

ACTION = yaml.safe_load((Path(__file__).parents[2] / "action.yml").read_text("utf-8"))
STEPS = ACTION["runs"]["steps"]
LEVELS = {"sure": (0.9, 0.85), "leans": (0.9, 0.4), "between": (0.9, 0.78)}


@pytest.fixture(scope="module")
def runs(make_run, tmp_path_factory):
    """Lone files of a model each, and a command ``counterground`` beside them."""
    root = tmp_path_factory.mktemp("runs")
    for name, levels in LEVELS.items():
        folder = made_runs.write_run(make_run({name: levels}, per_group=80), root / "runs" / name)
        (folder / "predictions.parquet").rename(root / f"{name} model.parquet")
    command = root / "bin" / "counterground"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m counterground "$@"\n')
    command.chmod(0o755)
    return root


@pytest.fixture(scope="module")
def tables(runs):
    """Photos that are elsewhere, and what two models predicted; one is worse on counter photos."""
    rows = [(f"{n}.jpg", ("fox", "hare")[n % 2], ("common", "counter")[n // 2 % 2]) for n in range(400)]
    photos = ["path,class_name,group", *map(",".join, rows)]
    (runs / "photos.csv").write_text("\n".join(photos), "utf-8")
    for version, wrong in (("v6", 40), ("v7", 8)):
        named = (("hare", "fox")[n % 2] if n % wrong // 2 == 1 else rows[n][1] for n in range(400))
        lines = [f"{path},{name}" for (path, *_), name in zip(rows, named, strict=True)]
        (runs / f"{version}.csv").write_text("\n".join(["photo,prediction", *lines]), "utf-8")
    return runs


def run_check(root, tmp_path, **inputs):
    """Run the step that checks with these inputs; return the process, the summary and the outputs."""
    given = {name: inputs.pop(name.replace("-", "_"), "") for name in ACTION["inputs"]}
    assert not inputs
    step = next(step for step in STEPS if step.get("id") == "check")
    environment = {
        name: given[re.fullmatch(r"\$\{\{ inputs\.([a-z-]+) \}\}", value)[1]]
        for name, value in step["env"].items()
    }
    files = {name: tmp_path / name.lower() for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")}
    for file in files.values():
        file.touch()
    script = tmp_path / "step.sh"
    script.write_text(step["run"])
    path = f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", script],
        cwd=root,
        env={**os.environ, "PATH": path, **environment, **{name: str(file) for name, file in files.items()}},
        capture_output=True,
        text=True,
        check=False,
    )
    return done, *(file.read_text("utf-8") for file in files.values())


@pytest.mark.parametrize(
    ("model", "verdict", "status", "annotation"),
    [("sure", "pass", 0, None), ("leans", "fail", 3, "::error"), ("between", "undecided", 0, "::warning")],
)
def test_only_a_broken_limit_fails_the_job(runs, tmp_path, model, verdict, status, annotation):
    done, summary, outputs = run_check(runs, tmp_path, run=f"{model} model.parquet", max_drop="15%")
    assert done.returncode == status, done.stderr
    assert outputs == f"verdict={verdict}\n"
    assert f"| {model} |" in summary
    assert verdict in summary
    said = [line.partition(" ")[0] for line in done.stdout.splitlines() if line.startswith("::")]
    assert said == [annotation] * (annotation is not None)


def test_every_input_reaches_the_check(runs, tmp_path):
    done, summary, outputs = run_check(
        runs,
        tmp_path,
        run="sure model.parquet",
        baseline="leans model.parquet",
        max_drop="15%",
        min_accuracy="70%",
        arguments="--by background --margin 5%",
    )
    assert (done.returncode, outputs) == (0, "verdict=undecided\n"), done.stderr
    rows = [line for line in summary.splitlines() if line.startswith("| sure")]
    assert len(rows) == 7, "two limits on the drop, and one on the accuracy of each of five backgrounds"
    assert "at most 5 % larger than that of leans in" in summary


def test_predictions_are_scored_first(tables, tmp_path):
    for version, status in (("v6", 0), ("v7", 3)):
        (tmp_path / version).mkdir()
        done, summary, _ = run_check(
            tables,
            tmp_path / version,
            predictions=f"{version}.csv",
            data="photos.csv",
            max_drop="20%",
        )
        assert done.returncode == status, done.stderr
        assert f"| {version} |" in summary


@pytest.mark.parametrize(
    ("inputs", "status"),
    [({"run": "nowhere", "max_drop": "15%"}, 1), ({"run": "sure model.parquet", "max_drop": "much"}, 2)],
)
def test_an_error_fails_the_job_with_its_line(runs, tmp_path, inputs, status):
    done, _, outputs = run_check(runs, tmp_path, **inputs)
    assert done.returncode == status
    assert done.stderr.startswith("Error: ")
    assert not outputs


def test_what_users_write_is_never_part_of_a_script():
    assert all("${{" not in step["run"] and step["shell"] == "bash" for step in STEPS)
    named = re.findall(r"inputs\.([a-z-]+)", str(STEPS))
    assert sorted(named) == sorted(ACTION["inputs"])
    assert ACTION["runs"]["using"] == "composite"
