"""Paired tests of models on the same photos, their Holm correction, and the table of both."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import polars as pl

from counterground.metrics._codes import COMMON, COUNTER, as_flags, same_length
from counterground.metrics._confidence import CONFIDENCE, Confidence
from counterground.metrics._distributions import t_cdf
from counterground.metrics._intervals import half_width, random_classes_limits
from counterground.metrics._sampling import (
    PHOTO,
    InfluenceEstimate,
    Stratification,
    Stratifications,
    StratumMeans,
)
from counterground.metrics._settings import BY_SIDE, SETTING, SETTING_SCHEMA, by_key, checked, comparable

Quantity = Literal["accuracy", "common", "counter", "drop"]
_NO_SPREAD = 1e-12


@dataclass(frozen=True)
class PairedTest:
    """The difference a - b (fraction) with its 95 % interval and two-sided p-value.

    ``low``, ``high`` and ``p_value`` are about other photos of these classes; they are None under two
    clusters, ``difference`` too where nothing can be compared. ``n`` photos in ``clusters`` clusters stand
    behind it. ``classes_low`` and ``classes_high`` are about other classes, of which these are taken as a
    random sample.
    """

    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None
    n: int
    clusters: int
    classes_low: float | None = None
    classes_high: float | None = None


def paired_test(
    correct_a: npt.ArrayLike,
    correct_b: npt.ArrayLike,
    class_index: npt.ArrayLike,
    group: npt.ArrayLike | None = None,
    cluster: npt.ArrayLike | None = None,
    *,
    quantity: Quantity = "accuracy",
    confidence: Confidence = CONFIDENCE,
) -> PairedTest:
    """Test whether two models differ on the same photos, row by row.

    The influence of each photo on a - b is summed in its cluster over all classes and groups, so what a photo
    does to both models cancels; the squares give the variance (corrected for leverage), and t has the degrees
    of freedom of the clusters (this room's README). Where no cluster differs from another the p-value is that
    of exchanging signs, 2^(1 - clusters), or 1 without a difference.

    Args:
        correct_a: ``[n]`` Booleans of the first model.
        correct_b: ``[n]`` of the second, same photos in the same order.
        class_index: ``[n]`` integers.
        group: ``[n]`` of ``common``, ``counter`` or null.
        cluster: ``[n]``; null is a cluster of its own.
        quantity: balanced ``accuracy`` of all, of ``common`` or of ``counter`` photos, or mean ``drop``.
        confidence: how often the interval may miss the truth.

    Raises:
        ValueError: the columns have different lengths, or the quantity is unknown.
    """
    first, second = as_flags(correct_a, "correct_a"), as_flags(correct_b, "correct_b")
    same_length(len(first), second, "correct_b")
    if quantity not in get_args(Quantity):
        raise ValueError(f"Compare 'accuracy', 'common', 'counter' or 'drop', not {quantity!r}.")
    same_length(len(first), np.asarray(class_index), "class_index")
    photos = Stratification(class_index, group, cluster, confidence=confidence)
    return _tested(_estimates(first.astype(np.float64) - second, photos).get(quantity), quantity)


def holm(p_values: Iterable[float | None]) -> list[float | None]:
    """Adjust p-values for their number (Holm 1979); None stays None and does not count."""
    values = list(p_values)
    order = sorted((p, place) for place, p in enumerate(values) if p is not None)
    adjusted: list[float | None] = [None] * len(values)
    highest = 0.0
    for done, (p, place) in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - done) * p))
        adjusted[place] = highest
    return adjusted


def corrected(tests: pl.DataFrame) -> pl.DataFrame:
    """Return paired tests with ``p_holm``: corrected for all of them: each pair on each quantity (Holm 1979).

    Whoever reads a comparison looks at every model and every quantity and then asks about what stands out,
    so a test is one of all that could have been picked, whichever of them are shown: give all of them, and
    filter afterwards (``tests_against``).

    Args:
        tests: all tests on one set of photos, the columns of ``COMPARISON_SCHEMA`` but perhaps ``p_holm``.
    """
    values = pl.Series("p_holm", holm(tests["p_value"]), dtype=pl.Float64)
    columns = [name for name in tests.columns if name != "p_holm"]
    columns.insert(columns.index("p_value") + 1, "p_holm")
    return tests.with_columns(values).select(columns)


def tests_against(tests: pl.DataFrame, model: str) -> pl.DataFrame:
    """Return the tests of a model against each other one, with that model as ``model_b``.

    Corrected p-values stay: they count every test that could have been picked.
    """
    turn = (pl.col("model_a") == model) & (pl.col("model_b") != model)
    sides = [name.removesuffix("_a") for name in tests.columns if name.endswith("_a")]
    swapped = {
        f"{name}_{end}": pl.when(turn).then(f"{name}_{other}").otherwise(f"{name}_{end}")
        for name in sides
        for end, other in (("a", "b"), ("b", "a"))
    }
    signs = {
        name: pl.when(turn).then(-pl.col(source)).otherwise(name)
        for name, source in (
            ("difference", "difference"),
            ("low", "high"),
            ("high", "low"),
            ("classes_low", "classes_high"),
            ("classes_high", "classes_low"),
        )
    }
    return tests.filter(turn | (pl.col("model_b") == model)).with_columns(**swapped, **signs)


def _estimates(values: npt.NDArray[np.float64], photos: Stratification) -> dict[Quantity, InfluenceEstimate]:
    """Return the quantities that these photos allow, for one value per photo (a hit, or a change)."""
    if not values.size:
        return {}
    classes, sizes = np.arange(photos.c), photos.strata.cell_sizes
    found: dict[Quantity, InfluenceEstimate] = {
        "accuracy": StratumMeans(photos.by_class, values).average(classes)
    }
    cells = StratumMeans(photos.by_cell, values)
    sides: tuple[tuple[Quantity, int], ...] = (("common", COMMON), ("counter", COUNTER))
    for name, side in sides:
        filled = np.flatnonzero(sizes[:, side])
        if len(filled):
            found[name] = cells.average(2 * filled + side)
    if len(photos.strata.paired):
        common, counter = cells.averages(2 * photos.strata.paired[:, None] + np.arange(2))
        found["drop"] = common.minus(counter, n=common.n + counter.n)
    return found


def _tested(change: InfluenceEstimate | None, quantity: Quantity) -> PairedTest:
    if change is None:
        return PairedTest(None, None, None, None, 0, 0)
    largest = 2.0 if quantity == "drop" else 1.0
    difference, clusters = change.value, change.clusters
    if clusters < 2:
        return PairedTest(difference, None, None, None, change.n, clusters)
    error, half = float(np.sqrt(change.variance)), half_width(change, largest)
    if error > _NO_SPREAD:
        p_value = float(2 * t_cdf(change.df, -abs(difference) / error))
    else:
        p_value = 1.0 if abs(difference) <= _NO_SPREAD else 2.0 ** (1 - clusters)
        if p_value >= change.confidence.error:  # too few clusters to say that there is a difference
            half = max(half, abs(difference))
    low, high = max(-largest, difference - half), min(largest, difference + half)
    classes = random_classes_limits(change, (low, high), largest=largest)
    return PairedTest(difference, low, high, p_value, change.n, clusters, *classes)


COMPARISON_SCHEMA: dict[str, Any] = {
    **SETTING_SCHEMA,
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
    **{f"{name}_{side}": SETTING_SCHEMA[name] for name in BY_SIDE for side in "ab"},
    "classes_low": pl.Float64,
    "classes_high": pl.Float64,
}
"""Columns of a comparison; ``difference`` (a - b) and bounds are fractions.

``low`` and ``high`` are about other photos of these classes, ``classes_low`` and ``classes_high`` about other
classes of which these are a random sample.

A setting is null where the two models differ in it; ``prompts_a``, ``prompts_b``, ... are those of each.
"""

_PHOTO = (*PHOTO, "photo_id")
_QUANTITIES: dict[Quantity, tuple[str, str | None]] = {
    "accuracy": ("accuracy", None),
    "common": ("accuracy", "common"),
    "counter": ("accuracy", "counter"),
    "drop": ("drop", None),
}


class _Model(NamedTuple):
    """One model under one setting, its rows by path, and what they estimate."""

    name: str
    source: str | None
    setting: tuple[Any, ...]
    rows: pl.DataFrame
    photos: Stratification
    estimates: dict[Quantity, InfluenceEstimate]


def compare_models(predictions: pl.DataFrame, against: str | None = None) -> pl.DataFrame:
    """Test the differences between models that share names, label space, photos, loading and protocol.

    Models of one kind are compared under the same prompts and protocol. An encoder and a generative model
    cannot share those and are compared all the same: ``protocol`` is then null, and ``protocol_a`` and
    ``protocol_b`` are theirs.

    Metrics: ``accuracy`` (balanced; ``group`` null for all photos, ``common``, ``counter``) and ``drop``. A
    benchmark without groups has the first only. ``p_holm`` is corrected for all tests (``corrected``), also
    where ``against`` selects some of them.

    Args:
        predictions: the columns of ``predictions.parquet``; rows that repeat exactly are read once. With a
            column ``source``, results of one model from several sources are compared too, and the table
            has ``source_a`` and ``source_b``.
        against: return the tests against this model (as ``model_b``) only; by default every pair, in order.

    Returns:
        The columns of ``COMPARISON_SCHEMA``.

    Raises:
        ValueError: there is nothing to compare, ``against`` is unknown, or two models saw different photos.
    """
    sources = "source" in predictions.columns
    models = _models(predictions.unique(maintain_order=True))
    rows = [row for pair in _pairs(models) for row in _compared(*pair, sources=sources)]
    if against is not None and against not in {model.name for model in models}:
        raise ValueError(_nothing_compared(models, against))
    schema = {name: kind for name, kind in COMPARISON_SCHEMA.items() if name != "p_holm"}
    if sources:
        schema |= {"source_a": pl.String, "source_b": pl.String}
    table = corrected(pl.DataFrame(rows, schema=schema, orient="row"))
    table = table if against is None else tests_against(table, against)
    if table.is_empty():
        raise ValueError(_nothing_compared(models, against))
    return table


def _models(predictions: pl.DataFrame) -> list[_Model]:
    sources = "source" in predictions.columns
    parts = predictions.partition_by("source", maintain_order=True) if sources else [predictions]
    stratifications, models = Stratifications(), []
    for part in parts:
        source = part["source"][0] if sources else None
        for key, rows in by_key(part, checked(part, ("photo_id",))):
            photos = stratifications.of(rows, identity=_PHOTO)
            values = as_flags(rows["correct"].to_numpy()).astype(np.float64)
            models.append(_Model(str(key[0]), source, key[1:], rows, photos, _estimates(values, photos)))
    return models


def _pairs(models: list[_Model]) -> list[tuple[_Model, _Model]]:
    """Pairs under the same setting first, setting by setting, then those across kinds."""
    settings = list(dict.fromkeys(model.setting for model in models))
    alike = [
        pair
        for setting in settings
        for pair in combinations([model for model in models if model.setting == setting], 2)
    ]
    across = [
        (first, second)
        for first, second in combinations(models, 2)
        if first.setting != second.setting and comparable(first.setting, second.setting)
    ]
    return [*alike, *across]


def _compared(a: _Model, b: _Model, *, sources: bool) -> list[list[Any]]:
    if a.photos is not b.photos:
        raise ValueError(_different_photos(a, b))
    setting = [first if first == second else None for first, second in zip(a.setting, b.setting, strict=True)]
    sides = [model.setting[SETTING.index(name)] for name in BY_SIDE for model in (a, b)]
    has_groups = bool(a.photos.strata.cell_sizes.any())
    rows = []
    for quantity, (metric, group) in _QUANTITIES.items():
        if quantity != "accuracy" and not has_groups:
            continue
        estimate = None
        if quantity in a.estimates:
            first, second = a.estimates[quantity], b.estimates[quantity]
            estimate = first.minus(second, n=first.n)
        test = _tested(estimate, quantity)
        figures = (test.difference, test.low, test.high, test.p_value, test.n, test.clusters)
        row = [*setting, a.name, b.name, metric, group, *figures, *sides, test.classes_low, test.classes_high]
        rows.append([*row, a.source, b.source] if sources else row)
    return rows


def _different_photos(first: _Model, second: _Model) -> str:
    a, b = first.rows, second.rows
    only_a, only_b = a.join(b, on="path", how="anti"), b.join(a, on="path", how="anti")
    lead = f"Models {first.name!r} and {second.name!r} cannot be compared"
    if only_a.height or only_b.height:
        example = (only_a if only_a.height else only_b)["path"][0]
        return (
            f"{lead}: {only_a.height} photos were seen by the first only and {only_b.height} by the second "
            f"only, such as {example!r}; evaluate both on the same photos."
        )
    other = a.join(b, on=list(_PHOTO), how="anti", nulls_equal=True)
    return (
        f"{lead}: {other.height} photos differ in content, class, group or cluster, such as "
        f"{other['path'][0]!r}; evaluate both on the same benchmark."
    )


def _nothing_compared(models: list[_Model], against: str | None) -> str:
    names = sorted({model.name for model in models})
    listed = ", ".join(map(repr, names)) or "none"
    if against is not None and against not in names:
        return f"There are no predictions of {against!r} to compare with; there are: {listed}."
    return (
        "A comparison needs two models with the same names, prompts, protocol and label space; "
        f"the predictions hold {listed}."
    )
