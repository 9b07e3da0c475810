"""Time and memory that fine-tuning will take, measured in a few steps before it begins."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from counterground.paper.study.coco._finetune import Learner, Machine, Objective, Photos, Recipe, caption_rows
from counterground.text import duration

if TYPE_CHECKING:
    from counterground.paper.study.coco._objects import Objects
    from counterground.paper.study.coco._start import Start


_TIMED = 3


@dataclass(frozen=True)
class TrainingCost:
    """Time and memory of one training.

    Attributes:
        seconds: seconds for its steps and its evaluation, on one process.
        memory: bytes at its peak on a GPU; otherwise bytes of weights, gradients and moments.
        checkpoint: bytes of its checkpoint on disk, while it runs.
    """

    seconds: float
    memory: int
    checkpoint: int

    def sentence(self, trainings: int, jobs: int, device: str) -> str:
        """Return in words what ``trainings`` of this kind will cost."""
        where = (
            "of GPU memory" if device.startswith("cuda") else "of memory for each training, without photos"
        )
        return (
            f"{trainings} trainings, about {duration(self.seconds * trainings / jobs)} ({jobs} at a time), "
            f"{_bytes(self.memory)} {where}, {_bytes(self.checkpoint)} of disk for a checkpoint."
        )


def estimate(
    start: Start,
    objects: Objects,
    photos: Mapping[str, Photos],
    objective: Objective,
    recipe: Recipe,
    *,
    machine: Machine,
) -> TrainingCost:
    """Return seconds and bytes that one training takes, measured in a few steps on a copy of the model."""
    import torch

    learner = Learner(start, objects, objective).to(machine)
    captions = caption_rows(objective, photos["train"].painted)
    trained = [p for p in learner.module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.0)
    rows = np.arange(min(recipe.batch_size, len(photos["train"])))
    cuda = machine.device.startswith("cuda")
    learner.module.train()
    for turn in range(_TIMED + 1):
        if turn == 1:  # the first step pays for one-time setup
            started = time.perf_counter()
        batch = photos["train"].take(rows), torch.from_numpy(captions[rows])
        value = learner.loss(learner.module, batch)
        optimizer.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if cuda:
            torch.cuda.synchronize()
    step = (time.perf_counter() - started) / _TIMED
    weights = sum(p.numel() * p.element_size() for p in learner.module.parameters())
    moments = 2 * sum(p.numel() * p.element_size() for p in trained)
    evaluated = sum(len(photos[part]) for part in ("validation", "id", "ood")) / len(rows)
    return TrainingCost(
        seconds=step
        * (recipe.steps(len(photos["train"])) + evaluated / 3),  # a forward pass: a third of a step
        memory=torch.cuda.max_memory_allocated() if cuda else weights + 3 * moments // 2,
        checkpoint=weights + moments,
    )


def _bytes(number: int) -> str:
    return f"{number / 2**30:.1f} GB" if number >= 2**30 else f"{number / 2**20:.0f} MB"
