"""What the tables of a run must hold, if nothing shows that they are unchanged."""

from __future__ import annotations

import polars as pl

from counterground.metrics import KEYS
from counterground.results._schema import PREDICTIONS_SCHEMA, RunInfo

_NEEDED = ("path", "class_index", "class_name", "model", "correct")
_FRACTIONS = ("confidence",)
_NOT_NEGATIVE = ("class_index", "true_index", "predicted_index", "true_rank", "top2_gap")
_FINITE = ("confidence", "top2_gap", "loss_sum", "loss_mean")


def check_predictions(info: RunInfo, rows: pl.LazyFrame) -> None:
    """Refuse predictions that contradict ``run.json`` or hold values that no model gives.

    Scoring checks that a photo occurs once under each setting.

    Args:
        info: the run's record.
        rows: its predictions, with the columns of ``PREDICTIONS_SCHEMA``.

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
    for model, count in rows.group_by(KEYS).len().select("model", "len").collect().iter_rows():
        if count != expected:
            raise ValueError(f"{name}: {model} has {count} rows, and run.json counts {expected} photos")
