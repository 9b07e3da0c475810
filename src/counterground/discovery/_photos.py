"""What one or several referees saw: a row per photo, cells of class and background, two halves."""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl

from counterground.metrics import cell_accuracies

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


def photos_seen(predictions: pl.DataFrame) -> pl.DataFrame:
    """Return a row per photo with a background: ``right`` (right referees), ``referees``, ``closeness``.

    ``closeness`` decides between equal accuracies. It says how near the true name is to the top, as a mean
    over the referees: minus the logarithm of its place if the answer is wrong, the confidence (0 to 1) if it
    is right; unknown counts as 0.
    """
    closeness = (
        pl.when("correct")
        .then(pl.col("confidence").cast(pl.Float64))
        .otherwise(-pl.col("true_rank").cast(pl.Float64).log1p())
    )
    return (
        predictions.filter(pl.col("background").is_not_null())
        .with_columns(closeness=closeness.fill_null(0.0))
        .group_by("path", maintain_order=True)
        .agg(
            pl.col("class_index", "class_name", "background", "cluster").first(),
            right=pl.col("correct").cast(pl.Int64).sum(),
            referees=pl.len(),
            closeness=pl.col("closeness").mean(),
        )
    )


def background_accuracy(predictions: pl.DataFrame, *, intervals: bool) -> pl.DataFrame:
    """Return ``class_index, class_name, background, n, clusters, accuracy, low, high`` (fractions), sorted.

    Intervals are 95 % and allow for clusters; how alike their photos are is estimated from all cells. With
    several referees these are means, and the mean of their intervals is no narrower than the interval of
    their mean. Without ``intervals``, which take long, ``low`` and ``high`` are null.
    """
    rows = []
    cells = predictions.filter(pl.col("background").is_not_null())
    by = ("class_index", "class_name", "background")
    for answers in cells.partition_by("model", maintain_order=True):
        if intervals:
            for key, found in cell_accuracies(answers, by).items():
                rows.append((*key, found.n, found.clusters, found.value, found.low, found.high))
            continue
        for key, cell in answers.group_by(*by, maintain_order=True):
            clusters = cell.select(pl.coalesce("cluster", "path").n_unique()).item()
            rows.append((*key, len(cell), clusters, cell["correct"].mean(), None, None))
    frame = pl.DataFrame(rows, schema=_CELLS, orient="row")
    each = frame.group_by("class_index", "class_name", "background")
    return (
        each.agg(pl.col("n", "clusters").first(), pl.col("accuracy", "low", "high").mean())
        .select(*_CELLS)
        .sort("class_index", "background")
    )


def split_halves(photos: pl.DataFrame, seed: int) -> pl.Series:
    """Assign whole clusters to two halves with class x background counts as similar as possible.

    Clusters (a photo without one is its own) are taken in random order, those of the largest order of
    magnitude first. Each goes where its classes and backgrounds are rarer; a coin decides ties. The larger
    half does not choose: reported figures are measured there. A cluster with several classes or backgrounds
    also stays on one side. Accuracy plays no part.

    Args:
        photos: rows with ``path``, ``class_index``, ``background`` and ``cluster``.
        seed: seed for the order and the coin.

    Returns:
        A Boolean series in the order of the rows: True for the half that chooses.
    """
    keyed = photos.select(
        cluster=pl.coalesce("cluster", "path"),
        background="background",
        cell=pl.concat_str("class_index", pl.lit("/"), "background", ignore_nulls=True),
    ).with_row_index("row")
    clusters = keyed.group_by("cluster", maintain_order=True).agg("row", "cell", "background")
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(clusters))
    magnitude = np.floor(np.log2(clusters["row"].list.len().to_numpy()))
    order = order[np.argsort(-magnitude[order], kind="stable")]
    balance: Counter[str] = Counter()
    chooses = np.zeros(len(photos), dtype=bool)
    for number in order.tolist():
        _, rows, cells, backgrounds = clusters.row(number)
        counts = Counter([*cells, *(f"background {name}" for name in backgrounds)])
        surplus = sum(balance[key] * count for key, count in counts.items())
        side = 1 if surplus < 0 or (surplus == 0 and rng.random() < 0.5) else -1
        for key, count in counts.items():
            balance[key] += side * count
        chooses[rows] = side == 1
    return pl.Series("chooses", ~chooses if chooses.mean() > 0.5 else chooses)
