"""The study as a user runs it: one command, a page, figures, numbers that belong together."""

import json

import polars as pl
import pytest

from counterground.cli import main
from counterground.paper.settings import TheorySettings
from counterground.paper.study import theory  # its number of simulated pairs, for which fewer stand in

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "theory"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(theory, "_TEST", 10_000)  # a quarter: 0.03 is six standard errors
        assert main(["paper", "study", "theory", "--quick", "--out", str(folder)]) == 0
    return folder


def test_all_files_are_there(out):
    expected = {"grid.parquet", "index.html", "run.json", "bounds.parquet"}
    assert expected | {f"theory.{kind}" for kind in ("svg", "png", "pdf")} == {
        path.name for path in out.iterdir()
    }
    record = json.loads((out / "run.json").read_text())
    assert record["settings"]["n"] == TheorySettings(quick=True).n
    assert record["study"] == "theory"


def test_simulation_agrees_with_the_exact_formula_everywhere(out):
    rows = pl.read_parquet(out / "grid.parquet")
    for simulated, exact in (("error_misleads", "exact_error_misleads"), ("accuracy_fits", "exact_fits")):
        assert (rows[simulated] - rows[exact]).abs().max() < 0.03
    assert rows["exact_error_misleads"].is_between(0, 1).all()


def test_a_folder_of_something_else_is_refused(tmp_path, capsys):
    (tmp_path / "run.json").write_text("{}")
    assert main(["paper", "study", "theory", "--quick", "--out", str(tmp_path)]) == 1
    assert "holds other files" in capsys.readouterr().err
