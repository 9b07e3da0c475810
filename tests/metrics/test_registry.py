"""Metrics that another package adds, through real entry points."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from completed import completed
from other_package import install

from counterground.metrics import registered_metrics, score_predictions

MODULE = """
from counterground.metrics import Estimate, Metric

def confident(answers, group):
    return answers.balanced_share(answers.rows["confidence"].to_numpy() > 0.9, group)

def by_class(answers, group):
    return answers.balanced_share(answers.rows["confidence"].to_numpy() > 0.9, group)

IN_CLASSES = Metric("in_classes", (None, "counter"), by_class, "In classes", "Of each.", by_class=True)
CONFIDENT = Metric("confident", (None, "counter"), confident, "Confident", "Share of confidence above 90 %.")
TAKEN = Metric("drop", (None,), confident, "Drop", "Not the drop.")
NONE = 3.0
NAN = Metric("nan", (None,), lambda answers, group: Estimate(float("nan"), None, None, 40, 40), "NaN", "NaN.")
def one_class(answers, group):
    if len(answers.classes) > 1:
        return answers.balanced_share(answers.correct, group)
    return Estimate(1.0, 0.5, float("inf"), 40, 40)

INFINITE = Metric("infinite", (None,), one_class, "Infinite", "In single classes only.", by_class=True)
WRONG = Metric("wrong", (None,), lambda answers, group: 0.5, "Wrong", "Returns a number.")
"""


@pytest.fixture
def package(request):
    """Function: (name of an object of the module, of its entry point) -> None, after installing it."""

    def add(name, metric):
        site = request.getfixturevalue("site")  # only now, since packages are looked for once a path
        install(site, "sure_metrics", MODULE, {"counterground.metrics": {metric: f"sure_metrics:{name}"}})

    return add


def predictions():
    n = 40
    random = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "path": [f"{k}" for k in range(n)],
            "class_index": [k % 4 for k in range(n)],
            "group": ["common" if k % 8 < 4 else "counter" for k in range(n)],
            "correct": random.random(n) < 0.6,
            "confidence": random.random(n),
            "model": "m",
        }
    )
    return completed(frame)


def test_a_package_adds_a_metric(package):
    before = score_predictions(predictions())
    package("CONFIDENT", "confident")
    frame = predictions()
    scores = score_predictions(frame)
    added = scores.filter(metric="confident")
    assert scores.filter(pl.col("metric") != "confident").equals(before)
    assert added["level"].to_list() == [None, "counter"]
    counter = frame.filter(group="counter").group_by("class_index").agg((pl.col("confidence") > 0.9).mean())
    assert added["value"][1] == pytest.approx(counter["confidence"].mean())
    assert added["low"][1] <= added["value"][1] <= added["high"][1]
    (metric,) = registered_metrics()[-1:]
    assert [column.title for column in metric.table_columns] == ["Confident"]


def test_a_metric_of_a_package_has_its_own_intervals_in_each_class(package):
    """Not those of accuracy, though both have the same strata and clusters."""
    package("IN_CLASSES", "in_classes")
    clusters = pl.format("{}", pl.int_range(pl.len()) // 4 % 3)
    frame = predictions().with_columns(clusters.alias("cluster"), confidence=pl.col("confidence").round())
    sure = frame.with_columns(correct=pl.col("confidence") > 0.9)
    shown = ["class_index", "level", "value", "low", "high"]
    own, expected = (
        score_predictions(rows).filter(pl.col("class_index").is_not_null(), metric=metric).select(shown)
        for rows, metric in ((frame, "in_classes"), (sure, "accuracy"))
    )
    expected = own.select("class_index", "level").join(
        expected, on=["class_index", "level"], how="left", nulls_equal=True
    )
    assert len(own) == 8
    assert own.equals(expected)
