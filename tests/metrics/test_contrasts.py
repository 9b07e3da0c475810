"""Contrasts, cells and named shares against other implementations and plain computations."""

import importlib
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from array_tests import drop_change_interval, paired_test
from completed import completed
from polars.testing import assert_frame_equal
from statsmodels.api import OLS

from counterground.metrics import (
    DROP,
    Compared,
    Contrast,
    Design,
    compare_answers,
    compare_models,
    read_answers,
    score_contrast,
    score_predictions,
)

_EASY = ["water", "clear", "same"]


def answers(photos, seed=0, models=1):
    """Predictions of models that are right by chance, more often on water and on clear days."""
    n = photos.height
    rng = np.random.default_rng(seed)
    cluster = photos["cluster"].rank("dense").to_numpy()
    frames = []
    for model in range(models):
        known = [
            pl.col(name).is_in(_EASY) for name in ("place", "weather", "variant") if name in photos.columns
        ]
        easy = photos.select(pl.any_horizontal(pl.lit(value=False), *known).fill_null(value=False))
        right = rng.random(n) < 0.35 + 0.3 * easy.to_series().to_numpy() + 0.2 * np.sin(cluster) + 0.1 * model
        frames.append(photos.with_columns(model=pl.lit(f"m{model}"), correct=pl.Series(right)))
    paths = [f"{number:05}" for number in range(n)] * models
    index = pl.col("class_name").rank("dense").cast(pl.Int32)
    found = pl.concat(frames).with_columns(
        path=pl.Series(paths), photo_id=pl.Series(paths), class_index=index
    )
    return completed(found)


def drawn(n=600, seed=0, **columns):
    rng = np.random.default_rng(seed)
    values = {"class_name": ["a", "b", "c"], **columns}
    frame = pl.DataFrame({name: rng.choice(of, n) for name, of in values.items()})
    return frame.with_columns(cluster=pl.Series(rng.integers(25, size=n)).cast(pl.String))


def figure(scores, metric, level=None, index=None):
    """Left minus right of a contrast; with a level, the accuracy of that side."""
    about = {"metric": metric} if level is None else {"metric": "accuracy", "contrast": metric}
    rows = scores.filter(
        *(pl.col(name) == value for name, value in about.items()),
        pl.col("level").eq_missing(pl.lit(level, pl.String)),
        pl.col("class_index").eq_missing(pl.lit(index, pl.Int32)),
    )
    assert rows.height == 1
    return rows.row(0, named=True)


TRAINING = {("landbird", "land"): 3498, ("landbird", "water"): 184, ("waterbird", "land"): 56}
TRAINING[("waterbird", "water")] = 1057
BIRDS = Design(
    ("class_name", "place"),
    (Contrast("place_gap", "place=land", "place=water"),),
    {"training": TRAINING},
)


def test_waterbirds_are_scored_as_wilds_scores_them():
    """p-lambda/wilds: ``Metric._compute_group_wise`` and ``WaterbirdsDataset.eval``, here in plain NumPy.

    Groups are label x background; the worst is the minimum over groups with photos; the adjusted average
    weights their accuracies by the training set's counts.
    """
    sizes = {("landbird", "land"): 90, ("landbird", "water"): 80, ("waterbird", "land"): 20}
    sizes[("waterbird", "water")] = 30
    rows = [cell for cell, n in sizes.items() for _ in range(n)]
    photos = pl.DataFrame(rows, schema=["class_name", "place"], orient="row").with_columns(
        cluster=pl.lit(None, pl.String)
    )
    frame = answers(photos.with_columns(cluster=pl.int_range(pl.len()).cast(pl.String)))
    y = (frame["class_name"] == "waterbird").to_numpy().astype(int)
    g = 2 * y + (frame["place"] == "water").to_numpy()
    right = frame["correct"].to_numpy()
    groups = np.array([right[g == number].mean() for number in range(4)])
    weights = np.array([3498, 184, 56, 1057])
    scores = score_predictions(frame, design=BIRDS)
    assert figure(scores, "worst_group_accuracy")["value"] == pytest.approx(groups.min(), abs=1e-12)
    assert figure(scores, "mean_minus_worst")["value"] == pytest.approx(
        groups.mean() - groups.min(), abs=1e-12
    )
    adjusted = figure(scores, "average(training)")
    assert adjusted["value"] == pytest.approx((groups * weights).sum() / weights.sum(), abs=1e-12)
    assert adjusted["low"] < adjusted["value"] < adjusted["high"]
    assert figure(scores, "plain_accuracy")["value"] == pytest.approx(right.mean(), abs=1e-12)
    gap = (groups[0] - groups[1] + groups[2] - groups[3]) / 2
    assert figure(scores, "place_gap")["value"] == pytest.approx(gap, abs=1e-12)
    for metric in ("worst_group_accuracy", "mean_minus_worst"):
        assert figure(scores, metric)["low"] is None


def test_the_variance_of_shares_is_that_of_independent_groups():
    """Without clusters the adjusted average has the variance of weighted proportions, here with n - 1."""
    frame = answers(drawn(800, class_name=["landbird", "waterbird"], place=["land", "water"]))
    frame = frame.with_columns(cluster=pl.lit(None, pl.String))
    ((_, read),) = read_answers(frame, design=BIRDS)
    estimate = read.means(read.photos.cells.partition).weighted([read.photos.named_average("training")])[0]
    total, expected = sum(TRAINING.values()), 0.0
    for (name, place), share in TRAINING.items():
        hits = frame.filter(class_name=name, place=place)["correct"].to_numpy()
        expected += (share / total) ** 2 * hits.mean() * (1 - hits.mean()) / (len(hits) - 1)
    assert estimate.variance == pytest.approx(expected, rel=1e-9)


def test_the_background_gap_of_imagenet_9_is_a_plain_difference():
    """Mixed-same minus mixed-random accuracy over the same 300 objects (Xiao et al. 2021)."""
    objects = pl.DataFrame({"object": [f"o{number}" for number in range(300)]}).with_columns(
        class_name=pl.lit("dog"), cluster="object"
    )
    photos = objects.join(pl.DataFrame({"variant": ["same", "random"]}), how="cross")
    frame = answers(photos)
    contrast = Contrast("bg_gap", "variant=same", "variant=random", ("object",))
    scores = score_contrast(frame, contrast)
    right = {
        name: frame.filter(variant=name)["correct"].to_numpy().astype(float) for name in ("same", "random")
    }
    gap = figure(scores, "bg_gap")
    assert gap["value"] == pytest.approx(right["same"].mean() - right["random"].mean(), abs=1e-12)
    change = right["same"] - right["random"]
    ((_, read),) = read_answers(frame)
    left, other, n = read.sides(contrast)
    assert n == 600
    # That of a paired t-test: objects are the sample.
    assert left.minus(other, n=n).variance == pytest.approx(change.var(ddof=1) / 300, rel=1e-9)
    assert left.df == pytest.approx(299)
    assert gap["clusters"] == 300


def stacked(frame, contrast, left, right):
    """Regress on stratum and side, each photo once per side it is on; return estimate and its variance."""
    sides = pl.concat(
        [frame.filter(chosen).with_columns(side=pl.lit(s)) for s, chosen in enumerate((left, right))]
    )
    cells = list(sides.select(pl.lit("all"), *contrast.within).iter_rows())
    names = sorted(set(cells))
    place = np.array([names.index(cell) for cell in cells])
    code = 2 * place + sides["side"].to_numpy()
    both = [s for s in range(len(names)) if {2 * s, 2 * s + 1} <= set(code.tolist())]
    kept = np.isin(code // 2, both)
    filled, column = np.unique(code[kept], return_inverse=True)
    fit = OLS(sides["correct"].to_numpy()[kept].astype(float), np.eye(len(filled))[column]).fit(
        cov_type="cluster",
        cov_kwds={"groups": sides["cluster"].rank("dense").to_numpy()[kept], "use_correction": False},
    )
    weights = np.where(filled % 2 == 0, 1.0, -1.0) / len(both)
    return weights @ fit.params, weights @ fit.cov_params() @ weights


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("text", "left", "right"),
    [
        (
            "x: place=water - place=land within class_name, weather",
            pl.col("place") == "water",
            pl.col("place") == "land",
        ),
        ("x: place=water - weather=fog", pl.col("place") == "water", pl.col("weather") == "fog"),
        (
            "x: all - place=land & weather=fog|rain within all",
            pl.lit(value=True),
            (pl.col("place") == "land") & pl.col("weather").is_in(["fog", "rain"]),
        ),
    ],
)
def test_a_contrast_and_its_error_equal_a_regression_with_cluster_robust_errors(text, left, right, seed):
    """Also where photos stand on both sides: they are in the regression twice, in one cluster."""
    frame = answers(drawn(seed=seed, place=["water", "land"], weather=["clear", "fog", "rain"]), seed)
    contrast = Contrast.parse(text)
    ((_, read),) = read_answers(frame)
    means = read.means(read.photos.sides(contrast).partition)
    share = means.partition.pair_photos / means.partition.photos[means.partition.pair_stratum]
    means.__dict__["_scores"] = means._scores * np.sqrt(1 - share)  # without the correction for leverage
    first, second, n = read.sides(contrast)
    change = first.minus(second, n=n)
    value, variance = stacked(frame, contrast, left, right)
    assert change.value == pytest.approx(value, abs=1e-12)
    assert change.variance == pytest.approx(variance, rel=1e-9)
    assert n == frame.filter(left | right).height


def test_the_drop_is_one_contrast():
    photos = drawn(group=["common", "counter"], background=["sea", "wood"])
    frame = answers(photos.with_columns(group=pl.when(pl.col("background") == "sea").then("group")), models=3)
    other = Contrast("other", "group=common", "group=counter")
    design = Design(contrasts=(DROP, other))
    scores = score_predictions(frame, design=design)
    drops, others = (scores.filter(pl.col("metric") == name) for name in ("drop", "other"))
    assert_frame_equal(drops.drop("metric", "contrast"), others.drop("metric", "contrast"))
    assert drops.height == 3 * 4
    assert_frame_equal(score_predictions(frame), scores.filter(pl.col("contrast").ne_missing("other")))
    tests = [
        compare_models(frame, contrast=contrast).filter(metric=contrast.name) for contrast in (DROP, other)
    ]
    columns = ["value", "low", "high", "p_value", "n", "clusters"]
    assert_frame_equal(tests[0].select(columns), tests[1].select(columns))


def test_strata_without_a_side_are_left_out_and_counted():
    photos = pl.DataFrame(
        {
            "class_name": ["a"] * 6 + ["b"] * 3 + ["c"] * 2,
            "place": ["water", "land", "land", "land", None, "wood", "water", "water", "wood", "wood", None],
            "cluster": [f"c{number}" for number in range(11)],
        }
    )
    frame = answers(photos)
    right = frame["correct"].to_numpy().astype(float)
    ((_, read),) = read_answers(frame)
    contrast = Contrast("x", "place=water", "place=land")
    sides = read.photos.sides(contrast)
    assert (sides.strata, sides.left_out) == (1, 1)  # b has water only, and c is on neither side
    found = figure(score_contrast(frame, contrast), "x")
    assert found["value"] == pytest.approx(right[0] - right[1:4].mean())
    assert (found["n"], found["clusters"]) == (4, 4)
    by_class = score_contrast(frame, contrast).filter(pl.col("class_index").is_not_null(), metric="x")
    assert by_class["value"].null_count() == 2
    nothing = Contrast("x", "place=water", "place=land & class_name=c")
    assert figure(score_contrast(frame, nothing), "x")["value"] is None


def test_by_class_it_is_the_contrast_within_the_class():
    frame = answers(drawn(place=["water", "land"], weather=["clear", "fog"]))
    for within in (("class_name", "weather"), ("weather",)):
        contrast = Contrast("x", "place=water", "place=land", within)
        scores = score_contrast(frame, contrast)
        for name, index in (("a", 1), ("b", 2), ("c", 3)):
            part = frame.filter(class_name=name)
            alone = Contrast("x", "place=water", "place=land", ("weather",))
            expected = figure(score_contrast(part, alone), "x")
            found = figure(scores, "x", None, index)
            assert {k: found[k] for k in ("value", "n")} == {k: expected[k] for k in ("value", "n")}
            assert figure(scores, "x", "place=water", index)["value"] == pytest.approx(
                figure(score_contrast(part, alone), "x", "place=water")["value"]
            )
    # The first stratum is not of the first class.
    gaps = frame.filter(~((pl.col("weather") == "clear") & (pl.col("class_name") == "a")))
    contrast = Contrast("x", "place=water", "place=land", ("weather", "class_name"))
    scores = score_contrast(gaps, contrast)
    for name, index in (("a", 1), ("b", 2), ("c", 3)):
        part = gaps.filter(class_name=name)
        found = figure(scores, "x", None, index)
        assert found["value"] == pytest.approx(figure(score_contrast(part, contrast), "x")["value"])
        assert found["n"] == len(part)
    average = Contrast("gap", "average(training)", "place=land")
    birds = answers(drawn(class_name=["landbird", "waterbird"], place=["land", "water"]))
    scores = score_contrast(birds, average, design=BIRDS)
    cell = {
        place: birds.filter(class_name="landbird", place=place)["correct"].mean()
        for place in ("land", "water")
    }
    expected = (3498 * cell["land"] + 184 * cell["water"]) / (3498 + 184) - cell["land"]
    assert figure(scores, "gap", None, 1)["value"] == pytest.approx(expected, abs=1e-12)


def test_an_average_of_cells_of_which_one_has_no_photo_is_unknown():
    frame = answers(drawn(class_name=["landbird", "waterbird"], place=["land", "water"]))
    part = frame.filter(~((pl.col("class_name") == "waterbird") & (pl.col("place") == "land")))
    scores = score_predictions(part, design=BIRDS)
    assert figure(scores, "average(training)")["value"] is None
    assert figure(scores, "worst_group_accuracy")["value"] is not None
    alike = frame.filter(place="land")
    assert figure(score_predictions(alike, design=BIRDS), "worst_group_accuracy")["value"] is None


def test_numbers_are_compared_and_photos_without_a_value_are_on_no_side():
    photos = drawn(place=["water"]).with_columns(
        size=pl.Series(np.random.default_rng(0).random(600)), weather=pl.lit("fog")
    )
    photos = photos.with_columns(
        pl.when(pl.int_range(pl.len()) % 5 > 0).then("size"),
        pl.when(pl.int_range(pl.len()) % 3 > 0).then("weather"),
    )
    frame = answers(photos)
    scores = score_contrast(frame, Contrast("x", "size<0.3", "size>=0.3 & weather!=clear", ()))
    low = frame.filter(pl.col("size") < 0.3)
    high = frame.filter(pl.col("size") >= 0.3, pl.col("weather") == "fog")
    assert figure(scores, "x")["value"] == pytest.approx(low["correct"].mean() - high["correct"].mean())
    assert figure(scores, "x")["n"] == low.height + high.height


def test_contrasts_of_two_models_are_paired_photo_by_photo():
    frame = answers(drawn(place=["water", "land"], weather=["clear", "fog"]), models=2)
    contrast = Contrast("x", "place=water", "place=land")
    read = [Compared(key[0], key[1:], found) for key, found in read_answers(frame)]
    tests = compare_answers(read, contrast)
    assert tests.select("metric", "contrast", "column", "level").rows() == [
        ("accuracy", None, None, None),
        ("accuracy", "x", "side", "place=water"),
        ("accuracy", "x", "side", "place=land"),
        ("x", "x", None, None),
    ]
    groups = frame.filter(model="m0")["place"].replace({"water": "common", "land": "counter"})
    pair = [frame.filter(model=name) for name in ("m0", "m1")]
    photos = (
        pair[0]["correct"],
        pair[1]["correct"],
        pair[0]["class_index"],
        groups,
        pair[0]["cluster"],
    )
    expected, ends = paired_test(*photos, quantity="drop"), drop_change_interval(*photos)
    last = tests.row(3, named=True)
    for name in ("value", "p_value", "n", "clusters"):
        assert last[name] == pytest.approx(getattr(expected, name), abs=1e-12), name
    assert (last["low"], last["high"]) == pytest.approx((ends.low, ends.high), abs=1e-12)
    classes = min(ends.low, expected.classes_low), max(ends.high, expected.classes_high)
    assert (last["classes_low"], last["classes_high"]) == pytest.approx(classes, abs=1e-12)


def simulation():
    folder = str(Path(__file__).parents[2] / "bench" / "experiments")
    sys.path.insert(0, folder)
    try:
        return importlib.import_module("contrast_coverage")
    finally:
        sys.path.remove(folder)


SCENES = [simulation().SCENES[place] for place in (0, 2, 4, 7)]


@pytest.mark.slow
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_intervals_of_contrasts_hold_the_truth(scene):
    for quantity, share in simulation().coverage(scene, 200).items():
        assert 0.90 <= share <= 0.995, quantity
