"""The trainings of the study: which there are, how each is run, and what is kept of it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from counterground.errors import CounterGroundError
from counterground.files import write_text
from counterground.study.coco._coco import load_coco_objects
from counterground.study.coco._estimate import estimate
from counterground.study.coco._finetune import (
    OBJECTIVES,
    Machine,
    Objective,
    Photos,
    Recipe,
    before,
    finetune,
    photos_of,
)
from counterground.study.coco._objects import Objects, Strength
from counterground.study.coco._stamps import load_stamps_objects
from counterground.study.coco._start import SMALL, Start, load_start, small_start

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized


ZERO_SHOT = "zero shot"
MEAN_CAPTION = "objbkg, mean caption"  # trained as objbkg, answers with its own captions


@dataclass(frozen=True)
class CocoSettings:
    """What is trained.

    Attributes:
        strengths: fractions of a class's photos on its biased colour.
        control: also train on colours that are independent of the class.
        objectives: of fine-tuning.
        seeds: of each training.
        learning_rates: the grid; the setting with the best in-distribution accuracy is reported.
        weight_decays: the grid.
        warmups: the grid, steps.
        epochs: passes over the training photos.
        batch_size: photos of a step.
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
        packages: folder with the stamps package, where there is no apt.
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


@lru_cache(maxsize=2)
def _objects(source: Source, seed: int) -> Objects:
    if source.coco is not None:
        return load_coco_objects(source.coco, source.size)
    return load_stamps_objects(seed, packages=source.packages)


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
    """One training; without an objective and a recipe the model before it, zero-shot."""

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
        """Return what tells trials apart, as a row of ``trainings.parquet``."""
        recipe = asdict(self.recipe) if self.recipe else dict.fromkeys(asdict(Recipe(0, 0, 0, 0, 0)))
        kept = {name: recipe[name] for name in ("learning_rate", "weight_decay", "warmup_steps")}
        names = {"model": self.model, "strength": self.strength, "objective": self.name}
        return names | {"seed": self.seed} | kept


def trials(settings: CocoSettings, models: Sequence[str]) -> list[Trial]:
    """Return every trial, those that share photos next to each other."""
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
    return found


def estimate_sentence(source: Source, left: Sequence[Trial], machine: Machine, jobs: int) -> str:
    """Measure the first training of each model that is ``left``; say what all of them will cost."""
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
    """Return where a trial's figures are kept; another setting, source or precision has another file."""
    facts = asdict(trial) | {
        "source": [str(source.coco), source.size] if source.coco else "ColoredStamps",
        "precision": machine.precision,
    }
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
    """Run what ``folder`` has no figures of; return a row per trial, accuracies as fractions.

    Raises:
        CounterGroundError: a file of figures or a checkpoint is damaged, or a training failed.
    """
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    files = {trial: file_of(trial, source, machine, folder) for trial in found}
    missing = [trial for trial in found if not files[trial].is_file()]
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not show_progress) as bar:
        task = bar.add_task("Trainings", total=len(found), completed=len(found) - len(missing))
        for _ in _run_all(missing, files, source, machine, jobs):
            bar.advance(task)
    rows = [row for trial in found for row in _read(trial, files[trial])]
    return pl.DataFrame(rows, infer_schema_length=None)


def _run_all(
    missing: Sequence[Trial], files: Mapping[Trial, Path], source: Source, machine: Machine, jobs: int
) -> Iterator[None]:
    if jobs == 1 or len(missing) < 2:
        for trial in missing:
            _run(trial, files[trial], source, machine)
            yield
        return
    context = get_context("spawn")
    gpus = visible_gpus() if machine.device == "cuda" else []
    with ProcessPoolExecutor(jobs, context, begin, (gpus, context.Value("i", 0))) as pool:
        waiting = [pool.submit(_run, trial, files[trial], source, machine) for trial in missing]
        for done in as_completed(waiting):
            done.result()
            yield


def visible_gpus() -> list[str]:
    """Return the names by which CUDA knows the GPUs that this process may use."""
    import torch

    named = [gpu for gpu in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu]
    return named or [str(gpu) for gpu in range(torch.cuda.device_count())]


def begin(gpus: Sequence[str], processes: Synchronized[int]) -> None:
    """Take the next GPU for this process, before PyTorch looks for any; in turns if there are fewer."""
    if gpus:
        with processes.get_lock():
            os.environ["CUDA_VISIBLE_DEVICES"] = gpus[processes.value % len(gpus)]
            processes.value += 1
    one_thread()


def one_thread() -> None:
    """Let PyTorch use one thread in this process."""
    import torch

    torch.set_num_threads(1)


def default_jobs(device: str) -> int:
    """Return one training per core; one per GPU."""
    if device == "cpu":
        return os.cpu_count() or 1
    return max(1, len(visible_gpus())) if device == "cuda" else 1


def _run(trial: Trial, file: Path, source: Source, machine: Machine) -> None:
    """Run one trial and keep its figures; its checkpoint is removed once they stand."""
    start, objects = source.start(trial.model, trial.seed), source.objects(trial.seed)
    photos = _photos(source, trial.model, trial.strength, trial.seed)
    checkpoint = file.with_suffix(".safetensors")
    if trial.recipe is None or trial.objective is None:
        found = before(start, objects, photos, machine)
    else:
        found = finetune(
            start,
            objects,
            photos,
            trial.objective,
            trial.recipe,
            seed=trial.seed,
            machine=machine,
            checkpoint=checkpoint,
            identity=f"{start.fingerprint} {file.stem}",
        )
    write_text(file, json.dumps(found) + "\n")
    checkpoint.unlink(missing_ok=True)


def _read(trial: Trial, file: Path) -> list[dict[str, Any]]:
    """Return a trial's row, and of *objbkg* another one for the mean caption."""
    kinds = {trial.name: ""} | ({MEAN_CAPTION: "_mean_caption"} if trial.objective == "objbkg" else {})
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        rows = []
        for name, suffix in kinds.items():
            figures = {part: float(found[part + suffix]) for part in ("validation", "id", "ood", "follows")}
            rest = {"drop": figures["id"] - figures["ood"], "train_loss": found.get("train_loss")}
            rows.append(trial.row() | {"objective": name} | figures | rest)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CounterGroundError(f"{file} is damaged: delete it and run the study again.") from error
    return rows
