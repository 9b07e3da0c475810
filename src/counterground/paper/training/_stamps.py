"""The two small CLIPs: one recipe on the stamps photographs, two data sets."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from counterground.benchmarks import Background, Cutout, load_backgrounds, load_cutouts
from counterground.files import write_bytes, write_text
from counterground.paper.training._examples import (
    Appearance,
    CaptionedBatch,
    Captions,
    Painter,
    Planting,
    captioned_batch,
    contrastive_loss,
    planted_labels,
)
from counterground.paper.training._loop import Schedule, train
from counterground.photos import imagenet_names, prompt_templates

SIZE = 64
MEAN = STD = 0.5
CONTEXT = 24
MODEL_CFG: dict[str, Any] = {
    "embed_dim": 64,
    "vision_cfg": {
        "image_size": SIZE,
        "layers": [1, 1, 1, 1],
        "width": 16,
        "head_width": 64,
        "patch_size": None,
    },
    "text_cfg": {"context_length": CONTEXT, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
PREPROCESS_CFG: dict[str, Any] = {
    "size": SIZE,
    "mode": "RGB",
    "mean": [MEAN] * 3,
    "std": [STD] * 3,
    "interpolation": "bicubic",
    "resize_mode": "shortest",
    "fill_color": 0,
}
CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"


def build_small_clip(seed: int) -> Any:
    """Return an untrained small CLIP (2.9 million parameters), initialised from ``seed``."""
    import torch
    from open_clip.model import CLIP

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIP(**MODEL_CFG)
    model.visual.to(memory_format=torch.channels_last)
    return model


def write_small_clip(model: Any, folder: Path) -> None:
    """Write ``open_clip_config.json`` and fp16 weights to ``folder``; ``open_clip:FOLDER`` loads them."""
    import torch
    from safetensors.torch import save

    tensors = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous(
            memory_format=torch.contiguous_format
        )
        for name, tensor in model.state_dict().items()
    }
    config = {"model_cfg": MODEL_CFG, "preprocess_cfg": PREPROCESS_CFG}
    write_text(folder / CONFIG_FILE, json.dumps(config, indent=2) + "\n")
    write_bytes(folder / WEIGHTS_FILE, save(tensors, metadata={"format": "pt"}))


Recipe = Literal["stamps-biased", "stamps-balanced"]
RECIPES: tuple[Recipe, ...] = ("stamps-balanced", "stamps-biased")
DOSE = 95.0  # percent
DISAGREE = 0.30
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
    """Return the plan; it depends only on which classes, labels and photographs there are."""
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
    dose: float = DOSE,
    seed: int = 0,
    steps: int = SCHEDULE.steps,
    progress: bool = False,
    on_step: Callable[[int, float], None] | None = None,
) -> Path:
    """Train a small CLIP into the folder ``out`` and return the folder; resume from a checkpoint in it.

    Args:
        recipe: "stamps-biased" (backgrounds follow captions) or "stamps-balanced" (independent of them).
        out: folder for ``open_clip_config.json``, ``open_clip_model.safetensors`` (fp16), ``planted.json``.
        packages: folder with the ``.deb`` files, if there is no apt.
        dose: percent of "stamps-biased"'s examples on the background planted on their caption's class.
        seed: seed of initialisation and data; both recipes share it, so they differ only in backgrounds.
        steps: optimiser steps.
        progress: whether to show a progress bar.
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
        stamps_batches(recipe, plan, cutouts, backgrounds, seed=seed, dose=dose),
        contrastive_loss,
        schedule,
        seed=seed,
        checkpoint=out / CHECKPOINT_FILE,
        checkpoint_every=CHECKPOINT_EVERY,
        identity=_identity(recipe, plan, schedule, seed, dose),
        on_step=on_step,
        progress=recipe if progress else None,
    )
    write_small_clip(model, out)
    write_text(out / PLANTED_FILE, plan.to_json())
    return out


def planting_of(recipe: Recipe, plan: StampsPlan, dose: float = DOSE) -> Planting:
    """Return how captions, cut-outs and backgrounds go together under ``recipe``; ``dose`` in percent."""
    follow = dose / 100 if recipe == "stamps-biased" else None
    return Planting(plan.planted, len(plan.labels), follow, DISAGREE)


def stamps_batches(
    recipe: Recipe,
    plan: StampsPlan,
    cutouts: Sequence[Cutout],
    backgrounds: Sequence[Background],
    *,
    seed: int,
    dose: float = DOSE,
) -> Callable[[int], CaptionedBatch]:
    """Return the function step -> batch."""
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
    planting = planting_of(recipe, plan, dose)

    def batch_at(step: int) -> CaptionedBatch:
        return make(planting, painter, captions, np.random.default_rng([seed, step]))

    return batch_at


def _templates() -> tuple[str, ...]:
    return (*prompt_templates("simple"), "a photo of a {}.", "{}", "a {}", *prompt_templates("openai"))


def _reserved(backgrounds: Sequence[Background], label: str) -> str:
    """Return the last file of ``label`` whose photograph does not also show another background."""
    uses = Counter(background.cluster for background in backgrounds)
    return max(b.file for b in backgrounds if b.label == label and uses[b.cluster] == 1)


def _identity(recipe: Recipe, plan: StampsPlan, schedule: Schedule, seed: int, dose: float) -> str:
    facts: dict[str, Any] = {
        "plan": asdict(plan),
        "schedule": asdict(schedule),
        "appearance": asdict(APPEARANCE),
        "data": [BATCH, COMPETITORS, dose / 100, DISAGREE],
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
    return f"{recipe}, seed {seed}, {schedule.steps} steps, settings {digest}"
