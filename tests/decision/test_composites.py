"""What is decided about composites: the background effect, by clusters of objects and of backgrounds."""

from dataclasses import replace
from functools import partial

import numpy as np
import polars as pl
import pytest
from disc_photos import QUICK, coin, soft_discs, swapped_discs

import counterground as cg
from counterground.decision import Pilot
from counterground.decision._judged import Judged  # its numbers near 1, which no small run has
from counterground.errors import UsageError
from counterground.metrics import Design, drop_error, drop_interval, swap_effects

discs, run = soft_discs, swapped_discs
TWO = Design(clusters=("cluster", "background_cluster"))


def test_a_limit_is_for_the_background_effect_by_both_ways_of_clusters(run):
    found = cg.check(run, max_drop=50)
    assert [each.check for each in found.findings] == ["background effect at most 50"] * 3
    effects = swap_effects(run.predictions, by_class=False)
    effects = effects.filter(pl.col("estimate") == "background_effect")
    for together, effect in zip(found.findings, effects.iter_rows(named=True), strict=True):
        (alone,) = cg.check(run, max_drop=50, models=[effect["model"]]).findings
        assert (alone.model, alone.value) == (effect["model"], effect["value"])
        assert (alone.low, alone.high) == pytest.approx((effect["low"], effect["high"]))
        assert together.low <= alone.low <= alone.high <= together.high
    # All 12 objects answer alike, which is little: 12 others might not.
    assert {each.model: each.verdict for each in found.findings}["foreground"] == "pass"
    assert cg.check(run, max_drop=30, models=["background"]).verdict == "fail"


def test_an_accuracy_is_called_that_of_composites(run):
    found = cg.check(run, min_accuracy=60).findings
    assert [each.check for each in found] == ["accuracy of composites at least 60"] * 3
    coin = next(each for each in found if each.model == "coin")
    rows = run.predictions.filter(pl.col("model") == "coin", pl.col("swap").is_in(["same", "other"]))
    by_class = rows.group_by("class_index").agg(pl.mean("correct"))
    assert coin.value == pytest.approx(by_class["correct"].mean())


def test_what_would_decide_is_objects_and_backgrounds_not_composites(run):
    coin = next(each for each in cg.check(run, max_drop=10).findings if each.model == "coin")
    assert coin.verdict == "undecided"
    assert "times as many objects and background photographs would decide" in coin.reason


def test_a_pilot_of_composites_is_planned_by_both_ways(run):
    plan = cg.plan(run, drop=20, seconds_per_photo=3600)
    coin = plan.rows.row(by_predicate=pl.col("model") == "coin", named=True)
    rows = run.predictions.filter(pl.col("model") == "coin", pl.col("swap").is_in(["same", "other"]))
    assert coin["photos_now"] == len(rows)
    assert coin["clusters_now"] == min(rows["cluster"].n_unique(), rows["background_cluster"].n_unique())
    photos = len({*rows["foreground"], *rows["background_photo"]})
    assert coin["label_hours"] == pytest.approx(photos * (coin["photos"] / len(rows) - 1))
    assert any("the drop is the background effect" in note for note in plan.notes)


def test_calls_of_an_endpoint_are_those_for_the_composites_that_count(discs, serve_chat, tmp_path):
    server = serve_chat(lambda call: "yes" if sum(call.photo) % 3 else "no")
    settings = QUICK | {"backgrounds_per_label": 1, "foregrounds": 4, "protocol": "yes-no"}
    run = cg.swap(discs, server.spec, out=tmp_path / "run", kinds=["original", "same", "other"], **settings)
    counted = run.predictions.filter(pl.col("swap") != "original")["path"].n_unique()
    assert counted < run.predictions["path"].n_unique()
    asked = 2 * len(discs.label_space)  # two questions about each class
    rows = cg.plan(run, drop=20).rows
    assert rows["photos"].null_count() < len(rows)
    for row in rows.drop_nulls("photos").iter_rows(named=True):
        assert row["calls"] == asked * row["photos"]


@pytest.mark.parametrize(("needed", "times"), [(990, "1.1"), (1001, "1.1"), (1100, "1.1"), (3410, "3.5")])
def test_what_would_be_enough_is_never_what_there_is(run, needed, times):
    assert Judged.of(run).enough(needed, 1000, 10).startswith(f"{times} times as many objects")


def test_composites_on_no_other_photo_show_nothing_to_decide(discs, tmp_path):
    run = cg.swap(discs, {"coin": coin}, out=tmp_path / "run", kinds=["original", "pasted"], **QUICK)
    for decide in (lambda: cg.check(run, max_drop=10), lambda: cg.plan(run, drop=10)):
        with pytest.raises(UsageError, match="swap with the kinds same and other"):
            decide()


def crossed(rng, objects, backgrounds, *, effect=0.15):
    """Objects of 4 classes, each on 3 common and 3 counter backgrounds; both matter."""
    n = 6 * objects
    own, group = np.repeat(np.arange(objects), 6), np.tile(np.repeat([0, 1], 3), objects)
    behind = 2 * rng.integers(0, backgrounds // 2, n) + (group + own // 4) % 2
    level = 0.7 - effect * group + 0.15 * rng.normal(size=objects)[own]
    right = rng.random(n) < level + 0.15 * rng.normal(size=backgrounds)[behind]
    frame = pl.DataFrame({"class_index": own % 4, "group": np.array(["common", "counter"])[group]})
    names = {"cluster": own, "background_cluster": behind}
    return frame.with_columns(pl.Series(name, map(str, codes)) for name, codes in names.items()), right


def test_the_error_of_a_drop_by_two_ways_is_that_of_its_interval():
    frame, right = crossed(np.random.default_rng(0), 40, 16)
    where = (frame["class_index"], frame["group"])
    two = drop_error(right, *where, frame["cluster"], frame["background_cluster"])
    found = drop_interval(right, *where, frame["cluster"], crossed=frame["background_cluster"])
    assert two.common - two.counter == pytest.approx(found.value)
    assert two.clusters == found.clusters == 16
    assert two.variance > drop_error(right, *where, frame["cluster"]).variance
    assert two.known <= two.degrees < drop_error(right, *where, frame["cluster"]).degrees


@pytest.mark.slow
def test_a_pilot_predicts_the_power_of_twice_as_many_objects_and_backgrounds():
    rng = np.random.default_rng(1)
    pilots = [Pilot.of(*crossed(rng, 40, 16), design=TWO) for _ in range(40)]
    predicted = np.mean([pilot.power(0.15, 480) for pilot in pilots])

    def low():
        frame, right = crossed(rng, 80, 32)
        where = (frame["class_index"], frame["group"], frame["cluster"])
        return drop_interval(right, *where, crossed=frame["background_cluster"]).low

    assert predicted == pytest.approx(np.mean([low() > 0 for _ in range(200)]), abs=0.1)


@pytest.mark.parametrize("kind", ["same", "other"])
def test_backgrounds_with_objects_of_their_own_decide_nothing(run, kind):
    alone = replace(run, predictions=run.predictions.filter(pl.col("swap").is_in(["original", kind])))
    for decide in (partial(cg.check, max_drop=10), partial(cg.plan, drop=10)):
        with pytest.raises(UsageError, match="swap with the kinds same and other"):
            decide(alone)
