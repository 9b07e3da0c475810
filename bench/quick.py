"""Timings to watch from change to change, within a minute: ``python bench/quick.py``.

Nothing fails, however slow: machines differ. Each figure is the lower one of two.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from _pairs import Run, here, machine, process


def show(work: str, run: Callable[[], Run]) -> None:
    best = min((run(), run()), key=lambda run: run.seconds)
    print(
        f"{work:54}{best.seconds:8.2f} s{best.processor:8.2f} s processor{best.peak_mb:7.0f} MB", flush=True
    )


def main() -> None:
    from counterground.benchmarks import open_benchmark
    from counterground.models import DualEncoder, load_model
    from counterground.photos import Benchmark, imagenet_names, prompt_templates, write_benchmark

    print(machine())
    command = [sys.executable, "-m", "counterground"]
    show("counterground --help", partial(process, [*command, "--help"]))
    model = load_model("counterground:stamps-biased", device="cpu")
    assert isinstance(model, DualEncoder)
    texts = [t.replace("{}", n) for n in imagenet_names("openai")[:100] for t in prompt_templates("openai")]
    show(
        "text head, 80 templates x 100 names, the small CLIP",
        partial(here, lambda: model.encode_texts(texts)),
    )
    stamps = open_benchmark("stamps")
    some = Benchmark("quick", stamps.root, stamps.photos.sample(100, seed=0), stamps.classes)
    with tempfile.TemporaryDirectory() as folder:
        photos, run, cache = (Path(folder) / name for name in ("photos", "run", "cache"))
        write_benchmark(some, photos)
        evaluate = [
            *command,
            "evaluate",
            photos,
            "--out",
            run,
            "-m",
            "counterground:stamps-biased",
            "--quiet",
        ]
        show("evaluate the small CLIP on 100 photos, empty cache", partial(process, evaluate))
        show(
            "the same, from the cache",
            partial(process, evaluate, {"COUNTERGROUND_CACHE": str(cache)}, cold=False),
        )
        show("scores of that run", partial(process, [*command, "scores", run]))


if __name__ == "__main__":
    main()
