"""The trainings of the study: the list of them, how each is run, and the figures that are kept."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import polars as pl

from counterground.paper.study._grid import run_grid, visible_gpus
from counterground.paper.study.coco._coco import load_coco_objects
from counterground.paper.study.coco._finetune import (
    OBJECTIVES,
    Machine,
    Objective,
    Photos,
    Recipe,
    before,
    finetune,
    photos_of,
)
from counterground.paper.study.coco._objects import PARTS, Objects, Strength
from counterground.paper.study.coco._stamps import load_stamps_objects
from counterground.paper.study.coco._start import SMALL, Start, load_start, small_start

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
