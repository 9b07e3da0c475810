"""What the tables of a run must hold."""

from __future__ import annotations

import polars as pl

from counterground.metrics import KEYS
from counterground.results._schema import PREDICTIONS_SCHEMA, RunInfo

_NEEDED = ("path", "class_index", "class_name", "model", "correct")
_FRACTIONS = ("confidence",)
_NOT_NEGATIVE = ("class_index", "true_index", "predicted_index", "true_rank", "top2_gap")
_ROUNDING = 1e-9
_FINITE = ("confidence", "top2_gap", "loss_sum", "loss_mean")


def check_tables(info: RunInfo, rows: pl.LazyFrame, scores: pl.DataFrame) -> None:
    """Refuse tables that contradict each other or ``run.json``, or hold values that no model gives.

    Args:
        info: the run's record.
        rows: its predictions, with the columns of ``PREDICTIONS_SCHEMA``.
        scores: its scores, with the columns of ``SCORES_SCHEMA``.

    Raises:
        ValueError: what is wrong, with the name of the file.
    """
    name = "predictions.parquet"
    types = rows.collect_schema()
    for column, kind in PREDICTIONS_SCHEMA.items():
        if types[column] != kind:
            raise ValueError(f"{name}: the column {column} holds {types[column]}, not {kind}")
    wrong = {
        **{f"{column} is null": pl.col(column).is_null() for column in _NEEDED},
        **{f"{column} is negative": pl.col(column) < 0 for column in _NOT_NEGATIVE},
        **{f"{column} is not finite": ~pl.col(column).is_finite() for column in _FINITE},
        **{f"{column} is not from 0 to 1": ~pl.col(column).is_between(0, 1) for column in _FRACTIONS},
        "group is neither common nor counter": ~pl.col("group").is_in(["common", "counter"]),
    }
    found = rows.select(condition.any().alias(what) for what, condition in wrong.items()).collect()
    for what in wrong:
        if found[what][0]:
            raise ValueError(f"{name}: {what}")
    expected = info.counts.photos - info.counts.unreadable
    if info.benchmark.n_photos != info.counts.photos:
        raise ValueError(
            f"run.json: the benchmark has {info.benchmark.n_photos} photos, and {info.counts.photos} counted"
        )
    in_predictions = rows.group_by(KEYS).agg(
        rows=pl.len(), photos=pl.col("path").n_unique(), right=pl.col("correct").mean()
    )
    overall = pl.col("group").is_null() & pl.col("class_index").is_null()
    in_scores = scores.filter(overall, metric="plain_accuracy").select(*KEYS, "value")
    both = in_predictions.collect().join(in_scores, on=KEYS, how="left", nulls_equal=True)
    for model, count, photos, right, value in both.select(
        "model", "rows", "photos", "right", "value"
    ).iter_rows():
        if count != expected:
            raise ValueError(f"{name}: {model} has {count} rows, and run.json counts {expected} photos")
        if photos != count:
            raise ValueError(f"{name}: a photo of {model} occurs twice")
        if value is None or abs(value - right) > _ROUNDING:
            raise ValueError(f"scores.parquet: the accuracy of {model} is not that of {name}")
