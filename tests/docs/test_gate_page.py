"""What docs/gate.md shows is real: the plan, exit statuses, the limits of the file and the workflow."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import made_runs
import pytest
import yaml

import counterground as cg
from counterground.cli import main
from counterground.decision import STATUS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "gate.md").read_text("utf-8")


def test_the_plan_without_a_run_is_real(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    command, shown = re.search(
        r"```console\n\$ counterground (plan --drop .*?)\n(.*?)```", PAGE, re.DOTALL
    ).groups()
    assert main(shlex.split(command)) == 0
    printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert printed == shown.splitlines()


def test_the_drops_that_so_many_photos_show_are_those_of_plan():
    (photos, drops) = (
        re.search(rf"^\| {name} \|(.*) \|$", PAGE, re.MULTILINE)[1].replace(",", "").split("|")
        for name in ("photos", "smallest drop, points")
    )
    for number, drop in zip(photos, drops, strict=True):
        (row,) = cg.plan(drop=0.1, classes=20, photos=int(number) // 40, cluster_size=3).rows.to_dicts()
        assert row["photos_now"] == int(number)
        assert 100 * row["smallest_drop_now"] == pytest.approx(float(drop), abs=0.05)


def test_exit_statuses_are_those_of_the_command():
    stated = {word: int(status) for status, word in re.findall(r"\| (\d) \| (pass|fail|undecided):", PAGE)}
    assert stated == STATUS


def test_the_limits_of_the_file_decide(tmp_path, monkeypatch):
    (toml,) = re.findall(r"<!-- counterground.toml -->\n```toml\n(.*?)```", PAGE, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Path("counterground.toml").write_text(
        toml.replace('"site"', '"background"').replace("80%", "50%"), "utf-8"
    )
    for name, levels in (("baseline", (0.99, 0.97)), ("same", (0.99, 0.97)), ("worse", (0.99, 0.5))):
        folder = made_runs.write_run(made_runs.fresh_run({"model": levels}, per_group=60), tmp_path / name)
        (folder / "predictions.parquet").rename(f"{name}.parquet")
    assert main(["check", "same.parquet"]) == 0
    assert main(["check", "worse.parquet"]) == 3


def test_the_workflow_gives_the_action_what_it_takes():
    (text,) = re.findall(r"<!-- gate.yml -->\n```yaml\n(.*?)```", PAGE, re.DOTALL)
    steps = yaml.safe_load(text)["jobs"]["gate"]["steps"]
    action = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
    assert set(steps[-1]["with"]) <= set(action["inputs"])
    for name in ("max-drop", "min-accuracy", "arguments", "run"):
        assert f"`{name}" in PAGE
        assert name in action["inputs"]
