"""Runs as tables, cards and bibliographies take them."""

import made_runs
import pytest

from counterground.cli import main

make_run, four_models = made_runs.make_run, made_runs.four_models


@pytest.fixture
def shown(capsys):
    """Function: words of `counterground scores` -> what it prints."""

    def run(*words):
        assert main(["scores", *words]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return run
