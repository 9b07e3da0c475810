"""The commands as functions: ``cg.evaluate("stamps", "efficientnet-lite0", out="runs/first")``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from counterground.benchmarks import open_benchmark
from counterground.comparison import Comparison
from counterground.comparison import full_comparison as compare_fully
from counterground.comparison import reproduce as put_beside
from counterground.construction.discover import Discovery, discover_pairs
from counterground.errors import UsageError
from counterground.inference import Settings, evaluate_models
from counterground.metrics import Scale, compare_models
from counterground.photos import Benchmark
from counterground.pool import is_pool, open_pool
from counterground.results import Run, open_run, why_not_comparable

if TYPE_CHECKING:
    from counterground.construction.export import ExportReport


def evaluate(
    benchmark: Benchmark | Path | str, models: str | Sequence[str], *, out: Path | str, **settings: Any
) -> Run:
    """Evaluate one or more models on a benchmark; see ``Settings`` for the keywords.

    Args:
        benchmark: a built-in name, a folder, a manifest, or an opened benchmark.
        models: one spec, or several.
        out: the folder of the run.
        **settings: fields of ``Settings``: ``label_space``, ``names``, ``prompts``, ``device``, ...
    """
    specs = [models] if isinstance(models, str) else list(models)
    chosen = Settings(**settings)
    return evaluate_models(_opened(benchmark, chosen), specs, chosen, Path(out))


def discover(
    benchmark: Benchmark | Path | str,
    referee: str,
    *,
    out: Path | str,
    min_drop: float = 5.0,
    min_photos: int = 2,
    split: str = "half",
    seed: int = 0,
    **settings: Any,
) -> Discovery:
    """Find each class's best (common) and worst (counter) background for a referee (paper section 2).

    Args:
        benchmark: photos with backgrounds.
        referee: spec of the model that decides.
        out: where the benchmark of the pairs is written.
        min_drop: percentage points by which a class's accuracy must vary.
        min_photos: photos a background needs, in each half, to be considered.
        split: ``half`` chooses on one half of the photos and keeps the other; ``none`` flatters the referee.
        seed: decides the halves.
        **settings: fields of ``Settings``.
    """
    chosen = Settings(referee=referee, **settings)
    return discover_pairs(
        _opened(benchmark, chosen),
        referee,
        chosen,
        Path(out),
        min_drop=min_drop,
        min_photos=min_photos,
        split=split,
        seed=seed,
    )


def export(
    benchmark: Benchmark | Path | str, *, out: Path | str, formats: str | Sequence[str], **options: Any
) -> ExportReport:
    """Write a benchmark or a pool as folders that others can read, with a data card and all credits.

    Args:
        benchmark: a built-in name, a folder, a manifest, a pool, or an opened benchmark.
        out: the folder; with several formats each gets one of its own inside it.
        formats: one or several of ``counterground.construction.export.FORMATS``.
        **options: those of ``construction.export.export``: ``shared``, ``all_licences``, ``card``, ...
            Without a ``card`` it holds what the pool knows whose photos these are.
    """
    from counterground.construction.export import card_facts
    from counterground.construction.export import export as export_benchmark

    opened = benchmark if isinstance(benchmark, Benchmark) else open_benchmark(benchmark)
    if "card" not in options and is_pool(opened.root):
        with open_pool(opened.root) as pool:
            options["card"] = card_facts(pool)
    chosen = [formats] if isinstance(formats, str) else list(formats)
    return export_benchmark(opened, Path(out), formats=chosen, **options)


def scores(run: Run | Path | str) -> pl.DataFrame:
    """Return the scores of a run (fractions, with 95 % intervals), as in ``scores.parquet``."""
    return (run if isinstance(run, Run) else open_run(run)).scores


def compare(
    runs: Run | Path | str | Sequence[Run | Path | str], *, against: str | None = None
) -> pl.DataFrame:
    """Return paired tests between models on the same photos, Holm-corrected; differences are fractions.

    Raises:
        UsageError: fewer than two models, ``against`` is none of them, or they saw different photos.
    """
    opened = _opened_runs(runs)
    if obstacle := why_not_comparable(opened):
        raise UsageError(obstacle)
    try:
        return compare_models(pl.concat([run.predictions for run in opened]), against=against)
    except ValueError as error:
        raise UsageError(str(error)) from error


def full_comparison(
    runs: Run | Path | str | Sequence[Run | Path | str] = (),
    *,
    published: bool = True,
    against: str | None = None,
    baseline: str = "imagenet",
    scale: Scale = "probit",
) -> Comparison:
    """Compare runs with each other and with the paper: points, effective robustness, ranks, tests, warnings.

    Args:
        runs: runs or their folders; none shows the paper and its 2025 reproduction alone.
        published: put the paper's models beside them.
        against: test every model against this one only.
        baseline: the family through whose models the line goes: ``imagenet``, ``clip``, ``lvlm``, ``other``.
        scale: ``probit`` or ``logit``.

    Raises:
        UsageError: there is nothing to compare, or a model, family or scale is unknown.
    """
    return compare_fully(
        _opened_runs(runs), published=published, against=against, baseline=baseline, scale=scale
    )


def reproduce(runs: Run | Path | str | Sequence[Run | Path | str] = ()) -> pl.DataFrame:
    """Put values of runs on CounterAnimal beside the paper's rows: printed, ours, difference, known notes.

    Args:
        runs: runs or their folders; none takes the values of the 2025 reproduction.

    Raises:
        UsageError: no run was measured on CounterAnimal.
    """
    return put_beside(_opened_runs(runs))


def _opened_runs(runs: Run | Path | str | Sequence[Run | Path | str]) -> list[Run]:
    listed = [runs] if isinstance(runs, (Run, Path, str)) else list(runs)
    return [run if isinstance(run, Run) else open_run(run) for run in listed]


def _opened(benchmark: Benchmark | Path | str, settings: Settings) -> Benchmark:
    if isinstance(benchmark, Benchmark):
        return benchmark
    return open_benchmark(benchmark, show_progress=settings.show_progress)
