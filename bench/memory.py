"""Peak memory of an evaluation beyond that of the model, by the number of photos.

python bench/memory.py [PHOTOS ...]    # by default 20000 100000 200000; needs 5 KB of disk for each photo

Photos are 4 by 4 pixels, all different, and the model averages colours: this measures what grows with their
number. Each evaluation is its own process; its peak is compared with that of 32 photos. The second evaluation
of the same photos reads their features.
"""

from __future__ import annotations

import hashlib
import io
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

BASE = 32
CLASSES = ("ox", "flamingo", "ice bear")
BACKGROUNDS = ("common", "counter")


def make_photos(folder: Path, n: int) -> Path:
    """Write photos and their manifest, sorted by path; its first rows are a smaller benchmark."""
    from PIL import Image

    rows = []
    for number in range(n):
        name = CLASSES[number % len(CLASSES)]
        group = BACKGROUNDS[number // len(CLASSES) % 2]
        stream = io.BytesIO()
        pixels = hashlib.sha512(f"{number}".encode()).digest()[:48]
        Image.frombytes("RGB", (4, 4), pixels).save(stream, "PNG", compress_level=0)
        path = folder / f"{number // 1000:04}" / f"{number:07}.png"
        if number % 1000 == 0:
            path.parent.mkdir(parents=True)
        path.write_bytes(stream.getvalue())
        content = hashlib.sha256(stream.getvalue()).hexdigest()
        rows.append((str(path.relative_to(folder)), content, name, group, f"cluster {number // 50}"))
    columns = ["path", "photo_id", "class_name", "group", "cluster"]
    manifest = folder / "photos.parquet"
    frame = pl.DataFrame(rows, schema=columns, orient="row")
    frame.with_columns(background=pl.col("group")).write_parquet(manifest)
    return manifest


def average_colour() -> tuple:
    """Return a network of 12 numbers, its preprocessing and its classes."""
    import torch
    from torchvision.transforms.v2.functional import pil_to_tensor

    torch.manual_seed(0)
    pooled = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    network = torch.nn.Sequential(pooled, torch.nn.Linear(3, len(CLASSES)))
    return network, lambda image: pil_to_tensor(image).float() / 255, list(CLASSES)


def evaluate(manifest: Path, out: Path) -> None:
    """Evaluate the photos of a manifest and print the peak memory in MB and the seconds."""
    import torch

    from counterground.inference import evaluate_models
    from counterground.photos import read_benchmark
    from counterground.settings import Settings

    torch.set_num_threads(1)
    start = time.perf_counter()
    evaluate_models(
        read_benchmark(manifest), [f"{__file__}:average_colour"], Settings(label_space="benchmark"), out
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{peak:.1f} {time.perf_counter() - start:.2f}")


def measured(manifest: Path, n: int) -> tuple[float, float, float]:
    """Return the peak of two evaluations of the first ``n`` photos, the second with stored features."""
    folder = manifest.parent.parent
    some = folder / f"{n}.parquet"
    rows = pl.scan_parquet(manifest).head(n).with_columns(path=f"{manifest.parent}/" + pl.col("path"))
    rows.sink_parquet(some)
    environment = {**os.environ, "COUNTERGROUND_CACHE": f"{folder}/cache-{n}"}
    found = []
    for name in ("first", "again"):
        command = [sys.executable, __file__, "evaluate", str(some), f"{folder}/{name}-{n}"]
        done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
        found.append(list(map(float, done.stdout.split())))
    (first_peak, first), (again_peak, again) = found
    return max(first_peak, again_peak), first, again


def main() -> None:
    """Print one line for each number of photos."""
    sizes = [int(size) for size in sys.argv[1:]] or [20_000, 100_000, 200_000]
    print(f"{platform.machine()}, {os.cpu_count()} cores, {datetime.now(UTC).date()}; average of colours")
    with tempfile.TemporaryDirectory() as folder:
        manifest = make_photos(Path(folder) / "photos", max(sizes))
        base = 0.0
        for n in (BASE, *sizes):
            peak, first, again = measured(manifest, n)
            base = base or peak
            times = f"{first:6.1f} s, again {again:5.2f} s"
            print(f"{n:9,} photos  {peak:7.0f} MB  {peak - base:+6.0f} MB   {times}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["evaluate"]:
        evaluate(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        main()
