"""The settings that identify a row of results, and predictions checked and split by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

CLASSIFICATION = "classification"
"""The protocol of models that choose among names by their scores; all others are generative models'."""

SETTING_SCHEMA: dict[str, Any] = {
    "names": pl.String,
    "prompts": pl.String,
    "protocol": pl.String,
    "as_published": pl.Boolean,
    "answer_score": pl.String,
    "label_space": pl.String,
}
"""How a model is evaluated, in the order of the columns of a run's tables.

``as_published``: loaded as the paper apparently did. ``answer_score``: ``mean`` or ``sum`` over the tokens of
an answer where a protocol compares losses, null otherwise.
"""
SETTING = tuple(SETTING_SCHEMA)
BY_SIDE = ("prompts", "protocol", "answer_score")
"""What may differ between two models that are compared: an encoder and a generative model (`comparable`)."""
KEY_SCHEMA: dict[str, Any] = {"model": pl.String, **SETTING_SCHEMA}
KEYS = tuple(KEY_SCHEMA)
_PHOTO = ("path", "class_index", "group", "cluster", "correct")


def in_setting(row: Mapping[str, Any]) -> pl.Expr:
    """Return the condition that a row is of the model and the setting of ``row``; null equals null."""
    return pl.all_horizontal(
        pl.col(name).eq_missing(pl.lit(row[name], kind)) for name, kind in KEY_SCHEMA.items()
    )


def comparable(first: Sequence[Any], second: Sequence[Any]) -> bool:
    """Return whether models under two settings (values of ``SETTING`` in order) may be compared.

    An encoder and a generative model cannot share prompts and protocol, and are compared all the same.
    """
    if tuple(first) == tuple(second):
        return True
    one, other = (dict(zip(SETTING, setting, strict=True)) for setting in (first, second))
    if any(one[name] != other[name] for name in SETTING if name not in BY_SIDE):
        return False
    encoder = [setting["protocol"] == CLASSIFICATION for setting in (one, other)]
    return None not in (one["protocol"], other["protocol"]) and encoder[0] != encoder[1]


def checked(predictions: pl.DataFrame, extra: tuple[str, ...] = ()) -> pl.DataFrame:
    """Return the predictions sorted by path within each key, keys in order of appearance.

    Raises:
        ValueError: a column is missing, or a photo occurs twice under one key.
    """
    missing = [name for name in (*KEYS, *_PHOTO, *extra) if name not in predictions.columns]
    if missing:
        raise ValueError(f"The predictions lack the columns {', '.join(missing)}.")
    repeated = predictions.group_by(*KEYS, "path").len().filter(pl.col("len") > 1)
    if repeated.height:
        first = repeated.sort("model", "path").row(0, named=True)
        raise ValueError(
            f"The photo {first['path']!r} occurs {first['len']} times under model {first['model']!r}; "
            "a photo counts once for each model and setting (names, prompts, protocol, label space, ...)."
        )
    return predictions.sort("path")


def by_key(
    predictions: pl.DataFrame, checked_rows: pl.DataFrame
) -> list[tuple[tuple[Any, ...], pl.DataFrame]]:
    """Split checked rows by key, keys in the order in which ``predictions`` names them."""
    parts = checked_rows.partition_by(KEYS, as_dict=True, maintain_order=True)
    order = predictions.select(KEYS).unique(maintain_order=True).rows()
    return [(key, parts[key]) for key in order]
