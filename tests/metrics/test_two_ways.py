"""Clusters of two ways that cross: variance, degrees of freedom, and what uses them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from array_tests import paired_test
from completed import completed
from polars.testing import assert_frame_equal
from statsmodels.api import OLS

from counterground.metrics import (
    DROP,
    Contrast,
    Design,
    balanced_interval,
    cluster_columns,
    compare_models,
    read_answers,
    score_by,
    score_contrast,
    score_predictions,
)

TWO = Design(clusters=("cluster", "scene"))
PLACES = Contrast("places", "place=water", "place=land")


def predictions(n=500, seed=0, models=1):
    """Photos of 3 classes on 2 places, in 30 clusters and 20 scenes, which both matter."""
    rng = np.random.default_rng(seed)
    cluster, scene = rng.integers(30, size=n), rng.integers(20, size=n)
    index = rng.integers(3, size=n)
    names = [f"{number:05}" for number in range(n)]
    photos = pl.DataFrame(
        {
            "path": names,
            "photo_id": names,
            "class_index": index.astype(np.int32),
            "class_name": [f"class {number}" for number in index],
            "background": rng.choice(["sea", "wood"], n),
            "group": rng.choice(["common", "counter"], n),
            "place": rng.choice(["water", "land"], n),
            "blur": rng.normal(size=n),
            "cluster": [f"c{number}" for number in cluster],
            "scene": [f"s{number}" for number in scene],
        }
    )
    level = 0.5 + 0.25 * np.sin(3 * cluster) + 0.2 * np.cos(5 * scene)
    return pl.concat(
        completed(photos.with_columns(model=pl.lit(f"m{number}"), correct=pl.Series(rng.random(n) < level)))
        for number in range(models)
    )


def codes(frame, name):
    return frame[name].rank("dense").to_numpy() - 1


def change_of(frame, contrast, design=TWO, *, corrected=True):
    ((_, read),) = read_answers(frame, design=design)
    means = read.means(read.photos.sides(contrast).partition)
    if not corrected:
        for way in (means, *means._others):
            way.__dict__["_scores"] = way.residuals / way.partition.photos[way.partition.pair_stratum]
    left, right, n = read.sides(contrast)
    return left.minus(right, n=n)


@pytest.mark.parametrize("contrast", [DROP, PLACES, Contrast("x", "all", "place=land", ())])
def test_the_variance_is_that_of_a_regression_with_errors_clustered_in_two_ways(contrast):
    """statsmodels' covariance of Cameron, Gelbach and Miller, before corrections for small samples."""
    frame = predictions()
    change = change_of(frame, contrast, corrected=False)
    sides = {
        DROP: (pl.col("group") == "common", pl.col("group") == "counter"),
        PLACES: (pl.col("place") == "water", pl.col("place") == "land"),
    }.get(contrast, (pl.lit(value=True), pl.col("place") == "land"))
    stacked = pl.concat([frame.filter(chosen).with_columns(side=s) for s, chosen in enumerate(sides)])
    strata = codes(stacked, "class_index") if contrast.within else np.zeros(len(stacked), dtype=int)
    cells = 2 * strata + stacked["side"].to_numpy()
    groups = np.column_stack([codes(stacked, "cluster"), codes(stacked, "scene")])
    model = OLS(stacked["correct"].to_numpy().astype(float), np.eye(cells.max() + 1)[cells])
    weights = np.where(np.arange(cells.max() + 1) % 2 == 0, 1.0, -1.0) / (strata.max() + 1)
    both, first, second = (
        model.fit(cov_type="cluster", cov_kwds={"groups": of, "use_correction": False})
        for of in (groups, groups[:, 0], groups[:, 1])
    )
    assert change.value == pytest.approx(weights @ both.params, abs=1e-12)
    expected, *least = (weights @ fit.cov_params() @ weights for fit in (both, first, second))
    assert change.variance == pytest.approx(max(expected, min(least)), rel=1e-9)


def crossed(correct):
    """Predictions of one class: each of the clusters meets each of the scenes once ``[clusters, scenes]``."""
    clusters, scenes = correct.shape
    part = predictions(clusters * scenes).with_columns(
        class_index=pl.lit(0, pl.Int32), class_name=pl.lit("dog"), correct=pl.Series(correct.ravel())
    )
    return part.with_columns(
        cluster=pl.Series([f"c{number}" for number in np.repeat(np.arange(clusters), scenes)]),
        scene=pl.Series([f"s{number}" for number in np.tile(np.arange(scenes), clusters)]),
    )


def accuracy_of(frame, design=TWO):
    ((_, read),) = read_answers(frame, design=design)
    return read.class_means.average(read.classes)


def test_where_all_meet_all_the_variance_is_that_of_analysis_of_variance():
    """Mean squares of rows and columns, less that of what is left (Henderson's method, balanced)."""
    rng = np.random.default_rng(3)
    right = rng.random((30, 20)) < 0.5 + 0.25 * rng.normal(size=(30, 1)) + 0.25 * rng.normal(size=(1, 20))
    found = accuracy_of(crossed(right))
    rows, columns = right.mean(axis=1), right.mean(axis=0)
    left = right - rows[:, None] - columns + right.mean()
    expected = rows.var(ddof=1) / 30 + columns.var(ddof=1) / 20 - (left**2).sum() / (29 * 19) / 600
    assert found.variance == pytest.approx(expected, rel=0.01)
    assert (found.clusters, found.df) == (20, pytest.approx(19))


def test_pairing_by_one_way_counts_where_the_other_does_not_know_it():
    """Each cluster on both places, with scenes of their own: the paired t-test."""
    frame = predictions(400).with_columns(
        class_index=pl.lit(0, pl.Int32),
        class_name=pl.lit("dog"),
        cluster=pl.Series([f"c{number // 2}" for number in range(400)]),
        scene=pl.Series([f"s{number}" for number in range(400)]),
        place=pl.Series(["water", "land"] * 200),
        correct=pl.Series(np.random.default_rng(1).random(400) < np.repeat([0.2, 0.8], 200)),
    )
    change = change_of(frame, PLACES)
    right = frame["correct"].to_numpy().reshape(-1, 2).astype(float)
    assert change.variance == pytest.approx((right[:, 0] - right[:, 1]).var(ddof=1) / 200, rel=1e-9)
    assert change.variance < 0.97 * right.var(axis=0, ddof=1).sum() / 200


def test_the_variance_is_never_less_than_the_smaller_of_both_ways():
    checkers = np.indices((10, 6)).sum(axis=0) % 2 == 0  # all means are alike, and only pairs differ
    checkers[0] = True
    found = accuracy_of(crossed(checkers))
    ways = checkers.mean(axis=1).var(ddof=1) / 10, checkers.mean(axis=0).var(ddof=1) / 6
    assert sum(ways) < checkers.var(ddof=1) / 60
    assert found.variance == pytest.approx(min(ways), rel=1e-9)


def test_a_second_way_of_lone_photos_or_of_the_same_clusters_adds_nothing():
    frame = predictions()
    one = score_predictions(frame)
    for scene in (pl.lit(None, pl.String), pl.col("cluster")):
        two = score_predictions(frame.with_columns(scene=scene), design=TWO)
        assert_frame_equal(two.drop("clusters_2"), one.drop("clusters_2"), rel_tol=1e-9, abs_tol=1e-12)
    by_scene = score_predictions(frame, design=Design(clusters=("scene",)))
    renamed = frame.with_columns(cluster="scene")
    assert_frame_equal(by_scene, score_predictions(renamed))


def test_everything_that_has_intervals_uses_both_ways():
    frame, one = predictions(models=2), Design()
    tables = {
        "scores": lambda design: score_predictions(frame, design=design, by_class=False),
        "contrast": lambda design: score_contrast(frame, PLACES, design=design),
        "by": lambda design: score_by(frame, ("background",), design=design),
        "compared": lambda design: compare_models(frame, design=design),
    }
    for name, table in tables.items():
        wide, narrow = (
            table(design).filter(pl.col("low").is_not_null()).select(width=pl.col("high") - pl.col("low"))
            for design in (TWO, one)
        )
        assert wide.height == narrow.height > 0
        assert abs(wide["width"].mean() / narrow["width"].mean() - 1) > 0.02, name


def test_arrays_take_a_second_way_as_tables_do():
    frame = predictions(models=2)
    first, second = frame.partition_by("model")
    ways = cluster_columns(first, TWO)
    found = balanced_interval(first["correct"], first["class_index"], **ways)
    row = score_predictions(first, by_class=False, design=TWO).filter(
        pl.col("metric") == "accuracy", pl.col("level").is_null()
    )
    assert row.select("value", "low", "high", "clusters", "clusters_2").row(0) == (
        found.value,
        found.low,
        found.high,
        found.clusters,
        found.clusters_2,
    )
    test = paired_test(
        first["correct"], second["correct"], first["class_index"], first["group"], **ways, quantity="drop"
    )
    compared = compare_models(frame, design=TWO).filter(pl.col("metric") == "drop")
    assert compared.select("value", "low", "high", "p_value").row(0) == pytest.approx(
        (test.value, test.low, test.high, test.p_value)
    )


@pytest.mark.parametrize(
    ("copies", "clusters", "joined"),
    [
        ("abc", [None, None, None], [0, 1, 2]),
        ("aab", [None, None, None], [0, 0, 1]),
        ("aab", ["ann", None, "ann"], [0, 0, 0]),
        ("aabbc", ["zoe", "ben", "cy", "zoe", "cy"], [0, 0, 0, 0, 0]),
        ("aabbccd", ["x", None, None, None, None, "x", "y"], [0, 0, 1, 1, 0, 0, 2]),
    ],
)
@pytest.mark.parametrize("column", ["cluster", "scene"])
def test_clusters_with_copies_of_one_photo_are_one(copies, clusters, joined, column):
    rows = predictions(60).head(len(copies))
    ids = pl.Series([letter * 64 for letter in copies])
    rows = rows.with_columns(pl.Series(column, clusters, dtype=pl.String), photo_id=ids)
    found = cluster_columns(rows, Design(clusters=(column,)))["cluster"]
    numbers = [found.index(each) if each is not None else at for at, each in enumerate(found)]
    assert [sorted(set(numbers)).index(each) for each in numbers] == joined


def test_scores_take_copies_for_one_cluster():
    rows = predictions(60)
    scene = ["a", None, "b", *rows["scene"][3:]]
    content = ["one", "one", "one", *rows["photo_id"][3:]]
    copied = rows.with_columns(scene=pl.Series(scene), photo_id=pl.Series(content))
    joined = copied.with_columns(scene=pl.Series(["a", "a", "a", *scene[3:]]))
    scores = [score_predictions(each, design=Design(clusters=("scene",))) for each in (copied, joined)]
    assert_frame_equal(*scores)
