"""Predicted power against simulation, and what a plan says of photos, hours, calls and money."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from array_tests import paired_test
from click.testing import CliRunner
from scipy.stats import norm

import counterground as cg
from counterground.cli import counterground as command
from counterground.decision import Assumptions, Pilot
from counterground.errors import UsageError
from counterground.metrics import Stratification, contrast_error, drop_interval
from counterground.photos import Discovered
from counterground.settings import PlanSettings


def pilot_of(frame, values, **given):
    return Pilot.of(Stratification(frame["class_index"], frame["group"], frame["cluster"]), values, **given)


def simulated(draw, replications=300):
    rng = np.random.default_rng(1)
    lows = [draw(rng) for _ in range(replications)]
    return np.mean([low > 0 for low in lows])


def independent(classes, photos):
    """Class and group of photos."""
    return np.repeat(np.arange(classes), 2 * photos), np.tile(
        np.repeat(["common", "counter"], photos), classes
    )


@pytest.mark.parametrize(("accuracy", "drop"), [(0.8, 0.1), (0.95, 0.06)])
def test_power_without_clusters_is_what_simulation_gives(accuracy, drop):
    class_index, group = independent(20, 10)
    p = np.where(group == "common", accuracy, accuracy - drop)

    def draw(rng):
        return drop_interval(rng.random(400) < p, class_index, group).low

    assumed = Assumptions(20, 10, accuracy=accuracy)
    assert assumed.power(drop, assumed.photos_now) == pytest.approx(simulated(draw), abs=0.07)


def test_power_with_clusters_is_what_simulation_gives():
    class_index, group = independent(10, 20)
    cluster = np.arange(400) // 5
    p, icc = np.where(group == "common", 0.8, 0.65)[::5], 0.3
    scale = 1 / icc - 1

    def draw(rng):
        of_cluster = np.repeat(rng.beta(p * scale, (1 - p) * scale), 5)
        return drop_interval(rng.random(400) < of_cluster, class_index, group, cluster).low

    assumed = Assumptions(10, 20, cluster_size=5, icc=icc)
    assert assumed.power(0.15, 400) == pytest.approx(simulated(draw), abs=0.07)
    assert assumed.power(0.15, 400) < Assumptions(10, 20).power(0.15, 400) - 0.1


def test_a_pilot_with_a_side_in_one_cluster_shows_no_error():
    frame = pl.DataFrame({"class_index": [0] * 80, "group": ["common", "counter"] * 40}).with_columns(
        cluster=pl.when(group="common").then(pl.lit("one")).otherwise(pl.int_range(80).cast(pl.String))
    )
    with pytest.raises(UsageError, match="all photos of a side"):
        pilot_of(frame, np.random.default_rng(0).random(80).round())


def pilot_rows(rng, photos, *, clusters=None, drop=0.12):
    class_index, group = independent(10, photos)
    n = len(group)
    cluster = None if clusters is None else rng.integers(0, clusters, n)
    draw = rng.random(n)
    if clusters is not None:
        shared = rng.random((clusters, 2))[cluster, (group == "counter").astype(int)]
        draw = np.where(rng.random(n) < 0.4, shared, draw)
    right = draw < np.where(group == "common", 0.8, 0.8 - drop)
    names = None if cluster is None else [str(code) for code in cluster]
    frame = pl.DataFrame({"class_index": class_index, "group": group}).with_columns(
        cluster=pl.Series(names or [None] * n, dtype=pl.String)
    )
    return frame, right.astype(float)


@pytest.mark.slow
def test_pilots_predict_the_power_of_twice_as_many_photos_and_clusters():
    rng = np.random.default_rng(2)
    predicted = np.mean([pilot_of(*pilot_rows(rng, 20, clusters=40)).power(0.12, 800) for _ in range(40)])

    def draw(rng):
        frame, right = pilot_rows(rng, 40, clusters=80)
        return drop_interval(right, frame["class_index"], frame["group"], frame["cluster"]).low

    assert predicted == pytest.approx(simulated(draw), abs=0.07)


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_a_pilot_right_or_wrong_on_all_counter_photos_plans_as_one_that_nearly_is(level):
    """Photos that are all alike show no scatter, and those to come scatter all the same."""
    class_index, group = independent(10, 20)
    cluster = pl.Series([None] * len(group), dtype=pl.String)
    frame = pl.DataFrame({"class_index": class_index, "group": group, "cluster": cluster})
    common = np.random.default_rng(5).permutation(np.repeat([0.0, 1.0], [40, 160]))
    right = np.full(len(group), level)
    right[group == "common"] = common
    nearly = right.copy()
    nearly[np.flatnonzero(group == "counter")[0]] = 1 - level
    powers = [pilot_of(frame, values).power(0.1, 800) for values in (right, nearly)]
    assert powers[0] == pytest.approx(powers[1], abs=0.03)


def test_with_the_same_clusters_more_photos_soon_stop_helping():
    pilot = pilot_of(*pilot_rows(np.random.default_rng(4), 40, clusters=12))
    growing, held = pilot.power(0.12, 8000), pilot.power(0.12, 8000, 12)
    assert growing > 0.999
    assert pilot.power(0.12, 800) < held < 0.9


def nested(rng, size, *, clusters=10, icc=0.5, drop=0.15):
    """Photos of 5 classes in clusters of one class and group, beta-binomial."""
    class_index, group = independent(5, clusters)
    p, scale = np.where(group == "common", 0.8, 0.8 - drop), 1 / icc - 1
    right = rng.random(len(group) * size) < np.repeat(rng.beta(p * scale, (1 - p) * scale), size)
    names = [str(number) for number in np.arange(len(group)).repeat(size)]
    frame = pl.DataFrame({"class_index": class_index.repeat(size), "group": group.repeat(size)})
    return frame.with_columns(cluster=pl.Series(names)), right.astype(float)


@pytest.mark.parametrize("size", [2, 3, 8])
def test_small_clusters_tell_what_more_photos_of_the_same_clusters_leave(size):
    """What clusters add is less than what they differ by: with one photo of each, nothing."""
    rng = np.random.default_rng(6)
    pilots = [pilot_of(*nested(rng, size)) for _ in range(40)]
    contrast = np.array([1.0, -1.0])
    shares = [contrast @ pilot.now.between @ contrast / pilot.now.variance for pilot in pilots]
    assert np.mean(shares) == pytest.approx(size / (size + 1), abs=0.06)  # B / (B + W / size), B = W
    predicted = np.mean([pilot.power(0.15, 100 * 40, 100) for pilot in pilots])

    def draw(rng):
        frame, right = nested(rng, 40)
        return drop_interval(right, frame["class_index"], frame["group"], frame["cluster"]).low

    assert predicted == pytest.approx(simulated(draw), abs=0.07)


def test_a_plan_against_a_model_has_the_power_of_the_paired_test():
    rng = np.random.default_rng(5)
    class_index, group = independent(10, 30)

    def models(rng):
        hard = rng.random(600)
        first = hard + 0.2 * rng.normal(size=600) < np.where(group == "common", 0.8, 0.62)
        return first, hard + 0.2 * rng.normal(size=600) < np.where(group == "common", 0.8, 0.7)

    frame = pl.DataFrame({"class_index": class_index, "group": group, "cluster": [None] * 600})
    frame = frame.with_columns(pl.col("cluster").cast(pl.String))
    pilots = [pilot_of(frame, a.astype(float) - b, paired=True) for a, b in (models(rng) for _ in range(30))]
    predicted = np.mean([pilot.power(0.08, 600) for pilot in pilots])

    def draw(rng):
        first, second = models(rng)
        return paired_test(first, second, class_index, group, quantity="drop").low

    truth = np.mean([np.subtract(*map(drop_of, models(rng))) for _ in range(300)])
    assert predicted == pytest.approx(simulated(draw), abs=0.1)
    assert truth == pytest.approx(0.08, abs=0.02)


def drop_of(right):
    _, group = independent(10, 30)
    return right[group == "common"].mean() - right[group == "counter"].mean()


def test_photos_needed_are_those_of_the_textbook():
    plan = cg.plan(drop=0.05, classes=50, photos=10)
    wanted = (norm.ppf(0.975) + norm.ppf(0.8)) ** 2 * 2 * (0.8 * 0.2 + 0.75 * 0.25) / 0.05**2
    assert plan.rows["photos"][0] == pytest.approx(wanted, rel=0.02)
    assert plan.rows["clusters"][0] == plan.rows["photos"][0]
    enough = cg.plan(drop=0.05, classes=1, photos=plan.rows["photos"][0] // 2)
    assert enough.rows["power_now"][0] == pytest.approx(0.8, abs=0.01)
    assert enough.rows["smallest_drop_now"][0] == pytest.approx(0.05, abs=0.001)


def test_a_pilot_run_gives_a_row_for_each_model(four_models):
    plan = cg.plan(four_models, drop=0.1, settings=PlanSettings(seconds_per_photo=36))
    assert plan.rows["model"].to_list() == [model.name for model in four_models.info.models]
    assert plan.rows["photos_now"].unique().to_list() == [360]
    for row in plan.rows.iter_rows(named=True):
        assert (row["photos"] > 360) == (row["power_now"] < 0.8)
        assert row["label_hours"] == pytest.approx(max(0, row["photos"] - 360) / 100)


def test_photos_of_further_clusters_are_not_at_hand(make_run):
    """A plan with four times as many clusters needs photos of them, however many there are of these."""
    pilot = make_run({"a": (0.8, 0.6)}, per_group=20)
    row = cg.plan(pilot, drop=0.2, clusters=100, settings=PlanSettings(seconds_per_photo=3600)).rows.row(
        0, named=True
    )
    assert row["photos"] < row["photos_now"]
    assert row["label_hours"] == pytest.approx(row["photos"] * (1 - row["clusters_now"] / 100))
    fewer = cg.plan(
        pilot, drop=0.3, clusters=row["clusters_now"], settings=PlanSettings(seconds_per_photo=3600)
    ).rows
    assert fewer["label_hours"].item() == max(0, fewer["photos"].item() - row["photos_now"])


@pytest.mark.parametrize(("split", "told"), [("half", False), ("cross", True)])
def test_a_plan_says_that_a_swap_makes_the_error_of_its_referee_too_small(four_models, split, told):
    found = Discovered("efficientnet-lite0", split, 5.0, "stamps@0", "stamps")
    benchmark = four_models.info.benchmark.model_copy(update=vars(found))
    run = replace(four_models, info=four_models.info.model_copy(update={"benchmark": benchmark}))
    codes = {(each.code, each.subject) for each in cg.plan(run, drop=0.1).findings}
    assert (("chose_other_half", "efficientnet-lite0") in codes) == told


def test_a_plan_against_a_model_has_a_row_for_each_other(four_models):
    plan = cg.plan(four_models, drop=0.1, against="efficientnet-lite0")
    assert plan.rows["model"].to_list() == [
        f"{name} vs. efficientnet-lite0"
        for name in ("efficientnet-lite1", "counterground:stamps-biased", "counterground:stamps-balanced")
    ]


def test_a_plan_against_a_model_has_a_row_for_each_prompt(make_run):
    run = make_run({"a": (0.8, 0.6), "b": (0.7, 0.6)})
    twice = pl.concat([run.predictions.with_columns(prompts=pl.lit(name)) for name in ("one", "two")])
    plan = cg.plan(replace(run, predictions=twice), drop=0.1, against="a")
    assert plan.rows["model"].to_list() == ["b (one) vs. a (one)", "b (two) vs. a (two)"]


@pytest.mark.parametrize("style", ["table", "csv", "json", "markdown", "latex"])
def test_every_format_of_the_command_holds_the_plan(style):
    done = CliRunner().invoke(command, ["plan", "--drop", "10%", "--format", style])
    assert done.exit_code == 0, done.output
    plan = cg.plan(drop=0.1)
    needed = plan.rows["photos"][0]
    assert str(needed) in done.output.replace(",", "") or f"{needed:,}" in done.output
    if style == "json":
        assert json.loads(done.output)["rows"][0]["power"] == 0.8
    if style == "csv":
        assert pl.read_csv(done.stdout.encode()).columns == plan.rows.columns


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"drop": 10}, "^drop is from 0 to 1"),
        ({"drop": 0.1, "clusters": 2}, "^clusters must be"),
        ({"drop": 0.1, "classes": 0}, "^classes must be "),
        ({"drop": 0.1, "accuracy": 0}, "^accuracy must be "),
        ({"drop": 0.1, "icc": 1}, "^icc must be "),
        ({"drop": 0.1, "classes": 10**7}, "No more than 10,000,000 photos can be planned for"),
        ({"drop": 0.1, "photos": 10**30}, "No more than 10,000,000 photos can be planned for"),
    ],
)
def test_what_cannot_be_planned_is_refused(given, said):
    with pytest.raises(UsageError, match=said):
        cg.plan(**given)


def test_a_pilot_without_a_drop_or_with_few_clusters_is_refused(make_run):
    with pytest.raises(UsageError, match="no photos are on both sides"):
        cg.plan(make_run({"a": (0.8, 0.6)}, groups=False), drop=0.1)
    with pytest.raises(UsageError, match="plan from assumptions"):
        cg.plan(make_run({"a": (0.8, 0.6)}, classes=["x"], per_group=1), drop=0.1)


@pytest.mark.parametrize(
    ("given", "fewest"),
    [
        ({"drop": 0.5, "classes": 20}, 80),
        ({"drop": 0.4, "clusters": 30, "accuracy": 0.99, "classes": 45}, 180),
        ({"drop": 0.75, "clusters": 100, "classes": 2, "photos": 100}, 100),
    ],
)
def test_no_fewer_photos_are_planned_than_classes_and_clusters_need(given, fewest):
    assert cg.plan(**given).rows["photos"].to_list() == [fewest]


def test_what_clusters_add_is_a_covariance_or_in_proportion(make_run):
    """Here clusters widen the drop, but not the accuracy of one group."""
    run = make_run({"right": (0.9, 0.9), "wrong": (0.5, 0.5), "weak": (0.3, 0.2), "good": (0.8, 0.6)})
    rows = run.predictions.filter(pl.col("model") == "good")
    hits = rows["correct"].cast(pl.Float64).to_numpy()
    pilot = pilot_of(rows, hits)
    now, alone = (
        contrast_error(Stratification(rows["class_index"], rows["group"], cluster), hits)
        for cluster in (rows["cluster"], None)
    )
    assert np.linalg.eigvalsh(now.covariance - alone.covariance)[0] < 0
    assert np.linalg.eigvalsh(pilot.now.between)[0] >= -1e-12
    contrast = np.array([1.0, -1.0])
    assert now.variance - alone.variance < contrast @ pilot.now.between @ contrast <= now.variance
    assert pilot.power(0.5, 1_000_000, 1000) > 0.99


def right_where(run, **right):
    """The run with ``correct`` of some models from their rows."""
    correct = pl.col("correct")
    for model, expression in right.items():
        correct = pl.when(pl.col("model") == model).then(expression).otherwise(correct)
    return replace(run, predictions=run.predictions.with_columns(correct=correct))


def test_a_model_without_a_plan_is_named_and_the_others_are_planned(make_run):
    levels = {"right": (0.9, 0.9), "wrong": (0.5, 0.5), "weak": (0.3, 0.2), "good": (0.8, 0.6)}
    run = right_where(make_run(levels), right=pl.lit(value=True), wrong=pl.lit(value=False))
    plan = cg.plan(run, drop=0.5)
    assert plan.rows["model"].to_list() == list(levels)
    assert plan.rows["photos"].is_null().to_list() == [True, True, True, False]
    assert plan.rows["power_now"].is_null().to_list() == [True, True, True, False]
    unplanned = [(each.code, each.subject) for each in plan.findings if each.code == "no_plan"]
    assert unplanned == [("no_plan", name) for name in ("right", "wrong", "weak")]


def test_a_plan_fails_only_where_no_model_is_left(make_run):
    run = right_where(make_run({"a": (0.8, 0.6), "b": (0.8, 0.6)}), a=pl.lit(value=True))
    with pytest.raises(UsageError, match=r"for a: .* for b: .* cannot drop"):
        cg.plan(run, drop=0.95)
