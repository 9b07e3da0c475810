"""Scores of models on CounterAnimal's photos, all metrics and class rows, against a bootstrap of the drop.

The bootstrap is what one would write with NumPy and SciPy: clusters are drawn 10,000 times, and a sparse
product gives the hits of each class and group. It has an interval of the drop only; ours has all metrics of
all classes.

    python bench/scores.py [MODELS]
"""

from __future__ import annotations

import sys
from functools import partial

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from _pairs import here, paired, publish
from _runs import make_model, make_photos, model_names
from counterground.metrics import score_predictions

DRAWS, BLOCK = 10_000, 500


def bootstrap_drops(predictions: pl.DataFrame, photos: pl.DataFrame, models: list[str]) -> np.ndarray:
    """Return the 95 % interval of each model's drop, ``[2, models]``."""
    random = np.random.default_rng(0)
    clusters = photos["cluster"].rank("dense").to_numpy() - 1
    cells = 2 * photos["class_index"].to_numpy() + (photos["group"] == "counter").to_numpy()
    size, number, n = int(cells.max()) + 1, int(clusters.max()) + 1, len(cells)
    values = [np.ones(n), *(predictions.filter(model=name)["correct"].to_numpy() for name in models)]
    columns = np.concatenate([place * size + cells for place in range(len(values))])
    rows = np.tile(clusters, len(values))
    held = csr_array(
        (np.concatenate(values).astype(float), (rows, columns)), shape=(number, columns.max() + 1)
    )
    drops = []
    for _ in range(0, DRAWS, BLOCK):
        drawn = random.integers(0, number, (BLOCK, number))
        start = np.arange(0, BLOCK * number + 1, number)
        weights = csr_array((np.ones(drawn.size), drawn.ravel(), start), shape=(BLOCK, number))
        sums = (weights @ held).toarray().reshape(BLOCK, len(values), size)
        with np.errstate(invalid="ignore"):
            accuracy = sums[:, 1:] / sums[:, :1]
        drops.append(np.nanmean(accuracy[..., 0::2] - accuracy[..., 1::2], axis=2))
    return np.quantile(np.concatenate(drops), [0.025, 0.975], axis=0)


def main() -> None:
    models = model_names(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
    photos = make_photos()
    predictions = pl.concat([make_model(photos, name, seed) for seed, name in enumerate(models)])
    low, high = bootstrap_drops(predictions, photos, models)
    drops = score_predictions(predictions, by_class=False).filter(metric="drop")
    widths = (high - low) / (drops["high"] - drops["low"]).to_numpy()
    publish(
        paired(
            f"scores, {len(models)} models x {photos.height:,} photos, all metrics and class rows",
            partial(here, lambda: score_predictions(predictions)),
            f"sparse bootstrap of the drop alone, {DRAWS:,} draws",
            partial(here, lambda: bootstrap_drops(predictions, photos, models)),
            wanted="0.5, 1 GB",
            clock="from predictions in memory to a table of scores, one process",
            notes=f"Intervals of drops are {widths.min():.2f} to {widths.max():.2f} times as wide as ours.",
        )
    )


if __name__ == "__main__":
    main()
