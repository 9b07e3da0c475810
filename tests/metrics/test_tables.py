"""Scores and comparisons as tables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from array_tests import drop_change_interval, paired_test
from plain_scores import (
    balanced_accuracy,
    class_drops,
    mean_drop,
    plain_accuracy,
    tie_rate,
    top_k_accuracy,
    worst_group_accuracy,
)
from polars.testing import assert_frame_equal

from counterground.metrics import (
    COMPARISON_SCHEMA,
    KEY_SCHEMA,
    SCORES_SCHEMA,
    balanced_interval,
    compare_models,
    drop_interval,
    expected_calibration_error,
    holm,
    proportion_interval,
    score_predictions,
)
from counterground.metrics import (
    tests_against as against_one,
)

METRICS = [
    *[("accuracy", group) for group in (None, "common", "counter")],
    *[("plain_accuracy", group) for group in (None, "common", "counter")],
    ("drop", None),
    ("worst_group_accuracy", None),
    ("mean_minus_worst", None),
    *[("top5_accuracy", group) for group in (None, "common", "counter")],
    ("ece", None),
    ("tie_rate", None),
    ("bias_ratio", "counter"),
    ("bias_ratio_chance", "counter"),
]


def predictions(model="a", seed=0, n=300, skill=0.4, **labels):
    rng = np.random.default_rng(1)
    photos = {
        "path": [f"{number:04}.jpg" for number in range(n)],
        "photo_id": [f"content of {number}" for number in range(n)],
        "class_index": rng.integers(0, 6, n) * 10,
        "group": rng.choice(np.array(["common", "counter"]), n).tolist(),
        "cluster": [None if number % 7 == 0 else f"c{number % 40}" for number in range(n)],
    }
    rank = np.random.default_rng(seed).geometric(skill, n) - 1
    outcome = {
        "correct": rank == 0,
        "true_rank": rank,
        "confidence": np.random.default_rng(seed).random(n),
        "top2_gap": np.where(np.arange(n) % 50 == 0, 0.0, 0.1),
    }
    setting = {
        "names": "openai",
        "prompts": "simple",
        "protocol": None,
        "answer_score": None,
        "label_space": "imagenet",
        **labels,
    }
    return (
        pl.DataFrame({**photos, "model": model, **setting, **outcome})
        .with_columns(
            pl.col("class_index").cast(pl.Int32),
            pl.col("true_rank").cast(pl.Int32),
        )
        .cast({**KEY_SCHEMA, "confidence": pl.Float32})
    )


def cell(scores, metric, group=None, index=None):
    return scores.filter(
        pl.col("metric") == metric,
        pl.col("level").eq_missing(group),
        pl.col("class_index").eq_missing(index),
    ).row(0, named=True)


@pytest.fixture(scope="module")
def frame():
    return predictions()


@pytest.fixture(scope="module")
def scores(frame):
    return score_predictions(frame)


def test_columns_and_rows(scores):
    assert dict(scores.schema) == SCORES_SCHEMA
    overall = scores.filter(pl.col("class_index").is_null())
    assert overall.select("metric", "level").rows() == METRICS
    by_class = scores.filter(pl.col("class_index").is_not_null())
    assert by_class.height == 6 * 4
    assert set(by_class["metric"]) == {"accuracy", "drop"}
    assert not scores.select(pl.col("value", "low", "high").is_nan().any()).row(0).count(True)


def test_values_are_those_of_the_functions(frame, scores):
    correct, index, group = (
        frame["correct"].to_numpy(),
        frame["class_index"].to_numpy(),
        frame["group"].to_list(),
    )
    rank, confidence = frame["true_rank"].to_numpy(), frame["confidence"].to_numpy()
    inside = np.array(group) == "counter"
    expected = {
        ("accuracy", None): balanced_accuracy(correct, index),
        ("accuracy", "counter"): balanced_accuracy(correct[inside], index[inside]),
        ("plain_accuracy", None): plain_accuracy(correct),
        ("plain_accuracy", "counter"): plain_accuracy(correct[inside]),
        ("drop", None): mean_drop(correct, index, group),
        ("worst_group_accuracy", None): worst_group_accuracy(correct, index, group),
        ("top5_accuracy", None): top_k_accuracy(rank, 5, index),
        ("top5_accuracy", "counter"): top_k_accuracy(rank[inside], 5, index[inside]),
        ("ece", None): expected_calibration_error(confidence, correct),
        ("tie_rate", None): tie_rate(frame["top2_gap"].to_numpy()),
    }
    for (metric, name), value in expected.items():
        assert cell(scores, metric, name)["value"] == pytest.approx(value), metric
    drops = class_drops(correct, index, group)
    for c, common, drop in zip(drops.classes.tolist(), drops.common, drops.drop, strict=True):
        assert cell(scores, "accuracy", "common", c)["value"] == pytest.approx(common)
        assert cell(scores, "drop", None, c)["value"] == pytest.approx(drop)


def test_intervals_are_those_of_the_functions(frame, scores):
    correct, index, cluster = (
        frame["correct"].to_numpy(),
        frame["class_index"].to_numpy(),
        frame["cluster"].to_list(),
    )
    for row, interval in (
        (cell(scores, "accuracy"), balanced_interval(correct, index, cluster)),
        (cell(scores, "drop"), drop_interval(correct, index, frame["group"].to_list(), cluster)),
    ):
        for name in ("low", "high", "p_value", "classes_low", "classes_high"):
            assert row[name] == pytest.approx(getattr(interval, name)), name
        assert (row["n"], row["clusters"]) == (interval.n, interval.clusters)
    assert (
        cell(scores, "accuracy")["clusters"]
        == frame["cluster"].n_unique() - 1 + frame["cluster"].null_count()
    )


def test_intervals_are_about_as_wide_as_those_of_a_bootstrap_over_clusters(frame, scores):
    correct, index = frame["correct"].to_numpy(), frame["class_index"].to_numpy()
    group = np.array(frame["group"].to_list())
    names = frame["cluster"].fill_null(frame["path"]).to_numpy()
    members = [np.flatnonzero(names == name) for name in np.unique(names)]
    rng, drawn = np.random.default_rng(0), []
    for _ in range(400):
        rows = np.concatenate([members[place] for place in rng.integers(0, len(members), len(members))])
        drawn.append(
            (
                balanced_accuracy(correct[rows], index[rows]),
                mean_drop(correct[rows], index[rows], group[rows]),
            )
        )
    for metric, spread in zip(("accuracy", "drop"), np.std(drawn, axis=0), strict=True):
        row = cell(scores, metric)
        assert row["high"] - row["low"] == pytest.approx(2 * 1.98 * spread, rel=0.25), metric


def test_plain_accuracy_knows_how_many_photos_each_class_has():
    """Differences between classes are no sampling error: as many photos of each would be drawn again."""
    frame = predictions()
    often = np.where(frame["class_index"] < 30, 0.9, 0.1)
    frame = frame.with_columns(correct=pl.Series(np.random.default_rng(0).random(len(often)) < often))
    row = cell(score_predictions(frame), "plain_accuracy")
    assert row["value"] == pytest.approx(frame["correct"].mean())
    alike = proportion_interval(frame["correct"], frame["cluster"].to_list())
    assert alike.low < row["low"] < row["value"] < row["high"] < alike.high
    assert row["high"] - row["low"] < 0.8 * (alike.high - alike.low)
    level = frame.sort("class_index").group_by("class_index", maintain_order=True).head(40)
    scores = score_predictions(level)
    for name in ("value", "low", "high"):
        assert cell(scores, "plain_accuracy")[name] == pytest.approx(cell(scores, "accuracy")[name])


def test_what_chance_alone_shifts_has_no_interval(scores):
    for metric in ("worst_group_accuracy", "mean_minus_worst", "ece"):
        row = cell(scores, metric)
        assert row["value"] is not None, metric
        assert (row["low"], row["high"], row["classes_low"], row["classes_high"]) == (None,) * 4, metric


def test_models_and_settings_are_kept_apart_and_in_order(frame):
    both = pl.concat([predictions("z", 4), frame, predictions("z", 4, prompts="openai")])
    table = score_predictions(both, by_class=False)
    assert table.height == 3 * len(METRICS)
    assert table.select("model", "prompts").unique(maintain_order=True).rows() == [
        ("z", "simple"),
        ("a", "simple"),
        ("z", "openai"),
    ]
    alone = score_predictions(frame, by_class=False)
    over_models = "p_corrected", "family"
    assert_frame_equal(table.filter(pl.col("model") == "a").drop(over_models), alone.drop(over_models))
    drops = table.filter(metric="drop")
    assert drops["p_corrected"].to_list() == holm(drops["p_value"])
    assert drops["family"].to_list() == [3] * 3


def test_without_groups_what_needs_them_is_null(frame):
    table = score_predictions(frame.with_columns(group=pl.lit(None, dtype=pl.String)))
    for metric, group in METRICS:
        row = cell(table, metric, group)
        missing = group is not None or metric in ("drop", "worst_group_accuracy", "mean_minus_worst")
        assert (row["value"] is None) == missing
        assert (row["n"] == 0) == missing
    assert set(table.filter(pl.col("class_index").is_not_null())["metric"]) == {"accuracy"}


def test_a_class_without_counter_photos_has_no_drop_and_takes_no_part_in_it(frame):
    kept = frame.filter((pl.col("class_index") != 20) | (pl.col("group") == "common"))
    table = score_predictions(kept)
    for row in (cell(table, "drop", None, 20), cell(table, "accuracy", "counter", 20)):
        assert (row["value"], row["low"], row["high"], row["n"]) == (None, None, None, 0)
    others = score_predictions(kept.filter(pl.col("class_index") != 20))
    assert cell(table, "drop")["value"] == pytest.approx(cell(others, "drop")["value"])


def test_what_a_protocol_does_not_give_is_null(frame):
    bare = frame.with_columns(
        true_rank=pl.lit(None, pl.Int32),
        confidence=pl.lit(None, pl.Float32),
        top2_gap=pl.lit(None, pl.Float32),
    )
    table = score_predictions(bare, by_class=False)
    for metric in ("top5_accuracy", "ece", "tie_rate"):
        assert cell(table, metric)["value"] is None


def test_a_comparison_of_three_models():
    frame = pl.concat([predictions("a"), predictions("b", 1, skill=0.6), predictions("c", 2)])
    table = compare_models(frame)
    assert dict(table.schema) == COMPARISON_SCHEMA
    assert table.select("model", "versus").unique(maintain_order=True).rows() == [
        ("a", "b"),
        ("a", "c"),
        ("b", "c"),
    ]
    assert table.head(4).select("metric", "level").rows() == [
        ("accuracy", None),
        ("accuracy", "common"),
        ("accuracy", "counter"),
        ("drop", None),
    ]
    scores = score_predictions(frame, by_class=False)
    value = {
        model: cell(scores.filter(pl.col("model") == model), "accuracy", "counter")["value"]
        for model in "abc"
    }
    row = table.filter(pl.col("level") == "counter").row(0, named=True)
    assert row["value"] == pytest.approx(value["a"] - value["b"])
    assert row["p_value"] < 0.01
    assert table["p_corrected"].to_list() == holm(table["p_value"])


def test_a_comparison_against_one_model():
    frame = pl.concat([predictions("a"), predictions("b", 1), predictions("c", 2)])
    every = compare_models(frame)
    table = against_one(every, "b")
    assert table.select("model", "versus").unique(maintain_order=True).rows() == [("a", "b"), ("c", "b")]
    kept = every.filter((pl.col("model") == "b") | (pl.col("versus") == "b"))
    assert table["p_corrected"].to_list() == kept["p_corrected"].to_list()
    assert table.filter(model="a").equals(every.filter(model="a", versus="b"))
    turned = every.filter(model="b", versus="c")
    assert table.filter(model="c")["value"].to_list() == (-turned["value"]).to_list()
    assert table.filter(model="c")["low"].to_list() == (-turned["high"]).to_list()


@pytest.mark.parametrize("quantity", ["accuracy", "common", "counter", "drop"])
def test_the_table_holds_the_paired_test_of_each_pair(quantity):
    first, second = predictions("a"), predictions("b", 1)
    columns = (first[name].to_list() for name in ("group", "cluster"))
    test = paired_test(first["correct"], second["correct"], first["class_index"], *columns, quantity=quantity)
    group = quantity if quantity in ("common", "counter") else None
    metric = "accuracy" if group else quantity
    table = compare_models(pl.concat([first, second])).filter(metric=metric)
    (row,) = table.filter(pl.col("level").eq_missing(pl.lit(group))).to_dicts()
    if quantity == "drop":  # whose end away from 0 is that of `check`
        columns = (first[name].to_list() for name in ("group", "cluster"))
        found = drop_change_interval(first["correct"], second["correct"], first["class_index"], *columns)
        test = replace(test, low=found.low, high=found.high)
    for name in ("value", "low", "high", "p_value"):
        assert row[name] == pytest.approx(getattr(test, name), abs=1e-12)
    assert row["classes_low"] <= row["low"] <= row["high"] <= row["classes_high"]
    assert (row["n"], row["clusters"]) == (test.n, test.clusters)


def test_results_of_one_model_from_two_sources_are_compared():
    frames = [
        predictions(name, seed).with_columns(source=pl.lit(source))
        for name, seed, source in (("a", 0, "old"), ("a", 1, "new"), ("b", 2, "new"))
    ]
    table = compare_models(pl.concat(frames))
    sides = table.select("model", "source", "versus", "versus_source").unique(maintain_order=True)
    assert sides.rows() == [("a", "old", "a", "new"), ("a", "old", "b", "new"), ("a", "new", "b", "new")]
    plain = compare_models(pl.concat([frames[0], frames[2]]).drop("source"))
    between = table.filter(source="old", versus="b")
    assert between["value"].to_list() == plain["value"].to_list()


def test_a_comparison_without_groups_has_accuracy_only():
    frame = pl.concat([predictions("a"), predictions("b", 1)]).with_columns(group=pl.lit(None, pl.String))
    assert compare_models(frame)["metric"].to_list() == ["accuracy"]


def test_an_encoder_is_compared_with_a_generative_model():
    clip = predictions("clip", protocol="classification")
    lvlm = predictions("lvlm", 1, protocol="answer-loss", answer_score="mean", prompts="What is it? A {}")
    table = compare_models(pl.concat([clip, lvlm]))
    sides = [
        "protocol",
        "versus_protocol",
        "prompts",
        "versus_prompts",
        "answer_score",
        "versus_answer_score",
    ]
    assert table.select(sides).unique().rows() == [
        ("classification", "answer-loss", "simple", "What is it? A {}", None, "mean")
    ]
    same = compare_models(pl.concat([clip, predictions("lvlm", 1, protocol="classification")]))
    figures = [name for name in table.columns if not name.endswith(("protocol", "prompts", "answer_score"))]
    assert_frame_equal(table.select(figures), same.select(figures))
    turned = against_one(table, "clip")
    assert set(turned["versus"]) == {"clip"}
    assert set(turned["versus_protocol"]) == {"classification"}
    for label in (
        {"protocol": "classification", "names": "wordnet"},
        {"protocol": "classification", "label_space": "confusable"},
        {"protocol": "yes-no"},
    ):
        with pytest.raises(ValueError, match="A comparison needs two models"):
            compare_models(pl.concat([predictions("clip", **label), lvlm]))
