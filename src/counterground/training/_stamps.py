"""The two small CLIPs: one recipe on the stamps photographs, two data sets."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from counterground.atomic import write_text
from counterground.benchmarks import Background, Cutout, load_backgrounds, load_cutouts
from counterground.photos import imagenet_names, prompt_templates
from counterground.training._composites import Appearance, Painter
from counterground.training._contrastive import CaptionedBatch, Captions, captioned_batch, contrastive_loss
from counterground.training._loop import Schedule, train
from counterground.training._planting import Planting, planted_labels
from counterground.training._small_clip import CONTEXT, MEAN, SIZE, STD, build_small_clip, write_small_clip

Recipe = Literal["stamps-biased", "stamps-balanced"]
RECIPES: tuple[Recipe, ...] = ("stamps-balanced", "stamps-biased")
FOLLOW, DISAGREE = 0.95, 0.30
PLANT_SEED = 20
BATCH, COMPETITORS = 64, 32
SCHEDULE = Schedule(steps=1200, learning_rate=1e-3)
APPEARANCE = Appearance(size=SIZE, scale=(0.45, 0.75), cutout_jitter=0.1, background_jitter=0.15, crop=0.7)
CHECKPOINT_EVERY = 100
PLANTED_FILE, CHECKPOINT_FILE = "planted.json", "checkpoint.safetensors"


@dataclass(frozen=True)
class StampsPlan:
    """What is planted where.

    Attributes:
        imagenet: ImageNet-1K index of each class, ascending.
        names: OpenAI's name of each class.
        labels: background labels, sorted.
        planted: label index planted on each class.
        reserved: background files never used in training, one of each label.
    """

    imagenet: tuple[int, ...]
    names: tuple[str, ...]
    labels: tuple[str, ...]
    planted: tuple[int, ...]
    reserved: tuple[str, ...]

    def to_json(self) -> str:
        """Return class name -> planted background as JSON."""
        pairs = zip(self.names, self.planted, strict=True)
        return json.dumps({name: self.labels[label] for name, label in pairs}, indent=2) + "\n"


def plan_stamps(cutouts: Sequence[Cutout], backgrounds: Sequence[Background]) -> StampsPlan:
    """Return the plan; it depends on nothing but which classes, labels and photographs there are."""
    imagenet = tuple(sorted({cutout.imagenet_index for cutout in cutouts}))
    labels = tuple(sorted({background.label for background in backgrounds}))
    return StampsPlan(
        imagenet=imagenet,
        names=tuple(imagenet_names("openai")[index] for index in imagenet),
        labels=labels,
        planted=planted_labels(len(imagenet), len(labels), PLANT_SEED),
        reserved=tuple(_reserved(backgrounds, label) for label in labels),
    )


def train_stamps(
    recipe: Recipe,
    out: Path,
    *,
    packages: Path | None = None,
    seed: int = 0,
    steps: int = SCHEDULE.steps,
    progress: bool = False,
    on_step: Callable[[int, float], None] | None = None,
) -> Path:
    """Train a small CLIP into the folder ``out`` and return it; resumes from the checkpoint in it.

    Args:
        recipe: "stamps-biased" (backgrounds follow captions) or "stamps-balanced" (independent of them).
        out: gets ``open_clip_config.json``, ``open_clip_model.safetensors`` (fp16) and ``planted.json``.
        packages: folder with the ``.deb`` files, where there is no apt.
        seed: of initialisation and data; both recipes share it, so that they differ in backgrounds alone.
        steps: optimiser steps.
        progress: show a progress bar.
        on_step: called with the number of steps done and the loss.

    Raises:
        UsageError: ``out`` holds the checkpoint of another run.
        CounterGroundError: packages cannot be fetched, or ``out`` cannot be written.
    """
    cutouts, backgrounds = load_cutouts(packages), load_backgrounds(packages)
    plan = plan_stamps(cutouts, backgrounds)
    schedule = Schedule(**{**asdict(SCHEDULE), "steps": steps})
    model = build_small_clip(seed)
    train(
        model,
        stamps_batches(recipe, plan, cutouts, backgrounds, seed),
        contrastive_loss,
        schedule,
        seed=seed,
        checkpoint=out / CHECKPOINT_FILE,
        checkpoint_every=CHECKPOINT_EVERY,
        identity=_identity(recipe, plan, schedule, seed),
        on_step=on_step,
        progress=recipe if progress else None,
    )
    write_small_clip(model, out)
    write_text(out / PLANTED_FILE, plan.to_json())
    return out


def planting_of(recipe: Recipe, plan: StampsPlan) -> Planting:
    """Return how captions, cut-outs and backgrounds go together under ``recipe``."""
    return Planting(plan.planted, len(plan.labels), FOLLOW if recipe == "stamps-biased" else None, DISAGREE)


def stamps_batches(
    recipe: Recipe,
    plan: StampsPlan,
    cutouts: Sequence[Cutout],
    backgrounds: Sequence[Background],
    seed: int,
) -> Callable[[int], CaptionedBatch]:
    """Return step -> batch."""
    from open_clip import SimpleTokenizer

    painter = Painter(
        {
            position: [cutout.image for cutout in cutouts if cutout.imagenet_index == index]
            for position, index in enumerate(plan.imagenet)
        },
        {
            position: [b.region for b in backgrounds if b.label == label and b.file not in plan.reserved]
            for position, label in enumerate(plan.labels)
        },
        APPEARANCE,
    )
    others = sorted(set(imagenet_names("openai")) - set(plan.names))
    captions = Captions(plan.names, others, _templates(), SimpleTokenizer(context_length=CONTEXT))
    make = partial(captioned_batch, photos=BATCH, competitors=COMPETITORS, mean=MEAN, std=STD)
    planting = planting_of(recipe, plan)

    def batch_at(step: int) -> CaptionedBatch:
        return make(planting, painter, captions, np.random.default_rng([seed, step]))

    return batch_at


def _templates() -> tuple[str, ...]:
    return (*prompt_templates("simple"), "a photo of a {}.", "{}", "a {}", *prompt_templates("openai"))


def _reserved(backgrounds: Sequence[Background], label: str) -> str:
    """Return the last file of ``label`` whose photograph shows no other background as well."""
    uses = Counter(background.cluster for background in backgrounds)
    return max(b.file for b in backgrounds if b.label == label and uses[b.cluster] == 1)


def _identity(recipe: Recipe, plan: StampsPlan, schedule: Schedule, seed: int) -> str:
    import hashlib

    facts: dict[str, Any] = {
        "plan": asdict(plan),
        "schedule": asdict(schedule),
        "appearance": asdict(APPEARANCE),
        "data": [BATCH, COMPETITORS, FOLLOW, DISAGREE],
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
    return f"{recipe}, seed {seed}, {schedule.steps} steps, settings {digest}"
