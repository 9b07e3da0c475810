"""One fine-tuning on coloured objects with one of four objectives, and the accuracy that results."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from counterground.paper.study.coco._losses import clip_loss, logit_scale, siglip_loss, similarities
from counterground.paper.study.coco._objects import (
    COLORS,
    Array,
    Objects,
    Painted,
    Strength,
    caption_obj,
    caption_objbkg,
    paint,
    paint_elsewhere,
)
from counterground.paper.study.coco._start import Start, photos_tensor
from counterground.paper.training import Schedule, train

if TYPE_CHECKING:
    import torch

    Scores = Callable[[torch.Tensor], torch.Tensor]


Objective = Literal["obj", "objbkg", "siglip", "supervised"]
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)
_KEPT_BYTES = 400 * 2**20  # preprocessed photos up to this much are kept in memory
_EVALUATED = 128  # photos at once
_HIDDEN = 4  # width of the new head's hidden layer, as a multiple of the embedding's


@dataclass(frozen=True)
class Recipe:
    """How a model is fine-tuned.

    Attributes:
        learning_rate: highest learning rate.
        weight_decay: weight decay on matrices and kernels.
        warmup_steps: steps of linear warm-up; cosine decay to zero follows.
        epochs: passes over the training photos.
        batch_size: photos per step.
    """

    learning_rate: float
    weight_decay: float
    warmup_steps: int
    epochs: int
    batch_size: int

    def steps(self, photos: int) -> int:
        """Return the optimiser steps over ``photos``; an incomplete batch at an epoch's end is left out."""
        return self.epochs * max(1, photos // self.batch_size)


@dataclass(frozen=True)
class Machine:
    """Where training runs: a resolved torch device, and the precision of its matrix products."""

    device: str = "cpu"
    precision: str = "fp32"


class Photos:
    """Painted photos as the model expects them; kept once preprocessed, if they are few.

    Args:
        start: model whose preprocessing applies.
        painted: the photos.
    """

    def __init__(self, start: Start, painted: Painted) -> None:
        self._start, self.painted = start, painted
        side = start.preprocess(_blank()).shape[-1]
        small = len(painted.classes) * 3 * 4 * side**2 <= _KEPT_BYTES
        self._kept = photos_tensor(start, painted.pixels, range(len(painted.classes))) if small else None

    def __len__(self) -> int:
        return len(self.painted.classes)

    def take(self, rows: Array) -> torch.Tensor:
        """Return the photos of ``rows``, ``[n, 3, side, side]``."""
        if self._kept is not None:
            return self._kept[rows]
        return photos_tensor(self._start, self.painted.pixels, rows)


def photos_of(start: Start, objects: Objects, strength: Strength, seed: int) -> dict[str, Photos]:
    """Return the painted sets: ``train``, ``validation``, ``id`` alike; ``ood`` on other biased colours."""
    return {
        "train": Photos(start, paint(objects, "train", strength, seed)),
        "validation": Photos(start, paint(objects, "validation", strength, seed)),
        "id": Photos(start, paint(objects, "test", strength, seed)),
        "ood": Photos(start, paint_elsewhere(objects, "test", seed)),
    }


def before(
    start: Start, objects: Objects, photos: Mapping[str, Photos], machine: Machine
) -> dict[str, float]:
    """Return zero-shot accuracies (fractions) of the model before fine-tuning; see ``finetune``."""
    learner = Learner(start, objects, "obj").to(machine)
    return _measure(learner, objects, photos)


def finetune(
    start: Start,
    objects: Objects,
    photos: Mapping[str, Photos],
    objective: Objective,
    recipe: Recipe,
    *,
    seed: int,
    machine: Machine,
    checkpoint: Path | None = None,
    identity: str = "",
) -> dict[str, float]:
    """Fine-tune a copy of ``start`` and return its accuracies.

    A killed training resumes from ``checkpoint`` and ends in the same figures.

    Returns:
        Fractions: accuracy ``id``, ``ood``, ``validation``; ``follows``, the share of ``ood`` photos that
        are assigned the class whose biased colour they show; ``train_loss``, the mean over the last epoch.

    Raises:
        CounterGroundError: the loss is no longer finite, or the checkpoint is damaged.
    """
    learner = Learner(start, objects, objective, seed).to(machine)
    learner.prepare(photos["train"], seed)
    size, n = recipe.batch_size, len(photos["train"])
    per_epoch = max(1, n // size)
    captions = caption_rows(objective, photos["train"].painted)

    def batch_at(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        epoch, number = divmod(step, per_epoch)
        rows = np.random.default_rng([seed, epoch, 5]).permutation(n)[number * size : (number + 1) * size]
        return photos["train"].take(rows), torch.from_numpy(captions[rows])

    schedule = Schedule(
        steps=recipe.steps(n),
        learning_rate=recipe.learning_rate,
        warmup_steps=recipe.warmup_steps,
        weight_decay=recipe.weight_decay,
    )
    losses = train(
        learner.module,
        batch_at,
        learner.loss,
        schedule,
        seed=seed,
        checkpoint=checkpoint,
        checkpoint_every=max(50, per_epoch),
        identity=f"{identity} {objective} {asdict(recipe)} seed {seed}",
    )
    return _measure(learner, objects, photos) | {"train_loss": float(np.mean(losses[-per_epoch:]))}


class Learner:
    """A copy of a model with the additions of its objective: a head, a bias, the tokens of its captions.

    Args:
        start: the model to copy.
        objects: objects with the names of the classes.
        objective: ``obj``, ``objbkg`` (CLIP's loss), ``siglip`` (SigLIP's, captions *obj*) or ``supervised``.
        seed: seed of the new head.
    """

    def __init__(self, start: Start, objects: Objects, objective: Objective, seed: int = 0) -> None:
        import torch
        from torch import nn

        self.objective, self._machine = objective, Machine()
        model = copy.deepcopy(start.model).requires_grad_(requires_grad=True)
        parts: dict[str, Any] = {"model": model}
        if objective == "supervised":
            model.requires_grad_(requires_grad=False)
            model.visual.requires_grad_(requires_grad=True)
            torch.manual_seed(seed)
            width = _HIDDEN * start.dim
            parts["head"] = nn.Sequential(
                nn.Linear(start.dim, width), nn.ReLU(), nn.Linear(width, len(objects.names))
            )
        self.module = nn.ModuleDict(parts)
        if objective == "siglip":
            self.module.register_parameter("bias", nn.Parameter(torch.zeros(())))
        names = objects.names
        self._prompts = start.tokenize([caption_obj(name) for name in names])
        self._captions = (
            start.tokenize([caption_objbkg(name, color) for name in names for color in COLORS])
            if objective == "objbkg"
            else self._prompts
        )

    def to(self, machine: Machine) -> Learner:
        """Move to ``machine``."""
        self._machine = machine
        self.module.to(machine.device)
        self._prompts, self._captions = (each.to(machine.device) for each in (self._prompts, self._captions))
        return self

    def prepare(self, photos: Photos, seed: int) -> None:
        """Set SigLIP's initial bias so that photos and captions match as often as they do (1 in 9)."""
        import torch

        if self.objective != "siglip":
            return
        rows = np.random.default_rng([seed, 11]).permutation(len(photos))[:_EVALUATED]
        with torch.inference_mode():
            logits = self.scores(photos.take(rows))
        classes = len(self._prompts)
        with torch.no_grad():
            bias: Any = self.module.bias
            bias.copy_(-logits.mean() - float(np.log(classes - 1)))

    def loss(self, module: Any, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Return the objective's loss; ``batch`` holds photos and the rows of their captions."""
        from torch.nn.functional import cross_entropy

        from counterground.models import autocast

        photos, which = (part.to(self._machine.device) for part in batch)
        with autocast(self._machine.device, self._machine.precision):
            if self.objective == "supervised":
                return cross_entropy(self._head(photos), which)
            if self.objective == "siglip":
                return siglip_loss(module["model"], module.bias, photos, self._captions, which)
            return clip_loss(module["model"], photos, self._captions, which)

    def _head(self, photos: torch.Tensor) -> torch.Tensor:
        features = self.module["model"].encode_image(photos)  # type: ignore[operator]
        logits: torch.Tensor = self.module["head"](features).float()
        return logits

    def scores(self, photos: torch.Tensor) -> torch.Tensor:
        """Return scores of the classes, ``[n, 9]``: the head's, or similarities to the captions *obj*."""
        photos = photos.to(self._machine.device)
        if self.objective == "supervised":
            return self._head(photos)
        model: Any = self.module["model"]
        return logit_scale(model) * similarities(model, photos, self._prompts)

    def mean_scores(self, photos: torch.Tensor) -> torch.Tensor:
        """Return similarities to each class's mean caption *objbkg* over all colours, ``[n, 9]``."""
        model: Any = self.module["model"]
        every = similarities(model, photos.to(self._machine.device), self._captions)
        return every.reshape(len(every), -1, len(COLORS)).mean(dim=2)


def caption_rows(objective: Objective, painted: Painted) -> Array:
    """Return which caption each photo has, ``[n]``: its class, or its class and colour."""
    if objective == "objbkg":
        return painted.classes * len(COLORS) + painted.colors
    return painted.classes


def _measure(learner: Learner, objects: Objects, photos: Mapping[str, Photos]) -> dict[str, float]:
    found = _accuracies(learner.scores, learner, objects, photos)
    if learner.objective == "objbkg":
        mean = _accuracies(learner.mean_scores, learner, objects, photos)
        found |= {f"{name}_mean_caption": value for name, value in mean.items()}
    return found


def _accuracies(
    scores: Scores, learner: Learner, objects: Objects, photos: Mapping[str, Photos]
) -> dict[str, float]:
    learner.module.eval()
    answers = {part: _answers(scores, photos[part]) for part in ("validation", "id", "ood")}
    found = {part: float((given == photos[part].painted.classes).mean()) for part, given in answers.items()}
    owner = np.argsort(np.array(objects.biased))[photos["ood"].painted.colors]
    return found | {"follows": float((answers["ood"] == owner).mean())}


def _answers(scores: Scores, photos: Photos) -> Array:
    import torch

    with torch.inference_mode():
        parts = [
            scores(photos.take(np.arange(first, min(first + _EVALUATED, len(photos))))).argmax(1).cpu()
            for first in range(0, len(photos), _EVALUATED)
        ]
    return torch.cat(parts).numpy()


def _blank() -> Any:
    from PIL import Image

    return Image.new("RGB", (8, 8))
