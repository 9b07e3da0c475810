"""Effects of swapped backgrounds against plain Polars and NumPy, and of models whose reliance is known."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from statsmodels.api import OLS

from counterground.metrics import (
    SETTING_SCHEMA,
    drop_interval,
    read_answers,
    swap_design,
    swap_effects,
)

CLASSES, FOREGROUNDS, LABELS = 3, 240, 4
PAIRS = {0: ("l0", "l1"), 1: ("l1", "l2"), 2: ("l2", "l0")}


def composites(seed=0, each=3):
    """Foregrounds of three classes on photographs of four labels, their own photos and another pool."""
    rng = np.random.default_rng(seed)
    of_class = np.arange(FOREGROUNDS) % CLASSES
    own = np.array([PAIRS[c][rng.integers(2)] for c in of_class])
    photos = [f"p{number}" for number in range(FOREGROUNDS)]
    pools = {
        label: [f"b{label}{number}" for number in range(60)]
        + [photo for photo, on in zip(photos, own, strict=True) if on == label]
        for label in (f"l{number}" for number in range(LABELS))
    }
    rows = []
    for number, (c, photo, label) in enumerate(zip(of_class, photos, own, strict=True)):
        rows += [(c, photo, label, kind, photo) for kind in ("original", "pasted", "refilled")]
        rows += [(c, photo, label, "background_only", photo), (c, photo, None, "grey", "grey")]
        rows += [(c, photo, label, f"placed_{side}", photo) for side in ("common", "counter")]
        for other, pool in pools.items():
            chosen = rng.choice([each_ for each_ in pool if each_ != photo], each + number % 2, replace=False)
            rows += [(c, photo, other, "same" if other == label else "other", on) for on in chosen]
        there = rng.integers(LABELS)
        rows.append((c, photo, PAIRS[c][number % 2], "mixed_same", rng.choice(pools[PAIRS[c][number % 2]])))
        rows.append((c, photo, f"l{there}", "mixed_rand", rng.choice(pools[f"l{there}"])))
    frame = pl.DataFrame(
        rows, schema=["class_index", "foreground", "background", "swap", "background_photo"], orient="row"
    )
    shows = dict(zip(photos, of_class, strict=True))  # photographs of no foreground show all classes, too
    shows |= {photo: n % CLASSES for pool in pools.values() for n, photo in enumerate(pool[:60])}
    behind = [None if on == "grey" else f"class {shows[on]}" for on in frame["background_photo"]]
    names = [f"{number:06}" for number in range(frame.height)]
    common, counter = (
        pl.col("class_index").replace_strict({c: pair[side] for c, pair in PAIRS.items()}) for side in (0, 1)
    )
    return frame.with_columns(
        pl.col("class_index").cast(pl.Int32),
        pl.Series("path", names),
        pl.Series("photo_id", names),
        class_name=pl.format("class {}", "class_index"),
        background_class=pl.Series(behind),
        group=pl.when(pl.col("background") == common)
        .then(pl.lit("common"))
        .when(pl.col("background") == counter)
        .then(pl.lit("counter")),
        cluster="foreground",
        background_cluster="background_photo",
        model=pl.lit("m"),
        **{name: pl.lit(None, kind) for name, kind in SETTING_SCHEMA.items()},
    )


def answered(correct, frame=None, seed=0):
    frame = composites() if frame is None else frame
    wrong = np.random.default_rng(seed).integers(3, 6, frame.height)
    return frame.with_columns(correct=correct).with_columns(
        predicted_index=pl.when("correct").then("class_index").otherwise(pl.Series(wrong))
    )


@pytest.fixture(scope="module")
def predictions():
    """A model with effects of background, size, season, foreground and photograph."""
    frame, rng = composites(), np.random.default_rng(1)
    skill = dict(zip([f"p{n}" for n in range(FOREGROUNDS)], rng.normal(size=FOREGROUNDS), strict=True))
    names = frame["background_photo"].unique().sort()
    light = dict(zip(names, 0.5 * rng.normal(size=len(names)), strict=True))
    on = {"common": 0.5, "counter": -0.5, None: 0.0}
    placed = {"placed_common": 0.4, "placed_counter": -0.4}
    level = [
        skill[row["foreground"]]
        + light[row["background_photo"]]
        + on[row["group"]]
        + placed.get(row["swap"], 0)
        for row in frame.iter_rows(named=True)
    ]
    return answered(pl.Series(np.array(level) + 0.7 * rng.normal(size=len(level)) > -0.2), frame)


@pytest.fixture(scope="module")
def effects(predictions):
    return swap_effects(predictions, chance=0.125)


def row(effects, estimate, class_name=None, background=None):
    found = effects.filter(
        pl.col("metric") == estimate,
        pl.col("class_index").eq_missing(pl.lit(class_name and int(class_name[-1]), pl.Int32)),
        pl.lit(value=background is None) | pl.col("level").eq_missing(pl.lit(background, pl.String)),
    )
    assert found.height == 1, (estimate, class_name, background)
    return found.row(0, named=True)


def accuracy(predictions, *conditions):
    by_class = predictions.filter(*conditions).group_by("class_index").agg(pl.mean("correct"))
    return by_class["correct"].mean()


def test_mixed_same_mixed_rand_and_bg_gap_are_plain_accuracies(predictions, effects):
    same, rand = (accuracy(predictions, pl.col("swap") == name) for name in ("mixed_same", "mixed_rand"))
    assert row(effects, "mixed_same")["value"] == pytest.approx(same, abs=1e-12)
    assert row(effects, "mixed_rand")["value"] == pytest.approx(rand, abs=1e-12)
    gap = row(effects, "bg_gap")
    assert gap["value"] == pytest.approx(same - rand, abs=1e-12)
    assert gap["low"] < gap["value"] < gap["high"]
    assert (gap["n"], gap["clusters"]) == (2 * FOREGROUNDS, FOREGROUNDS)
    used = predictions.filter(pl.col("swap").str.starts_with("mixed"))["background_photo"]
    assert gap["clusters_2"] == used.n_unique()


def several(predictions, counted, *, foreign):
    """Share of the choices of k composites that do not count alike, by enumeration, over classes."""
    kept = predictions.filter(pl.col("swap").is_in(["same", "other"]))
    answers = {}
    for each in kept.iter_rows(named=True):
        if not foreign or each["background_class"] != each["class_name"]:
            answers.setdefault((each["class_name"], each["foreground"]), []).append(each)
    k, by_class = min(map(len, answers.values())), {}
    for (name, _), rows in answers.items():
        chosen = list(combinations(rows, k))
        share = np.mean([not counted(some) for some in chosen])
        by_class.setdefault(name, []).append(share)
    return k, np.mean([np.mean(shares) for shares in by_class.values()])


def test_the_adversarial_score_and_the_flip_share_are_those_of_all_choices_of_k():
    frame = composites(each=2).filter(pl.col("foreground").str.slice(1).cast(pl.Int64) < 60)
    predictions = answered(pl.Series(np.random.default_rng(4).random(frame.height) < 0.8), frame)
    effects = swap_effects(predictions)
    k, expected = several(predictions, lambda some: all(each["correct"] for each in some), foreign=True)
    adversarial = row(effects, "adversarial")
    assert (adversarial["level"], adversarial["value"]) == (str(k), pytest.approx(expected, abs=1e-9))
    k, expected = several(
        predictions, lambda some: len({each["predicted_index"] for each in some}) == 1, foreign=False
    )
    flips = row(effects, "flip_share")
    assert (flips["level"], flips["value"]) == (str(k), pytest.approx(expected, abs=1e-9))
    assert adversarial["n"] == flips["n"] == 60


def test_costs_background_only_and_chance(predictions, effects):
    whole = accuracy(predictions, pl.col("swap") == "original")
    for name, kind in (("pasted_cost", "pasted"), ("refilled_cost", "refilled"), ("same_label_cost", "same")):
        expected = whole - accuracy(predictions, pl.col("swap") == kind)
        assert row(effects, name)["value"] == pytest.approx(expected, abs=1e-12)
    alone = row(effects, "background_only")
    assert alone["value"] == pytest.approx(accuracy(predictions, pl.col("swap") == "background_only"))
    assert row(effects, "chance")["value"] == 0.125
    assert "chance" not in swap_effects(predictions, by_class=False)["metric"]


def test_each_background_is_compared_with_grey_and_with_the_mean(predictions, effects):
    swapped = pl.col("swap").is_in(["same", "other"])
    for class_name in (None, "class 1"):
        part = predictions if class_name is None else predictions.filter(class_name=class_name)
        for label in ("l0", "l3"):
            on = accuracy(part, swapped, pl.col("background") == label)
            grey = row(effects, "background_against_grey", class_name, label)
            assert grey["value"] == pytest.approx(on - accuracy(part, pl.col("swap") == "grey"), abs=1e-12)
            mean = row(effects, "background_against_mean", class_name, label)
            assert mean["value"] == pytest.approx(on - accuracy(part, swapped), abs=1e-12)


def regression(predictions):
    """statsmodels' estimates of the cells of the decomposition, with errors clustered in two ways."""
    kind = (
        pl.when(swap="original").then(pl.format("original {}", "group"))
        .when(pl.col("swap").is_in(["same", "other"])).then(pl.format("swapped {}", "group"))
        .when(pl.col("swap").str.starts_with("placed")).then("swap")
    )  # fmt: skip
    rows = predictions.with_columns(kind=kind).drop_nulls("kind")
    cells = rows.select("class_index", "kind").unique().sort("class_index", "kind").rows()
    place = np.array([cells.index(cell) for cell in rows.select("class_index", "kind").iter_rows()])
    groups = np.column_stack(
        [rows[name].rank("dense").to_numpy() for name in ("cluster", "background_cluster")]
    )
    fit = OLS(rows["correct"].to_numpy().astype(float), np.eye(len(cells))[place]).fit(
        cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False}
    )
    names = [kind for _, kind in cells]
    parts = [("original common", "original counter"), ("swapped common", "swapped counter")]
    parts.append(("placed_common", "placed_counter"))
    loads = [
        np.array([(name == left) - 1.0 * (name == right) for name in names]) / CLASSES
        for left, right in parts
    ]
    return fit, loads


def test_the_decomposition_has_the_errors_of_one_regression_with_errors_clustered_in_two_ways(
    predictions, effects
):
    """Large enough that corrections for small samples are within a few percent."""
    fit, (observed, background, size) = regression(predictions)
    rest = observed - background - size
    names = ("observed_drop", "background_effect", "size_effect", "rest")
    for name, loads in zip(names, (observed, background, size, rest), strict=True):
        found = row(effects, name)
        error = np.sqrt(loads @ fit.cov_params() @ loads)
        assert found["value"] == pytest.approx(loads @ fit.params, abs=1e-12)
        assert found["high"] - found["low"] == pytest.approx(2 * 1.97 * error, rel=0.04), name
    apart = [loads @ fit.cov_params() @ loads for loads in (observed, background, size)]
    assert abs(sum(apart) / (rest @ fit.cov_params() @ rest) - 1) > 0.08  # they do depend on each other


def test_the_share_of_the_drop_that_is_background_has_fiellers_interval(predictions, effects):
    fit, (observed, background, _) = regression(predictions)
    share = row(effects, "background_share")
    top, bottom = row(effects, "background_effect")["value"], row(effects, "observed_drop")["value"]
    assert share["value"] == pytest.approx(top / bottom, abs=1e-12)
    for end in (share["low"], share["high"]):
        loads = background - end * observed
        t = abs(loads @ fit.params) / np.sqrt(loads @ fit.cov_params() @ loads)
        assert t == pytest.approx(1.97, rel=0.08)


def test_parts_of_each_class_and_of_all_add_up(effects):
    for class_name in (None, "class 0", "class 1", "class 2"):
        drop, *parts = (
            row(effects, name, class_name)["value"]
            for name in ("observed_drop", "background_effect", "size_effect", "rest")
        )
        assert drop == pytest.approx(sum(parts), abs=1e-12)


def test_a_class_has_the_figures_that_it_has_alone(predictions, effects):
    alone = swap_effects(predictions.filter(class_name="class 1"), by_class=False)
    within = effects.filter(class_index=1)
    # Which photos are of another class, and k, need all classes.
    compared = ~pl.col("metric").is_in(["adversarial", "flip_share"])
    columns = ["metric", "level", "value", "n", "clusters", "clusters_2"]
    assert_frame_equal(
        within.filter(compared).select(columns), alone.filter(compared).select(columns), abs_tol=1e-12
    )


GROUND_TRUTH = {
    "background": ((pl.col("group") == "common").fill_null(value=False), 1.0),
    "foreground": (pl.col("foreground").hash(seed=0) % 2 == 0, 0.0),
}


@pytest.mark.parametrize("looks_at", GROUND_TRUTH)
def test_models_that_look_at_one_thing_only_have_an_effect_of_all_or_nothing(looks_at):
    correct, expected = GROUND_TRUTH[looks_at]
    effects = swap_effects(answered(correct), by_class=False)
    found = row(effects, "background_effect")
    assert found["value"] == expected
    assert found["low"] <= expected <= found["high"]
    assert row(effects, "size_effect")["value"] == 0
    if looks_at == "background":
        assert row(effects, "rest")["value"] == row(effects, "pasted_cost")["value"] == 0
        assert row(effects, "background_share")["value"] == pytest.approx(1)
        assert row(effects, "adversarial")["value"] > 0.99
    else:
        assert row(effects, "flip_share")["value"] == pytest.approx(
            1 - np.mean([hash_ % 2 == 0 for hash_ in composites()["foreground"].unique().hash(seed=0)]),
            abs=0.2,
        )


def test_the_share_of_a_drop_that_may_be_none_is_not_told():
    coin = pl.Series(np.random.default_rng(7).random(composites().height) < 0.5)
    effects = swap_effects(answered(coin), by_class=False)
    assert row(effects, "observed_drop")["low"] < 0
    share = row(effects, "background_share")
    assert (share["value"], share["low"], share["high"]) == (None, None, None)


def test_the_background_effect_is_over_all_classes_that_show_it_however_few_show_a_size_effect(
    predictions, effects
):
    is_placed = pl.col("swap").str.starts_with("placed")
    some = predictions.filter(~is_placed | (pl.col("class_index") == 0))
    found = swap_effects(some)
    whole, expected = row(found, "background_effect"), row(effects, "background_effect")
    assert whole == expected
    alone = swap_effects(some.filter(class_index=0), by_class=False)
    for name in ("observed_drop", "size_effect", "rest", "background_share"):
        assert row(found, name)["value"] == row(alone, name)["value"]
    part = row(found, "background_part")
    assert part["value"] == row(alone, "background_effect")["value"]
    parts = part["value"] + row(found, "size_effect")["value"] + row(found, "rest")["value"]
    assert row(found, "observed_drop")["value"] == pytest.approx(parts, abs=1e-12)
    assert found.filter(pl.col("class_index").is_not_null(), metric="background_part").is_empty()


@pytest.mark.parametrize("wrong_groups", [[], ["counter"], ["common", "counter"]])
def test_the_drop_of_photos_as_they_are_is_that_of_a_run_without_composites(wrong_groups):
    # Three photos of a class an observer, whose photographs are also the backgrounds.
    observers = {f"p{n}": f"observer {n // (3 * CLASSES)} {n % CLASSES}" for n in range(FOREGROUNDS)}
    frame = composites().with_columns(
        cluster=pl.col("foreground").replace(observers),
        background_cluster=pl.col("background_photo").replace(observers),
    )
    as_they_are = pl.col("swap") == "original"
    wrong = [frame.filter(as_they_are, group=group)["path"][0] for group in wrong_groups]
    photos = answered(~pl.Series(frame["path"].is_in(wrong)), frame)
    found = row(swap_effects(photos, by_class=False), "observed_drop")
    alone = photos.filter(as_they_are)
    drop = drop_interval(*(alone[name] for name in ("correct", "class_index", "group", "cluster")))
    assert (found["value"], found["n"], found["p_value"]) == pytest.approx((drop.value, drop.n, drop.p_value))
    assert (found["low"], found["high"]) == pytest.approx((drop.low, drop.high))
    assert found["clusters"] == drop.clusters


def test_the_design_of_composites_has_the_contrasts_that_they_show(predictions):
    photos = predictions.select(
        "path", "class_name", "group", "background", "cluster", "swap", "background_cluster"
    )
    design = swap_design(photos)
    assert [each.name for each in design.contrasts] == [
        "background_effect", "size_effect", "bg_gap", "pasted_cost", "refilled_cost", "same_label_cost",
    ]  # fmt: skip
    assert design.clusters == ("cluster", "background_cluster")
    design.check(photos)
    some = photos.filter(pl.col("swap").is_in(["original", "same", "other"]))
    assert [each.name for each in swap_design(some).contrasts] == ["background_effect", "same_label_cost"]
    others = photos.filter(pl.col("swap").is_in(["original", "other"]))
    assert [each.name for each in swap_design(others).contrasts] == ["observed_drop"]


@pytest.mark.parametrize("kind", ["same", "other"])
def test_labels_with_foregrounds_of_their_own_show_no_effect_of_backgrounds(kind):
    """Every answer depends on the foreground's own photo alone, so no background has an effect."""
    frame = composites().filter(pl.col("swap").is_in(["original", "grey", "same", "other"]))
    easy = pl.col("foreground").is_in(frame.filter(swap="original", group="counter")["foreground"].implode())
    whole = swap_effects(answered(easy, frame))
    assert row(whole, "background_effect")["low"] < 0 < row(whole, "background_effect")["high"]
    part = frame.filter((pl.col("swap") == kind) | pl.col("swap").is_in(["original", "grey"]))
    found = swap_effects(answered(easy, part))
    assert row(found, "observed_drop")["value"] == -1
    gone = {"background_effect", "rest", "background_share", "background_against_grey"}
    assert gone | {"background_against_mean"} <= set(whole["metric"])
    assert not (gone | {"background_against_mean"}) & set(found["metric"])


def test_the_effect_of_backgrounds_is_paired_over_foregrounds():
    """One class, each foreground once on a common and once on a counter photo of its own: a paired t-test."""
    frame = composites().filter(pl.col("swap").is_in(["same", "other"]), pl.col("class_index") == 0)
    frame = frame.drop_nulls("group").unique(["foreground", "group"], keep="first", maintain_order=True)
    frame = frame.with_columns(background_cluster=pl.lit(None, pl.String))
    skill = pl.col("foreground").hash(seed=1) % 100 < pl.when(group="common").then(75).otherwise(55)
    predictions = answered(skill, frame)
    design = swap_design(predictions)
    ((_, read),) = read_answers(predictions, design=design)
    left, right, n = read.sides(design.contrasts[0])
    hits = [predictions.filter(group=name).sort("foreground")["correct"] for name in ("common", "counter")]
    change = hits[0].cast(pl.Float64) - hits[1].cast(pl.Float64)
    assert left.minus(right, n=n).variance == pytest.approx(change.var() / len(change), rel=1e-9)


def test_the_interval_of_the_rest_ends_where_what_it_sums_does(predictions):
    """With two clusters of each way, t standard errors reach farther than differences of accuracies."""
    half = pl.col("foreground").str.tail(1).is_in(list("13579")).cast(pl.String)
    two = predictions.with_columns(cluster=half, background_cluster=pl.concat_str(pl.lit("b"), half))
    rest = pl.col("metric") == "rest"
    for rows, largest in ((two, 3), (two.filter(~pl.col("swap").str.starts_with("placed")), 2)):
        found = swap_effects(rows).filter(rest)
        assert found.select(pl.min("low"), pl.max("high")).row(0) == (-largest, largest)
