"""Two Ray workers of one thread each against one: EfficientNet-Lite0 in eager PyTorch on photos of `stamps`.

python bench/ray_workers.py [PHOTOS]

Both write what they encode into a store. The time is that of the store's last three quarters, by its files'
times: the start of Ray and of the workers (PyTorch, the weights) is left out, and printed separately.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # for this process, and so for each worker

from _pairs import Run, here, paired, publish
from counterground.benchmarks import open_benchmark
from counterground.inference import evaluate_models
from counterground.photos import Benchmark, sample_photos
from counterground.settings import Settings

PHOTOS = int(sys.argv[1]) if len(sys.argv) > 1 else 1024
MODEL = "efficientnet-lite0"
starts: list[float] = []


def encode(benchmark: Benchmark, workers: int) -> Run:
    """Evaluate with an empty store; return the time that its last three quarters took."""
    settings = Settings(device="cpu", runtime="eager", batch_size=16, engine="ray", workers=workers)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["COUNTERGROUND_CACHE"] = folder
        begun = time.time()
        run = here(lambda: evaluate_models(benchmark, MODEL, settings, Path(folder) / "run"))
        stored = sorted(path.stat().st_mtime for path in Path(folder, "features").rglob("*.safetensors"))
    starts.append(stored[0] - begun)
    return Run(stored[-1] - stored[len(stored) // 4], run.processor, run.peak_mb)


def main() -> None:
    """Time both on a cluster that is started once, with two processors."""
    import ray

    benchmark = sample_photos(open_benchmark("stamps"), PHOTOS)
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    row = paired(
        f"{MODEL}, {PHOTOS} photos of 256 px, two Ray workers of one thread",
        lambda: encode(benchmark, 2),
        "one",
        lambda: encode(benchmark, 1),
        wanted="1.6",
        clock="the last three quarters of the blocks, without the start; processor time of the driver alone",
    )
    publish(row)
    print(
        f"Until the first block: {statistics.median(starts):.1f} s (the workers start), and Ray's own start."
    )


if __name__ == "__main__":
    main()
