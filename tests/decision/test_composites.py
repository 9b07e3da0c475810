"""What is decided about composites: the background effect, by clusters of objects and of backgrounds."""

import numpy as np
import polars as pl
import pytest
from disc_photos import soft_discs, swapped_discs

import counterground as cg
from counterground.decision import Pilot
from counterground.metrics import Stratification, contrast_error, drop_interval, swap_design, swap_effects
from counterground.settings import PlanSettings

discs, run = soft_discs, swapped_discs


def test_a_limit_is_for_the_background_effect_by_both_ways_of_clusters(run):
    found = cg.check(run, max_drop=0.5)
    assert [each.check for each in found.verdicts] == ["background_effect"] * 3
    effects = swap_effects(run.predictions, by_class=False)
    effects = effects.filter(pl.col("metric") == "background_effect")
    for together, effect in zip(found.verdicts, effects.iter_rows(named=True), strict=True):
        (alone,) = cg.check(run, max_drop=0.5, models=[effect["model"]]).verdicts
        assert (alone.model, alone.value) == (effect["model"], effect["value"])
        assert (alone.low, alone.high) == pytest.approx((effect["low"], effect["high"]))
        assert together.low <= alone.low <= alone.high <= together.high
    # All 12 objects answer alike, which is little: 12 others might not.
    assert {each.model: each.verdict for each in found.verdicts}["foreground"] == "pass"
    assert cg.check(run, max_drop=0.3, models=["background"]).verdict == "fail"


def test_a_pilot_of_composites_is_planned_by_both_ways(run):
    plan = cg.plan(run, drop=0.2, settings=PlanSettings(seconds_per_photo=3600))
    coin = plan.rows.row(by_predicate=pl.col("model") == "coin", named=True)
    rows = run.predictions.filter(pl.col("model") == "coin", pl.col("swap").is_in(["same", "other"]))
    assert coin["photos_now"] == len(rows)
    assert coin["clusters_now"] == min(rows["cluster"].n_unique(), rows["background_cluster"].n_unique())
    photos = len({*rows["foreground"], *rows["background_photo"]})
    assert coin["label_hours"] == pytest.approx(photos * (coin["photos"] / len(rows) - 1))
    assert plan.noun == "background_effect"


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


def by_two_ways(frame):
    return Stratification(
        frame["class_index"], frame["group"], frame["cluster"], crossed=frame["background_cluster"]
    )


def test_the_error_of_a_drop_by_two_ways_is_that_of_its_interval():
    frame, right = crossed(np.random.default_rng(0), 40, 16)
    where = (frame["class_index"], frame["group"])
    two = contrast_error(by_two_ways(frame), right)
    one = contrast_error(Stratification(*where, frame["cluster"]), right)
    found = drop_interval(right, *where, frame["cluster"], crossed=frame["background_cluster"])
    assert two.left - two.right == pytest.approx(found.value)
    assert two.clusters == found.fewest_clusters == 16
    assert two.variance > one.variance
    assert two.known <= two.degrees < one.degrees


@pytest.mark.slow
def test_a_pilot_predicts_the_power_of_twice_as_many_objects_and_backgrounds():
    rng = np.random.default_rng(1)
    pilots = [
        Pilot.of(by_two_ways(frame), right) for frame, right in (crossed(rng, 40, 16) for _ in range(40))
    ]
    predicted = np.mean([pilot.power(0.15, 480) for pilot in pilots])

    def low():
        frame, right = crossed(rng, 80, 32)
        where = (frame["class_index"], frame["group"], frame["cluster"])
        return drop_interval(right, *where, crossed=frame["background_cluster"]).low

    assert predicted == pytest.approx(np.mean([low() > 0 for _ in range(200)]), abs=0.1)


@pytest.mark.parametrize("kind", ["same", "other"])
def test_backgrounds_with_objects_of_their_own_show_no_effect(run, kind):
    photos = run.photos.filter(pl.col("swap").is_in(["original", kind]))
    assert "background_effect" not in {contrast.name for contrast in swap_design(photos).contrasts}
