import base64
import hashlib
import json
import re
import shlex
from dataclasses import replace
from types import SimpleNamespace

import polars as pl
import pytest
from html_page import Page

from counterground.errors import CounterGroundError, UsageError
from counterground.metrics import compare_models, score_by
from counterground.reporting import write_report
from counterground.results import Cell, Column, Table, regroup, repeat_command
from counterground.text import bounds, p_value, percent, signed

NASTY = "<script>alert('x')</script>\"&"


@pytest.fixture
def page(tmp_path):
    def write(*runs, **options):
        return Page(write_report(runs, tmp_path / "report.html", **options).read_text("utf-8"))

    return write


def test_the_numbers_on_the_page_are_the_scores(page, four_models):
    text = page(four_models).text
    overall = four_models.estimates().filter(pl.col("class_index").is_null(), pl.col("metric") != "tie_rate")
    shown = overall.filter(
        pl.col("metric").is_in(["accuracy", "drop", "worst_group_accuracy", "ece"])
        | (pl.col("metric") == "top5_accuracy") & pl.col("level").is_null()
    )
    assert shown.height == 4 * 7
    for row in shown.iter_rows(named=True):
        assert f"{percent(row['value'])} {bounds(row['low'], row['high'])}" in text
    lead = max(regroup(four_models.estimates()), key=lambda model: model.get("drop").value)
    drop = lead.get("drop")
    assert f"{lead.label} loses {drop.text} points" in text


def test_every_class_stands_with_its_numbers_and_backgrounds(page, four_models):
    text = page(four_models).text
    drops = four_models.estimates().filter(pl.col("metric") == "drop", pl.col("class_index").is_not_null())
    assert not drops.is_empty()
    for row in drops.iter_rows(named=True):
        assert f"{percent(row['value'])} {bounds(row['low'], row['high'])}" in text
    assert "black swan grass → water" in text


def test_comparisons_are_those_of_the_metrics(page, four_models):
    text = page(four_models).text
    compared = compare_models(four_models.predictions)
    assert not compared.is_empty()
    for row in compared.iter_rows(named=True):
        interval = bounds(row["corrected_low"], row["corrected_high"])
        assert f"{signed(row['value'])} {interval} {p_value(row['p_corrected'])}" in text


def test_the_command_repeats_the_run(page, make_run):
    run = make_run({"open_clip:my dir/x": (0.8, 0.5), "m": (0.7, 0.6)}, name="my photos")
    command = re.search(
        r"(counterground evaluate .*?) BENCHMARK stands for the folder or manifest of my photos",
        page(run).text,
    ).group(1)
    assert shlex.split(command) == [
        *("counterground", "evaluate", "BENCHMARK", "-m", "open_clip:my dir/x", "-m", "m"),
        *("--out", "run"),
    ]
    for built_in in ("stamps", "waterbirds?split=val"):
        command = repeat_command(make_run({"m": (0.7, 0.6)}, name=built_in))
        assert shlex.split(command)[:3] == ["counterground", "evaluate", built_in]
    fitted = replace(run, info=run.info.model_copy(update={"train": run.info.benchmark}))
    assert "-X train=TRAINING " in repeat_command(fitted)
    assert "TRAINING stands for the folder or manifest of my photos" in page(fitted).text


def test_strings_of_the_user_are_escaped(page, make_run):
    run = make_run(
        {NASTY: (0.8, 0.5), f"{NASTY}2": (0.7, 0.6)},
        classes=[NASTY, "</title></svg><img src=x onerror=alert(1)>"],
        name=NASTY,
        notes=[NASTY],
        warnings=[NASTY],
        path=NASTY,
    )
    found = page(run)
    assert len(found.scripts) == 2
    assert not any("alert" in script for script in found.scripts)
    # In the data they stand as texts, which the scripts set as texts.
    shared = next(json.loads(data) for data in found.data if "names" in json.loads(data))
    assert NASTY in shared["models"]
    assert not any("<" in data or "&" in data for data in found.data)
    assert not found.all("img")
    assert not any(name.startswith("on") for _, attributes in found.tags for name in attributes)
    assert found.text.count(NASTY) > 10


def test_the_policy_names_each_script_and_allows_nothing_else(page, four_models):
    found = page(four_models)
    policy = next(a["content"] for a in found.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in found.scripts
    ]
    assert policy == (
        f"default-src 'none'; script-src {' '.join(hashes)}; style-src 'unsafe-inline'; img-src data:; "
        "connect-src 'none'; base-uri 'none'; form-action 'none'"
    )
    assert not any({"src", "xlink:href", "srcset", "data"} & set(attributes) for _, attributes in found.tags)
    assert all(attributes["href"].startswith("#") for attributes in found.all("a"))
    assert not {"link", "iframe", "object", "image", "use"} & {tag for tag, _ in found.tags}


def test_without_pairs_the_accuracy_on_each_background_stands(page, make_run):
    run = make_run({"a": (0.9, 0.3), "b": (0.8, 0.5)}, groups=False)
    text = page(run).text
    rows = score_by(run.predictions)
    assert rows.height == 2 * 5
    for row in rows.iter_rows(named=True):
        assert f"{percent(row['value'])} {bounds(row['low'], row['high'])}" in text
    assert "Accuracy by background" not in page(make_run({"a": (0.9, 0.3)})).text


@pytest.mark.parametrize("cluster", ["one", "one in each class"])
def test_equal_drops_in_one_cluster_are_a_page(page, make_run, cluster):
    """Nothing to scale a chart by: all answers are right, so every drop is 0, and no interval can be had."""
    run = make_run({"m": (0.9, 0.9)}, classes=["ox", "cat"], per_group=3)
    name = pl.lit("c") if cluster == "one" else pl.col("class_name")
    predictions = run.predictions.with_columns(correct=pl.lit(value=True), cluster=name)
    run = replace(run, predictions=predictions)
    text = page(run).text
    assert "The drop of m, 0.0 points" in text
    assert "ox, drop" not in text


def test_a_discovery_is_told_with_both_drops(page, four_models):
    unseen = pl.DataFrame(schema=["photo_id", "path", "licence", "attribution", "source"])
    discovery = SimpleNamespace(
        benchmark=SimpleNamespace(version=four_models.info.source.version, photos=unseen),
        referee="efficientnet-lite0",
        choose="best",
        split="half",
        sentence="On the selection half it drops 62.0 points, on the held-out half 40.0.",
        table=Table([Column("class"), Column("common")], [[Cell("ice bear"), Cell("snow")]]),
        evidence=Table(
            [Column("Evidence"), Column("found", True), Column("by chance", True), Column("p", True)],
            [[Cell("Drop where chosen"), Cell("62.0"), Cell("41.0", "[30.5, 50.1]"), Cell("0.004")]],
            "Drops in points.",
            "Is it more than chance?",
        ),
    )
    text = page(four_models, discovery=discovery).text
    assert discovery.sentence in text
    assert "Drop where chosen 62.0 41.0 [30.5, 50.1] 0.004" in text
    assert "ice bear snow" in text
    assert "No benchmark of these pairs was written" not in text
    discovery.benchmark = None  # as if they did not exceed chance
    assert "No benchmark of these pairs was written" in page(four_models, discovery=discovery).text


def test_no_runs_is_wrong_usage(tmp_path):
    with pytest.raises(UsageError, match="at least one run"):
        write_report([], tmp_path / "r.html")


def test_a_place_that_cannot_be_written_is_one_line(tmp_path, four_models):
    (tmp_path / "file").write_text("")
    with pytest.raises(CounterGroundError, match="Cannot write"):
        write_report([four_models], tmp_path / "file" / "r.html")


def test_names_do_not_turn_figures_round(make_run, tmp_path):
    mean, arabic = "ice\u202e bear\x07", "دب"
    run = make_run({"m\u2066": (0.9, 0.4), "n": (0.8, 0.5)}, classes=[mean, arabic], name="my\u202e photos")
    written = write_report([run], tmp_path / "page.html").read_text("utf-8")
    assert not {"\u202e", "\u2066", "\x07"} & set(written)
    assert '<bdi data-class="0" data-of="1">ice bear</bdi>' in written
    assert f'<bdi data-class="1" data-of="1">{arabic}</bdi>' in written
    assert '"name":"ice bear"' in written
    assert f'"name":"\u2068{arabic}\u2069"' in written  # for the sentences that the script makes
