"""Sound photos on which nothing varies: equal drops in all classes, one cluster in all or in each."""

from __future__ import annotations

import math

import polars as pl
import pytest

from counterground.metrics import SETTING_SCHEMA, compare_models, score_predictions


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
    setting = [pl.lit(None, kind).alias(name) for name, kind in SETTING_SCHEMA.items()]
    return pl.DataFrame(rows).with_columns(pl.lit(model).alias("model"), *setting)


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
    assert drop["difference"] == 1.0
    assert (drop["p_value"] is None) == (cluster == "all")
    if drop["p_value"] is not None:
        assert 0 < drop["p_value"] <= drop["p_holm"] <= 1
