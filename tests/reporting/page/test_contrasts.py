"""The page of a design with four cells, two attributes and several contrasts."""

import json
import re
from dataclasses import replace

import polars as pl
import pytest
from html_page import Page
from made_cells import MODELS

from counterground.metrics import Design
from counterground.reporting import write_report
from counterground.text import bounds, percent

SIDES = ("place=water & co_object=boat", "place=land & co_object=nothing")


def written(row):
    return f"{percent(row['value'])} {bounds(row['low'], row['high'])}".strip()


def overall(run, contrast, side=None):
    about = {"metric": contrast} if side is None else {"contrast": contrast, "level": side}
    rows = run.scores().filter(**about).to_dicts()
    assert len(rows) == run.estimates()["model"].n_unique()
    return rows


@pytest.fixture(scope="module")
def of(four_cells, tmp_path_factory):
    """Function: contrast -> (the page, what its scripts read, by id)."""

    def make(contrast=None, **options):
        path = tmp_path_factory.mktemp("page") / "report.html"
        html = write_report([four_cells[0]], path, contrast=contrast, **options).read_text("utf-8")
        found = re.findall(r'<script type="application/json" id="([^"]+)">(.*?)</script>', html, re.DOTALL)
        return Page(html), {name: json.loads(content) for name, content in found}

    return make


@pytest.fixture(scope="module")
def own(of):
    return of()


def section(page, start, end):
    """The words of the page from one heading to another."""
    text = page.text.split(f" {start} ")[-1]
    return text.split(f" {end} ")[0]


def test_the_benchmarks_own_contrast_is_what_the_page_is_about(own, four_cells):
    text, run = own[0].text, four_cells[0]
    for group in ("place=land", "place=water"):
        for row in overall(run, "place_gap", group):
            assert written(row) in text
    lead = max(overall(run, "place_gap"), key=lambda row: row["value"])
    loses = f"{lead['model']} loses {percent(lead['value'])} points ["
    assert loses in text
    assert "on place=water instead of place=land." in text
    assert not re.search(r"\b(common|counter|background)\b", text.split("Run details")[0], re.IGNORECASE)


def test_another_contrast_by_name(of, four_cells):
    page, _ = of("both_shortcuts")
    for group in SIDES:
        for row in overall(four_cells[0], "both_shortcuts", group):
            assert written(row) in page.text
    assert re.search(
        rf"on {SIDES[1]} (instead of|than on) {SIDES[0]}|{SIDES[1]} than on {SIDES[0]}", page.text
    )


def test_every_cell_and_the_worst_of_each_model(own, four_cells):
    run = four_cells[0]
    listed = section(own[0], "Accuracy by cell", "Accuracy by place")
    rows = run.by(("class_name", "place")).to_dicts()
    assert len(rows) == len(MODELS) * 4
    worst = {row["model"]: row for row in overall(run, "worst_group_accuracy")}
    for row in rows:
        assert written(row) in listed
    for row in worst.values():
        lowest = [each for each in rows if each["model"] == row["model"]]
        lowest = min(lowest, key=lambda each: each["value"])
        assert lowest["value"] == row["value"]
        assert f"{written(lowest)} worst" in listed
    assert listed.count(" worst") == len(worst) + listed.count("minus worst")
    for metric in ("mean_minus_worst", "average(training)"):
        for row in overall(run, metric):
            assert written(row) in listed


def of_design(make_run, name, design, tmp_path, **columns):
    made = make_run({name: (0.9, 0.6)}, path=tmp_path / name)
    weather = pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.lit("sun")).otherwise(pl.lit("rain"))
    rows = made.predictions.with_columns(weather=weather, **columns)
    record = made.info.benchmark.model_copy(update={"design": design.to_json()})
    info = made.info.model_copy(update={"benchmark": record})
    return replace(made, info=info, predictions=rows)


def test_runs_of_several_designs_on_the_same_photos_share_no_table(make_run, tmp_path):
    """The cells of one design would stand above the mean less the worst of the other's."""
    runs = [
        of_design(make_run, name, Design(cells=("class_name", column)), tmp_path)
        for name, column in (("a", "weather"), ("b", "background"))
    ]
    text = Page(write_report(runs, tmp_path / "page.html", photos=False).read_text("utf-8")).text
    for run, column in zip(runs, ("weather", "background"), strict=True):
        (figure,) = overall(run, "mean_minus_worst")
        cells = text.partition(f"Class · {column} ")[2]
        assert cells.partition("Mean minus worst ")[2].startswith(f"{percent(figure['value'])} – ")
