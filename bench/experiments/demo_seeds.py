"""How the demo's drops vary with the split: pairs of each referee on 20 random halves of its benchmark.

python bench/experiments/demo_seeds.py [SEEDS [FIRST]]    # photos are encoded once, most by `make demo`

Pairs, drops and intervals are those of ``discover`` and ``evaluate``. All splits share their photos, so the
mean over splits has no interval: the table shows the mean of the intervals, and how much the drop varies from
split to split.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import polars as pl

import counterground as cg
from counterground.benchmarks import open_benchmark
from counterground.discovery import find_pairs
from counterground.metrics import score_predictions

LITE0, LITE1 = "efficientnet-lite0", "efficientnet-lite1"
BIASED, BALANCED = "counterground:stamps-biased", "counterground:stamps-balanced"
SHOWN = (
    ("stamps", LITE0, LITE1),
    ("stamps-reserved", BIASED, BALANCED),
    ("stamps-reserved", BALANCED, BIASED),
)
"""Benchmark, referee, and who is evaluated on its pairs besides."""


def drops(predictions: pl.DataFrame, models: tuple[str, ...], seed: int) -> pl.DataFrame:
    """Return ``model, value, low, high`` (points) on the half that did not choose, ``pairs``, ``photos``.

    The first of the models chooses.
    """
    found, groups = find_pairs(predictions.filter(model=models[0]), seed=seed, permutations=1)
    shown = predictions.filter(pl.col("model").is_in(models)).drop("group")
    scores = score_predictions(shown.join(groups, on="path"), by_class=False).filter(metric="drop")
    points = [pl.col(name) * 100 for name in ("value", "low", "high")]
    return scores.select("model", *points).with_columns(pairs=len(found.pairs), photos=len(groups))


def line(benchmark: str, referee: str, drops: pl.DataFrame) -> str:
    """Return the row of one model."""
    mean = drops.select("pairs", "photos", "value", "low", "high").mean()
    pairs, photos, value, low, high = mean.row(0)
    cells = [
        benchmark,
        *(name.removeprefix("counterground:") for name in (referee, drops["model"][0])),
        f"{pairs:.0f}",
        f"{photos:.0f}",
        f"{value:.1f} [{low:.1f}, {high:.1f}]",
        f"{high - low:.1f}",
        f"{drops['value'].std():.1f}",
        f"{(drops['low'] > 0).sum()} of {len(drops)}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    number, first = [*map(int, sys.argv[1:]), *(20, 0)[len(sys.argv) - 1 :]]
    titles = ("photos", "pairs chosen by", "model", "pairs", "photos", "mean drop and interval", "width")
    print(f"| {' | '.join((*titles, 's.d.', 'above 0'))} |\n|---|---|---|---:|---:|---|---:|---:|---:|")
    for benchmark, *models in SHOWN:
        photos = open_benchmark(benchmark)
        with tempfile.TemporaryDirectory() as folder:
            run = cg.evaluate(photos, models, out=Path(folder) / "run", report=False)
        splits = range(first, first + number)
        found = pl.concat(drops(run.predictions, tuple(models), seed) for seed in splits)
        for model in models:
            print(line(benchmark, models[0], found.filter(model=model)), flush=True)


if __name__ == "__main__":
    main()
