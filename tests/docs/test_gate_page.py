"""What docs/gate.md shows of plans without a run is real, and every exit status is explained."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from counterground.cli import main
from counterground.decision import STATUS

PAGE = (Path(__file__).parents[2] / "docs" / "gate.md").read_text()


def test_the_plan_without_a_run_is_real(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    command, shown = re.search(
        r"```console\n\$ counterground (plan --drop .*?)\n(.*?)```", PAGE, re.DOTALL
    ).groups()
    assert main(shlex.split(command)) == 0
    printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert printed == shown.splitlines()


def test_exit_statuses_are_those_of_the_command():
    stated = {word: int(status) for status, word in re.findall(r"\| (\d) \| (pass|fail|undecided):", PAGE)}
    assert stated == STATUS
