"""What composites cost: processor time against a forward pass, and memory as they stream to a model.

python bench/swap.py [PHOTOS [PER_LABEL]]    # by default 1000 photos, 2 of each of 5 labels

Photos are drawn: 500 by 375 pixels of noise at all scales, with a blob as the object and a soft mask. Models
are a ResNet-50 and a ViT-B/16 with random weights at 224 pixels, in batches of 32, in eager PyTorch on one
thread. Time is processor time: one thread makes all composites in the order in which a run reads them. Memory
is the peak of a run over all composites minus that of the same process after 64 original photos. Its network
averages colours, because forward passes would add an hour to the time and nothing to the memory.
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

import numpy as np
import polars as pl

SIZE = (500, 375)
CLASSES = ("ox", "flamingo", "ice bear", "hen")
LABELS = ("grass", "rock", "sky", "tree", "water")
GROUPS = {"grass": "common", "water": "counter"}
PLAIN = 64


def make_photos(folder: Path, n: int) -> Path:
    """Write photos, masks and their manifest."""
    import cv2

    rng = np.random.default_rng(0)
    rows = []
    for number in range(n):
        name, label = CLASSES[number % len(CLASSES)], LABELS[number // len(CLASSES) % len(LABELS)]
        behind, own = (_noise(rng, scales) for scales in ((3, 12, 48, 188), (2, 6, 24)))
        mask = np.zeros(SIZE[::-1], np.uint8)
        centre = rng.integers((180, 130), (320, 245))
        axes = rng.integers(50, 125, 2)
        cv2.ellipse(mask, [*map(int, centre)], [*map(int, axes)], float(rng.integers(180)), 0, 360, 255, -1)
        mask = cv2.GaussianBlur(mask, (0, 0), 2)
        photo = behind + mask[..., None] / 255.0 * (own - behind)
        path, mask_path = f"{name}/{label}/{number:05}.jpg", f"masks/{name}/{label}/{number:05}.png"
        content = _write(folder / path, photo.astype(np.uint8), "JPEG")
        _write(folder / mask_path, mask, "PNG")
        rows.append((path, content, name, label, GROUPS.get(label), mask_path))
    columns = ["path", "photo_id", "class_name", "background", "group", "mask"]
    manifest = folder / "photos.parquet"
    pl.DataFrame(rows, schema=columns, orient="row").write_parquet(manifest)
    return manifest


def _noise(rng: np.random.Generator, scales: tuple[int, ...]) -> np.ndarray:
    import cv2

    total = np.full((*SIZE[::-1], 3), rng.uniform(60, 190, 3))
    for scale in scales:
        small = rng.normal(0, 22, (SIZE[1] // scale + 2, SIZE[0] // scale + 2, 3))
        total += cv2.resize(small, SIZE, interpolation=cv2.INTER_CUBIC)
    return total.clip(0, 255)


def _write(path: Path, pixels: np.ndarray, kind: str) -> str:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, quality=90)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(stream.getvalue())
    return hashlib.sha256(stream.getvalue()).hexdigest()


def average_colour() -> tuple:
    """Return a network of 16 numbers, its preprocessing and its classes."""
    import torch
    from torchvision.transforms import v2

    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, len(CLASSES))
    )
    steps = [v2.Resize(224), v2.CenterCrop(224), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)]
    return network, v2.Compose(steps), list(CLASSES)


def plan(manifest: Path, per_label: int):
    """Return the composites: every object on photos of every label."""
    from counterground.composites import plan_swap
    from counterground.photos import read_benchmark
    from counterground.settings import SwapSettings

    settings = SwapSettings(kinds=("same", "other"), backgrounds_per_label=per_label)
    return plan_swap(read_benchmark(manifest), settings)


def stream(manifest: Path, per_label: int) -> None:
    """Print the number of composites, and the MB that a run over them adds to the peak of some photos."""
    import torch

    from counterground.inference import evaluate_models
    from counterground.photos import read_benchmark, sample_photos
    from counterground.settings import Settings

    torch.set_num_threads(1)
    settings = Settings(label_space="benchmark")
    model = [f"{__file__}:average_colour"]
    few = sample_photos(read_benchmark(manifest), PLAIN)
    evaluate_models(few, model, settings, manifest.parent / "plain")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    composites = plan(manifest, per_label)
    run = evaluate_models(composites, model, settings, manifest.parent / "swapped")
    added = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{run.info.counts.photos} {added:.0f}")


def cost(manifest: Path, per_label: int) -> None:
    """Print processor milliseconds: a composite, an original photo, a forward pass of each model."""
    import cv2
    import torch
    from torchvision.models import resnet50, vit_b_16

    from counterground.photos import load_photo, read_benchmark

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    composites, photos = plan(manifest, per_label), read_benchmark(manifest)
    plain = photos.photos["path"].head(200)
    load_photo(photos.photo_source(plain[0]))

    def each(work, items) -> float:
        start = time.process_time()
        for item in items:
            work(item)
        return 1000 * (time.process_time() - start) / len(items)

    figures = [
        each(lambda path: load_photo(composites.photo_source(path)), composites.photos["path"]),
        each(lambda path: load_photo(photos.photo_source(path)), plain),
    ]
    batch = torch.zeros(32, 3, 224, 224)
    with torch.inference_mode():
        for network in (resnet50(weights=None).eval(), vit_b_16(weights=None).eval()):
            network(batch)
            figures.append(each(lambda _, network=network: network(batch), range(4)) / len(batch))
    print(*(f"{figure:.2f}" for figure in figures))


def main() -> None:
    photos = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    per_label = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    with tempfile.TemporaryDirectory() as folder:
        manifest = make_photos(Path(folder), photos)
        environment = {**os.environ, "COUNTERGROUND_CACHE": f"{folder}/cache"}

        def alone(what: str) -> list[float]:
            command = [sys.executable, __file__, what, str(manifest), str(per_label)]
            done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
            return [float(word) for word in done.stdout.split()]

        composite, plain, *forwards = alone("cost")
        print(f"{platform.machine()}, {os.cpu_count()} cores, {datetime.now(UTC):%Y-%m-%d}")
        print(f"a composite {composite:.1f} ms of one core; a photo as it is {plain:.1f} ms")
        for name, forward in zip(("ResNet-50", "ViT-B/16"), forwards, strict=True):
            print(
                f"a forward pass of {name} {forward:.0f} ms: composites cost {composite / forward:.1%} of it"
            )
        made, added = alone("stream")
        print(f"{made:,.0f} composites of {photos:,} photos: {added:.0f} MB beyond the model")


if __name__ == "__main__":
    if sys.argv[1:2] == ["cost"]:
        cost(Path(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1:2] == ["stream"]:
        stream(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
