"""A run on composites: planned, evaluated like any photos, recorded."""

from __future__ import annotations

from pathlib import Path

from counterground.composites._examples import MOST_EXAMPLES, write_examples
from counterground.composites._plan import SwapSettings, plan_swap
from counterground.composites._recipe import VERSION, check_installed
from counterground.errors import UsageError
from counterground.files import check_only
from counterground.inference import Settings, evaluate_models
from counterground.models import AnyModels, check_specs, named_models
from counterground.photos import Benchmark
from counterground.results import RUN_FILES, BenchmarkRecord, InterventionRecord, Run


def swap_backgrounds(
    benchmark: Benchmark,
    models: AnyModels,
    settings: Settings,
    out: Path,
    swap: SwapSettings,
    *,
    masks: str | None = None,
    examples: int = 0,
    overwrite: bool = False,
) -> tuple[Run, Benchmark]:
    """Evaluate models on the composites of a benchmark's photos; return the run, and the composites.

    Args:
        benchmark: photos with masks.
        models: see `evaluate_models`, as for ``settings``, ``out`` and ``overwrite``.
        settings: how models are run.
        out: the folder of the run.
        swap: which composites to make.
        masks: where the masks come from, for the record; None for the manifest.
        examples: foregrounds whose composites are drawn into ``examples.png``; 0 for none.
        overwrite: replace another run in ``out``.

    Raises:
        MissingExtraError: OpenCV is not installed.
        UsageError: see `plan_swap` and `evaluate_models`; or the benchmark has questions of its own, or
            already holds composites; or too many examples.
        CounterGroundError: see `plan_swap` and `evaluate_models`.
    """
    opencv = check_installed()
    if examples > MOST_EXAMPLES:
        raise UsageError(f"Examples are of at most {MOST_EXAMPLES} objects, not of {examples}.")
    check_only(out, RUN_FILES, "a run")
    check_specs([each.spec for each in named_models(models) if each.made is None])
    if benchmark.has_questions:
        raise UsageError(
            f"The photos of {benchmark.name} have questions that composites would make invalid: choose a "
            "benchmark without questions."
        )
    if benchmark.made or "swap" in benchmark.photos.columns:
        raise UsageError(
            f"{benchmark.name} has composites already (column 'swap'): give the benchmark that they were "
            "made from."
        )
    plan = plan_swap(benchmark, swap, show_progress=settings.show_progress)
    record = InterventionRecord(
        kind="swap",
        version=VERSION,
        opencv=opencv,
        settings=swap.record(),
        masks=masks,
        source=BenchmarkRecord.of(benchmark),
        foregrounds=plan.foregrounds,
        backgrounds=plan.backgrounds,
    )

    run = evaluate_models(plan.benchmark, models, settings, out, intervention=record, overwrite=overwrite)
    if examples:
        write_examples(plan.benchmark, out / "examples.png", examples)
    return run, plan.benchmark
