"""The order in which photos are worth looking at."""

from __future__ import annotations

import polars as pl

from counterground.construction.pool._schema import REVIEW_LABELS

# Keeps one reason of the highest priority below two of the lowest.
_BELOW_ONE = 0.999


def review_queue(signals: pl.DataFrame, photos: pl.DataFrame) -> pl.DataFrame:
    """Return ``path, class_name, score, reasons, explanations`` of all photos, the most doubtful first.

    The score is the number of different reasons for which a photo is flagged plus its highest priority (times
    0.999): two reasons always rank above one, however many signals give that one. A photo without any has 0.
    Photos of equal score keep the order of ``photos``. Reasons and explanations are listed strongest first.

    Args:
        signals: signals as ``SIGNAL_SCHEMA``; those of photos not in ``photos`` are left out.
        photos: photos with at least ``path`` and ``class_name``.
    """
    order = {reason: place for place, reason in enumerate(REVIEW_LABELS)}
    flagged = signals.filter("flagged").with_columns(
        strength=pl.col("priority").max().over("path", "reason"),
        place=pl.col("reason").replace_strict(order, return_dtype=pl.Int64),
    )
    sides = {"path": False, "strength": True, "place": False, "priority": True, "signal": False}
    found = (
        flagged.sort(*sides, descending=list(sides.values()))
        .group_by("path", maintain_order=True)
        .agg(
            score=pl.col("reason").n_unique() + _BELOW_ONE * pl.col("priority").max(),
            reasons=pl.col("reason").unique(maintain_order=True),
            explanations=pl.col("explanation"),
        )
    )
    none = pl.lit([], dtype=pl.List(pl.String))
    return (
        photos.select("path", "class_name")
        .join(found, on="path", how="left", maintain_order="left")
        .with_columns(
            pl.col("score").fill_null(0.0),
            pl.col("reasons").fill_null(none),
            pl.col("explanations").fill_null(none),
        )
        .sort("score", descending=True, maintain_order=True)
    )
