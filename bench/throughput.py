"""Photos per second: our engine (decode ahead, fixed blocks, the chosen runtime) against a plain loop.

python bench/throughput.py [PHOTOS]    # in one run; in brackets by processor time, for a busy machine
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from PIL import Image

from counterground.benchmarks import open_benchmark
from counterground.inference import choose_runtime, encode_photos
from counterground.models import load_model
from counterground.photos import Benchmark

PHOTOS = int(sys.argv[1]) if len(sys.argv) > 1 else 192
BATCH = 32


def now() -> np.ndarray:
    """Return wall time and processor time."""
    return np.array([time.perf_counter(), time.process_time()])


def plain_loop(model, benchmark: Benchmark) -> np.ndarray:
    import torch

    start = now()
    paths = [benchmark.photo_path(path) for path in benchmark.photos["path"]]
    for first in range(0, len(paths), BATCH):
        images = [Image.open(path).convert("RGB") for path in paths[first : first + BATCH]]
        model.encode(torch.stack([model.preprocess(image) for image in images]))
    return now() - start


def engine(model, benchmark: Benchmark, store: Path) -> np.ndarray:
    start = now()
    choose_runtime(model, len(benchmark))
    encode_photos(model, benchmark, store, batch_size=BATCH, show_progress=False)
    return now() - start


def forward(model, benchmark: Benchmark) -> np.ndarray:
    """Return the time of one block with the runtime in use."""
    import torch

    paths = [benchmark.photo_path(path) for path in benchmark.photos["path"].head(BATCH)]
    block = torch.stack([model.preprocess(Image.open(path)) for path in paths])
    model.encode(block)  # starts the runtime
    start = now()
    model.encode(block)
    return now() - start


def main() -> None:
    stamps = open_benchmark("stamps")
    some = Benchmark("some", stamps.root, stamps.photos.sample(PHOTOS, seed=0), stamps.classes)
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, {datetime.now(UTC).date()}; {PHOTOS} photos of 256 px"
    )
    for spec in ("counterground:stamps-biased", "efficientnet-lite0"):
        model = load_model(spec, device="cpu")
        plain_loop(model, some)
        plain = plain_loop(model, some)
        with tempfile.TemporaryDirectory() as folder:
            ours = engine(model, some, Path(folder))
            stored = engine(model, some, Path(folder))
        faster = plain / ours
        print(
            f"{spec:32} plain {PHOTOS / plain[0]:7.1f}/s   engine {PHOTOS / ours[0]:7.1f}/s "
            f"({faster[0]:.2f} [{faster[1]:.2f}] times as fast)   from the store {PHOTOS / stored[0]:9.1f}/s"
        )
        for runtime in model.runtimes:
            model.run_by(None)
            eager = forward(model, some)
            model.run_by(runtime)
            faster = eager / forward(model, some)
            print(
                f"  forward pass by {runtime.name}: {faster[0]:.1f} [{faster[1]:.1f}] times as fast as eager"
            )


if __name__ == "__main__":
    main()
