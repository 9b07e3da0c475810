"""Each caveat stands below a table of scores where it applies, and nowhere else."""

import json
from dataclasses import replace

import made_runs
import polars as pl
import pytest

import counterground as cg
from counterground.cli import main
from counterground.comparison import selection_of
from counterground.findings import judge_scores
from counterground.photos import Discovered

make_run = made_runs.make_run
CLEAR = {"a": (0.9, 0.3), "b": (0.9, 0.8)}


def chosen(run, split):
    about = vars(Discovered("a", split, 0.05, "stamps@0", "stamps"))
    benchmark = run.info.benchmark.model_copy(update=about)
    return replace(run, info=run.info.model_copy(update={"benchmark": benchmark}))


def one_cluster_each(run, number):
    place = pl.col("path").hash() % number
    return replace(run, predictions=run.predictions.with_columns(cluster=place.cast(pl.String)))


CASES = {
    "selection_unknown": (lambda make: make(CLEAR, name="mine"), lambda make: make(CLEAR, name="stamps")),
    "chosen_here": (lambda make: chosen(make(CLEAR), "none"), lambda make: chosen(make(CLEAR), "half")),
    "chose_here": (lambda make: chosen(make(CLEAR), "none"), lambda make: chosen(make(CLEAR), "half")),
    "near_chance": (lambda make: make(CLEAR | {"c": (0.0, 0.0)}), lambda make: make(CLEAR)),
    "few_clusters": (
        lambda make: one_cluster_each(make(CLEAR), 5),
        lambda make: one_cluster_each(make(CLEAR), 50),
    ),
}


@pytest.mark.parametrize("code", CASES)
def test_a_caveat_is_told_once_where_it_applies(make_run, code):
    with_it, without = ([each.code for each in judge_scores([case(make_run)])] for case in CASES[code])
    assert with_it.count(code) == 1
    assert code not in without


def test_photos_without_groups_have_no_sides(make_run):
    run = make_run(CLEAR)
    run = replace(run, predictions=run.predictions.with_columns(group=pl.lit(None, pl.String)))
    assert judge_scores([run])[0].code == "no_sides"
    assert selection_of(run).is_known


def test_a_contrast_that_was_picked_after_looking_is_exploratory(make_run):
    run = make_run(CLEAR)
    rows = run.predictions.with_columns(size=pl.when(group="common").then(0.1).otherwise(0.9))
    run = replace(run, predictions=rows)
    codes = {each.code for each in judge_scores([run], "size<0.5 - size>=0.5 within class_name")}
    assert "exploratory" in codes
    assert "exploratory" not in {each.code for each in judge_scores([run])}


def test_the_command_prints_findings_and_json_holds_them(make_run, tmp_path, capsys):
    folder = str(made_runs.write_run(make_run(CLEAR, name="mine"), tmp_path / "run"))
    assert main(["scores", folder]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert main(["scores", folder, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)["findings"]
    assert {"code", "subject", "numbers", "text"} <= set(found[0])
    assert all(each["text"] in printed for each in found)
    assert main(["scores", folder, "--format", "csv"]) == 0
    assert "loses" not in capsys.readouterr().out


def test_a_run_has_its_commands_as_methods(make_run, tmp_path):
    folders = [
        made_runs.write_run(make_run({name: (0.9, 0.5)}, path=name), tmp_path / name) for name in ("x", "y")
    ]
    first, second = map(cg.open_run, folders)
    assert first.scores(by="background").equals(cg.scores(first, by="background"))
    assert first.compare(second).tests.equals(cg.compare(folders).tests)
    assert first.report(tmp_path / "page.html").read_text().startswith("<!")
