"""Sound photos on which nothing varies: equal drops in all classes, one cluster in all or in each."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from array_tests import drop_change_interval, paired_test
from completed import completed
from plain_scores import mean_drop

from counterground.metrics import (
    compare_models,
    drop_interval,
    score_predictions,
)
from counterground.metrics._intervals import plain_interval
from counterground.metrics._sampling import InfluenceEstimate


def predictions(model, cluster, right=("common",)):
    """Three classes of four photos a group, right on the groups named."""
    rows = [
        {
            "path": f"{index}/{group}/{photo}",
            "photo_id": f"{index}/{group}/{photo}",
            "class_index": index,
            "group": group,
            "cluster": cluster.format(index=index),
            "correct": group in right,
            "true_rank": int(group not in right),
            "confidence": 0.5,
            "top2_gap": 0.1,
        }
        for index in range(3)
        for group in ("common", "counter")
        for photo in range(4)
    ]
    return completed(pl.DataFrame(rows).with_columns(model=pl.lit(model)))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("cluster", ["all", "class {index}"])
@pytest.mark.parametrize("right", [("common",), ("common", "counter"), ()])
def test_scores_without_spread_are_finite(cluster, right):
    scores = score_predictions(predictions("m", cluster, right))
    drop = scores.filter(pl.col("metric") == "drop", pl.col("class_index").is_null()).row(0, named=True)
    assert drop["value"] == float(right == ("common",))
    assert (drop["low"] is None) == (cluster == "all")
    for name in ("value", "low", "high"):
        assert all(math.isfinite(value) for value in scores[name].drop_nulls())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("cluster", ["all", "class {index}"])
def test_tests_without_spread_are_finite(cluster):
    both = [predictions("a", cluster), predictions("b", cluster, ("common", "counter"))]
    tests = compare_models(pl.concat(both))
    drop = tests.filter(metric="drop").row(0, named=True)
    assert drop["value"] == 1.0
    assert (drop["p_value"] is None) == (cluster == "all")
    if drop["p_value"] is not None:
        assert 0 < drop["p_value"] <= drop["p_corrected"] <= 1


def test_an_interval_and_its_p_value_agree_without_spread():
    both = [predictions("a", "class {index}"), predictions("b", "class {index}", ("common", "counter"))]
    tests = compare_models(pl.concat(both))
    tested = tests.filter(pl.col("p_value").is_not_null())
    assert not tested.is_empty()
    for row in tested.iter_rows(named=True):
        assert (row["p_value"] < 0.05) == (row["low"] > 0 or row["high"] < 0)


def test_the_interval_over_other_classes_holds_the_one_over_other_photos():
    """Classes that are alike but for one photo tell no more of other classes than of other photos."""
    rows = predictions("m", "class {index}", ("common", "counter"))
    more = [
        rows.with_columns(pl.col("class_index") + 3 * number, path=pl.format("{} {}", "path", number))
        for number in range(7)
    ]
    frame = pl.concat(more).with_columns(cluster=pl.lit(None, pl.String), photo_id="path")
    scores = score_predictions(frame.with_columns(correct=pl.col("path") != "0/common/0 0"))
    shown = scores.filter(pl.col("class_index").is_null(), pl.col("classes_low").is_not_null())
    assert len(shown) > 3
    assert (shown["classes_low"] <= shown["low"]).all()
    assert (shown["classes_high"] >= shown["high"]).all()


@pytest.mark.parametrize("better", [True, False])
def test_rounding_is_no_correlation(better):
    """In 49 photos with 1 right, rounding leaves scatter; the interval lies between those of 48 and of 50."""
    times = [3, 1, 1, 1, 1, 3, 3, 2]
    lows = []
    for photos in (48, 49, 50):
        common = [[row < each for row in range(photos * each)] for each in times]
        counter = [[row < (each if better else 4 - each) for row in range(10)] for each in times]
        cluster = [str(place) for side in (common, counter) for place, each in enumerate(side) for _ in each]
        right = [hit for side in (common, counter) for each in side for hit in each]
        group = ["common"] * sum(map(len, common)) + ["counter"] * sum(map(len, counter))
        lows.append(drop_interval(right, [0] * len(right), group, cluster).low)
    assert lows[0] > lows[1] > lows[2]


@pytest.mark.parametrize("cell", [2, 4, 8])
@pytest.mark.parametrize("quantity", ["accuracy", "common", "drop"])
def test_photos_with_equal_answers_are_no_evidence_of_a_difference(quantity, cell):
    """Two models differ on all common photos of one class, and on none of the many others."""
    classes = np.repeat(np.arange(40), 2 * cell)
    group = np.tile(np.repeat(["common", "counter"], cell), 40)
    one = np.arange(len(classes)) % 3 > 0
    differ = (classes == 0) & ((group == "common") | (quantity == "accuracy"))
    other = np.where(differ, False, one)
    one = one | differ
    test = paired_test(one, other, classes, group, quantity=quantity)
    assert test.p_value >= 2.0 ** (1 - differ.sum())  # a sign test of the photos that differ
    assert (test.p_value < 0.05) == (test.low > 0)
    if quantity == "drop":
        assert drop_change_interval(one, other, classes, group).low == test.low


def test_models_better_in_a_class_each_are_tested_by_their_signs():
    """One model is better on all photos of two classes, the other on all of a third: 8 clusters against 4."""
    classes = np.repeat(np.arange(40), 4)
    one, other = np.isin(classes, [0, 1, 5]), np.isin(classes, [2, 5])
    test = paired_test(one, other, classes)
    assert test.p_value == pytest.approx(1588 / 4096)  # twice that of at most 4 of 12
    assert test.low <= 0 <= test.high
    pairs = [f"{place // 2}" for place in range(len(classes))]
    fewer = paired_test(one, other, classes, None, pairs)
    assert fewer.p_value == pytest.approx(44 / 64)  # 4 clusters against 2
    crossed = paired_test(one, other, classes, None, range(len(classes)), crossed=pairs)
    assert crossed.p_value == pytest.approx(fewer.p_value)


def test_the_interval_of_a_sum_and_its_p_value_agree_without_spread():
    estimate = InfluenceEstimate(0.5, np.zeros(40), 40, 40, 39.0)
    for value in (0.0, 0.05, 0.1, 0.2, 0.5, 1.0):
        found = plain_interval(replace(estimate, value=value))
        assert (found.p_value < 0.05) == (found.low > 0)


@pytest.mark.parametrize("sessions", [1, 40])
def test_a_side_in_one_cluster_has_no_interval_however_many_photos_it_has(sessions):
    """All common photos of the only class are of one session; nothing shows how others would differ."""
    right = np.repeat([True, False, True, False], [900, 100, 600, 400])
    group = np.repeat(["common", "counter"], 1000)
    cluster = [f"{side} {number % sessions * (side == 'counter')}" for number, side in enumerate(group)]
    index = np.zeros(2000, dtype=int)
    drop = drop_interval(right, index, group, cluster)
    assert drop.value == pytest.approx(0.3)
    assert (drop.low, drop.high, drop.p_value) == (None, None, None)
    test = paired_test(right, right[::-1], index, group, cluster, quantity="drop")
    assert (test.low, test.p_value) == (None, None)
    # How far classes lie apart stands in for it.
    two = np.repeat([0, 1], 2000), np.tile(group, 2), [f"{c} {each}" for c in (0, 1) for each in cluster]
    assert drop_interval(np.tile(right, 2), *two).low is not None


@pytest.mark.parametrize("sessions", [1, 40])
def test_a_side_in_one_cluster_has_no_interval_however_many_classes_it_has(sessions):
    """All common photos of ten classes are of one session: how far classes lie apart says nothing of it."""
    index = np.repeat(np.arange(10), 200)
    group = np.tile(np.repeat(["common", "counter"], 100), 10)
    right = np.random.default_rng(0).random(2000) < np.where(group == "common", 0.8, 0.6)
    cluster = [f"{side} {number % sessions * (side == 'counter')}" for number, side in enumerate(group)]
    drop = drop_interval(right, index, group, cluster)
    assert drop.value == pytest.approx(mean_drop(right, index, group))
    assert (drop.low, drop.high, drop.p_value, drop.classes_low) == (None, None, None, None)
    for quantity in ("common", "drop"):
        test = paired_test(right, right[::-1], index, group, cluster, quantity=quantity)
        assert (test.low, test.p_value) == (None, None)
