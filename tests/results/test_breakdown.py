"""Accuracy by background, for photos in `<class>/<background>/` without pairs."""

import csv
import io
import json
import re

import polars as pl
import pytest
from made_runs import write_run

from counterground.cli import main

# The command prints it, and no face of the room does: the sentence after the table.
from counterground.metrics import SCORES_SCHEMA, Design, score_by
from counterground.results import ScoresTable, plain_text, scores_of

LEVELS = {"m": (0.8, 0.5), "other": (0.9, 0.2)}


@pytest.fixture
def unpaired(make_run):
    return make_run(LEVELS, groups=False)


def test_accuracy_on_a_background_is_the_mean_over_the_classes_that_have_photos_there(unpaired):
    scores = score_by(unpaired.predictions)
    assert dict(scores.schema) == SCORES_SCHEMA
    for row in scores.iter_rows(named=True):
        seen = unpaired.predictions.filter(
            (pl.col("model") == row["model"]) & (pl.col("background") == row["level"])
        )
        by_class = seen.group_by("class_index").agg(pl.col("correct").mean())
        assert row["value"] == pytest.approx(by_class["correct"].mean(), abs=1e-12)
        assert (row["n"], row["column"]) == (len(seen), "background")
        assert row["low"] <= row["value"] <= row["high"]
    for _, of_model in scores.group_by("model"):
        assert of_model["value"].to_list() == sorted(of_model["value"], reverse=True)
    labelled = unpaired.predictions.with_columns(
        background=pl.when(pl.col("background") != "snow").then(pl.col("background"))
    )
    assert "snow" not in score_by(labelled)["level"]


@pytest.mark.parametrize("width", [20, 30, 40, 60])
def test_no_number_is_cut_on_a_narrow_terminal(unpaired, four_models, width):
    def numbers(view, width):
        table = plain_text(view, width=width).rpartition("\n\n")[0] or plain_text(view, width=width)
        return sorted(re.findall(r"[−\d][\d.,]*\d|\d", table.partition("──\n")[2].partition("percent")[0]))

    views = [
        scores_of([unpaired], by="background"),
        ScoresTable(four_models.estimates(), "class", dict.fromkeys(range(99), "ox")),
    ]
    for view in views:
        expected = numbers(view, 200)
        assert len(expected) > 5
        assert numbers(view, width) == expected


def test_the_command_writes_it_in_every_format(unpaired, tmp_path, capsys):
    folder = str(write_run(unpaired, tmp_path / "run"))

    def shown(*words):
        assert main(["scores", folder, "--by", "background", *words]) == 0
        return capsys.readouterr().out

    assert "Background" in shown()
    rows = list(csv.DictReader(io.StringIO(shown("--format", "csv"))))
    assert list(rows[0]) == list(SCORES_SCHEMA)
    assert json.loads(shown("--format", "json"))["rows"][0]["level"] == rows[0]["level"]
    assert shown("--format", "markdown").startswith("| Model | Background |")
    assert r"\toprule" in shown("--format", "latex")


def test_the_command_says_what_sites_and_pairs_of_values_show(make_run, tmp_path, capsys):
    run = make_run(dict.fromkeys("abcd", (0.8, 0.8)), per_group=60)
    site = pl.col("path").hash(3) % 12
    hard = (site < 3) & (pl.col("path").hash(1) % 10 < 6)
    predictions = run.predictions.with_columns(
        site=pl.format("s{}", site),
        shade=pl.when(hard).then(pl.lit("dark")).otherwise(pl.lit("light")),
        noise=pl.format("n{}", pl.col("path").hash(2) % 4),
        correct=pl.col("correct") & ~hard,
    )
    predictions = predictions.with_columns(cluster=pl.format("{} {}", "site", pl.col("path").hash(7) % 20))
    folder = write_run(type(run)(run.path, run.info, predictions), tmp_path / "run")

    def findings(column):
        assert main(["scores", str(folder), "--by", column, "--format", "json"]) == 0
        found = json.loads(capsys.readouterr().out)["findings"]
        assert {each["subject"] for each in found} == set("abc")  # the first three models
        return {each["code"]: each["numbers"] for each in found if each["subject"] == "a"}

    of_sites = findings("site")
    assert set(of_sites) == {"values_differ", "another_value", "lowest_values", "pairs_differ"}
    assert set(of_sites["lowest_values"]["names"]) == {"s0", "s1", "s2"}
    assert of_sites["another_value"]["values"] == 12
    assert 0.05 < of_sites["values_differ"]["low"] < 0.2 < of_sites["values_differ"]["high"] < 0.5
    pairs = of_sites["pairs_differ"]
    assert (pairs["number"], pairs["tests"]) == (66, 3 * 66)
    assert set(pairs["lower"]) <= {"s0", "s1", "s2"}
    assert min(pairs["low"]) > 0
    shades = findings("shade")
    assert list(shades) == ["pairs_differ"]  # two values
    assert (shades["pairs_differ"]["higher"], shades["pairs_differ"]["tests"]) == (["light"], 3)
    assert list(findings("noise")) == ["pairs_alike"]


def test_by_cluster_photos_of_each_are_independent(unpaired):
    """An interval for other photos at one site does not ask about other sites."""
    by_cluster = score_by(unpaired.predictions, ["cluster"])
    alone = score_by(unpaired.predictions, ["cluster"], design=Design(clusters=("photo_id",)))
    assert by_cluster.equals(alone)
    assert by_cluster["low"].null_count() == 0


def test_a_reader_by_cluster_is_told_what_that_takes_for_granted(make_run, tmp_path, capsys):
    folder = str(write_run(make_run(LEVELS, per_group=40), tmp_path / "run"))
    for column, told in (("cluster", True), ("background", False)):
        assert main(["scores", folder, "--by", column, "--format", "json"]) == 0
        codes = [each["code"] for each in json.loads(capsys.readouterr().out)["findings"]]
        assert ("alone_within" in codes) == told
    assert main(["plan", folder, "--by", "cluster", "--drop", "10%"]) == 2
    assert "--by cluster" in capsys.readouterr().err
