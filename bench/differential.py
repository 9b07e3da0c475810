"""Our predictions against those of other people's evaluation loops, photo by photo.

python bench/differential.py [PHOTOS]    # by default 300 of `stamps`

Both read the same files and weights in float32. A photo on which the answers differ is a tie if the other
loop's own scores of the two answers differ by at most ``TIE`` of the range of its scores on that photo, which
rounding in another order may cause. Anything else is a difference, and the script fails.
CLIP_benchmark is installed into its own environment, `.bench-venv`. ViT-B/32, RN50 and ResNet-50 have
random weights; the small CLIP is one that CounterGround ships.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import torch
import torchvision

import counterground.models
from _pairs import machine
from _peers import peer_python
from counterground.photos import read_benchmark
from evaluate import open_clip_weights, stamps

PHOTOS = int(sys.argv[1]) if len(sys.argv) > 1 else 300
TIE = 1e-4
CLIP_LOOPS = {"clip-benchmark": "CLIP_benchmark 1.6.2", "openclip": "OpenCLIP's zero-shot loop"}


def ours(folder: Path, photos: Path, spec: str, runtime: str, *options: str) -> dict[str, tuple[int, str]]:
    """Return the predicted index and name of each file."""
    out = folder / "run"
    command = [
        "evaluate",
        photos,
        "-m",
        spec,
        "-X",
        f"runtime={runtime}",
        "--out",
        out,
        "--overwrite",
        "--quiet",
    ]
    subprocess.run(
        [sys.executable, "-m", "counterground", *command, "-X", "photos=no", *options],
        check=True,
        env={**os.environ, "COUNTERGROUND_CACHE": str(folder / "cache" / runtime)},
        stdout=subprocess.DEVNULL,
    )
    rows = pl.read_parquet(out / "predictions.parquet")
    benchmark = read_benchmark(photos)
    return {
        os.path.realpath(benchmark.photo_path(path)): (index, name)
        for path, index, name in rows["path", "predicted_index", "predicted_name"].iter_rows()
    }


def theirs(folder: Path, photos: Path, loop: str, weights: str) -> dict[str, np.ndarray]:
    """Return the scores of each file."""
    script, into = Path(__file__).with_name("_loops.py"), folder / "scores.npz"
    subprocess.run(
        [peer_python(), script, loop, photos / "files", photos / "names.txt", weights],
        check=True,
        env={**os.environ, "LOOP_SCORES": str(into)},
        stdout=subprocess.DEVNULL,
    )
    with np.load(into) as found:
        return dict(zip(found["paths"], found["scores"], strict=True))


def compared(own: dict[str, int], other: dict[str, np.ndarray]) -> tuple[int, int, int]:
    """Return how many answers are equal, tied and different."""
    if own.keys() != other.keys():
        sys.exit(f"The two read different photos: {len(own)} and {len(other)}.")
    gaps = [
        float((other[path].max() - other[path][index]) / max(np.ptp(other[path]), 1e-30))
        for path, index in own.items()
        if index != other[path].argmax()
    ]
    ties = sum(gap <= TIE for gap in gaps)
    return len(own) - len(gaps), ties, len(gaps) - ties


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = stamps(folder, PHOTOS)
        names = (photos / "names.txt").read_text().splitlines()
        torch.manual_seed(0)
        resnet = folder / "resnet50.pt"
        torch.save(torchvision.models.resnet50().state_dict(), resnet)
        small = str(Path(counterground.models.__file__).parent / "data" / "stamps-biased")
        works = [
            ("small CLIP (trained)", f"open_clip:{small}", small, CLIP_LOOPS),
            *(
                (model, f"open_clip:{weights}", weights, CLIP_LOOPS)
                for model in ("ViT-B-32", "RN50")
                for weights in [open_clip_weights(folder, model)]
            ),
            (
                "torchvision ResNet-50",
                f"torchvision:resnet50@{resnet}",
                str(resnet),
                {"plain-classifier": "torchvision's reference evaluation, a DataLoader and eager passes"},
            ),
        ]
        print(f"| model | against | runtime | photos | equal | ties | different |\n{7 * '|---'}|")
        worst = 0
        for model, spec, weights, loops in works:
            clip = loops is CLIP_LOOPS
            own = {}
            for runtime in ("eager", "auto"):
                found = ours(folder, photos, spec, runtime, *(["--label-space", "benchmark"] if clip else []))
                own[runtime] = {
                    path: names.index(answer) if clip else index for path, (index, answer) in found.items()
                }
            for loop, title in loops.items():
                other = theirs(folder, photos, loop, weights)
                for runtime, answers in own.items():
                    equal, ties, different = compared(answers, other)
                    worst += different
                    print(f"| {model} | {title} | {runtime} | {PHOTOS} | {equal} | {ties} | {different} |")
        print(f"\n{machine()}")
        sys.exit(worst > 0)


if __name__ == "__main__":
    main()
