"""The table of comparisons: models against each other on the same photos."""

from __future__ import annotations

from itertools import combinations
from typing import Any, get_args

import polars as pl

from counterground.metrics._paired import Quantity, holm, paired_test
from counterground.metrics._predictions import SETTING, by_key, checked

COMPARISON_SCHEMA: dict[str, Any] = {
    **dict.fromkeys(SETTING, pl.String),
    "model_a": pl.String,
    "model_b": pl.String,
    "metric": pl.String,
    "group": pl.String,
    "difference": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "p_value": pl.Float64,
    "p_holm": pl.Float64,
    "n": pl.Int64,
    "clusters": pl.Int64,
}
"""Columns of a comparison; ``difference`` (a - b), ``low`` and ``high`` are fractions."""

_PHOTO = ["path", "photo_id", "class_index", "group", "cluster"]


def compare_models(predictions: pl.DataFrame, against: str | None = None) -> pl.DataFrame:
    """Test the differences between models that share names, prompts, protocol, label space and photos.

    Metrics: ``accuracy`` (balanced; ``group`` null for all photos, ``common``, ``counter``) and ``drop``. A
    benchmark without groups has the first only. ``p_holm`` is corrected over all rows of the table.

    Args:
        predictions: the columns of ``predictions.parquet``; rows that repeat exactly are read once.
        against: compare every model with this one (as ``model_b``) only; by default every pair, in order.

    Returns:
        The columns of ``COMPARISON_SCHEMA``.

    Raises:
        ValueError: there is nothing to compare, ``against`` is unknown, or two models saw different photos.
    """
    distinct = predictions.unique(maintain_order=True)
    settings: dict[tuple[str | None, ...], dict[str, pl.DataFrame]] = {}
    for key, photos in by_key(distinct, checked(distinct, ("photo_id",))):
        settings.setdefault(key[1:], {})[str(key[0])] = photos
    rows: list[list[Any]] = []
    for setting, models in settings.items():
        for first, second in _pairs(list(models), against):
            rows += [[*setting, *row] for row in _compared(first, second, models[first], models[second])]
    if not rows:
        raise ValueError(_nothing_compared(settings, against))
    frame = pl.DataFrame(
        rows, schema={k: t for k, t in COMPARISON_SCHEMA.items() if k != "p_holm"}, orient="row"
    )
    corrected = pl.Series("p_holm", holm(frame["p_value"].to_list()), dtype=pl.Float64)
    return frame.with_columns(corrected).select(list(COMPARISON_SCHEMA))


def _pairs(models: list[str], against: str | None) -> list[tuple[str, str]]:
    if against is None:
        return list(combinations(models, 2))
    return [(model, against) for model in models if model != against] if against in models else []


def _compared(first: str, second: str, a: pl.DataFrame, b: pl.DataFrame) -> list[list[Any]]:
    _check_same_photos(first, second, a, b)
    has_groups = a["group"].null_count() < a.height
    rows = []
    quantities: tuple[Quantity, ...] = get_args(Quantity) if has_groups else ("accuracy",)
    for quantity in quantities:
        test = paired_test(
            a["correct"].to_numpy(),
            b["correct"].to_numpy(),
            a["class_index"].to_numpy(),
            a["group"].to_list(),
            a["cluster"].to_list(),
            quantity=quantity,
        )
        group = quantity if quantity in ("common", "counter") else None
        metric = "accuracy" if group else quantity
        figures = (test.difference, test.low, test.high, test.p_value, test.n, test.clusters)
        rows.append([first, second, metric, group, *figures])
    return rows


def _check_same_photos(first: str, second: str, a: pl.DataFrame, b: pl.DataFrame) -> None:
    if a.select(_PHOTO).equals(b.select(_PHOTO)):
        return
    only_a, only_b = a.join(b, on="path", how="anti"), b.join(a, on="path", how="anti")
    lead = f"Models {first!r} and {second!r} cannot be compared"
    if only_a.height or only_b.height:
        example = (only_a if only_a.height else only_b)["path"][0]
        raise ValueError(
            f"{lead}: {only_a.height} photos were seen by the first only and {only_b.height} by the second "
            f"only, such as {example!r}; evaluate both on the same photos."
        )
    other = a.join(b, on=_PHOTO, how="anti", nulls_equal=True)
    raise ValueError(
        f"{lead}: {other.height} photos differ in content, class, group or cluster, such as "
        f"{other['path'][0]!r}; evaluate both on the same benchmark."
    )


def _nothing_compared(
    settings: dict[tuple[str | None, ...], dict[str, pl.DataFrame]], against: str | None
) -> str:
    models = sorted({model for found in settings.values() for model in found})
    listed = ", ".join(repr(model) for model in models) or "none"
    if against is not None and against not in models:
        return f"There are no predictions of {against!r} to compare with; there are: {listed}."
    return (
        "A comparison needs two models with the same names, prompts, protocol and label space; "
        f"the predictions hold {listed}."
    )
