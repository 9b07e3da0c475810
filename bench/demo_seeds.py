"""How the demo's drops vary with the split: pairs of each referee on 20 random halves of ``stamps``.

python bench/demo_seeds.py [SEEDS]    # photos are encoded once; `make demo` has already done that

Discovery and evaluation are those of the commands, so the intervals are what a user would see. An interval of
the mean over splits would need independent photos, and all splits share theirs: the table shows the mean ends
of the intervals instead, and the standard deviation over splits beside it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import polars as pl

import counterground as cg

LITE0, LITE1 = "efficientnet-lite0", "efficientnet-lite1"
BIASED, BALANCED = "counterground:stamps-biased", "counterground:stamps-balanced"
ASKED = {LITE0: (LITE0, LITE1), BIASED: (BIASED, BALANCED), BALANCED: (BALANCED, BIASED)}
"""The models that are evaluated on the pairs of each referee."""


def drops(referee: str, seed: int, folder: Path) -> pl.DataFrame:
    """Return ``model, value, low, high`` (points) on the other half, ``pairs`` and ``photos``."""
    found = cg.discover("stamps", referee, seed=seed, out=folder / "pairs")
    run = cg.evaluate(found.benchmark, ASKED[referee], out=folder / "run", report=False)
    overall = run.scores.filter(pl.col("class_index").is_null(), metric="drop")
    points = [100 * pl.col(name) for name in ("value", "low", "high")]
    return overall.select("model", *points).with_columns(pairs=len(found.pairs), photos=len(found.benchmark))


def table(referee: str, seeds: int) -> list[str]:
    """Return a row for each model."""
    with tempfile.TemporaryDirectory() as folder:
        found = pl.concat(drops(referee, seed, Path(folder) / str(seed)) for seed in range(seeds))
    rows = []
    for model in ASKED[referee]:
        some = found.filter(model=model)
        mean = some.select("value", "low", "high", "pairs", "photos").mean().row(0)
        above, below = (some["low"] > 0).sum(), (some["high"] < 0).sum()
        cells = [
            *(name.removeprefix("counterground:") for name in (referee, model)),
            f"{mean[3]:.0f}",
            f"{mean[4]:.0f}",
            f"{mean[0]:.1f}",
            f"[{mean[1]:.1f}, {mean[2]:.1f}]",
            f"{some['value'].std():.1f}",
            f"{above} of {len(some)}",
            f"{below} of {len(some)}",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def main() -> None:
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    columns = ("pairs chosen by", "model", "pairs", "photos", "mean drop", "mean 95 % interval", "s.d.")
    print(f"| {' | '.join([*columns, 'above 0', 'below 0'])} |")
    print("|---|---|---:|---:|---:|---|---:|---:|---:|")
    for referee in ASKED:
        print("\n".join(table(referee, seeds)), flush=True)


if __name__ == "__main__":
    main()
