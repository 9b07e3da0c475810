"""The trainings of the study: the list of them, how each is run, and the figures that are kept."""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import polars as pl

from counterground.paper.study._grid import read_figures, run_grid, visible_gpus
from counterground.paper.study._study import check_setting
from counterground.paper.study.coco._coco import load_coco_objects
from counterground.paper.study.coco._estimate import estimate
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

    Raises:
        UsageError: a value that no training can have.
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

    def __post_init__(self) -> None:
        check_setting("strengths", self.strengths, lambda share: 0 <= share <= 1, "a fraction")
        check_setting(
            "objectives", self.objectives, OBJECTIVES.__contains__, f"one of {', '.join(OBJECTIVES)}"
        )
        check_setting("learning_rates", self.learning_rates, lambda rate: 0 < rate < math.inf, "above 0")
        for name in ("weight_decays", "warmups"):
            check_setting(name, getattr(self, name), lambda number: 0 <= number < math.inf, "from 0")
        for name, least in (("seeds", 1), ("epochs", 1), ("batch_size", 2)):
            value = getattr(self, name)
            check_setting(
                name, [value], range(least, sys.maxsize).__contains__, f"a whole number from {least}"
            )

    @property
    def all_strengths(self) -> tuple[Strength, ...]:
        """The strengths, and None for the control."""
        return (*self.strengths, None) if self.control else self.strengths

    def recipes(self) -> Iterator[Recipe]:
        """Return the grid."""
        for rate in self.learning_rates:
            for decay in self.weight_decays:
                for warmup in self.warmups:
                    yield Recipe(rate, decay, warmup, self.epochs, self.batch_size)


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


def forget_sources() -> None:
    """Read everything again when it is next asked for: files may have changed since the last study."""
    for kept in (_objects, _objects_digest, _fingerprint, _start, _photos):
        kept.cache_clear()


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
        recipe = asdict(self.recipe) if self.recipe else dict.fromkeys(asdict(Recipe(0, 0, 0, 0, 0)))
        kept = {name: recipe[name] for name in ("learning_rate", "weight_decay", "warmup_steps")}
        names = {"model": self.model, "strength": self.strength, "objective": self.name}
        return names | {"seed": self.seed} | kept


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


def estimate_sentence(source: Source, left: Sequence[Trial], machine: Machine, jobs: int) -> str:
    """Return in words what the trainings in ``left`` will cost, measured on the first one of each model."""
    lines = []
    for model in dict.fromkeys(trial.model for trial in left):
        trained = [trial for trial in left if trial.model == model and trial.recipe]
        if not trained:
            continue
        first = trained[0]
        assert first.recipe is not None
        assert first.objective is not None
        photos = _photos(source, model, first.strength, first.seed)
        start, objects = source.start(model, first.seed), source.objects(first.seed)
        cost = estimate(start, objects, photos, first.objective, first.recipe, machine=machine)
        lines.append(f"{model}: {cost.sentence(len(trained), jobs, machine.device)}")
    return "\n".join(lines) or "Every training is done."


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
    failed = run_grid(files, train, jobs=jobs, gpus=gpus, show_progress=show_progress)
    rows = [row for trial in found for row in _read(trial, files[trial], failed.get(trial))]
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


def _read(trial: Trial, file: Path, failed: str | None) -> list[dict[str, Any]]:
    """Return a trial's row and, for *objbkg*, a second one for the mean caption."""
    kinds = {trial.name: ""} | ({MEAN_CAPTION: "_mean_caption"} if trial.objective == "objbkg" else {})
    parts = ("validation", "id", "ood", "follows")
    if failed is not None:
        none = dict.fromkeys((*parts, "drop", "train_loss"))
        return [trial.row() | {"objective": name} | none | {"failed": failed} for name in kinds]
    found = read_figures(file, [part + suffix for suffix in kinds.values() for part in parts])
    rows = []
    for name, suffix in kinds.items():
        figures = {part: found[part + suffix] for part in parts}
        rest = {"drop": figures["id"] - figures["ood"], "train_loss": found.get("train_loss"), "failed": None}
        rows.append(trial.row() | {"objective": name} | figures | rest)
    return rows
