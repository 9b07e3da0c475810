"""How pairs are chosen: accuracy per background, best and worst background, two halves of the photos."""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl

from counterground.metrics import proportion_interval

_CELLS = {
    "class_index": pl.Int32,
    "class_name": pl.String,
    "background": pl.String,
    "n": pl.Int64,
    "clusters": pl.Int64,
    "accuracy": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
}


def background_accuracy(predictions: pl.DataFrame) -> pl.DataFrame:
    """Return ``class_index, class_name, background, n, clusters, accuracy, low, high`` (fractions), sorted.

    Intervals are 95 %; photos of one cluster count together.
    """
    rows = []
    cells = predictions.filter(pl.col("background").is_not_null())
    for key, cell in cells.group_by("class_index", "class_name", "background", maintain_order=True):
        found = proportion_interval(cell["correct"].to_numpy(), cell["cluster"].to_numpy())
        rows.append((*key, found.n, found.clusters, found.value, found.low, found.high))
    return pl.DataFrame(rows, schema=_CELLS, orient="row").sort("class_index", "background")


def choose_pairs(cells: pl.DataFrame, *, min_drop: float, min_photos: int) -> pl.DataFrame:
    """Return ``class_index, common, counter, drop``: best and worst background of each class that is kept.

    Equal accuracies go to the background with more photos, then to the first by name.

    Args:
        cells: as ``background_accuracy`` gives them.
        min_drop: a class is kept if its accuracy differs by more than this fraction (paper section 2: 0.05).
        min_photos: backgrounds with fewer photos of the class are not considered.
    """
    considered = cells.filter(pl.col("n") >= min_photos)
    keys = ["class_index", "accuracy", "n", "background"]
    best = considered.sort(keys, descending=[False, True, True, False]).unique("class_index", keep="first")
    worst = considered.sort(keys, descending=[False, False, True, False]).unique("class_index", keep="first")
    pairs = best.select("class_index", common="background", common_accuracy="accuracy").join(
        worst.select("class_index", counter="background", counter_accuracy="accuracy"), on="class_index"
    )
    return (
        pairs.with_columns(drop=(pl.col("common_accuracy") - pl.col("counter_accuracy")).round(9))
        .filter((pl.col("common") != pl.col("counter")) & (pl.col("drop") > min_drop))
        .select("class_index", "common", "counter", "drop")
        .sort("class_index")
    )


def split_halves(photos: pl.DataFrame, seed: int) -> pl.Series:
    """Assign whole clusters to two halves with class x background counts as similar as possible.

    Clusters (a photo without one is its own) are taken in a random order, the largest first, and go where
    their classes and backgrounds are rarer. Accuracy plays no part.

    Args:
        photos: rows with ``path``, ``class_index``, ``background`` and ``cluster``.
        seed: decides the order.

    Returns:
        A Boolean series in the order of the rows: True for the half that chooses.
    """
    keyed = photos.select(
        cluster=pl.coalesce("cluster", "path"),
        background="background",
        cell=pl.concat_str("class_index", pl.lit("/"), "background", ignore_nulls=True),
    ).with_row_index("row")
    clusters = keyed.group_by("cluster", maintain_order=True).agg("row", "cell", "background")
    order = np.random.default_rng(seed).permutation(len(clusters))
    order = order[np.argsort(-clusters["row"].list.len().to_numpy()[order], kind="stable")]
    balance: Counter[str] = Counter()
    chooses = np.zeros(len(photos), dtype=bool)
    for number in order.tolist():
        _, rows, cells, backgrounds = clusters.row(number)
        counts = Counter([*cells, *(f"background {name}" for name in backgrounds)])
        surplus = sum(balance[key] * count for key, count in counts.items())
        side = 1 if surplus < 0 or (surplus == 0 and number % 2 == 0) else -1
        for key, count in counts.items():
            balance[key] += side * count
        chooses[rows] = side == 1
    return pl.Series("chooses", chooses)
