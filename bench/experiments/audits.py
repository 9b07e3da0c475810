"""Audits of bundles on ``stamps``: forged ones that are found, and honest ones of other runtimes.

python bench/experiments/audits.py [FORGED HONEST]    # by default 1000 200

Forged: that many bundles with 1, 2, 5 and 10 % of the predictions altered, each written and drawn from by its
hash; the share that an audit of 60 photos finds, beside the hypergeometric distribution's. Honest: bundles of
100 photos, whose models ran eagerly or by ONNX Runtime in batches of 1 to 100 on 1 or 2 threads, audited on
all of their photos in batches of 32; none may be accused. Also bundles in bf16 against fp32, on 1,000 photos.
Beside each, as shares of the median gap between the two highest scores: the largest change of a gap, and the
largest gap of a prediction that turned.
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
PHOTOS = 100


def evaluated(data: Benchmark, model: str, folder: Path, **how: object) -> Run:
    """Return a run whose features are stored in ``folder``."""
    os.environ["COUNTERGROUND_CACHE"] = str(folder / "store")
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


Outcome = tuple[int, int, float, float]
"""Accused photos, near ties, the largest change of a gap, and the largest gap of a prediction that turned."""


def honest(data: Benchmark, number: int) -> Iterator[Outcome]:
    """Yield what audits of honest bundles find, which ran in other ways."""
    ways = list(product(("eager", "onnx"), BATCHES, THREADS, MODELS))
    for turn in range(number):
        runtime, batch_size, threads, model = ways[turn % len(ways)]
        photos = replace(data, photos=data.photos[turn // len(ways) :: len(data.photos) // PHOTOS][:PHOTOS])
        with tempfile.TemporaryDirectory() as work:
            torch.set_num_threads(threads)
            run = evaluated(photos, model, Path(work, "first"), runtime=runtime, batch_size=batch_size)
            bundle = share_run(run, Path(work, "bundle"))
            torch.set_num_threads(2)
            os.environ["COUNTERGROUND_CACHE"] = str(Path(work, "second", "store"))
            # Its features are stored for the run after it.
            found = audit_bundle(bundle.path, photos, photos=PHOTOS)
            again = evaluated(photos, model, Path(work, "second"))
        yield len(found.mismatches), found.near_ties, *gaps(run, again)


def halved(data: Benchmark) -> Iterator[Outcome]:
    """Yield what separates bf16 from fp32, as if the auditor's arithmetic rounded nothing."""
    photos = replace(data, photos=data.photos[:: len(data.photos) // 1000][:1000])
    for model in MODELS:
        with tempfile.TemporaryDirectory() as work:
            runs = [evaluated(photos, model, Path(work, name), precision=name) for name in ("bf16", "fp32")]
        mismatches, near = _audit.differing(*(run.predictions for run in runs), _audit.NEAR_TIE["bf16"])
        yield len(mismatches), near, *gaps(*runs)


def gaps(run: Run, again: Run) -> tuple[float, float]:
    """Return the largest change of a gap and the largest of a turned prediction; medians of ``again``."""
    first, second = (each.predictions["top2_gap"] for each in (run, again))
    turned = run.predictions["predicted_index"] != again.predictions["predicted_index"]
    median = second.median()
    return (second - first).abs().max() / median, (second.filter(turned).max() or 0.0) / median


def print_honest(title: str, outcomes: Iterator[Outcome]) -> None:
    """Print whether any was accused."""
    accused, ties, changes, turned = zip(*outcomes, strict=True)
    print(f"{title}: {len(accused)} bundles, {np.count_nonzero(accused)} accused", end="; ")
    print(f"{sum(ties)} near ties turned, largest gap of one {max(turned):.2g}", end="; ")
    print(f"largest change of a gap {max(changes):.2g}", flush=True)


def main(forgeries: int = 1000, number: int = 200) -> None:
    """Print both."""
    data = open_benchmark("stamps")
    kept = os.environ.get("COUNTERGROUND_CACHE")
    with tempfile.TemporaryDirectory() as work:
        run = cg.evaluate(data, MODELS[0], out=work, report=False)
        print_forged(run, forgeries)
    print_honest("fp32, other runtimes, batches and threads", honest(data, number))
    print_honest("bf16 against fp32", halved(data))
    os.environ["COUNTERGROUND_CACHE"] = kept or ""


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
