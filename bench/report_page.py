"""How long the report page takes to write and to open: 43 models x 13,100 photos, thumbnails to the budget.

Needs Chromium (Debian: ``apt-get install chromium``). Accuracies are those the paper prints for its models;
which answers are right is drawn at random. Times depend on the machine: compare ratios within one run.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image
from playwright.sync_api import sync_playwright

from _runs import run_info
from counterground.photos import Benchmark, LabelSpace, photo_id
from counterground.published import published_models
from counterground.reporting import write_report
from counterground.results import PREDICTIONS_SCHEMA, BenchmarkRecord, ModelRecord, Run, RunInfo

CLASSES, PHOTOS, FILES = 45, 13_100, 30


def make_benchmark(root: Path, random: np.random.Generator) -> Benchmark:
    """Photos of noise; those beyond the first 30 of a class and group repeat their content."""
    names = tuple(f"animal {k:02d}" for k in range(CLASSES))
    kept: dict[tuple[int, str], list[tuple[str, str]]] = {}
    rows = []
    for number in range(PHOTOS):
        index, group = number % CLASSES, ("common", "counter")[number // CLASSES % 2]
        files = kept.setdefault((index, group), [])
        if len(files) < FILES:
            path = root / f"{index:02d}-{group}-{len(files):02d}.jpg"
            coarse = random.integers(0, 256, (45, 60, 3), dtype=np.uint8)
            Image.fromarray(coarse).resize((480, 360), Image.Resampling.BICUBIC).save(path, quality=85)
            files.append((path.name, photo_id(path)))
        name, identity = files[number % len(files)]
        link = f"{number:05d}-{name}"
        (root / link).symlink_to(root / name)
        rows.append(
            {
                "path": link,
                "photo_id": identity,
                "class_index": index,
                "class_name": names[index],
                "background": ("snow", "grass")[group == "counter"],
                "group": group,
                "cluster": f"c{number % 2000}",
                "licence": "CC0-1.0",
            }
        )
    return Benchmark("noise", root, pl.DataFrame(rows), LabelSpace("noise", names, (None,) * CLASSES))


def make_run(benchmark: Benchmark, random: np.random.Generator) -> Run:
    """Predictions as accurate as the paper's models, and their scores."""
    photos = benchmark.photos
    models = published_models()
    common = (photos["group"] == "common").to_numpy()
    parts = []
    for row in models.iter_rows(named=True):
        right = random.random(photos.height) < np.where(common, row["common"], row["counter"]) / 100
        true = photos["class_index"].to_numpy()
        guess = np.where(right, true, (true + random.integers(1, 6, photos.height)) % CLASSES)
        parts.append(
            photos.select(
                "path", "photo_id", "class_index", "class_name", "background", "group", "cluster"
            ).with_columns(
                model=pl.lit(row["model"]),
                names=pl.lit("openai"),
                prompts=pl.lit("simple"),
                protocol=pl.lit("classification"),
                answer_score=pl.lit(None),
                label_space=pl.lit("imagenet"),
                true_index=pl.col("class_index"),
                predicted_index=pl.Series(guess),
                predicted_name=pl.Series([benchmark.classes.names[k] for k in guess]),
                correct=pl.Series(right),
                true_rank=pl.Series(np.where(right, 0, random.integers(1, 9, photos.height))),
                confidence=pl.Series(random.uniform(0.1, 1, photos.height)),
                top2_gap=pl.Series(random.uniform(0, 0.3, photos.height)),
                loss_sum=pl.lit(None),
                loss_mean=pl.lit(None),
            )
        )
    predictions = pl.concat(parts).select([pl.col(c).cast(t) for c, t in PREDICTIONS_SCHEMA.items()])
    return Run(Path("run"), _info(benchmark, models), predictions)


def _info(benchmark: Benchmark, models: pl.DataFrame) -> RunInfo:
    kinds = {"clip": "dual_encoder", "imagenet": "classifier"}
    of_benchmark = BenchmarkRecord(
        name=benchmark.name, version=benchmark.version, n_photos=len(benchmark), notes=[]
    )
    records = [
        ModelRecord(
            spec=row["model"],
            kind=kinds[row["family"]],
            fingerprint="0" * 64,
            description={"training_data": row["pretrain_dataset"]},
        )
        for row in models.iter_rows(named=True)
    ]
    return run_info(of_benchmark, records)


def open_page(page: Path) -> None:
    """Time the page in a headless browser: until it has loaded, the chart is drawn and a class is shown."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        for round_ in range(3):
            tab = browser.new_page(viewport={"width": 1280, "height": 900})
            start = time.perf_counter()
            tab.goto(page.as_uri(), wait_until="load")
            loaded = time.perf_counter() - start
            tab.wait_for_selector(".chart[data-drawn]")
            drawn = time.perf_counter() - start
            paint = tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime")
            again = time.perf_counter()
            tab.locator(".classpage").scroll_into_view_if_needed()
            tab.wait_for_selector(".classpage h4")
            shown = time.perf_counter() - again
            nodes = tab.evaluate("document.querySelectorAll('*').length")
            print(
                f"opened, round {round_ + 1}: first paint {paint / 1000:.2f} s, loaded {loaded:.2f} s, chart "
                f"{drawn:.2f} s; a class {shown:.2f} s later; {nodes:,} elements"
            )
            tab.close()
        browser.close()


def main() -> None:
    """Make the run, write its page with and without photos, open it."""
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        benchmark = make_benchmark(Path(folder), random)
        run = make_run(benchmark, random)
        models = run.predictions["model"].n_unique()
        print(f"{models} models x {len(benchmark):,} photos, {run.estimates().height:,} scores")
        for photos in (False, True):
            start = time.perf_counter()
            page = write_report([run], Path(folder) / f"{photos}.html", benchmarks=[benchmark], photos=photos)
            size = page.stat().st_size / 1e6
            with_photos = "with" if photos else "without"
            print(f"written {with_photos} photos: {time.perf_counter() - start:.1f} s, {size:.1f} MB")
        open_page(page)


if __name__ == "__main__":
    main()
