"""Metrics that another package adds, through real entry points."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from counterground.errors import CounterGroundError
from counterground.metrics import SETTING_SCHEMA, registered_metrics, score_predictions

MODULE = """
from counterground.metrics import Metric

def confident(answers, group):
    return answers.balanced_share(answers.rows["confidence"].to_numpy() > 0.9, group)

CONFIDENT = Metric("confident", (None, "counter"), confident, "Confident", "Share of confidence above 90 %.")
TAKEN = Metric("drop", (None,), confident, "Drop", "Not the drop.")
NONE = 3.0
WRONG = Metric("wrong", (None,), lambda answers, group: 0.5, "Wrong", "Returns a number.")
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Function: (object of the module) -> None, after installing a package that registers it."""

    def install(name):
        (tmp_path / "sure_metric.py").write_text(MODULE)
        folder = tmp_path / "sure_metrics-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: sure-metrics\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[counterground.metrics]\nsure = sure_metric:{name}\n")
        monkeypatch.syspath_prepend(str(tmp_path))

    return install


def predictions():
    n = 40
    random = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "path": [f"{k}" for k in range(n)],
            "class_index": [k % 4 for k in range(n)],
            "group": ["common" if k % 8 < 4 else "counter" for k in range(n)],
            "correct": random.random(n) < 0.6,
            "true_rank": [None] * n,
            "confidence": random.random(n),
            "top2_gap": [None] * n,
        },
        schema_overrides={"true_rank": pl.Int32, "top2_gap": pl.Float32},
    ).with_columns(
        pl.lit(None, pl.String).alias("cluster"),
        pl.lit("m").alias("model"),
        *(pl.lit(None, kind).alias(name) for name, kind in SETTING_SCHEMA.items()),
    )


def test_a_package_adds_a_metric(package):
    before = score_predictions(predictions(), method="analytic")
    package("CONFIDENT")
    frame = predictions()
    scores = score_predictions(frame, method="analytic")
    added = scores.filter(metric="confident")
    assert scores.filter(pl.col("metric") != "confident").equals(before)
    assert added["group"].to_list() == [None, "counter"]
    counter = frame.filter(group="counter").group_by("class_index").agg((pl.col("confidence") > 0.9).mean())
    assert added["value"][1] == pytest.approx(counter["confidence"].mean())
    assert added["low"][1] <= added["value"][1] <= added["high"][1]
    (metric,) = registered_metrics()[-1:]
    assert [column.title for column in metric.table_columns] == ["Confident"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "ABSENT",
            r"'sure' of the package sure-metrics cannot be loaded \(AttributeError.*uninstall sure-metrics",
        ),
        ("TAKEN", "sure-metrics adds a metric 'drop', which CounterGround has"),
        (
            "NONE",
            "sure_metric:NONE of the package sure-metrics is a float, not a counterground.metrics.Metric",
        ),
        ("WRONG", "'wrong' returned a float, not a counterground.metrics.Interval"),
    ],
)
def test_a_faulty_package_is_named(package, name, said):
    package(name)
    with pytest.raises(CounterGroundError, match=said):
        score_predictions(predictions(), method="analytic")


def test_without_packages_there_are_the_built_in_metrics():
    names = [metric.name for metric in registered_metrics()]
    assert names == [
        "accuracy",
        "plain_accuracy",
        "drop",
        "worst_group_accuracy",
        "top5_accuracy",
        "ece",
        "tie_rate",
    ]
