"""Peak memory of an evaluation beyond that of the model, by the number of photos.

python bench/memory.py [PHOTOS ...]    # by default 20000 100000 200000; needs 5 KB of disk for each photo

Photos are 4 by 4 pixels, all different, and the model averages colours: what is measured is what grows with
their number. Each evaluation is a process of its own; its peak is compared with that of 32 photos.
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
    """Write photos and their manifest, sorted by path; a smaller benchmark is its first rows."""
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


def evaluate(manifest: Path, n: int, out: Path) -> None:
    """Evaluate the first ``n`` photos twice and print the peak memory in MB, and the seconds of each."""
    import torch

    from counterground.inference import Settings, evaluate_models
    from counterground.photos import read_benchmark

    torch.set_num_threads(1)
    some = out / f"{n}.parquet"
    pl.read_parquet(manifest).head(n).with_columns(path=f"{manifest.parent}/" + pl.col("path")).write_parquet(
        some
    )
    seconds = []
    for name in ("first", "again"):
        start = time.perf_counter()
        settings = Settings(label_space="benchmark")
        evaluate_models(read_benchmark(some), [f"{__file__}:average_colour"], settings, out / f"{name}-{n}")
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{peak:.1f} {seconds[0]:.2f} {seconds[1]:.2f}")


def main() -> None:
    """Print one line for each number of photos."""
    sizes = [int(size) for size in sys.argv[1:]] or [20_000, 100_000, 200_000]
    print(f"{platform.machine()}, {os.cpu_count()} cores, {datetime.now(UTC).date()}; average of colours")
    with tempfile.TemporaryDirectory() as folder:
        manifest = make_photos(Path(folder) / "photos", max(sizes))
        base = 0.0
        for n in (BASE, *sizes):
            command = [sys.executable, __file__, "evaluate", str(manifest), str(n), folder]
            environment = {**os.environ, "COUNTERGROUND_CACHE": f"{folder}/cache-{n}"}
            done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
            peak, first, again = map(float, done.stdout.split())
            base = base or peak
            times = f"{first:6.1f} s, again {again:5.2f} s"
            print(f"{n:9,} photos  {peak:7.0f} MB  {peak - base:+6.0f} MB   {times}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["evaluate"]:
        evaluate(Path(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
    else:
        main()
