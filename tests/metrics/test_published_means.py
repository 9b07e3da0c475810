"""Our balanced means and drops, on photos rebuilt from the paper's class-wise tables, give its Table 3."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from completed import completed
from plain_scores import balanced_mean

from counterground.metrics import score_predictions
from counterground.published import load_table

REFEREE = "CLIP-LAION400M-ViT/B/32"
MISPRINTS = {(REFEREE, "common"), (REFEREE, "drop"), ("CLIP-OpenAI-ViT/B/32", "counter")}
# The printed drops of classes 37 and 39 are right where their counter accuracies are not (note 2).
MISPRINTS_REBUILT = {*MISPRINTS, ("CLIP-OpenAI-ViT/B/32", "drop")}
MODELS = sorted(set(load_table("classwise_results")["model"]))


def classwise(model):
    rows = (
        load_table("classwise_results").filter(pl.col("model") == model).unique("class_id").sort("class_id")
    )
    return rows.join(load_table("group_sizes"), on="class_id")


def printed(model):
    table = load_table("clip_results").filter(pl.col("table") == "Table 3")
    named = table.with_columns(model=pl.format("CLIP-{}-{}", "pretrain_dataset", "backbone"))
    return named.row(by_predicate=pl.col("model") == model, named=True)


def rebuilt(model):
    """Photos with as many right as the printed share of the (implied) group size says."""
    parts = []
    for row in classwise(model).iter_rows(named=True):
        for group in ("common", "counter"):
            n = row[f"n_{group}_implied"]
            right = round(row[group] * n / 100)
            correct = np.arange(n) < right
            parts.append(pl.DataFrame({"class_index": row["class_id"], "group": group, "correct": correct}))
    photos = pl.concat(parts).with_row_index("path")
    return completed(photos.with_columns(path=pl.col("path").cast(pl.String), model=pl.lit(model)))


@pytest.mark.parametrize("model", MODELS)
def test_balanced_means_of_class_values_are_table_3(model):
    rows = classwise(model)
    for column in ("common", "counter", "drop"):
        off = abs(balanced_mean(rows[column].to_numpy()) - printed(model)[column])
        assert (off > 0.02) == ((model, column) in MISPRINTS), (column, off)


@pytest.mark.parametrize("model", MODELS)
def test_scores_of_rebuilt_photos_are_table_3(model):
    scores = score_predictions(rebuilt(model), by_class=False)
    for metric, group in (("accuracy", "common"), ("accuracy", "counter"), ("drop", None)):
        column = group or metric
        row = scores.filter(pl.col("metric") == metric, pl.col("level").eq_missing(group)).row(0, named=True)
        tolerance = 0.02 if (model, column) not in MISPRINTS_REBUILT else 0.2
        assert 100 * row["value"] == pytest.approx(printed(model)[column], abs=tolerance), column
        assert row["low"] < row["value"] < row["high"]


def test_the_referees_drop_has_an_interval_of_about_two_points():
    scores = score_predictions(rebuilt(REFEREE), by_class=False)
    drop = scores.filter(pl.col("metric") == "drop").row(0, named=True)
    assert 1.0 < 100 * (drop["high"] - drop["low"]) / 2 < 3.0
    assert drop["n"] == 7408 + 5926
