"""Contrasts, cells and attributes from a manifest to what commands and functions show."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from made_runs import write_run

import counterground as cg
from counterground.cli import main
from counterground.errors import UsageError
from counterground.metrics import Contrast, Design, score_by
from counterground.results import (
    regroup,
)

DESIGN = Design(
    ("class_name", "place"),
    (
        Contrast("place_gap", "place=land", "place=water"),
        Contrast("fog", "weather=clear", "weather=fog", ("class_name", "place")),
        Contrast("to_training", "average(training)", "place=water & weather=fog"),
    ),
    {"training": {("ox", "land"): 90, ("ox", "water"): 10, ("gull", "land"): 5, ("gull", "water"): 95}},
)
LEVELS = {"m": (0.9, 0.5), "other": (0.8, 0.6), "third": (0.7, 0.65)}


@pytest.fixture(scope="module")
def designed(make_run):
    """A run of two classes on two places in two weathers, without common and counter photos."""
    run = make_run(LEVELS, classes=["ox", "gull"], per_group=40)
    rows = run.predictions.with_columns(
        place=pl.when(pl.col("group") == "common").then(pl.lit("land")).otherwise(pl.lit("water")),
        size=pl.int_range(pl.len()).over("model") / 160,
        weather=pl.when(pl.col("path").hash() % 3 > 0).then(pl.lit("clear")).otherwise(pl.lit("fog")),
        group=pl.lit(None, pl.String),
    )
    fixed = [name for name in rows.columns if name not in ("place", "size", "weather")]
    rows = rows.select(*fixed, "place", "size", "weather")
    record = run.info.benchmark.model_copy(update={"name": "birds", "design": DESIGN.to_json()})
    info = run.info.model_copy(update={"benchmark": record})
    return replace(run, info=info, predictions=rows)


@pytest.fixture(scope="module")
def folder(designed, tmp_path_factory):
    return str(write_run(designed, tmp_path_factory.mktemp("runs") / "birds"))


@pytest.fixture
def shown(folder, capsys):
    def show(*words, status=0, command="scores"):
        assert main([command, folder, *words]) == status
        out, err = capsys.readouterr()
        return err if status else out

    return show


def accuracy(run, model, *conditions):
    return run.predictions.filter(pl.col("model") == model, *conditions)["correct"].mean()


def test_a_run_is_read_back_with_its_design_and_attributes(designed, folder):
    back = cg.open_run(folder)
    assert back.design == DESIGN
    assert back.estimates().equals(designed.estimates())
    assert back.photos.columns[-3:] == ["place", "size", "weather"]


def test_the_table_leads_with_the_benchmarks_own_contrast(shown):
    table = shown("--format", "markdown").splitlines()[0]
    assert table.startswith(
        r"| Model | place=land | place=water | place\_gap | Balanced | fog | to\_training |"
    )
    assert "| Average(training) | Worst group |" in table
    by_class = shown("--by", "class", "--format", "markdown").splitlines()[0]
    assert by_class.startswith(
        r"| Model | Class | place=land | place=water | place\_gap | fog | to\_training |"
    )


def test_one_contrast_has_a_table_of_its_own(designed, shown):
    table = shown("--contrast", "fog", "--format", "markdown")
    assert table.startswith("| Model | weather=clear | weather=fog | fog | p (Holm) | n |")
    assert "mean over 4 strata of class_name and place" in table.replace("\\", "")
    rows = list(csv.DictReader(io.StringIO(shown("--contrast", "fog", "--format", "csv"))))
    assert [row["level"] for row in rows[:3]] == ["weather=clear", "weather=fog", ""]
    figures = regroup(designed.estimates())[0].of(DESIGN.contrasts[1])
    assert float(rows[2]["value"]) == pytest.approx(figures.left.value - figures.right.value)
    cells = [
        accuracy(
            designed,
            "m",
            pl.col("weather") == "clear",
            pl.col("class_name") == name,
            pl.col("place") == place,
        )
        for name in ("ox", "gull")
        for place in ("land", "water")
    ]
    assert figures.left.value == pytest.approx(np.mean(cells), abs=1e-12)
    assert "| ox |" in shown("--contrast", "fog", "--by", "class", "--format", "markdown")


def test_an_expression_is_a_contrast_too(designed, shown):
    text = "small: size<0.5 - size>=0.5 within place"
    rows = json.loads(shown("--contrast", text, "--format", "json"))["rows"]
    expected = np.mean(
        [
            accuracy(designed, "m", pl.col("place") == place, pl.col("size") < 0.5)
            - accuracy(designed, "m", pl.col("place") == place, pl.col("size") >= 0.5)
            for place in ("land", "water")
        ]
    )
    assert rows[2]["metric"] == "small"
    assert rows[2]["value"] == pytest.approx(expected, abs=1e-12)
    assert cg.scores(designed, contrast="fog").height == 3 * 3
    assert cg.format_scores(designed, "markdown", contrast="fog").startswith("| Model | weather=clear")
    assert "<table" in cg.format_scores(designed, contrast="fog")._repr_html_()
    with pytest.raises(UsageError, match=r"There is no format 'markdwon'.*Did you mean 'markdown'"):
        cg.format_scores(designed, "markdwon", contrast="fog")


def test_scores_are_broken_down_by_an_attribute_and_by_cell(designed, shown):
    table = shown("--by", "weather", "--format", "markdown")
    assert table.startswith("| Model | Weather | Accuracy | n |")
    assert cg.scores(designed, by="weather").equals(score_by(designed.predictions, ("weather",)))
    cells = shown("--by", "cell", "--format", "markdown")
    assert cells.startswith("| Model | Class, place | Accuracy | n |")
    worst = cg.scores(designed, by="cell").filter(model="m")["value"].min()
    found = designed.estimates().filter(model="m", metric="worst_group_accuracy")["value"][0]
    assert worst == pytest.approx(found, abs=1e-12)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--by", "wether"), "There is no column 'wether' for a breakdown; there are class_name, background"),
        (("--by", "size"), "The column 'size' has numbers; a breakdown takes attributes"),
        (("--by", "group"), "No photo of these runs has a group: leave out --by group."),
        (("--contrast", "fogg"), "There is no contrast 'fogg'; there is place_gap: "),
        (("--contrast", "place=lnd - all"), "Did you mean 'land'?"),
        (("--contrast", "fog", "--by", "weather"), "leave out by weather"),
    ],
)
def test_what_cannot_be_shown_is_said_in_one_line(shown, words, message):
    said = shown(*words, status=2)
    assert message in said
    assert len(said.strip().splitlines()) == 1


def test_models_are_compared_in_the_benchmarks_own_contrast(designed, shown):
    found = cg.compare(designed)
    assert found.contrast == DESIGN.contrasts[0]
    by_model = dict(zip(found.points["model"], found.points["drop"], strict=True))
    for model in LEVELS:
        rows = designed.estimates().filter(
            pl.col("model") == model, pl.col("contrast") == "place_gap", pl.col("class_index").is_null()
        )
        sides = {row["level"]: row["value"] for row in rows.iter_rows(named=True)}
        assert by_model[model] == sides[None] == pytest.approx(sides["place=land"] - sides["place=water"])
    assert set(found.tests["metric"]) == {"accuracy", "place_gap"}
    assert found.robustness.lines[0].fit.n == 3
    assert found.ranks["rank"].sort().to_list() == [1, 2, 3]
    table = shown("--contrast", "fog", "--format", "markdown", command="compare")
    assert "| Model | weather=clear | weather=fog | fog |" in table
    assert "accuracy, weather=fog" in table
    record = json.loads(shown("--format", "json", command="compare"))
    assert record["contrast"] == "place_gap: place=land - place=water"
    assert "The paper has the drop only" in shown(
        "--contrast", "fog", "--published", command="compare", status=2
    )


def test_a_side_with_several_values_is_one_column_of_markdown(designed):
    """Their sign ``|`` would end the cell: with more titles than cells, GitHub shows no table at all."""
    text = cg.format_scores(designed, "markdown", contrast="weather=clear|fog - place=water within all")
    head, rule, row = text.splitlines()[:3]
    assert r"| weather=clear\|fog | place=water |" in head
    assert len({line.replace(r"\|", "").count("|") for line in (head, rule, row)}) == 1


@pytest.mark.parametrize(
    ("contrast", "message"),
    [
        (Contrast("x", "ground=wet", "ground=dry"), "There is no column 'ground' for the contrast 'x'"),
        (Contrast("x", "place=land", "place=moon"), "No photo has place=moon"),
        (Contrast("place_gap", "place=water", "place=land"), "The design has another contrast of that name"),
    ],
)
def test_a_contrast_that_does_not_fit_a_run_is_not_called_damage_of_its_files(contrast, message, designed):
    with pytest.raises(UsageError, match=message):
        designed.estimates(contrast)
