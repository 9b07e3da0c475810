"""The study of coloured objects: its trainings, what is chosen of them, and its page beside Table 7."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from counterground.http import offline
from counterground.metrics import holm
from counterground.models import check_precision, check_specs, resolve_device
from counterground.paper.loop import run_grid
from counterground.paper.settings import SMALL, TABLE_7_MODELS, CocoSettings, Objective
from counterground.paper.study import Study, check_out, digest_of, over_seeds, write_study
from counterground.paper.study._finetune import (
    Learner,
    Machine,
    Photos,
    Recipe,
    Start,
    accuracies,
    finetune,
    load_start,
    photos_of,
    small_start,
)
from counterground.paper.study._objects import (
    PARTS,
    Objects,
    Strength,
    check_coco,
    load_coco_objects,
    load_stamps_objects,
)
from counterground.paper.style import BLUE, ORANGE, PAGE, QUIET, new_figure
from counterground.published import load_table
from counterground.text import percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ZERO_SHOT = "zero shot"
MEAN_CAPTION = "objbkg, mean caption"  # trained as objbkg, answers with its own captions
RECIPE = ("learning_rate", "weight_decay", "warmup_steps")
MAIN = 0.8  # the paper's strength
MEASURES = ("id", "ood", "drop", "follows")
_LOOKS = {
    "obj": (BLUE, "o"),
    "objbkg": ("#56B4E9", "s"),
    MEAN_CAPTION: ("#CC79A7", "v"),
    "supervised": (ORANGE, "D"),
}


@dataclass(frozen=True)
class Source:
    """Where objects and models come from.

    Attributes:
        coco: folder of COCO 2017; None for ColoredStamps.
        size: side of COCO's photos in pixels.
        packages: folder with the stamps package, if there is no apt.
        small: folder that keeps the small CLIPs.
    """

    coco: Path | None
    size: int
    packages: Path | None
    small: Path

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
        facts: dict[str, Any] = {
            "source": [_objects_digest(self), self.size] if self.coco else "ColoredStamps"
        }
        return facts if model == SMALL else facts | {"weights": self.start(model, 0).fingerprint}


@lru_cache(maxsize=2)
def _objects(source: Source, seed: int) -> Objects:
    if source.coco is not None:
        return load_coco_objects(source.coco, source.size)
    return load_stamps_objects(seed, packages=source.packages)


@lru_cache
def _objects_digest(source: Source) -> str:
    objects = source.objects(0)
    return digest_of(*(of[part] for part in PARTS for of in (objects.pixels, objects.classes)))


@lru_cache(maxsize=2)
def _start(source: Source, model: str, seed: int) -> Start:
    return small_start(source.objects(seed), seed, source.small) if model == SMALL else load_start(model)


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


def trials(settings: CocoSettings) -> list[Trial]:
    """Return every trial once, with those that share photos next to each other."""
    grid = product(settings.learning_rates, settings.weight_decays, settings.warmups)
    recipes = [Recipe(*setting, settings.epochs, settings.batch_size) for setting in grid]
    wanted = []
    for model, seed, strength in product(settings.models, range(settings.seeds), settings.all_strengths):
        wanted.append(Trial(model, strength, seed))
        hows = product(settings.objectives, recipes)
        wanted += [Trial(model, strength, seed, *how) for how in hows]
    return list(dict.fromkeys(wanted))  # a trial that is requested twice is run and counted once


def file_of(trial: Trial, source: Source, machine: Machine, folder: Path) -> Path:
    """Return the file of a trial's figures: other settings, photos, weights or machines have another one.

    Raises:
        UsageError, CounterGroundError: the model cannot be loaded, or COCO not read.
    """
    facts = asdict(trial) | source.identity(trial.model) | {"precision": machine.precision}
    facts["device"] = machine.device.partition(":")[0]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
    strength = "balanced" if trial.strength is None else f"{100 * trial.strength:g}"
    return folder / f"{trial.name.replace(' ', '-')}-{strength}-seed-{trial.seed}-{digest}.json"


def run_trials(settings: CocoSettings, source: Source, machine: Machine, folder: Path) -> pl.DataFrame:
    """Run the trials without figures in ``folder``; return a row per trial, accuracies as fractions.

    ``failed`` says why a training diverged; its accuracies are null.

    Raises:
        CounterGroundError: a training failed.
    """
    files = {trial: file_of(trial, source, machine, folder) for trial in trials(settings)}
    trained = run_grid(
        files,
        partial(_train, source, machine),
        jobs=settings.jobs or (None if machine.device == "cpu" else 1),
        show_progress=settings.show_progress,
    )
    rows = [row for trial, figures in trained.items() for row in _rows(trial, figures)]
    return pl.DataFrame(rows, infer_schema_length=None, schema_overrides={"failed": pl.String})


def _train(source: Source, machine: Machine, trial: Trial, checkpoint: Path) -> Mapping[str, Any]:
    start, objects = source.start(trial.model, trial.seed), source.objects(trial.seed)
    photos = _photos(source, trial.model, trial.strength, trial.seed)
    if trial.recipe is None or trial.objective is None:
        return accuracies(Learner(start, objects, "obj", machine), objects, photos)
    how = {"seed": trial.seed, "machine": machine, "checkpoint": checkpoint}
    return finetune(start, objects, photos, trial.objective, trial.recipe, **how)  # type: ignore[arg-type]


def _rows(trial: Trial, figures: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Return a trial's row and, for *objbkg*, a second one for the mean caption."""
    kinds = {trial.name: ""} | ({MEAN_CAPTION: "_mean_caption"} if trial.objective == "objbkg" else {})
    for name, suffix in kinds.items():
        row = {part: figures.get(part + suffix) for part in ("validation", "id", "ood", "follows")}
        row["drop"] = None if row["id"] is None else row["id"] - row["ood"]
        keys = {"model": trial.model, "strength": trial.strength, "objective": name, "seed": trial.seed}
        recipe = {each: getattr(trial.recipe, each, None) for each in RECIPE}
        yield keys | recipe | row | {each: figures.get(each) for each in ("train_loss", "failed")}


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
            mean, low, high, _ = over_seeds(group[name].drop_nulls().to_list()).values()
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
    swept, at = _at_main(chosen)
    scopes: list[tuple[Strength, pl.DataFrame]] = [(at, swept.filter(strength=at))]
    if swept["strength"].n_unique() > 1:
        scopes.append((None, swept))
    rows = []
    for model, (strength, scope) in product(swept["model"].unique(maintain_order=True), scopes):
        whole = pl.col("ood").null_count().over("model", "objective", "seed") == 0
        seeds = scope.filter(whole, model=model).group_by("objective", "seed")
        means = seeds.agg(pl.col("ood", "drop").mean()).sort("seed")
        base = means.filter(objective=against).drop("objective")
        for objective, measure in product(_LOOKS, ("ood", "drop")):
            paired = means.filter(objective=objective).join(base, on="seed", suffix="_base")
            if objective != against and len(paired):
                gaps = (paired[measure] - paired[f"{measure}_base"]).to_list()
                keys = {"model": model, "strength": strength, "objective": objective, "measure": measure}
                rows.append(keys | over_seeds(gaps) | {"seeds": len(gaps)})
    texts = dict.fromkeys(("model", "objective", "measure"), pl.String)
    numbers = dict.fromkeys(("strength", "value", "low", "high", "p"), pl.Float64)
    frame = pl.DataFrame(rows, schema=texts | numbers | {"seeds": pl.Int64}).rename({"value": "difference"})
    return frame.with_columns(pl.Series("p_holm", holm(frame["p"]), pl.Float64))


def _at_main(rows: pl.DataFrame) -> tuple[pl.DataFrame, float]:
    """Return the fine-tuned rows with a strength, and the paper's strength or the one nearest to it."""
    swept = rows.filter(pl.col("strength").is_not_null(), pl.col("objective") != ZERO_SHOT)
    return swept, min(swept["strength"].unique().sort(), key=lambda strength: abs(strength - MAIN))


def answer(results: pl.DataFrame) -> str:
    """Return the result at the paper's strength, over all models and objectives, in a sentence."""
    swept, at = _at_main(results)
    ends = swept.filter(strength=at).select(
        pl.col("id", "ood").min().name.suffix("_min"), pl.col("id", "ood").max().name.suffix("_max")
    )
    inside, outside = (
        " to ".join(percent(ends[f"{name}_{end}"][0]) for end in ("min", "max")) for name in ("id", "ood")
    )
    return (
        f"Where the colour predicts the class of {100 * at:g} % of the training photos, accuracy is "
        f"{inside} % on test photos coloured as in training (in distribution) and {outside} % on the colour "
        "of another class (out of distribution)."
    )


def draw_sweep(results: pl.DataFrame, model: str) -> Figure:
    """Draw accuracy in (solid) and out of distribution (dashed) by strength, with the control at the left."""
    figure = new_figure(PAGE, 0.55 * PAGE)
    axes = figure.subplots()
    rows = results.filter(pl.col("objective") != ZERO_SHOT, model=model)
    control = min(rows["strength"].drop_nulls()) - 0.1
    rows = rows.with_columns(pl.col("strength").fill_null(control)).sort("strength")
    for place, (objective, (color, marker)) in enumerate(_LOOKS.items()):
        part = rows.filter(objective=objective)
        for measure, style in (("id", "-"), ("ood", "--")):
            mean, low, high = (100 * part[f"{measure}{end}"].to_numpy() for end in ("", "_low", "_high"))
            axes.errorbar(
                100 * part["strength"].to_numpy() + 0.6 * (place - 2),
                mean,
                np.abs([low - mean, high - mean]),
                linestyle=style,
                color=color,
                marker=marker,
                capsize=2,
                label=objective if len(part) and measure == "id" else None,
            )
    axes.axhline(100 / 9, color=QUIET, linestyle=":", label="chance")
    ticks = rows["strength"].unique().sort()
    axes.set_xticks(100 * ticks, ["unin-\nformative" if t == control else f"{100 * t:g}" for t in ticks])
    axes.set_ylim(0, 102)
    axes.set_xlabel("training photos on their class's colour (%)")
    axes.set_ylabel("accuracy (%); dashed: out of distribution")
    axes.grid(axis="y")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def study_coloredcoco(out: Path | str, settings: CocoSettings | None = None) -> Path:
    """Fine-tune models on coloured objects and put the results beside Table 7; return the page's path.

    Each training leaves a file in ``out/trainings``, and a checkpoint while it runs; a killed study resumes
    from there and ends in the same figures (same device, versions, precision).

    Args:
        out: folder of results, figures and page.
        settings: what is trained.

    Raises:
        MissingExtraError: matplotlib is not installed.
        UsageError: unknown model or device, or no COCO there.
        CounterGroundError: data or weights are damaged or missing, or the folder holds another study; or
            everything was written, but trainings diverged and are missing from it.
    """
    out, settings = check_out(out, "coloredcoco"), settings or CocoSettings()
    check_specs([name for name in settings.models if name != SMALL])
    if settings.coco:
        check_coco(settings.coco)
    device = resolve_device(settings.device)
    machine = Machine(device, check_precision(settings.precision or ("bf16" if "cuda" in device else "fp32")))
    source = Source(settings.coco, settings.size, settings.packages, out / "small")
    with offline(forbid=settings.offline):
        trainings = run_trials(settings, source, machine, out / "trainings")
        used = {"identities": [source.identity(name) for name in settings.models], **asdict(machine)}
        return write_study(make_study(trainings, source, settings, used), out, trainings)


def make_study(
    trainings: pl.DataFrame, source: Source, settings: CocoSettings, used: Mapping[str, Any]
) -> Study:
    """Return what the study found, from a row per training; ``used`` is recorded with the settings."""
    chosen, objects = choose(trainings), source.objects(0)
    results, comparisons = summarise(chosen), compare_objectives(chosen)
    if source.coco:
        results = results.join(
            _table_7(), on=["model", "objective", "strength"], how="left", maintain_order="left"
        )
    sweeps = {f"sweep{place or ''}": model for place, model in enumerate(settings.models)}
    return Study(
        "coloredcoco",
        "Do captions or objectives keep a model from relying on colour?",
        answer(results),
        "Objects of nine classes stand on plain colours; in training, a share (strength) of the photos of "
        "a class have a colour of its own, the rest one of ten others. In distribution (id), test photos "
        "are coloured alike; out of distribution (ood), each object is on the colour of another class, and "
        "“follows” is how often the model names that class. obj: “a photo of <object>”; objbkg: “a photo of "
        "<object> in <color> background”; supervised: the image tower with a new head of two layers. The "
        f"others answer with the nine captions obj, “{MEAN_CAPTION}” with the mean of each class's captions "
        "over all colours. Of several rates, decays and warm-ups, the one with the best in-distribution "
        f"accuracy on validation photos is reported. {objects.source}.",
        {"trainings": trainings, "results": results, "comparisons": comparisons},
        {name: partial(draw_sweep, results, model) for name, model in sweeps.items()},
        {
            name: f"{model}. Bars: 95 % intervals over seeds. Far left: colours independent of the class."
            for name, model in sweeps.items()
        }
        | {
            "results": "Fractions, mean and 95 % interval over seeds; no strength: uninformative colours; "
            "printed: Table 7, if model and photos are the paper's",
            "comparisons": "Difference from obj, fractions, 95 % interval over seeds; no strength: mean of "
            "the sweep; p_holm is corrected over this table",
        },
        settings.given() | {"source": objects.source, **used},
    )


def _table_7() -> pl.DataFrame:
    """Return the printed values (fractions), by the model and objective of ours."""
    models = {"RN50": TABLE_7_MODELS[0], "ViT16": TABLE_7_MODELS[1]}
    printed = {"id": "in_distribution", "ood": "out_of_distribution", "drop": "drop"}
    return load_table("coloredcoco_results").select(
        pl.col("backbone").replace_strict(models).alias("model"),
        pl.col("approach").alias("objective"),
        *(pl.col(column).alias(f"printed_{name}") / 100 for name, column in printed.items()),
        strength=MAIN,
    )
