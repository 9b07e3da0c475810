"""The settings that identify a row of results, and predictions checked and split by them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

CLASSIFICATION = "classification"
"""The protocol of models that choose among names by their scores.

All protocols but this one and `FITTED_HEAD` are those of generative models.
"""
FITTED_HEAD = "fitted-head"
"""The protocol of encoders with a head that was fitted on photos, which needs neither names nor prompts."""

COMPETING = "label_space"
"""The column that names the label space, the set of names that competed."""
SETTING_SCHEMA: dict[str, Any] = {
    "names": pl.String,
    "prompts": pl.String,
    "protocol": pl.String,
    "answer_score": pl.String,
    COMPETING: pl.String,
}
"""How a model is evaluated, in the order of the columns of a run's tables.

``answer_score``: ``mean`` or ``sum`` over the tokens of an answer if a protocol compares losses, else null.
"""
SETTING = tuple(SETTING_SCHEMA)
BY_SIDE = ("prompts", "protocol", "answer_score")
"""The settings in which two compared models of different kinds may differ (`comparable`)."""
KEY_SCHEMA: dict[str, Any] = {"model": pl.String, **SETTING_SCHEMA}
KEYS = tuple(KEY_SCHEMA)
RESULT_SCHEMA: dict[str, Any] = {
    "true_index": pl.Int32,
    "predicted_index": pl.Int32,
    "predicted_name": pl.String,
    "correct": pl.Boolean,
    "true_rank": pl.Int32,
    "confidence": pl.Float32,
    "top2_gap": pl.Float32,
    "loss_sum": pl.Float32,
    "loss_mean": pl.Float32,
}
"""The columns of ``predictions.parquet`` that say what a model answered.

``true_rank`` counts from 0, ``confidence`` is a probability, ``top2_gap`` is in units of the score (cosine or
logit), and losses are in nats.
"""
PHOTO_COLUMNS = ("path", "photo_id", "class_index", "class_name", "background", "group", "cluster")
"""Columns of ``predictions.parquet`` that describe a photo, besides its attributes and covariates."""
_PHOTO = ("path", "class_index", "group", "cluster", "correct")


def in_setting(row: Mapping[str, Any]) -> pl.Expr:
    """Return the condition that a row has the model and setting of ``row``; null equals null."""
    return pl.all_horizontal(
        pl.col(name).eq_missing(pl.lit(row[name], kind)) for name, kind in KEY_SCHEMA.items()
    )


def comparable(first: Sequence[Any], second: Sequence[Any]) -> bool:
    """Return whether models under two settings (values of ``SETTING`` in order) may be compared.

    An encoder, an encoder with a fitted head and a generative model cannot share prompts and protocol but are
    compared anyway; so are two fitted heads.
    """
    if tuple(first) == tuple(second):
        return True
    one, other = (dict(zip(SETTING, setting, strict=True)) for setting in (first, second))
    if any(one[name] != other[name] for name in SETTING if name not in BY_SIDE):
        return False
    if None in (one["protocol"], other["protocol"]):
        return False
    kinds = [_kind(setting["protocol"]) for setting in (one, other)]
    return kinds[0] != kinds[1] or kinds[0] == FITTED_HEAD


def _kind(protocol: str) -> str:
    return protocol if protocol in (CLASSIFICATION, FITTED_HEAD) else "generative"


def by_key(
    predictions: pl.DataFrame | pl.LazyFrame, extra: Sequence[str] = (), columns: Sequence[str] | None = None
) -> Iterator[tuple[tuple[Any, ...], pl.DataFrame]]:
    """Read the predictions one model at a time: the key of each setting, and its rows by path.

    Args:
        predictions: a frame or a file; of a file, no more than one model's are in memory at a time.
        extra: further columns that must be there.
        columns: those to read; by default all.

    Raises:
        ValueError: a column is missing, or a photo occurs twice under one key.
    """
    held = predictions.lazy().collect_schema().names()
    missing = [name for name in (*KEYS, *_PHOTO, *extra) if name not in held]
    if missing:
        raise ValueError(f"The predictions lack the columns {', '.join(missing)}.")
    read = pl.all() if columns is None else pl.col(dict.fromkeys((*KEYS, "path", *columns)))
    found = predictions.lazy().select(KEYS).unique(maintain_order=True).collect().rows(named=True)
    for key in found:
        rows = predictions.lazy()
        if len(found) > 1:
            rows = rows.filter(pl.col("model") == key["model"], in_setting(key))
        yield tuple(key.values()), _by_path(rows.select(read).collect())


def _by_path(rows: pl.DataFrame) -> pl.DataFrame:
    if not rows["path"].is_sorted():
        rows = rows.sort("path")
    repeated = rows.filter(pl.col("path") == pl.col("path").shift())
    if not repeated.is_empty():
        path, model = repeated["path"][0], repeated["model"][0]
        times = repeated["path"].eq_missing(path).sum()
        raise ValueError(
            f"The photo {path!r} occurs {times} times under model {model!r}; "
            "a photo counts once for each model and setting (names, prompts, protocol, label space, ...)."
        )
    return rows
