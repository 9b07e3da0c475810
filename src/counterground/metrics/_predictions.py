"""Columns that scores and comparisons read from predictions, checked."""

from __future__ import annotations

import polars as pl

SETTING = ("names", "prompts", "protocol", "label_space")
KEYS = ("model", *SETTING)
_PHOTO = ("path", "class_index", "group", "cluster", "correct")


def checked(predictions: pl.DataFrame, extra: tuple[str, ...] = ()) -> pl.DataFrame:
    """Return the predictions sorted by path within each key, keys in order of appearance.

    Raises:
        ValueError: a column is missing, or a photo stands twice under one key.
    """
    missing = [name for name in (*KEYS, *_PHOTO, *extra) if name not in predictions.columns]
    if missing:
        raise ValueError(f"The predictions lack the columns {', '.join(missing)}.")
    repeated = predictions.group_by(*KEYS, "path").len().filter(pl.col("len") > 1)
    if repeated.height:
        first = repeated.sort("model", "path").row(0, named=True)
        raise ValueError(
            f"The photo {first['path']!r} stands {first['len']} times under model {first['model']!r}; "
            "a photo counts once for each model, names, prompts, protocol and label space."
        )
    return predictions.sort("path")


def by_key(
    predictions: pl.DataFrame, checked_rows: pl.DataFrame
) -> list[tuple[tuple[str | None, ...], pl.DataFrame]]:
    """Split checked rows by key, keys in the order in which ``predictions`` names them."""
    parts = checked_rows.partition_by(KEYS, as_dict=True, maintain_order=True)
    order = predictions.select(KEYS).unique(maintain_order=True).rows()
    return [(key, parts[key]) for key in order]
