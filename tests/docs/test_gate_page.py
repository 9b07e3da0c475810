"""What docs/gate.md shows of plans without a run is real, and every option and exit status is explained."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from counterground.cli import counterground, main
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


@pytest.mark.parametrize("command", ["plan", "check"])
def test_every_option_is_explained(command):
    options = {
        long for option in counterground.commands[command].params for long in option.opts if "--" in long
    }
    for option in options - {"--quiet", "--format", "--model", "--drop"}:
        assert re.search(rf"{option}(?![\w-])", PAGE), option


def test_exit_statuses_are_those_of_the_command():
    stated = {word: int(status) for status, word in re.findall(r"\| (\d) \| (pass|fail|undecided):", PAGE)}
    assert stated == STATUS
