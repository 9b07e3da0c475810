"""A run on composites: planned, evaluated like any photos, recorded."""

from __future__ import annotations

from pathlib import Path

from counterground.composites._plan import plan_swap
from counterground.composites._recipe import VERSION, check_installed
from counterground.errors import UsageError
from counterground.files import check_only
from counterground.inference import evaluate_models
from counterground.models import AnyModels, check_specs, named_models
from counterground.photos import Benchmark
from counterground.results import RUN_FILES, BenchmarkRecord, InterventionRecord, Run
from counterground.settings import SwapSettings


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
    return run, plan
