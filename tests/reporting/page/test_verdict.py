"""What the page says is no stronger than the tests: findings by their codes, with a run that has each and one
that lacks it."""

from dataclasses import replace

import polars as pl
import pytest

from counterground import metrics
from counterground.comparison import full_comparison
from counterground.decision import plan_photos
from counterground.metrics import Contrast, score_predictions
from counterground.photos import Discovered
from counterground.results import regroup
from counterground.settings import PlanSettings
from counterground.text import bounds, p_value, signed


def models_of(run):
    return regroup(run.estimates())


@pytest.fixture
def found(section_of):
    """Function: (*runs) -> the findings of their section, by code."""
    return lambda *runs: {each.code: each for each in section_of(*runs).findings}


def test_a_drop_that_stands_out_leads(make_run, found):
    told = found(make_run({"a": (0.9, 0.2), "b": (0.9, 0.88)}, per_group=60))
    assert next(iter(told)) == "loses_most"
    assert told["loses_most"].subject == "a"
    assert told["larger"].numbers["others"] == ("b",)
    assert told["larger"].numbers["tests"] == 4
    assert not {"tied", "untested", "not_clear", "not_established"} & set(told)
    assert "do_compare" in told


def test_the_sentence_has_the_interval_of_the_corrected_test(make_run, section_of):
    run = make_run({"a": (0.9, 0.2), "b": (0.9, 0.88)}, per_group=60)
    claim = section_of(run).claim
    rows = run.predictions.filter(pl.col("model") == "a")
    (expected,) = regroup(score_predictions(rows, by_class=False, alpha=0.025))
    drop = expected.get("drop")
    assert (claim.numbers["low"], claim.numbers["high"]) == (drop.low, drop.high)
    assert claim.numbers["low"] < models_of(run)[0].get("drop").low


def chosen(run, referee, split):
    """The run on a benchmark whose pairs ``referee`` chose."""
    how = Discovered(referee, split, 5.0, "stamps@0", "stamps")
    benchmark = run.info.benchmark.model_copy(update=vars(how))
    return replace(run, info=run.info.model_copy(update={"benchmark": benchmark}))


@pytest.mark.parametrize(
    ("referee", "split", "claim", "warned"),
    [
        ("a", "none", "not_established", {"chose_here", "chosen_here", "biased_ranking"}),
        ("b", "none", "not_established", {"chose_here", "chosen_here", "ranking_uncertain"}),
        ("a", "cross", "not_established", {"chose_other_half", "chose_pairs", "biased_ranking"}),
        ("b", "cross", "loses_most", {"chose_other_half", "chose_pairs"}),
        ("a", "half", "loses_most", {"chose_pairs"}),
    ],
)
def test_a_drop_on_the_photos_that_chose_the_pairs_is_not_shown(
    make_run, found, referee, split, claim, warned
):
    run = make_run({"a": (0.9, 0.2), "b": (0.9, 0.88)}, per_group=60)
    told = found(chosen(run, referee, split))
    assert next(iter(told)) == claim
    choice = {"chose_here", "chosen_here", "chose_pairs", "chose_other_half", "selection_unknown"}
    assert set(told) & (choice | {"biased_ranking", "ranking_uncertain"}) == warned
    assert ("do_measure_elsewhere" in told) == (claim == "not_established")


def test_no_drop_shown_is_said(make_run, found):
    told = found(make_run({"a": (0.8, 0.7), "b": (0.8, 0.71)}, per_group=5))
    assert next(iter(told)) == "not_clear"
    assert not {"confounded", "do_swap", "do_mitigate"} & set(told)
    assert "do_add_photos" in told


def test_the_largest_of_many_drops_is_corrected_for_their_number(make_run, found):
    """Alone the drop is significant; as the largest of twelve it may be chance."""
    alone = make_run({"a": (0.8, 0.74)}, path="alone", per_group=30)
    many = make_run({"a": (0.8, 0.74), **{f"m{k}": (0.8, 0.8) for k in range(11)}}, path="many", per_group=30)
    drop = next(model for model in models_of(many) if model.label == "a").get("drop")
    assert drop.p_value < 0.05 < 12 * drop.p_value
    told = found(alone)
    assert "loses" in told
    assert "corrected" not in told
    told = found(many)
    assert told["not_clear"].subject == "a"
    assert told["corrected"].numbers["tests"] == 12
    assert told["not_clear"].numbers["low"] <= 0 < drop.low


@pytest.mark.parametrize(
    ("left", "right", "family"),
    [("background=snow", "background=sky", 10), ("group=common", "group=counter & background=sky", None)],
)
def test_a_contrast_picked_after_looking_is_corrected_for_what_it_could_have_been(
    make_run, section_of, left, right, family
):
    run = make_run({"a": (0.9, 0.2)}, per_group=60)
    compared = full_comparison([run], published=False, contrast=Contrast("picked", left, right, ()))
    told = {each.code: each for each in section_of(run, comparison=compared).findings}
    assert ({"exploratory", "not_established"} <= set(told)) == (family is None)
    assert family is None or told["corrected"].numbers["tests"] == family


def test_the_drop_over_other_classes_is_said_with_what_intervals_are_about(make_run, found):
    run = make_run({"a": (0.9, 0.3)}, per_group=60)
    told = found(run)["other_classes"]
    assert told.numbers["interval"] == models_of(run)[0].get("drop").classes_interval


def test_where_each_class_has_one_group_the_other_is_missing(make_run, section_of):
    one_sided = {0: "common", 1: "counter"}
    section = section_of(make_run({"a": (0.9, 0.3), "b": (0.8, 0.4)}, classes=["x", "y"], lacking=one_sided))
    assert section.lead is None
    assert section.claim.code == "no_sides"


@pytest.mark.parametrize("right", [(1.0, 0.97), (0.99, 0.94), (0.8, 0.6), (0.6, 0.6)])
def test_report_and_plan_agree_about_photos(make_run, found, right):
    run = make_run({"a": right}, classes=["x", "y"], per_group=30)
    plan = plan_photos(run, PlanSettings(drop=0.05)).rows.row(0, named=True)
    told = found(run)
    if plan["photos"] <= plan["photos_now"]:
        assert told["photos_enough"].numbers["photos"] == plan["photos_now"]
        assert "photos_needed" not in told
    else:
        assert told["photos_needed"].numbers["needed"] == plan["photos"]
        assert told["photos_needed"].numbers["power_now"] == plan["power_now"]
        assert "photos_enough" not in told


def test_one_cluster_has_no_interval_and_a_few_have_a_rough_one(make_run, found):
    run = make_run({"m": (0.9, 0.5)}, classes=["ox", "cat"], per_group=6)
    named = {"no_interval": pl.lit("c"), "few_clusters": "c" + (pl.int_range(pl.len()) % 4).cast(pl.String)}
    for code, clusters in named.items():
        rows = run.predictions.with_columns(cluster=clusters)
        told = found(replace(run, predictions=rows))
        assert code in told
    assert not set(named) & set(found(make_run({"m": (0.9, 0.5)}, per_group=60)))


def pairs_of(section):
    """The paired tests of a section: the cells of each quantity by pair."""
    table, pairs = section.block("tests").table, {}
    for place, (first, *cells) in enumerate(table.rows):
        if place in table.headings:
            rows = pairs.setdefault(first.value, {})
        else:
            rows[first.value] = [cell.value or cell.interval for cell in cells]
    return pairs


def test_of_many_models_the_page_shows_the_pairs_of_the_lead_corrected_for_all_pairs(make_run, section_of):
    run = make_run({f"m{k}": (0.8, 0.6 - 0.04 * k) for k in range(8)}, per_group=40)
    section = section_of(run)
    lead = max(models_of(run), key=lambda model: model.get("drop").value).label
    tests = full_comparison([run]).tests.filter(metric="drop")
    assert set(tests["family"]) == {4 * 8 * 7 // 2}
    shown = pairs_of(section)
    assert len(shown) == 7
    for row in metrics.tests_against(tests, lead).iter_rows(named=True):
        pair = f"{row['model']} minus {lead}"
        bare = [signed(row["value"]), bounds(row["corrected_low"], row["corrected_high"])]
        assert shown[pair]["drop"] == [*bare, p_value(row["p_corrected"])]


def test_classifiers_are_tested_though_runs_with_other_names_repeat_one(make_run, section_of):
    """A classifier reads no names, so the page has one row for what both runs hold."""
    first, both = make_run({"a": (0.9, 0.3)}, path="first"), make_run({"a": (0.9, 0.3), "b": (0.9, 0.8)})
    rows = both.predictions.with_columns(names=pl.lit("wordnet"))
    info = both.info.model_copy(update={"names": "wordnet"})
    other = replace(both, info=info, predictions=rows)
    for runs in ((first, other), (other, first)):
        found = section_of(*runs)
        assert [row.model.label for row in found.rows] == ["a", "b"]
        codes = {each.code for each in found.findings}
        assert codes & {"larger", "tied", "untested"} == {"larger"}
        (row,) = full_comparison(runs).tests.filter(metric="drop").rows(named=True)
        ((pair, rows),) = pairs_of(found).items()
        assert pair.startswith(f"{row['model']} minus {row['versus']}")
        assert rows["drop"][0] == signed(row["value"])
