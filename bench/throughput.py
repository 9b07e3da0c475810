"""Photos a second: our engine (decode ahead in threads, fixed blocks) against a plain loop, in one run."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image

from counterground.benchmarks import open_benchmark
from counterground.inference import encode_photos
from counterground.models import load_model
from counterground.photos import Benchmark

PHOTOS = 192
BATCH = 32


def plain_loop(model, benchmark: Benchmark) -> float:
    import torch

    start = time.perf_counter()
    paths = [benchmark.photo_path(path) for path in benchmark.photos["path"]]
    for first in range(0, len(paths), BATCH):
        images = [Image.open(path).convert("RGB") for path in paths[first : first + BATCH]]
        model.encode(torch.stack([model.preprocess(image) for image in images]))
    return time.perf_counter() - start


def engine(model, benchmark: Benchmark, store: Path) -> float:
    start = time.perf_counter()
    encode_photos(model, benchmark, store, batch_size=BATCH, show_progress=False)
    return time.perf_counter() - start


def main() -> None:
    stamps = open_benchmark("stamps")
    some = Benchmark("some", stamps.root, stamps.photos.sample(PHOTOS, seed=0), stamps.label_space)
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
        print(
            f"{spec:32} plain {PHOTOS / plain:7.1f}/s   engine {PHOTOS / ours:7.1f}/s "
            f"({plain / ours:.2f} times as fast)   from the store {PHOTOS / stored:9.1f}/s"
        )


if __name__ == "__main__":
    main()
