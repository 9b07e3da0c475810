"""Photos per second of forward passes alone, on the CPU; freed memory is kept or given back.

For each runtime: its operations per second as a share of those in a product of two large float32 matrices.

python bench/forward.py [BATCH]    # random weights, 224 px; by default batches of 32
"""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from _pairs import machine
from evaluate import open_clip_weights

BATCH = int(sys.argv[1]) if len(sys.argv) > 1 else 32
SECONDS = 3.0


def rate(model, batch) -> float:
    """Encode for some seconds, after one uncounted batch."""
    model.encode(batch)
    photos, start = 0, time.perf_counter()
    while time.perf_counter() - start < SECONDS:
        model.encode(batch)
        photos += len(batch)
    return photos / (time.perf_counter() - start)


def matrix_product() -> float:
    """Operations per second in a product of two large float32 matrices."""
    import torch

    size = 4096
    first, second = torch.rand(2, size, size)
    torch.mm(first, second)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        torch.mm(first, second)
        times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times)


def operations(model, batch) -> float:
    """Operations in the forward pass of one photo, as PyTorch counts them: two per multiplication."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        model.encode(batch)
    return counter.get_total_flops() / len(batch)


def main() -> None:
    import torch
    import torchvision

    from counterground.models import freed_memory_kept, load_model

    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        resnet50 = Path(folder) / "resnet50.pt"
        torch.save(torchvision.models.resnet50().state_dict(), resnet50)
        specs = [f"torchvision:resnet50@{resnet50}"]
        specs += [f"open_clip:{open_clip_weights(Path(folder), name)}" for name in ("RN50", "ViT-B-32")]
        most = matrix_product()
        print("| model | runtime | freed memory | photos a second | of a matrix product |")
        print("|---|---|---|---|---|")
        for spec in specs:
            model = load_model(spec, device="cpu")
            batch = torch.rand(BATCH, 3, 224, 224)
            model.run_by(None)
            needed = operations(model, batch)
            for kept in (False, True):
                with freed_memory_kept() if kept else nullcontext():
                    for runtime in (None, *(each for each in model.runtimes if each.choice != "compile")):
                        model.run_by(runtime)
                        name = runtime.name if runtime else "eager"
                        row = [spec.partition("@")[0], name, "kept" if kept else "given back"]
                        photos = rate(model, batch)
                        row += [f"{photos:.1f}", f"{photos * needed / most:.0%}"]
                        print("|", *(f"{cell} |" for cell in row), flush=True)
    print(f"\nMatrix product: {most / 1e9:.0f} GFLOP/s. Batches of {BATCH}. {machine()}")


if __name__ == "__main__":
    main()
