"""The table of comparisons: models against each other on the same photos."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import polars as pl

from counterground.metrics._codes import COMMON, COUNTER, Strata, as_flags, cluster_codes, same_length
from counterground.metrics._distributions import t_cdf
from counterground.metrics._intervals import critical
from counterground.metrics._sampling import Moment, Partition, Sampling, StratumMeans
from counterground.metrics._settings import SETTING_SCHEMA, by_key, checked, comparable

Quantity = Literal["accuracy", "common", "counter", "drop"]
_NO_SPREAD = 1e-12


@dataclass(frozen=True)
class PairedTest:
    """The difference a - b (fraction) with its 95 % interval and two-sided p-value.

    ``low``, ``high`` and ``p_value`` are None under two clusters; ``difference`` too where nothing can be
    compared. ``n`` photos in ``clusters`` clusters stand behind it.
    """

    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None
    n: int
    clusters: int


def paired_test(
    correct_a: npt.ArrayLike,
    correct_b: npt.ArrayLike,
    class_index: npt.ArrayLike,
    group: npt.ArrayLike | None = None,
    cluster: npt.ArrayLike | None = None,
    *,
    quantity: Quantity = "accuracy",
) -> PairedTest:
    """Test whether two models differ on the same photos, row by row.

    The influence of each photo on a - b is summed in its cluster over all classes and groups, so what a photo
    does to both models cancels; the squares give the variance (corrected for leverage), and t has one degree
    of freedom less than (effective) clusters. Where no cluster differs from another the p-value is that
    of exchanging signs, 2^(1 - clusters), or 1 without a difference.

    Args:
        correct_a: ``[n]`` Booleans of the first model.
        correct_b: ``[n]`` of the second, same photos in the same order.
        class_index: ``[n]`` integers.
        group: ``[n]`` of ``common``, ``counter`` or null.
        cluster: ``[n]``; null is a cluster of its own.
        quantity: balanced ``accuracy`` of all, of ``common`` or of ``counter`` photos, or mean ``drop``.

    Raises:
        ValueError: the columns have different lengths, or the quantity is unknown.
    """
    first, second = as_flags(correct_a, "correct_a"), as_flags(correct_b, "correct_b")
    same_length(len(first), second, "correct_b")
    strata = Strata.of(class_index, group, len(first))
    sampling = Sampling(*cluster_codes(cluster, len(first)), "analytic")
    change = first.astype(np.float64) - second
    moment = _change(change, strata, sampling, quantity)
    return _tested(moment, 2.0 if quantity == "drop" else 1.0)


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


def _change(
    change: npt.NDArray[np.float64], strata: Strata, sampling: Sampling, quantity: Quantity
) -> Moment | None:
    if quantity == "accuracy":
        if not change.size:
            return None
        partition = Partition(sampling, strata.by_class, len(strata.classes))
        return StratumMeans(partition, change).average(np.arange(len(strata.classes)))
    cells = 2 * strata.paired[:, None] + np.arange(2)
    if quantity in ("common", "counter"):
        side = COMMON if quantity == "common" else COUNTER
        cells = 2 * np.flatnonzero(strata.cell_sizes[:, side])[:, None] + side
    elif quantity != "drop":
        raise ValueError(f"Compare 'accuracy', 'common', 'counter' or 'drop', not {quantity!r}.")
    if not len(cells):
        return None
    means = StratumMeans(Partition(sampling, strata.by_cell, 2 * len(strata.classes)), change)
    if quantity != "drop":
        return means.average(cells[:, 0])
    common, counter = means.averages(cells)
    return Moment(
        common.value - counter.value,
        common.deviations - counter.deviations,
        common.n + counter.n,
        common.clusters,
        common.effective,
    )


def _tested(moment: Moment | None, largest: float) -> PairedTest:
    if moment is None:
        return PairedTest(None, None, None, None, 0, 0)
    difference, clusters = moment.value, moment.clusters
    if clusters < 2:
        return PairedTest(difference, None, None, None, moment.n, clusters)
    error, t = float(np.sqrt(moment.variance)), critical(moment)
    if error > _NO_SPREAD:
        half = t * error
        p_value = float(2 * t_cdf(moment.effective - 1, -abs(difference) / error))
    else:
        # No cluster differs from another: the true share of photos that would is under t^2 / (t^2 + n - 1).
        half = largest * t * t / (t * t + moment.n - 1)
        p_value = 1.0 if abs(difference) <= _NO_SPREAD else 2.0 ** (1 - clusters)
    low, high = max(-largest, difference - half), min(largest, difference + half)
    return PairedTest(difference, low, high, p_value, moment.n, clusters)


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
}
"""Columns of a comparison; ``difference`` (a - b), ``low`` and ``high`` are fractions."""

_PHOTO = ["path", "photo_id", "class_index", "group", "cluster"]
_Setting = tuple[Any, ...]
_Key = tuple[str, _Setting]


def compare_models(predictions: pl.DataFrame, against: str | None = None) -> pl.DataFrame:
    """Test the differences between models that share names, label space, photos and a way of asking.

    Models of one kind are compared under the same prompts and protocol. An encoder and a model that answers
    in words cannot share those and are compared all the same; their row names both, as in
    ``classification / answer-loss``.

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
    parts = {
        (str(key[0]), key[1:]): photos for key, photos in by_key(distinct, checked(distinct, ("photo_id",)))
    }
    rows: list[list[Any]] = []
    for first, second in _pairs(list(parts), against):
        setting = [_both(*pair) for pair in zip(first[1], second[1], strict=True)]
        compared = _compared(first[0], second[0], parts[first], parts[second])
        rows += [[*setting, *row] for row in compared]
    if not rows:
        raise ValueError(_nothing_compared({model for model, _ in parts}, against))
    frame = pl.DataFrame(
        rows, schema={k: t for k, t in COMPARISON_SCHEMA.items() if k != "p_holm"}, orient="row"
    )
    corrected = pl.Series("p_holm", holm(frame["p_value"].to_list()), dtype=pl.Float64)
    return frame.with_columns(corrected).select(list(COMPARISON_SCHEMA))


def _pairs(keys: list[_Key], against: str | None) -> list[tuple[_Key, _Key]]:
    """Pairs under the same setting first, setting by setting, then those across kinds."""
    settings = list(dict.fromkeys(setting for _, setting in keys))
    alike = [
        pair for setting in settings for pair in combinations([key for key in keys if key[1] == setting], 2)
    ]
    across = [pair for pair in combinations(keys, 2) if pair[0][1] != pair[1][1] and comparable(*_sets(pair))]
    if against is None:
        return [*alike, *across]
    turned = [pair if pair[1][0] == against else (pair[1], pair[0]) for pair in (*alike, *across)]
    return [pair for pair in turned if pair[1][0] == against]


def _sets(pair: tuple[_Key, _Key]) -> tuple[_Setting, _Setting]:
    return pair[0][1], pair[1][1]


def _both(first: Any, second: Any) -> Any:
    """One setting's value for a pair; what only one of them has (how answers are scored) is that one's."""
    if first == second or second is None:
        return first
    return second if first is None else f"{first} / {second}"


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


def _nothing_compared(models: set[str], against: str | None) -> str:
    listed = ", ".join(repr(model) for model in sorted(models)) or "none"
    if against is not None and against not in models:
        return f"There are no predictions of {against!r} to compare with; there are: {listed}."
    return (
        "A comparison needs two models with the same names, prompts, protocol and label space; "
        f"the predictions hold {listed}."
    )
