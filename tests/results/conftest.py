"""Runs as tables and cards take them."""

import made_cells
import made_runs
import pytest

from counterground.cli import main

make_run, four_models, four_cells = made_runs.make_run, made_runs.four_models, made_cells.four_cells


@pytest.fixture
def shown(capsys):
    """Function: words of `counterground scores` -> what it prints."""

    def run(*words):
        assert main(["scores", *words]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return run
