"""The trainings of the study: the list of them, how each is run, and the figures that are kept."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from counterground.http import obeys_offline
from counterground.metrics import holm
from counterground.models import check_specs
from counterground.paper.study._grid import one_thread, run_grid, visible_gpus
from counterground.paper.study._study import Study, check_out, interval, text_table, write_study
from counterground.paper.study.coco._finetune import (
    OBJECTIVES,
    SMALL,
    Machine,
    Objective,
    Photos,
    Recipe,
    Start,
    before,
    finetune,
    load_start,
    photos_of,
    small_start,
)
from counterground.paper.study.coco._objects import (
    PARTS,
    Objects,
    Strength,
    check_coco,
    load_coco_objects,
    load_stamps_objects,
    paint,
    paint_elsewhere,
)
from counterground.published import load_table
from counterground.results import Table
from counterground.text import p_value, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure


ZERO_SHOT = "zero shot"
MEAN_CAPTION = "objbkg, mean caption"  # trained as objbkg, answers with its own captions
RECIPE = ("learning_rate", "weight_decay", "warmup_steps")


@dataclass(frozen=True)
class CocoSettings:
    """What is trained (ColoredCOCO, section 6).

    Attributes:
        strengths: fractions of a class's photos on its biased colour.
        control: whether to train also on colours that are independent of the class.
        objectives: objectives of fine-tuning.
        seeds: number of seeds of each training.
        learning_rates: the grid; the setting with the best in-distribution accuracy is reported.
        weight_decays: the grid.
        warmups: the grid, in steps.
        epochs: passes over the training photos.
        batch_size: photos per step.
    """

    strengths: tuple[float, ...] = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    control: bool = True
    objectives: tuple[Objective, ...] = OBJECTIVES
    seeds: int = 5
    learning_rates: tuple[float, ...] = (3e-3,)
    weight_decays: tuple[float, ...] = (1e-3,)
    warmups: tuple[int, ...] = (20,)
    epochs: int = 16
    batch_size: int = 64

    @property
    def all_strengths(self) -> tuple[Strength, ...]:
        """The strengths, and None for the control."""
        return (*self.strengths, None) if self.control else self.strengths

    def recipes(self) -> list[Recipe]:
        """Return the grid."""
        grid = product(self.learning_rates, self.weight_decays, self.warmups)
        return [Recipe(*setting, self.epochs, self.batch_size) for setting in grid]


@dataclass(frozen=True)
class Source:
    """Where objects and models come from.

    Attributes:
        coco: folder of COCO 2017; None for ColoredStamps.
        size: side of COCO's photos in pixels.
        packages: folder with the stamps package, if there is no apt.
        small: folder that keeps the small CLIPs.
        offline: never use the network for models.
    """

    coco: Path | None
    size: int
    packages: Path | None
    small: Path
    offline: bool = False

    def objects(self, seed: int) -> Objects:
        """Return the objects for ``seed``; COCO's are the same for every seed."""
        return _objects(self, 0 if self.coco else seed)

    def start(self, model: str, seed: int) -> Start:
        """Return the model before fine-tuning."""
        return _start(self, model, seed if model == SMALL else 0)

    def identity(self, model: str) -> dict[str, Any]:
        """Return what identifies the content of COCO and the model, whatever their paths; JSON-ready.

        ColoredStamps and the small CLIP are determined by the seed.
        """
        found: dict[str, Any] = {"source": "ColoredStamps"}
        if self.coco is not None:
            found["source"] = [_objects_digest(self), self.size]
        return found if model == SMALL else found | {"weights": _fingerprint(self, model)}


@lru_cache(maxsize=2)
def _objects(source: Source, seed: int) -> Objects:
    if source.coco is not None:
        return load_coco_objects(source.coco, source.size)
    return load_stamps_objects(seed, packages=source.packages)


@lru_cache
def _objects_digest(source: Source) -> str:
    objects, digest = source.objects(0), hashlib.sha256()
    for part in PARTS:
        digest.update(objects.pixels[part].tobytes() + objects.classes[part].tobytes())
    return digest.hexdigest()


@lru_cache
def _fingerprint(source: Source, model: str) -> str:
    return source.start(model, 0).fingerprint


@lru_cache(maxsize=2)
def _start(source: Source, model: str, seed: int) -> Start:
    if model == SMALL:
        return small_start(source.objects(seed), seed, source.small)
    return load_start(model, offline=source.offline)


@lru_cache(maxsize=1)
def _photos(source: Source, model: str, strength: Strength, seed: int) -> dict[str, Photos]:
    return photos_of(source.start(model, seed), source.objects(seed), strength, seed)


@dataclass(frozen=True)
class Trial:
    """One training; without an objective and a recipe, the model before it, zero-shot."""

    model: str
    strength: Strength
    seed: int
    objective: Objective | None = None
    recipe: Recipe | None = None

    @property
    def name(self) -> str:
        """The objective as it is reported."""
        return self.objective or ZERO_SHOT

    def row(self) -> dict[str, Any]:
        """Return what identifies a trial, as a row of ``trainings.parquet``."""
        names = {"model": self.model, "strength": self.strength, "objective": self.name, "seed": self.seed}
        return names | {name: getattr(self.recipe, name, None) for name in RECIPE}


def trials(settings: CocoSettings, models: Sequence[str]) -> list[Trial]:
    """Return every trial once, with those that share photos next to each other."""
    found = []
    for model in models:
        for seed in range(settings.seeds):
            for strength in settings.all_strengths:
                found.append(Trial(model, strength, seed))
                found += [
                    Trial(model, strength, seed, objective, recipe)
                    for objective in settings.objectives
                    for recipe in settings.recipes()
                ]
    return list(dict.fromkeys(found))  # a trial that is requested twice is run and counted once


def file_of(trial: Trial, source: Source, machine: Machine, folder: Path) -> Path:
    """Return the file of a trial's figures: other settings, photos, weights or machines have another one.

    Raises:
        UsageError, CounterGroundError: the model cannot be loaded, or COCO not read.
    """
    facts = asdict(trial) | source.identity(trial.model) | {"precision": machine.precision}
    if machine.device != "cpu":
        facts["device"] = machine.device.partition(":")[0]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
    strength = "balanced" if trial.strength is None else f"{100 * trial.strength:g}"
    return folder / f"{trial.name.replace(' ', '-')}-{strength}-seed-{trial.seed}-{digest}.json"


def run_trials(
    found: Sequence[Trial],
    source: Source,
    machine: Machine,
    folder: Path,
    *,
    jobs: int = 1,
    show_progress: bool = False,
) -> pl.DataFrame:
    """Run the trials without figures in ``folder``; return a row per trial, accuracies as fractions.

    ``failed`` says why a training diverged; its accuracies are null.

    Raises:
        CounterGroundError: a file of figures or a checkpoint is damaged, or a training failed.
    """
    files = {trial: file_of(trial, source, machine, folder) for trial in found}
    gpus = visible_gpus() if machine.device == "cuda" else ()
    train = partial(_train, source, machine, folder)
    figures = run_grid(files, train, jobs=jobs, gpus=gpus, show_progress=show_progress)
    rows = [row for trial in found for row in _rows(trial, figures[trial])]
    return pl.DataFrame(rows, infer_schema_length=None, schema_overrides={"failed": pl.String})


def default_jobs(device: str) -> int:
    """Return the number of trainings at once: one per core, or one per GPU."""
    if device == "cpu":
        return os.cpu_count() or 1
    return max(1, len(visible_gpus())) if device == "cuda" else 1


def _train(
    source: Source, machine: Machine, folder: Path, trial: Trial, checkpoint: Path
) -> Mapping[str, Any]:
    start, objects = source.start(trial.model, trial.seed), source.objects(trial.seed)
    photos = _photos(source, trial.model, trial.strength, trial.seed)
    if trial.recipe is None or trial.objective is None:
        return before(start, objects, photos, machine)
    return finetune(
        start,
        objects,
        photos,
        trial.objective,
        trial.recipe,
        seed=trial.seed,
        machine=machine,
        checkpoint=checkpoint,
        identity=f"{start.fingerprint} {file_of(trial, source, machine, folder).stem}",
    )


def _rows(trial: Trial, figures: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Return a trial's row and, for *objbkg*, a second one for the mean caption."""
    kinds = {trial.name: ""} | ({MEAN_CAPTION: "_mean_caption"} if trial.objective == "objbkg" else {})
    for name, suffix in kinds.items():
        row = {part: figures.get(part + suffix) for part in ("validation", "id", "ood", "follows")}
        row["drop"] = None if row["id"] is None else row["id"] - row["ood"]
        rest = {name: figures.get(name) for name in ("train_loss", "failed")}
        yield trial.row() | {"objective": name} | row | rest


MAIN = 0.8  # the paper's strength
MEASURES = ("id", "ood", "drop", "follows")
NAMES = {
    ZERO_SHOT: "before (zero shot)",
    "obj": "CLIP loss, obj",
    "objbkg": "CLIP loss, objbkg",
    MEAN_CAPTION: "CLIP loss, objbkg, mean caption",
    "siglip": "SigLIP loss, obj",
    "supervised": "supervised",
}
_LOOKS: dict[str, dict[str, Any]] = {
    "obj": {"color": "#0072b2", "marker": "o"},
    "objbkg": {"color": "#56b4e9", "marker": "s"},
    MEAN_CAPTION: {"color": "#cc79a7", "marker": "v"},
    "siglip": {"color": "#009e73", "marker": "^"},
    "supervised": {"color": "#d55e00", "marker": "D"},
}


def choose(trainings: pl.DataFrame) -> pl.DataFrame:
    """Return the trainings of each objective's best setting, by mean in-distribution validation accuracy.

    The choice is per model and strength: settings of which fewer trainings diverged come first, and ties go
    to the first of the grid. Rows without a grid stay.
    """
    keys = ["model", "strength", "objective"]
    means = trainings.group_by(*keys, *RECIPE, maintain_order=True).agg(
        pl.col("validation").mean(), diverged=pl.col("validation").null_count()
    )
    best = means.sort("diverged", -pl.col("validation"), nulls_last=True, maintain_order=True)
    chosen = best.group_by(keys, maintain_order=True).first().drop("validation", "diverged")
    return trainings.join(chosen, on=[*keys, *RECIPE], nulls_equal=True, maintain_order="left")


def summarise(chosen: pl.DataFrame) -> pl.DataFrame:
    """Return mean and 95 % t interval over seeds of each measure (fractions) per setting of the study."""
    keys = ["model", "strength", "objective", *RECIPE]
    rows = []
    for key, group in chosen.group_by(keys, maintain_order=True):
        row = dict(zip(keys, key, strict=True)) | {"seeds": group["id"].count()}
        for name in MEASURES:
            mean, low, high, _ = interval(group[name].drop_nulls().to_numpy())
            if low is not None and high is not None:  # t intervals have no bounds, accuracies and drops do
                low, high = max(low, -1.0 if name == "drop" else 0.0), min(high, 1.0)
            row |= {name: mean, f"{name}_low": low, f"{name}_high": high}
        rows.append(row)
    kinds = {f"{name}{end}": pl.Float64 for name in MEASURES for end in ("", "_low", "_high")}
    return pl.DataFrame(rows, schema_overrides=kinds, infer_schema_length=None)


def compare_objectives(chosen: pl.DataFrame, against: str = "obj") -> pl.DataFrame:
    """Return each objective minus ``against``, out of distribution and in drop, 95 % interval over seeds.

    Objectives of a seed share objects, colours, initial weights and batches, so differences are paired by
    seed. For a sweep, the mean over its strengths is also compared (``strength`` null). ``p_holm`` is
    corrected over the table. A seed with a diverged training is left out of that objective's comparison,
    since a mean over the strengths that are left would be compared with one over all.
    """
    swept = chosen.filter(pl.col("strength").is_not_null(), pl.col("objective") != ZERO_SHOT)
    at = main_strength(swept["strength"].unique().to_list())
    scopes: list[tuple[Strength, pl.DataFrame]] = [(at, swept.filter(strength=at))]
    if swept["strength"].n_unique() > 1:
        scopes.append((None, swept))
    rows = []
    for model in swept["model"].unique(maintain_order=True):
        for strength, scope in scopes:
            whole = pl.col("ood").null_count().over("model", "objective", "seed") == 0
            seeds = scope.filter(whole, model=model).group_by("objective", "seed")
            means = seeds.agg(pl.col("ood", "drop").mean())
            rows += list(_differences(means, against, {"model": model, "strength": strength}))
    kinds = dict.fromkeys(("strength", "difference", "low", "high", "p"), pl.Float64)
    schema = {"model": pl.String, "objective": pl.String, "measure": pl.String} | kinds
    frame = pl.DataFrame(rows, schema=schema | {"seeds": pl.Int64})
    return frame.with_columns(pl.Series("p_holm", holm(frame["p"]), pl.Float64))


def main_strength(strengths: Sequence[float]) -> float:
    """Return the paper's strength or, if it is not among these, the nearest one."""
    return min(strengths, key=lambda strength: (abs(strength - MAIN), strength))


def _differences(means: pl.DataFrame, against: str, scope: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    base = means.filter(objective=against).drop("objective")
    for objective in (name for name in NAMES if name in means["objective"].unique() and name != against):
        paired = means.filter(objective=objective).join(base, on="seed", suffix="_base").sort("seed")
        for measure in ("ood", "drop"):
            gaps = (paired[measure] - paired[f"{measure}_base"]).to_numpy()
            if len(gaps) == 0:
                continue
            mean, low, high, p = interval(gaps)
            found = {"objective": objective, "measure": measure, "difference": mean, "low": low, "high": high}
            rows.append(scope | found | {"p": p, "seeds": len(gaps)})
    return rows


def answer(results: pl.DataFrame) -> str:
    """Return the result at the paper's strength, over all models and objectives, in a sentence."""
    swept = results.filter(pl.col("strength").is_not_null(), pl.col("objective") != ZERO_SHOT)
    at = main_strength(swept["strength"].unique().to_list())
    rows = swept.filter(strength=at)
    return (
        f"Where the colour predicts the class of {100 * at:g} % of the training photos, accuracy is "
        f"{_range(rows['id'])} % on test photos coloured as in training (in distribution) and "
        f"{_range(rows['ood'])} % on the colour of another class (out of distribution)."
    )


def _range(values: pl.Series) -> str:
    ends = [values.min(), values.max()]
    return " to ".join(percent(end) for end in ends)  # type: ignore[arg-type]


def draw_sweep(results: pl.DataFrame, model: str) -> Figure:
    """Draw accuracy in (solid) and out of distribution (dashed) by strength, with the control at the left."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    rows = results.filter(pl.col("objective") != ZERO_SHOT, model=model)
    control = min(rows["strength"].drop_nulls()) - 0.1
    rows = rows.with_columns(pl.col("strength").fill_null(control)).sort("strength")
    for place, (objective, look) in enumerate(_LOOKS.items()):
        mine = rows.filter(objective=objective)
        for measure, style, label in (("id", "-", NAMES[objective]), ("ood", "--", None)):
            mean, low, high = (100 * mine[f"{measure}{end}"].to_numpy() for end in ("", "_low", "_high"))
            axes.errorbar(
                100 * mine["strength"].to_numpy() + 0.6 * (place - 2),
                mean,
                np.abs([low - mean, high - mean]),
                linestyle=style,
                capsize=2,
                label=label if len(mine) else None,
                **look,
            )
    axes.axhline(100 / 9, color="#9aa3ad", linewidth=1, linestyle=":", label="chance")
    ticks = rows["strength"].unique().sort()
    axes.set_xticks(100 * ticks, ["unin-\nformative" if t == control else f"{100 * t:g}" for t in ticks])
    axes.set_ylim(0, 102)
    axes.set_xlabel("training photos on their class's colour (%)")
    axes.set_ylabel("accuracy (%); dashed: out of distribution")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e3e7eb", linewidth=0.8)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


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
