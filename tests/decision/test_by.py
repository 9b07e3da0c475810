"""Every value of a column keeps a limit on accuracy, and how many photos show that one of them is worse."""

from dataclasses import replace

import polars as pl
import pytest

import counterground as cg
from counterground.cli import main
from counterground.errors import UsageError
from counterground.metrics import ALPHA, score_by

SITES = {"north": 0.95, "south": 0.4}


@pytest.fixture(scope="module")
def run(make_run):
    """Two models; the second is right on nearly all photos of one site and on few of the other."""
    made = make_run({"even": (0.95, 0.95), "uneven": (0.95, 0.4)}, per_group=40)
    site = pl.when(pl.col("group") == "common").then(pl.lit("north")).otherwise(pl.lit("south"))
    rows = made.predictions.with_columns(
        site=site, cluster=pl.concat_str("group", "cluster", separator=" "), area=pl.lit(0.1)
    )
    return replace(made, predictions=rows)


def test_every_value_must_keep_the_limit(run):
    found = cg.check(run, min_accuracy=0.7, by="site")
    verdicts = {(each.model, each.check): each.verdict for each in found.verdicts}
    places = [("even", "south"), ("even", "north"), ("uneven", "south"), ("uneven", "north")]
    assert verdicts == dict(
        zip(
            [(model, f"accuracy of site={site}") for model, site in places],
            ["pass", "pass", "fail", "pass"],
            strict=True,
        )
    )
    lowest = found.verdicts[2]
    assert lowest.check == "accuracy of site=south", "the lowest comes first"
    assert lowest.title == "accuracy of site=south at least 70 %"
    assert found.verdict == "fail"
    assert all(each.photos == 360 for each in found.verdicts)


@pytest.mark.parametrize(("given", "verdicts"), [({}, 4), ({"max_drop": 0.2}, 6)])
def test_the_intervals_are_those_of_scores_corrected_for_all_verdicts(run, given, verdicts):
    found = cg.check(run, min_accuracy=0.7, by="site", **given)
    assert len(found.verdicts) == verdicts
    expected = score_by(run.predictions, ["site"], alpha=ALPHA / verdicts, design=run.design)
    values = {(row["model"], f"accuracy of site={row['level']}"): row for row in expected.to_dicts()}
    of_sites = [each for each in found.verdicts if each.check != "drop"]
    assert len(of_sites) == len(values) == 4
    for each in of_sites:
        row = values[each.model, each.check]
        assert (each.value, each.low, each.high) == (row["value"], row["low"], row["high"])


def test_a_value_in_one_cluster_is_undecided(run):
    (first, *_) = cg.check(
        replace(run, predictions=run.predictions.with_columns(cluster="site")), min_accuracy=0.7, by="site"
    ).verdicts
    assert (first.verdict, first.reasons) == ("undecided", ("no_interval",))


def test_a_plan_has_a_row_for_each_value(run):
    rows = cg.plan(run, drop=0.1, by="site").rows
    assert rows.select("level", "model").rows() == [
        (site, model) for site in SITES for model in ("even", "uneven")
    ]
    alone = cg.plan(run, drop=0.1, contrast="gap: site!=south - site=south within all").rows
    assert rows.filter(level="south").drop("level").equals(alone.drop("level"))
    assert alone["level"].null_count() == 2


@pytest.mark.parametrize(
    ("by", "said"),
    [("nowhere", "'nowhere'"), ("photo", "--by photo: 720 values for 720 photos")],
)
def test_columns_that_name_no_groups_of_photos_are_refused(run, by, said):
    run = replace(run, predictions=run.predictions.with_columns(photo="path"))
    for ask in (lambda: cg.check(run, min_accuracy=0.7, by=by), lambda: cg.plan(run, drop=0.1, by=by)):
        with pytest.raises(UsageError, match=said):
            ask()


def test_what_by_does_not_go_with_is_refused(run):
    with pytest.raises(UsageError, match="--min-accuracy"):
        cg.check(run, max_drop=0.1, by="site")
    with pytest.raises(UsageError, match="--contrast"):
        cg.plan(run, drop=0.1, by="site", contrast="drop")
    assert main(["plan", "--drop", "10%", "--by", "site"]) == 2
