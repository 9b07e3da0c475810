"""How the demo's drops vary with the split: pairs of each referee on 20 random halves of ``stamps``.

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
from counterground.discovery import find_pairs
from counterground.metrics import score_predictions

LITE0, LITE1 = "efficientnet-lite0", "efficientnet-lite1"
BIASED, BALANCED = "counterground:stamps-biased", "counterground:stamps-balanced"
SHOWN = {LITE0: (LITE0, LITE1), BIASED: (BIASED, BALANCED), BALANCED: (BALANCED, BIASED)}
"""The models that are evaluated on the pairs of each referee."""


def drops(predictions: pl.DataFrame, referee: str, seed: int) -> pl.DataFrame:
    """Return ``model, value, low, high`` (points) on the half that did not choose, ``pairs``, ``photos``."""
    found, groups = find_pairs(predictions.filter(model=referee), seed=seed, permutations=1)
    shown = predictions.filter(pl.col("model").is_in(SHOWN[referee])).drop("group")
    scores = score_predictions(shown.join(groups, on="path"), by_class=False).filter(metric="drop")
    points = [pl.col(name) * 100 for name in ("value", "low", "high")]
    return scores.select("model", *points).with_columns(pairs=len(found.pairs), photos=len(groups))


def line(referee: str, drops: pl.DataFrame) -> str:
    """Return the row of one model."""
    mean = drops.select("pairs", "photos", "value", "low", "high").mean()
    pairs, photos, value, low, high = mean.row(0)
    cells = [
        *(name.removeprefix("counterground:") for name in (referee, drops["model"][0])),
        f"{pairs:.0f}",
        f"{photos:.0f}",
        f"{value:.1f} [{low:.1f}, {high:.1f}]",
        f"{drops['value'].std():.1f}",
        f"{(drops['low'] > 0).sum()} of {len(drops)}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    number, first = [*map(int, sys.argv[1:]), *(20, 0)[len(sys.argv) - 1 :]]
    with tempfile.TemporaryDirectory() as folder:
        run = cg.evaluate("stamps", (LITE0, LITE1, BIASED, BALANCED), out=Path(folder) / "run", report=False)
    titles = ("pairs chosen by", "model", "pairs", "photos", "mean drop and interval", "s.d.", "above 0")
    print(f"| {' | '.join(titles)} |\n|---|---|---:|---:|---|---:|---:|")
    for referee, models in SHOWN.items():
        found = pl.concat(drops(run.predictions, referee, seed) for seed in range(first, first + number))
        for model in models:
            print(line(referee, found.filter(model=model)), flush=True)


if __name__ == "__main__":
    main()
