"""The study as a user runs it: one command, a page, figures, numbers that belong together."""

import json
import re

import numpy as np
import polars as pl
import pytest

from counterground.cli import main
from counterground.paper.study import QUICK_THEORY
from counterground.paper.study.theory import (
    MEAN_OF_CLASS,
    Definition,
    TheorySettings,
    _study,  # its number of simulated pairs, for which fewer stand in
    draw_theory,
    exact_accuracy,
    study_theory,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "theory"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_study, "_TEST", 10_000)  # a quarter: 0.03 is six standard errors
        assert main(["study", "theory", "--quick", "--out", str(folder)]) == 0
    return folder


def test_all_files_are_there(out):
    expected = {"grid.parquet", "index.html", "run.json", "sweeps.parquet"}
    assert expected | {f"theory.{kind}" for kind in ("svg", "png", "pdf")} == {
        path.name for path in out.iterdir()
    }
    record = json.loads((out / "run.json").read_text())
    assert record["settings"]["n"] == QUICK_THEORY.n
    assert record["study"] == "theory"


def test_simulation_agrees_with_the_exact_formula_everywhere(out):
    for name in ("grid", "sweeps"):
        rows = pl.read_parquet(out / f"{name}.parquet")
        if name == "sweeps":
            rows = rows.filter(~((pl.col("sweep") == "pairs") & (pl.col("value") < 1000)))
        for simulated, exact in (("error_misleads", "exact_error_misleads"), ("accuracy_fits", "exact_fits")):
            assert (rows[simulated] - rows[exact]).abs().max() < 0.03
        assert rows["exact_error_misleads"].is_between(0, 1).all()


def test_more_dimensions_than_pairs_are_among_the_sweeps(out):
    rows = pl.read_parquet(out / "sweeps.parquet").filter(pl.col("n") < pl.col("value"))
    assert {(row["n"], row["value"]) for row in rows.to_dicts()} == {*QUICK_THEORY.wide}
    assert "500 pairs, dimension 1000" in (out / "index.html").read_text()


def test_the_page_says_of_both_bounds_where_they_fail(out):
    page = " ".join((out / "index.html").read_text().split())
    assert "exact accuracy where it fits is at least the printed bound in 4 of 6" in page
    assert "exact error where the background misleads is at least the printed bound in 4 of 6" in page
    assert page.count("it is not for some p<sub>spu</sub> up to 0.6") >= 2


def test_a_bound_that_holds_nowhere_is_not_said_to_be_too_low(tmp_path, monkeypatch):
    monkeypatch.setattr(_study, "_TEST", 500)
    settings = TheorySettings(n=100, seeds=1, mu_spu=(1.5,), p_spu=(0.5,), wide=())
    page = " ".join(study_theory(tmp_path / "theory", settings).read_text().split())
    assert page.count("at least the printed bound in 0 of 1 settings") == 4
    assert "where it holds" not in page
    assert ">nan<" not in page  # one seed has no standard deviation


def test_rho_changes_nothing_and_noise_does(out):
    rows = pl.read_parquet(out / "sweeps.parquet").filter(prompt=MEAN_OF_CLASS)
    rho = rows.filter(sweep="rho")["error_misleads"]
    assert rho.max() - rho.min() < 1e-12
    noise = rows.filter(sweep="noise")["exact_error_misleads"]
    assert noise.max() - noise.min() > 0.01


def test_the_figure_shows_the_numbers(out):
    grid = pl.read_parquet(out / "grid.parquet")
    left, right = draw_theory(grid, QUICK_THEORY).axes
    shown = {
        tuple(np.round(np.asarray(line.get_ydata(), float), 6))
        for axes in (left, right)
        for line in axes.get_lines()
    }
    seen = grid.filter(mu_spu=1.5, prompt=MEAN_OF_CLASS)
    assert tuple(np.round(100 * seen["accuracy_fits"].to_numpy(), 6)) in shown
    exact = [exact_accuracy(Definition(1.5, p), MEAN_OF_CLASS)[1] for p in np.linspace(0.5, 1, 101)]
    assert tuple(np.round(100 * np.array(exact), 6)) in shown


def test_the_page_stands_alone_and_says_what_came_out(out):
    page = (out / "index.html").read_text()
    answer = json.loads((out / "run.json").read_text())["answer"]
    assert answer.split(",")[0] in page
    assert not re.search(r"(src|href)=.https?:", page)
    assert len(set(re.findall(r'\bid="([^"]+)"', page))) == len(re.findall(r'\bid="([^"]+)"', page))


def test_the_bound_stands_beside_the_prompt_that_it_is_proven_for(out):
    answer = json.loads((out / "run.json").read_text())["answer"]
    proven, other = answer.split(
        "If prompts are the mean of the class, which the printed proof does not cover"
    )
    assert "if prompts name the object only" in proven
    assert "exact formula says 46.3 %, the printed lower bound 44.5 %" in proven
    assert "(exact: 75.5 %)" in other
    assert "bound" not in other


def test_a_folder_of_something_else_is_refused(tmp_path, capsys):
    (tmp_path / "run.json").write_text("{}")
    assert main(["study", "theory", "--quick", "--out", str(tmp_path)]) == 1
    assert "holds other files" in capsys.readouterr().err
