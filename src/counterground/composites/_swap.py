"""A run on composites: planned, evaluated like any photos, recorded."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

from counterground.composites._plan import plan_swap
from counterground.composites._recipe import VERSION, check_installed
from counterground.errors import UsageError
from counterground.files import atomic_path, check_only
from counterground.inference import evaluate_models
from counterground.models import AnyModels, check_specs, named_models
from counterground.photos import Benchmark, load_photo
from counterground.results import RUN_FILES, BenchmarkRecord, InterventionRecord, Run
from counterground.settings import KINDS, SwapSettings

_MOST_EXAMPLES = 200  # foregrounds on a sheet; one of thousands would take gigabytes
_SIDE, _GAP, _LINE = 224, 6, 14


def swap_backgrounds(
    benchmark: Benchmark,
    models: AnyModels,
    settings: SwapSettings,
    out: Path,
) -> tuple[Run, Benchmark]:
    """Evaluate models on the composites of a benchmark's photos; return the run, and the composites.

    Args:
        benchmark: photos with masks.
        models: see `evaluate_models`.
        settings: which composites to make, and how models are run.
        out: the folder of the run.

    Raises:
        MissingExtraError: OpenCV is not installed.
        UsageError: see `plan_swap` and `evaluate_models`; or the benchmark already holds
            composites.
        CounterGroundError: see `plan_swap` and `evaluate_models`.
    """
    opencv = check_installed()
    check_only(out, RUN_FILES, "a run")
    check_specs([each.spec for each in named_models(models) if each.made is None])
    if benchmark.made or "swap" in benchmark.photos.columns:
        raise UsageError(
            f"{benchmark.name} has composites already (column 'swap'): give the benchmark that they were "
            "made from."
        )
    plan = plan_swap(benchmark, settings, show_progress=settings.show_progress)
    record = InterventionRecord(
        kind="swap",
        version=VERSION,
        opencv=opencv,
        source=BenchmarkRecord.of(benchmark),
        foregrounds=plan.photos["foreground"].n_unique(),
        backgrounds=len(set(plan.photos["background_photo"]) - {"grey"}),
    )

    run = evaluate_models(plan, models, settings, out, intervention=record, overwrite=settings.overwrite)
    if settings.examples:
        _write_examples(plan, out / "examples.png", min(settings.examples, _MOST_EXAMPLES))
    return run, plan


def _write_examples(benchmark: Benchmark, path: Path, foregrounds: int) -> None:
    """Write a PNG with one row for each of some foregrounds, spread over all of them: its composites by kind.

    Args:
        benchmark: the composites.
        path: the file.
        foregrounds: number of foregrounds, at most.

    Raises:
        CounterGroundError: the file cannot be written.
    """
    photos = benchmark.photos
    every = photos["foreground"].unique().sort().to_list()
    chosen = every[:: max(1, len(every) // foregrounds)][:foregrounds]
    kinds = [kind for kind in KINDS if (photos["swap"] == kind).any()]
    size = (len(kinds) * (_SIDE + _GAP), len(chosen) * (_SIDE + _LINE + _GAP))
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for row, foreground in enumerate(chosen):
        for column, kind in enumerate(kinds):
            for place in photos.filter(foreground=foreground, swap=kind).head(1).iter_rows(named=True):
                left, top = column * (_SIDE + _GAP), row * (_SIDE + _LINE + _GAP)
                where = f": {place['background']}" if place["background"] else ""
                draw.text((left, top), f"{kind}{where}"[:36], fill="black")
                image = load_photo(benchmark.photo_source(place["path"])).image
                image.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
                sheet.paste(image, (left, top + _LINE))
    with atomic_path(path) as draft:
        sheet.save(draft, "PNG")
