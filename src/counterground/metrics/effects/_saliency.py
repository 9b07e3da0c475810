"""Where the attribution of answers lies: a description of photos as they are, averaged over classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from counterground.metrics._codes import GROUPS
from counterground.metrics.effects._decomposition import clusters_of
from counterground.metrics.effects._effects import EFFECTS_SCHEMA, SWAP_CLUSTERS
from counterground.metrics.intervals import (
    CONFIDENCE,
    Average,
    Confidence,
    Stratification,
    StratumMeans,
    share_interval,
)

SALIENCY_SCHEMA: dict[str, Any] = {
    "model": pl.String,
    "path": pl.String,
    "class_name": pl.String,
    "group": pl.String,
    "background": pl.String,
    "cluster": pl.String,
    "background_cluster": pl.String,
    "predicted_name": pl.String,
    "share_outside": pl.Float64,
    "area_outside": pl.Float64,
    "score": pl.Float64,
    "score_common": pl.Float64,
    "score_counter": pl.Float64,
    "score_difference": pl.Float64,
    "best_background": pl.String,
    "best_score": pl.Float64,
    "worst_background": pl.String,
    "worst_score": pl.Float64,
    "picture": pl.String,
    "licence": pl.String,
    "attribution": pl.String,
}
"""Columns of ``saliency.csv``: a row for each photo and model, all shares and scores fractions.

``share_outside`` is the share of the attribution of the answer (``predicted_name``) that lies outside the
object, null if no part of the photo has any. ``area_outside`` is the background's share of the photo, which
``share_outside`` would equal if attribution were spread evenly. ``score`` is the probability of the true name
on the photo as it is; ``score_common`` and ``score_counter`` are its means for the same object on common and
counter backgrounds, ``score_difference`` the first minus the second; ``best_background`` and
``worst_background`` are the labels on which it is highest and lowest. ``picture`` is a file in the run.
"""


def saliency_shares(
    table: pl.DataFrame, keys: pl.DataFrame, *, by_class: bool = True, confidence: Confidence = CONFIDENCE
) -> pl.DataFrame:
    """Return the share of attribution outside objects, for all photos and each group, with 95 % intervals.

    Args:
        table: the columns of ``SALIENCY_SCHEMA``.
        keys: what identifies the predictions of each model, with a column ``model``.
        by_class: whether to add rows for each class.
        confidence: how often an interval may miss the truth.

    Returns:
        The columns of ``EFFECTS_SCHEMA``: ``share_outside`` (mean over classes), ``share_outside_common`` and
        ``share_outside_counter`` (for photos of a group), and ``area_outside``, the background's share of the
        photos. A photo without any attribution does not count.
    """
    records = []
    for key in keys.iter_rows(named=True):
        own = table.filter(pl.col("model") == key["model"]).drop_nulls("share_outside")
        names: list[str | None] = [None, *(own["class_name"].unique().sort() if by_class else [])]
        for name in names:
            rows = own if name is None else own.filter(pl.col("class_name") == name)
            records += [
                {**key, "class_name": name, "anytime": confidence.anytime, **row}
                for row in _shares(rows, confidence)
            ]
    return pl.DataFrame(records, schema=EFFECTS_SCHEMA)


def _shares(rows: pl.DataFrame, confidence: Confidence) -> Iterator[dict[str, Any]]:
    groups = {"": pl.lit(value=True)} | {f"_{name}": pl.col("group") == name for name in GROUPS}
    for name, chosen in groups.items():
        part = rows.filter(chosen)
        if len(part):
            yield {"estimate": f"share_outside{name}", **_mean(part, "share_outside", confidence)}
    if len(rows):
        yield {"estimate": "area_outside", **_mean(rows, "area_outside", confidence)}


def _mean(rows: pl.DataFrame, column: str, confidence: Confidence) -> dict[str, Any]:
    """Return the mean over classes of a share, for other foregrounds and background photographs."""
    index = rows["class_name"].rank("dense").to_numpy().astype(np.int64) - 1
    ways = (rows[name].to_list() for name in SWAP_CLUSTERS)
    photos = Stratification(index, None, next(ways), crossed=next(ways), confidence=confidence)
    average = [Average.alike(np.arange(photos.c), np.arange(photos.c))]
    (mean,) = StratumMeans(photos.by_class, rows[column].to_numpy()).weighted(average)
    found, clusters = share_interval(mean), clusters_of(photos.by_class, average)
    return {
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "n": found.n,
        "classes": photos.c,
        **dict(zip(("foreground_clusters", "background_clusters"), clusters, strict=True)),
    }
