import csv
import io
import json

import polars as pl
import pytest
from rich.console import Console

from counterground.errors import UsageError
from counterground.metrics import Estimate
from counterground.results import (
    Cell,
    Column,
    ScoresTable,
    Table,
    near_chance,
    plain_text,
    rich_table,
)
from counterground.text import bounds, decimal, p_equals, p_value, percent


def format_scores(scores, style="table", by_class=False, class_names=None):
    view = ScoresTable(scores, "class" if by_class else None, class_names)
    return view if style == "table" else view.write(style)


def text(renderable, width):
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(renderable)
    return console.file.getvalue()


def value_of(scores, model, metric, group=None, column="value"):
    rows = scores.filter(
        pl.col("model") == model,
        pl.col("metric") == metric,
        pl.col("level").eq_missing(pl.lit(group, dtype=pl.String)),
        pl.col("class_index").is_null(),
    )
    return rows[column].item()


@pytest.mark.parametrize(
    ("fraction", "written"),
    [(0.2134, "21.3"), (0.0, "0.0"), (-0.0001, "0.0"), (-0.052, "−5.2"), (1.0, "100.0"), (None, "–")],
)
def test_a_fraction_is_written_as_percent_with_one_decimal(fraction, written):
    assert percent(fraction) == written


def test_other_numbers_have_a_minus_sign_and_no_negative_zero():
    assert [decimal(value) for value in (-0.666, -0.004, 0.8, None)] == ["−0.67", "0.00", "0.80", "–"]
    assert [decimal(value, 3) for value in (-0.0004, -1.0)] == ["0.000", "−1.000"]


def test_bounds_and_p_values():
    assert bounds(-0.02, 0.3) == "[−2.0, 30.0]"
    assert bounds(None, 0.3) == ""
    assert [p_value(p) for p in (0.0004, 0.04, 1.0, None)] == ["< 0.001", "0.040", "1.000", "–"]
    assert [p_equals(p) for p in (0.0004, 0.04, None)] == ["p < 0.001", "p = 0.040", "p –"]
    assert [p_equals(p, at_most=True) for p in (0.0004, 0.04)] == ["p < 0.001", "p ≤ 0.040"]


@pytest.mark.parametrize("width", [80, 140])
def test_the_table_fits_and_holds_the_scores(four_models, width):
    shown = text(format_scores(four_models.estimates()), width)
    assert max(map(len, shown.splitlines())) <= width
    for model in ("efficientnet-lite0", "counterground:stamps-biased"):
        low, high = (value_of(four_models.estimates(), model, "drop", column=c) for c in ("low", "high"))
        assert percent(value_of(four_models.estimates(), model, "drop")) in shown
        assert bounds(low, high) in shown
    assert ("Top-5" in shown) == (width == 140)
    assert "…" not in shown


def test_the_table_by_class_names_each_model_once(four_models):
    shown = text(format_scores(four_models.estimates(), by_class=True, class_names={0: "ice bear"}), 80)
    assert " ".join(line[30:36].strip() for line in shown.splitlines()).count("ice bear") == 4
    for model in four_models.estimates()["model"].unique():
        assert shown.count(model) == 1, model
    assert max(map(len, shown.splitlines())) <= 80


def test_the_table_shows_the_settings_that_differ(four_models):
    other = four_models.estimates().with_columns(prompts=pl.lit("openai"))
    shown = text(format_scores(pl.concat([four_models.estimates(), other])), 140)
    assert "Prompts" in shown
    assert "names openai" in shown


@pytest.mark.parametrize("by_class", [False, True])
@pytest.mark.parametrize("style", ["table", "csv", "json", "markdown", "latex"])
def test_no_scores_are_said_and_do_no_harm(four_models, style, by_class):
    empty = four_models.estimates().clear()
    shown = str(format_scores(empty, style, by_class=by_class, class_names={0: "ice bear"})).strip()
    if style == "csv":
        columns = list(empty.columns)
        if by_class:
            columns.insert(columns.index("class_index") + 1, "class_name")
        assert shown == ",".join(columns)
    elif style == "json":
        assert json.loads(shown)["rows"] == []
    else:
        assert "no scores" in shown


def with_run(run, folder):
    return run.estimates().select(pl.lit(folder).alias("run"), pl.all())


def test_the_same_row_of_two_runs_stands_twice_under_the_name_of_each(make_run):
    runs = [
        make_run({"m": level}, path=f"runs/{name}")
        for level, name in (((0.8, 0.5), "one"), ((0.6, 0.1), "two"))
    ]
    joined = pl.concat([with_run(run, str(run.path)) for run in runs])
    lines = format_scores(joined, "markdown").splitlines()
    assert lines[0].startswith("| Model | Run | Common |")
    for run, line in zip(runs, lines[2:4], strict=True):
        assert line.startswith(f"| m | {run.path.name} |")
        assert percent(value_of(run.estimates(), "m", "drop")) in line
    assert max(map(len, text(format_scores(joined), 80).splitlines())) <= 80
    by_class = text(format_scores(joined, by_class=True), 140)
    assert by_class.count("one") == by_class.count("two") == 1
    assert sum(line.split()[:1] == ["m"] for line in by_class.splitlines()) == 2


def test_a_figure_that_stands_twice_is_refused_not_overwritten(make_run):
    scores = make_run({"m": (0.8, 0.5)}).estimates()
    with pytest.raises(UsageError, match=r"the accuracy of 'm' twice in the same setting.*column 'run'"):
        format_scores(pl.concat([scores, scores]), "markdown")


def test_missing_figures_are_a_dash_never_zero(make_run):
    run = make_run({"m": (0.7, 0.7)}, groups=False)
    plain = text(format_scores(run.estimates()), 80)
    assert "Balanced" in plain
    assert "Drop" not in plain
    assert "Accuracy" in text(format_scores(run.estimates(), by_class=True), 80)
    run = make_run({"m": (0.7, 0.7)}, lacking={0: "counter"})
    row = format_scores(run.estimates(), "markdown", by_class=True).splitlines()[2].split("|")
    assert "–" not in row[3]
    assert [cell.strip() for cell in row[4:6]] == ["–", "–"]


def test_csv_and_json_hold_fractions_as_they_are(four_models):
    rows = list(csv.DictReader(io.StringIO(format_scores(four_models.estimates(), "csv"))))
    overall = four_models.estimates().filter(pl.col("class_index").is_null())
    assert len(rows) == overall.height
    assert [float(row["value"]) for row in rows] == overall["value"].to_list()
    records = json.loads(
        format_scores(four_models.estimates(), "json", by_class=True, class_names={0: "ice bear"})
    )["rows"]
    assert len(records) == four_models.estimates().height - overall.height
    assert {r["class_name"] for r in records if r["class_index"] == 0} == {"ice bear"}


def test_json_writes_what_is_missing_as_null(make_run):
    run = make_run({"m": (0.7, 0.7)}, lacking={0: "common"})
    scores = run.estimates().with_columns(value=pl.col("value").fill_null(float("nan")))
    records = json.loads(format_scores(scores, "json", by_class=True))["rows"]
    assert [r["value"] for r in records if r["class_index"] == 0 and r["metric"] == "drop"] == [None]


def test_markdown_and_latex_escape_names(make_run):
    run = make_run({r"a|b_c & 50% {x} #1 ~^\ <i>": (0.8, 0.5)})
    markdown = format_scores(run.estimates(), "markdown").splitlines()
    assert markdown[2].replace("\\|", "").count("|") == markdown[0].count("|")
    assert "<i>" not in markdown[2]
    latex = format_scores(run.estimates(), "latex")
    assert r"a\textbar{}b\_c \& 50\% \{x\} \#1 \textasciitilde{}\textasciicircum{}" in latex
    assert r"\textasciicircum{}\textbackslash{} \textless{}i\textgreater{}" in latex
    assert all(rule in latex for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    body = latex.split(r"\midrule")[1].split(r"\bottomrule")[0].replace(r"\&", "")
    columns = len(latex.split(r"\begin{tabular}{@{}")[1].split("@{}")[0])
    assert [line.count(" & ") for line in body.strip().splitlines()] == [columns - 1] * 2


def test_latex_takes_no_name_for_an_argument(make_run):
    """After a row's end LaTeX reads [..] as a distance and * as a prohibition to break the page."""
    run = make_run({"[m]": (0.8, 0.5), "*m*": (0.7, 0.4)})
    latex = format_scores(run.estimates(), "latex").splitlines()
    assert sum(line.strip().startswith(("{}[m]", "{}*m*")) for line in latex) == 2
    by_class = format_scores(run.estimates(), "latex", by_class=True, class_names={0: "[ice] bear", 1: "*"})
    assert r"\\*" + "\n  {}[ice] bear & " in by_class
    assert "\n  {}* & " in by_class
    assert by_class.count(r"\multicolumn{5}") == 2
    assert by_class.count(r" \\") >= 18


def lines_of_names(table, width):
    """The first column of a table whose second one is called Run."""
    shown = plain_text(rich_table(table, width), width=width).splitlines()
    end = next(line.index("Run") for line in shown if "Run" in line)
    assert max(map(len, shown)) <= width
    return [line[:end].strip() for line in shown]


def test_a_name_is_broken_only_for_lack_of_room():
    columns = [Column("Model"), Column("Run"), Column("Accuracy", True)]
    rows = [
        [Cell("counterground:stamps-balanced"), Cell(f"run {number} of a few"), Cell("41.0", "[34.6, 47.7]")]
        for number in range(2)
    ]
    table = Table(columns, rows, heads=2)
    assert "counterground:stamps-balanced" in lines_of_names(table, 60)
    assert "counterground:stamps-balanced" in lines_of_names(table, 55)
    narrow = "".join(lines_of_names(table, 36)).replace("─", "")
    assert narrow.count("counterground:stamps-balanced") == 2


def test_a_notebook_shows_scores_as_a_table(make_run):
    run = make_run({"<b>m</b>": (0.8, 0.5)})
    view = format_scores(run.estimates(), by_class=True, class_names={0: "<i>ice</i> bear"})
    shown = view._repr_html_()
    assert "<b>m" not in shown
    assert "<i>" not in shown
    assert "&lt;i&gt;ice&lt;/i&gt; bear" in shown
    assert shown.count("<tr>") == 1 + 1 + 9  # heads, model, classes
    overall = format_scores(run.estimates())._repr_html_()
    low, high = (value_of(run.estimates(), "<b>m</b>", "drop", column=c) for c in ("low", "high"))
    assert bounds(low, high) in overall


def test_the_notebook_fragment_is_escaped_and_repeats_the_notes(make_run):
    run = make_run({"<script>alert(1)</script>": (0.8, 0.5)}, notes=["Conditional on <51> cut-outs."])
    fragment = run._repr_html_()
    assert "<script" not in fragment
    assert "Conditional on &lt;51&gt; cut-outs." in fragment
    assert percent(value_of(run.estimates(), "<script>alert(1)</script>", "drop")) in fragment


def test_accuracy_over_photos_stands_beside_the_balanced_one_where_classes_differ_in_size(make_run):
    equal = make_run({"m": (0.9, 0.5)})
    assert "| Accuracy |" not in format_scores(equal.estimates(), "markdown")
    unequal = make_run({"m": (0.9, 0.5)}, lacking={0: "counter", 1: "common"})
    table = format_scores(unequal.estimates(), "markdown")
    assert table.splitlines()[0].startswith("| Model | Common | Counter | Drop | Balanced | Accuracy |")
    assert f"| {percent(value_of(unequal.estimates(), 'm', 'plain_accuracy'))} " in table
    assert value_of(unequal.estimates(), "m", "plain_accuracy") == unequal.predictions["correct"].mean()


def test_top5_is_left_out_where_it_must_be_100(make_run):
    few = make_run({"m": (0.9, 0.5)})
    assert "Top-5" in format_scores(few.estimates(), "markdown")
    always = pl.col("value").is_not_null() & (pl.col("metric") == "top5_accuracy")
    scores = few.estimates().with_columns(value=pl.when(always).then(1.0).otherwise("value"))
    assert "Top-5" not in format_scores(scores, "markdown")


@pytest.mark.parametrize(
    ("value", "low", "names", "near"),
    [
        (0.0, 0.0, 1000, True),
        (0.03, 0.01, 1000, True),
        (0.2, 0.1, 1000, False),
        (0.6, 0.45, 2, True),
        (0.9, 0.45, 2, False),
        (0.6, 0.52, 2, False),
        (0.54, 0.52, 2, True),
        (0.6, None, 2, False),
        (None, None, 2, False),
    ],
)
def test_near_chance_is_what_could_be_guessing_or_has_no_room_for_a_drop(value, low, names, near):
    assert near_chance(Estimate(value, low, value), 1 / names) is near
