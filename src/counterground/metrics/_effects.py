"""What a background causes: effects of composites of foregrounds and backgrounds, and what is left of a drop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from counterground.metrics._confidence import CONFIDENCE, Confidence
from counterground.metrics._design import Design
from counterground.metrics._settings import KEY_SCHEMA

SWAP_DESIGN = Design()
"""The design of composites (two-way clusters follow with ``Design.clusters``)."""

EFFECTS_SCHEMA: dict[str, Any] = {
    **KEY_SCHEMA,
    "estimate": pl.String,
    "class_name": pl.String,
    "background": pl.String,
    "k": pl.Int64,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "p_value": pl.Float64,
    "n": pl.Int64,
    "foreground_clusters": pl.Int64,
    "background_clusters": pl.Int64,
    "anytime": pl.Boolean,
}
"""Columns of ``swap_effects``; values and bounds are fractions. ``class_name`` null: mean over classes.

``estimate``: ``observed_drop``, ``background_effect``, ``size_effect``, ``rest`` (the decomposition),
``background_share`` (of the drop), ``background_against_grey`` and ``background_against_mean`` (of one
``background``), ``mixed_same``, ``mixed_rand``, ``bg_gap``, ``adversarial`` and ``flip_share`` (of ``k``
backgrounds), ``background_only``, ``chance`` (1 / ``k`` names), ``pasted_cost``, ``refilled_cost``,
``same_label_cost``.
"""


def swap_effects(
    predictions: pl.DataFrame | pl.LazyFrame,
    *,
    design: Design = SWAP_DESIGN,
    candidates: Mapping[str, int] | None = None,
    by_class: bool = True,
    confidence: Confidence = CONFIDENCE,
) -> pl.DataFrame:
    """Return the effects of backgrounds on every model, with 95 % intervals over foregrounds and backgrounds.

    Args:
        predictions: the columns of ``predictions.parquet`` and, of composites, ``swap``, ``foreground``,
            ``background_photo``, ``own_group`` and ``background_cluster`` (null on grey, which is not drawn).
        design: whose clusters count.
        candidates: how many names each label space has, for the level of chance.
        by_class: whether to add rows for each class.
        confidence: how often an interval may miss the truth.

    Returns:
        The columns of ``EFFECTS_SCHEMA``, models in order of appearance.
    """
    raise NotImplementedError
