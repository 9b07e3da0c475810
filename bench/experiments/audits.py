"""Audits of bundles on ``stamps``: forged ones that are found, and honest ones of other runtimes.

python bench/experiments/audits.py [FORGED HONEST]    # by default 1000 200

Forged: that many bundles with 1, 2, 5 and 10 % of the predictions altered, each written and drawn from by its
hash; the share that an audit of 60 photos finds, beside the hypergeometric distribution's. Honest: bundles of
300 photos, whose models ran eagerly or by ONNX Runtime in batches of 1 to 100 on 1 or 2 threads, audited on
all of their photos in batches of 32; none may be accused. Also the largest change of a gap between the two
highest scores, as a share of the median gap, which `NEAR_TIE` must exceed.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import torch
from scipy.stats import hypergeom

import counterground as cg
from counterground.benchmarks import open_benchmark
from counterground.photos import Benchmark
from counterground.results import Run
from counterground.settings import EvaluateSettings
from counterground.sharing import _audit, audit_bundle, share_run
from counterground.sharing._bundle import bundle_hash

SHARES = (0.01, 0.02, 0.05, 0.1)
MODELS = (
    *("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"),
    *("counterground:stamps-biased", "counterground:stamps-balanced"),
)
BATCHES, THREADS = (1, 8, 32, 64, 100), (1, 2)
PHOTOS = 300


def evaluated(data: Benchmark, model: str, folder: Path, **how: object) -> Run:
    """Return a run whose features nothing has stored."""
    os.environ["COUNTERGROUND_CACHE"] = str(folder / "cache")
    settings = EvaluateSettings(report=False, **how)
    return cg.evaluate(data, model, out=folder / "run", settings=settings)


def forged(run: Run, share: float, rng: np.random.Generator, folder: Path) -> bool:
    """Write a bundle with altered predictions and return whether 60 photos show it."""
    rows, size = run.predictions, len(run.predictions)
    altered = rng.choice(size, round(share * size), replace=False)
    indices = rows["predicted_index"].to_numpy().copy()
    indices[altered] = (indices[altered] + rng.integers(1, 1000, len(altered))) % 1000
    index = pl.Series(indices)
    correct = index == rows["true_index"]
    changed = rows.with_columns(predicted_index=index, correct=correct)
    bundle = share_run(replace(run, predictions=changed), folder)
    drawn = _audit.draw_photos(bundle_hash(folder), size, _audit.ENOUGH)
    numbered = rows.sort("path").with_columns(path=bundle.predictions["path"])
    found, _ = _audit.differing(bundle.predictions, numbered[drawn], _audit.NEAR_TIE["fp32"])
    return bool(found)


def print_forged(run: Run, times: int) -> None:
    """Print how often audits find altered predictions."""
    rng, size = np.random.default_rng(0), len(run.predictions)
    for share in SHARES:
        with tempfile.TemporaryDirectory() as work:
            found = [forged(run, share, rng, Path(work, str(k))) for k in range(times)]
        expected = 1 - hypergeom.pmf(0, size, round(share * size), _audit.ENOUGH)
        error = (expected * (1 - expected) / times) ** 0.5
        print(
            f"{share:.0%} altered: found {np.mean(found):.3f}, expected {expected:.3f} ± {1.96 * error:.3f}",
            flush=True,
        )


def honest(data: Benchmark, number: int) -> Iterator[tuple[str, int, int, int, float]]:
    """Yield precision, accused photos, near ties, photos, and the largest change of a gap (of the median)."""
    ways = list(product(("eager", "onnx"), BATCHES, THREADS, MODELS))
    for turn in range(number):
        runtime, batch_size, threads, model = ways[turn % len(ways)]
        yield honest_of(data, turn // len(ways), model, threads, "fp32", runtime, batch_size)
    for model, batch_size in product(MODELS, (1, 64)):
        yield honest_of(data, 0, model, 1, "bf16", "eager", batch_size)


def honest_of(  # noqa: PLR0917 - one way to run a model
    data: Benchmark, turn: int, model: str, threads: int, precision: str, runtime: str, batch_size: int
) -> tuple[str, int, int, int, float]:
    every = len(data.photos) // PHOTOS
    photos = replace(data, photos=data.photos[turn::every][:PHOTOS])
    with tempfile.TemporaryDirectory() as work:
        torch.set_num_threads(threads)
        how = {"runtime": runtime, "batch_size": batch_size, "precision": precision}
        bundle = share_run(evaluated(photos, model, Path(work, "first"), **how), Path(work, "bundle"))
        torch.set_num_threads(2)
        os.environ["COUNTERGROUND_CACHE"] = str(Path(work, "other"))
        found = audit_bundle(bundle.path, photos, photos=PHOTOS)
        again = evaluated(photos, model, Path(work, "second"), precision=precision).predictions["top2_gap"]
        change = (again - bundle.predictions["top2_gap"]).abs().max() / again.median()
    return precision, len(found.mismatches), found.near_ties, PHOTOS, change


def main(forgeries: int = 1000, number: int = 200) -> None:
    """Print both."""
    data = open_benchmark("stamps")
    kept = os.environ.get("COUNTERGROUND_CACHE")
    with tempfile.TemporaryDirectory() as work:
        run = cg.evaluate(data, MODELS[0], out=work, report=False)
        print_forged(run, forgeries)
    outcomes = list(honest(data, number))
    for precision in ("fp32", "bf16"):
        of = [outcome[1:] for outcome in outcomes if outcome[0] == precision]
        accused, ties, photos, changes = zip(*of, strict=True)
        print(
            f"{precision}: {len(of)} honest bundles, {sum(photos):,} photos: {np.count_nonzero(accused)} accused; "
            f"{sum(ties)} near ties turned; largest change of a gap {max(changes):.2g} of the median gap"
        )
    os.environ["COUNTERGROUND_CACHE"] = kept or ""


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
