"""``counterground evaluate`` against other programs, whole processes: ``python bench/evaluate.py ROW ...``.

lite      EfficientNet-Lite0, against a plain loop
rn50      OpenCLIP RN50, against CLIP_benchmark
resnet50  torchvision ResNet-50, against a plain loop
vitb32    OpenCLIP ViT-B/32, against CLIP_benchmark
five      five small CLIPs on photos of 2 megapixels, against CLIP_benchmark in 5 runs or 1, and the bound
small     the shipped CLIP of 3 million parameters, against a plain loop
forward   the forward passes alone, of Lite0, RN50 and ViT-B/32: how far below the whole command they are
second    another label space and another prompt, against the first pass of 1,500 photos

Both programs read the same files and the same weights (random except for Lite and the shipped CLIP), start
with an empty cache, compute in float32 and use all cores. ``BENCH_PHOTOS``: the number of photos (default
300).
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np

from _pairs import Row, Run, here, paired, process, publish
from _peers import peer_python

ROOT = Path(__file__).parents[1]
PHOTOS = int(os.environ.get("BENCH_PHOTOS", "300"))
WHOLE = (
    "The clock holds whole processes: imports, weights, text head, photos and results (ours: run, scores and "
    "report without photos, too). Photos are in the page cache."
)


def evaluate(folder: Path, photos: Path, models: Sequence[str], *options: str) -> Run:
    """Run ``counterground evaluate`` with an empty cache into a new folder; our page holds no photos."""
    out = Path(tempfile.mkdtemp(dir=folder))
    command = [sys.executable, "-m", "counterground", "evaluate", photos, "--out", out / "run"]
    command += [*options, "-X", "photos=no", *(word for model in models for word in ("-m", model))]
    run = process(command, {"PYTHONPATH": str(ROOT / "src")})
    shutil.rmtree(out)
    return run


def loop(name: str, photos: Path, models: Sequence[str]) -> Run:
    """Run a loop of ``_loops.py`` in the peers' environment."""
    script = Path(__file__).with_name("_loops.py")
    return process([peer_python(), script, name, photos / "files", photos / "names.txt", *models])


def stamps(folder: Path, photos: int) -> Path:
    """Write some photos of ``stamps`` as our benchmark, and as class folders of links for others."""
    from counterground.benchmarks import open_benchmark
    from counterground.photos import Benchmark

    source = open_benchmark("stamps")
    some = source.photos.sample(photos, seed=0).sort("path")
    return written(folder, Benchmark("bench", source.root, some, source.classes))


def two_megapixels(folder: Path, photos: int) -> Path:
    """Write JPEG photos of 1,632 x 1,224: soft shapes with noise, which compress about as well as photos."""
    import polars as pl
    from PIL import Image

    from counterground.photos import benchmark_of_frame, imagenet_names, photo_id

    files = folder / "drawn"
    files.mkdir()

    def draw(number: int) -> str:
        rng = np.random.default_rng(number)
        shapes = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((1632, 1224), 3)
        noisy = np.asarray(shapes) + rng.normal(0, 6, (1224, 1632, 1))
        path = files / f"{number:05}.jpg"
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, quality=90)
        return path.name

    with ThreadPoolExecutor() as threads:
        paths = list(threads.map(draw, range(photos)))
    names = [imagenet_names("openai")[number % 10] for number in range(photos)]
    frame = pl.DataFrame(
        {"path": paths, "photo_id": [photo_id(files / path) for path in paths], "class_name": names}
    )
    return written(folder, benchmark_of_frame(frame, files, "two-megapixels"))


def written(folder: Path, benchmark) -> Path:
    """Write a benchmark with its files, plus ``files`` and ``names.txt`` for `_loops`."""
    from counterground.photos import write_benchmark

    photos = folder / "photos"
    write_benchmark(benchmark, photos)
    names = benchmark.classes.names
    (photos / "names.txt").write_text("\n".join(names) + "\n")
    for number in range(len(names)):
        (photos / "files" / f"{number:03}").mkdir(parents=True)
    for path, index in benchmark.photos["path", "class_index"].iter_rows():
        target = photos / "files" / f"{index:03}" / Path(path).name
        target.symlink_to(benchmark.photo_path(path))
    return photos


def open_clip_weights(folder: Path, name: str) -> str:
    """Write random weights; return ``NAME@FILE``."""
    import open_clip
    import torch

    torch.manual_seed(0)
    path = folder / f"{name}.pt"
    torch.save(open_clip.create_model(name).state_dict(), path)
    return f"{name}@{path}"


def small_clips(folder: Path, number: int) -> list[str]:
    """Write CLIPs of the shipped architecture with random weights, as folders."""
    import json

    import open_clip
    import torch
    from safetensors.torch import save_file

    import counterground.models

    shipped = Path(counterground.models.__file__).parent / "data" / "stamps-biased"
    configuration = json.loads((shipped / "open_clip_config.json").read_text())
    folders = []
    for seed in range(number):
        torch.manual_seed(seed)
        target = folder / f"small-{seed}"
        target.mkdir()
        shutil.copy(shipped / "open_clip_config.json", target)
        network = open_clip.CLIP(**configuration["model_cfg"])
        save_file(network.state_dict(), target / "open_clip_model.safetensors")
        folders.append(str(target))
    return folders


def lite(folder: Path) -> list[Row]:
    photos = stamps(folder, PHOTOS)
    return [
        paired(
            f"evaluate EfficientNet-Lite0, {PHOTOS} photos of stamps",
            partial(evaluate, folder, photos, ["efficientnet-lite0"]),
            "plain DataLoader loop, eager",
            partial(loop, "plain-lite", photos, []),
            wanted="1.5",
            clock=WHOLE,
        )
    ]


def one_clip(name: str, wanted: str, folder: Path) -> list[Row]:
    photos, weights = stamps(folder, PHOTOS), open_clip_weights(folder, name)
    return [
        paired(
            f"evaluate OpenCLIP {name}, {PHOTOS} photos",
            partial(evaluate, folder, photos, [f"open_clip:{weights}"], "--label-space", "benchmark"),
            "CLIP_benchmark, eager",
            partial(loop, "clip-benchmark", photos, [weights]),
            wanted=wanted,
            clock=WHOLE,
        )
    ]


def resnet50(folder: Path) -> list[Row]:
    import torch
    import torchvision

    torch.manual_seed(0)
    weights = folder / "resnet50.pt"
    torch.save(torchvision.models.resnet50().state_dict(), weights)
    photos = stamps(folder, PHOTOS)
    return [
        paired(
            f"evaluate torchvision ResNet-50, {PHOTOS} photos",
            partial(evaluate, folder, photos, [f"torchvision:resnet50@{weights}"]),
            "plain DataLoader loop, eager",
            partial(loop, "plain-classifier", photos, [str(weights)]),
            wanted="1.5",
            clock=WHOLE,
        )
    ]


def five(folder: Path) -> list[Row]:
    photos, models = two_megapixels(folder, PHOTOS), small_clips(folder, 5)

    def five_runs() -> Run:
        runs = [loop("clip-benchmark", photos, [model]) for model in models]
        return Run(
            sum(run.seconds for run in runs),
            sum(run.processor for run in runs),
            max(run.peak_mb for run in runs),
        )

    specs = [f"open_clip:{model}" for model in models]
    ours = partial(evaluate, folder, photos, specs, "--label-space", "benchmark")
    work = f"evaluate five small CLIPs, {PHOTOS} photos of 2 megapixels"
    return [
        paired(work, ours, "CLIP_benchmark, a process for each", five_runs, wanted="3", clock=WHOLE),
        paired(
            work,
            ours,
            "CLIP_benchmark, all in one process",
            partial(loop, "clip-benchmark", photos, models),
            clock=WHOLE,
        ),
        paired(
            work,
            ours,
            "one decode and the forward passes",
            partial(loop, "one-decode", photos, models),
            wanted="0.91 (1.1 times its time)",
            clock=WHOLE,
        ),
    ]


def small(folder: Path) -> list[Row]:
    import counterground.models

    photos = stamps(folder, 10 * PHOTOS)
    shipped = Path(counterground.models.__file__).parent / "data" / "stamps-biased"
    return [
        paired(
            f"evaluate the shipped CLIP of 3 million parameters, {10 * PHOTOS:,} photos of 256 px",
            partial(evaluate, folder, photos, ["counterground:stamps-biased"], "--label-space", "benchmark"),
            "plain DataLoader loop, eager",
            partial(loop, "plain-clip", photos, [str(shipped)]),
            wanted="1.0",
            clock=WHOLE,
        )
    ]


def forward(folder: Path) -> list[Row]:
    """Compare with the forward passes alone: no command can be faster than these with the same runtime."""
    import torch

    from counterground.inference import choose_runtime
    from counterground.models import load_model
    from counterground.photos import load_photo, read_benchmark

    photos = stamps(folder, PHOTOS)
    benchmark = read_benchmark(photos)
    clips = [f"open_clip:{open_clip_weights(folder, name)}" for name in ("RN50", "ViT-B-32")]
    paths = [benchmark.photo_path(path) for path in benchmark.photos["path"]]
    rows = []
    for spec in ["efficientnet-lite0", *clips]:
        model = load_model(spec, device="cpu")
        choose_runtime(model, PHOTOS)
        inputs = torch.stack([model.preprocess(load_photo(path).image) for path in paths])
        name = spec.removeprefix("open_clip:").partition("@")[0]
        rows.append(
            paired(
                f"evaluate {name}, {PHOTOS} photos",
                partial(evaluate, folder, photos, [spec], "--label-space", "benchmark"),
                f"its forward passes alone, by {model.description.get('runtime', 'eager')}",
                partial(here, lambda model=model, inputs=inputs: [model.encode(b) for b in inputs.split(32)]),
                wanted="1 is the bound",
                clock=WHOLE,
            )
        )
    return rows


def second(folder: Path) -> list[Row]:
    import counterground
    from counterground.models import load_model
    from counterground.photos import read_benchmark

    benchmark = read_benchmark(stamps(folder, photos := 16 * PHOTOS))
    os.environ["COUNTERGROUND_CACHE"] = str(folder / "cache")  # the photos stay in the usual cache
    one_prompt = folder / "prompt.txt"
    one_prompt.write_text("a picture of a {}\n")
    clip = f"open_clip:{open_clip_weights(folder, 'ViT-B-32')}"
    changes = [
        ("EfficientNet-Lite0", "efficientnet-lite0", "label space", {"label_space": "imagenet"}),
        ("ViT-B/32", clip, "prompt", {"label_space": "benchmark", "prompts": str(one_prompt)}),
    ]
    runs, rows = count(), []
    for name, spec, what, settings in changes:
        model = load_model(spec, device="cpu")

        def run(model=model, **settings: str) -> Run:
            out = folder / f"run-{next(runs)}"
            return here(
                lambda: counterground.evaluate(
                    benchmark, model, out=out, report=False, warn=lambda _: None, **settings
                )
            )

        def first(run=run) -> Run:
            shutil.rmtree(folder / "cache", ignore_errors=True)
            return run(label_space="benchmark")

        def again(run=run, settings=settings) -> Run:
            shutil.rmtree(folder / "cache" / "heads", ignore_errors=True)  # its own head must be built
            return run(**settings)

        first()
        rows.append(
            paired(
                f"{name}, {photos:,} photos, another {what}",
                again,
                "the first pass",
                first,
                wanted="50",
                clock="The clock holds evaluate() without its report, the model loaded; the head is new.",
            )
        )
    return rows


ROWS: dict[str, Callable[[Path], list[Row]]] = {
    "lite": lite,
    "rn50": partial(one_clip, "RN50", "2.5"),
    "resnet50": resnet50,
    "vitb32": partial(one_clip, "ViT-B-32", "1.3"),
    "five": five,
    "small": small,
    "forward": forward,
    "second": second,
}


def main() -> None:
    for name in sys.argv[1:] or ROWS:
        with tempfile.TemporaryDirectory() as folder:
            for row in ROWS[name](Path(folder)):
                publish(row)


if __name__ == "__main__":
    main()
