"""Split photos in two halves that share no cluster."""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl


def split_halves(photos: pl.DataFrame, seed: int) -> pl.Series:
    """Assign whole clusters to two halves that are as alike as can be in class x background counts.

    Clusters (photos without one stand alone) are taken in a random order, the largest first, and go where
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
        lean = sum(balance[key] * count for key, count in counts.items())
        side = 1 if lean < 0 or (lean == 0 and number % 2 == 0) else -1
        for key, count in counts.items():
            balance[key] += side * count
        chooses[rows] = side == 1
    return pl.Series("chooses", chooses)
