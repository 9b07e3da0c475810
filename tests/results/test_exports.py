"""Files of scores."""

from __future__ import annotations

import polars as pl
import pytest
from made_runs import write_run

from counterground.cli import main

LEVELS = {"efficientnet-lite0": (0.8, 0.5), "counterground:stamps-biased": (0.7, 0.2)}


@pytest.fixture
def folder(make_run, tmp_path):
    return write_run(make_run(LEVELS), tmp_path / "run")


def test_the_command_writes_each_form(folder, tmp_path, capsys):
    def shown(*words):
        assert main(["scores", str(folder), *words]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    shown("--format", "csv", "--by", "class", "--out", str(tmp_path / "scores.csv"))
    table = pl.read_csv(tmp_path / "scores.csv")
    assert table["class_name"].null_count() == 0
    assert table["model"].n_unique() == 2
    shown("--out", str(tmp_path / "scores.txt"))
    assert "efficientnet-lite0" in (tmp_path / "scores.txt").read_text("utf-8")
    assert "stamps-biased" not in shown("-m", "efficientnet-lite0")
