"""ColoredCOCO and ColoredStamps: does any caption or objective keep a model from relying on colour?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from counterground.http import obeys_offline
from counterground.models import check_specs
from counterground.paper.study._grid import one_thread
from counterground.paper.study._study import Study, check_out, text_table, write_study
from counterground.paper.study.coco._coco import check_coco
from counterground.paper.study.coco._finetune import Machine
from counterground.paper.study.coco._objects import Objects, paint, paint_elsewhere
from counterground.paper.study.coco._results import (
    NAMES,
    answer,
    choose,
    compare_objectives,
    draw_sweep,
    summarise,
)
from counterground.paper.study.coco._start import SMALL
from counterground.paper.study.coco._trials import (
    RECIPE,
    CocoSettings,
    Source,
    default_jobs,
    run_trials,
    trials,
)
from counterground.published import load_table
from counterground.results import Table
from counterground.text import p_value

if TYPE_CHECKING:
    from matplotlib.figure import Figure


#: A slice for one core and a minute.
QUICK = CocoSettings(strengths=(0.8,), seeds=2, epochs=3)
#: Table 7: the paper's grid at its strength.
TABLE_7 = CocoSettings(
    strengths=(0.8,),
    control=False,
    objectives=("obj", "objbkg", "supervised"),
    seeds=1,
    learning_rates=(1e-3, 1e-4, 1e-5),
    weight_decays=(1e-1, 1e-3, 1e-5),
    warmups=(0, 1000),
    epochs=20,
)
TABLE_7_MODELS = ("open_clip:RN50/openai", "open_clip:ViT-B-16/openai")
_PUBLISHED = {("RN50", "openai"): "RN50", ("ViT-B-16", "openai"): "ViT16"}


@obeys_offline
def study_coloredcoco(
    out: Path | str,
    settings: CocoSettings,
    *,
    coco: Path | str | None = None,
    models: str | Sequence[str] = (),
    size: int = 64,
    packages: Path | str | None = None,
    device: str = "auto",
    precision: str | None = None,
    jobs: int | None = None,
    offline: bool = False,
    show_progress: bool = False,
) -> Path:
    """Fine-tune models on coloured objects and put the results beside Table 7; return the page's path.

    Each training leaves a file in ``out/trainings``, and a checkpoint while it runs; a killed study resumes
    from there and ends in the same figures (same device, versions, precision).

    Args:
        out: folder of results, figures and page.
        settings: what is trained.
        coco: folder of COCO 2017; without it, ColoredStamps.
        models: one OpenCLIP model or several; without them, the small CLIP (ColoredStamps) or Table 7's two
            (COCO).
        size: side of COCO's photos in pixels, before the model's own preprocessing.
        packages: folder with the stamps package, if there is no apt.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        precision: ``fp32``, ``bf16`` or ``fp16``; by default ``bf16`` on a GPU.
        jobs: trainings at once; by default one per core, or one per GPU.
        offline: never use the network, nor let other threads use it meanwhile.
        show_progress: whether to show a bar on standard error.

    Raises:
        MissingExtraError: matplotlib is not installed.
        UsageError: unknown model or device, or no COCO there.
        CounterGroundError: data or weights are damaged or missing, or the folder holds another study; or
            everything was written, but trainings diverged and are missing from it.
    """
    started = time.monotonic()
    out = Path(out)
    photos = None if coco is None else Path(coco)
    check_out(out, "coloredcoco")
    names = (models,) if isinstance(models, str) else tuple(dict.fromkeys(models))
    names = names or (TABLE_7_MODELS if coco else (SMALL,))
    check_specs([name for name in names if name != SMALL])
    if photos:
        check_coco(photos)
    machine = _machine(device, precision)
    with one_thread(needed=machine.device == "cpu"):
        source = Source(photos, size, None if packages is None else Path(packages), out / "small", offline)
        trainings = run_trials(
            trials(settings, names),
            source,
            machine,
            out / "trainings",
            jobs=jobs or default_jobs(machine.device),
            show_progress=show_progress,
        )
        study = _study(trainings, source, settings, names)
    extra = {"source": study.facts["source"], "size": size, "models": names, **asdict(machine)}
    extra["identities"] = [source.identity(name) for name in names]
    study = replace(study, settings=asdict(settings) | extra)
    return write_study(study, out, trainings, seconds=time.monotonic() - started)


def _machine(device: str, precision: str | None) -> Machine:
    from counterground.models import check_precision, resolve_device

    resolved = resolve_device(device)
    return Machine(
        resolved, check_precision(precision or ("bf16" if resolved.startswith("cuda") else "fp32"))
    )


def _study(trainings: pl.DataFrame, source: Source, settings: CocoSettings, models: Sequence[str]) -> Study:
    chosen, objects = choose(trainings), source.objects(0)
    results, comparisons = summarise(chosen), compare_objectives(chosen)
    figures = {"examples": draw_examples(objects)}
    figures |= {f"sweep{place or ''}": draw_sweep(results, model) for place, model in enumerate(models)}
    return Study(
        "coloredcoco",
        "Do captions or objectives keep a model from relying on colour?",
        answer(results),
        {
            "source": objects.source,
            "sweeps": [(f"sweep{place or ''}", model) for place, model in enumerate(models)],
            "results": _result_table(results),
            "comparisons": _comparison_table(comparisons),
            "published": _published_table(results if source.coco else results.clear()),
            "grid": len(settings.recipes()),
        },
        {"trainings": trainings, "results": results, "comparisons": comparisons},
        figures,
    )


def _result_table(results: pl.DataFrame) -> Table:
    rows = []
    for row in results.sort("model", "strength", nulls_last=True, maintain_order=True).to_dicts():
        strength = "uninformative" if row["strength"] is None else f"{100 * row['strength']:g} %"
        cells = [_with_interval(row, name) for name in ("id", "ood", "drop", "follows")]
        setting = " ".join("" if row[name] is None else f"{row[name]:g}" for name in RECIPE)
        rows.append([f"{row['model']}, {strength}, {NAMES[row['objective']]}", *cells, setting])
    heads = ("in distribution", "out of distribution", "drop", "follows the colour", "rate, decay, warm-up")
    return text_table(
        "Percent, mean and 95 % interval over seeds", ("model, colour, objective", *heads), rows
    )


def _with_interval(row: dict[str, Any], name: str) -> str:
    if row[name] is None:
        return "–"
    mean = f"{100 * row[name]:.1f}"
    if row[f"{name}_low"] is None:
        return mean
    return f"{mean} [{100 * row[f'{name}_low']:.1f}, {100 * row[f'{name}_high']:.1f}]"


def _comparison_table(comparisons: pl.DataFrame) -> Table:
    rows = []
    for row in comparisons.to_dicts():
        where = "mean of the sweep" if row["strength"] is None else f"{100 * row['strength']:g} %"
        measure = "out of distribution" if row["measure"] == "ood" else "drop"
        shown = [
            "–" if row[key] is None else f"{100 * row[key]:+.1f}" for key in ("difference", "low", "high")
        ]
        rows.append([f"{NAMES[row['objective']]}, {measure}, {where}", *shown, p_value(row["p_holm"])])
    return text_table(
        f"Difference from {NAMES['obj']} in points, with 95 % interval over seeds; p is Holm-corrected",
        ("objective, measure, colour", "mean", "low", "high", "p"),
        rows,
    )


def _published_table(results: pl.DataFrame) -> Table:
    """Return Table 7, with our values on COCO beside it if the model and the strength are the paper's."""
    ours = {
        (_backbone(row["model"]), row["objective"]): row
        for row in results.filter(pl.col("strength") == 0.8).to_dicts()
    }
    rows = []
    for row in load_table("coloredcoco_results").to_dicts():
        mine = ours.get((row["backbone"], row["approach"]))
        printed = [f"{row[name]:.2f}" for name in ("in_distribution", "out_of_distribution", "drop")]
        values = [mine[name] if mine else None for name in ("id", "ood", "drop")]
        found = ["–" if value is None else f"{100 * value:.2f}" for value in values]
        cells = [cell for pair in zip(found, printed, strict=True) for cell in pair]
        rows.append([f"{row['backbone']}, {NAMES[row['approach']]}", *cells])
    heads = [head for name in ("in", "out", "drop") for head in (name, f"{name}, printed")]
    return text_table("Table 7, percent", ("model", *heads), rows)


def _backbone(model: str) -> str:
    name, _, tag = model.removeprefix("open_clip:").partition("/")
    return _PUBLISHED.get((name.removesuffix("-quickgelu"), tag), "")


def draw_examples(objects: Objects) -> Figure:
    """Draw one test object of each class as in training (above) and out of distribution (below)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 2.7), layout="constrained")
    axes = figure.subplots(2, len(objects.names))
    inside, outside = paint(objects, "test", 1.0, 0), paint_elsewhere(objects, "test", 0)
    for line, (photos, title) in enumerate(((inside, "in distribution"), (outside, "out of distribution"))):
        for label, name in enumerate(objects.names):
            row = int((photos.classes == label).argmax())
            place = axes[line][label]
            place.imshow(photos.pixels[row])
            place.set_xticks([])
            place.set_yticks([])
            place.spines[:].set_visible(False)
            if line == 0:
                place.set_title(name, fontsize=9)
            if label == 0:
                place.set_ylabel(title.replace(" ", "\n", 1), fontsize=9)
    return figure
