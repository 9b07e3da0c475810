"""The recipes of the small CLIPs: ``python -m counterground.paper.training RECIPE --out DIR``.

A correlation of captions and backgrounds is planted, painted as composites, captioned and learned.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import click
import numpy as np
from PIL import Image, ImageEnhance

from counterground.benchmarks import Background, Cutout, composite, load_backgrounds, load_cutouts
from counterground.errors import CounterGroundError, UsageError
from counterground.files import write_bytes, write_text
from counterground.paper.loop import Schedule, train
from counterground.photos import imagenet_names, prompt_templates

if TYPE_CHECKING:
    import torch

Recipe = Literal["stamps-biased", "stamps-balanced"]
RECIPES: tuple[Recipe, ...] = ("stamps-balanced", "stamps-biased")
LARGEST_LOGIT_SCALE = 100.0  # as CLIP (Radford et al., 2021, section 2.5)
DOSE = 95.0  # percent
DISAGREE = 0.30
PLANT_SEED = 20
BATCH, COMPETITORS = 64, 32
SCHEDULE = Schedule(steps=1200, learning_rate=1e-3)
CHECKPOINT_EVERY = 100
SIZE, CONTEXT = 64, 24
_CUTOUT_SIDE = 128  # twice the photos' side: enough for any scale, quick to resize
_REGION_SIDE = 112
_SCALE = (0.45, 0.75)  # longer side of the cut-out, as a share of the photo's
_CUTOUT_JITTER, _BACKGROUND_JITTER = 0.1, 0.15  # largest change of brightness, contrast, saturation
_CROP = 0.7  # smallest side of the square taken from a region, as a share of its shorter side
_FIRST_SHARE = 0.3  # of the captions that use the first template; the others draw from all
_VISION = {"image_size": SIZE, "layers": [1] * 4, "width": 16, "head_width": 64, "patch_size": None}
MODEL_CFG: dict[str, Any] = {
    "embed_dim": 64,
    "vision_cfg": _VISION,
    "text_cfg": {"context_length": CONTEXT, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
PREPROCESS_CFG: dict[str, Any] = {
    "size": SIZE,
    "mode": "RGB",
    "mean": [0.5] * 3,
    "std": [0.5] * 3,
    "interpolation": "bicubic",
    "resize_mode": "shortest",
    "fill_color": 0,
}


class Draw(NamedTuple):
    """One training example before it is painted; class indices and a label index."""

    caption: int
    cutout: int
    background: int


def _other_than(value: int, count: int, rng: np.random.Generator) -> int:
    return int((value + 1 + rng.integers(count - 1)) % count)


def random_place(
    cutout: Image.Image, scales: tuple[float, float], rng: np.random.Generator
) -> tuple[float, tuple[float, float]]:
    """Return a scale and a centre for `composite`, uniform over the places where the cut-out fits."""
    scale = float(rng.uniform(*scales))
    width, height = (scale * side / max(cutout.size) for side in cutout.size)
    x, y = rng.random(2)
    return scale, (width / 2 + x * (1 - width), height / 2 + y * (1 - height))


def _paint(
    cutouts: Sequence[Image.Image], regions: Sequence[Image.Image], rng: np.random.Generator
) -> np.ndarray:
    """Return the photo of one of the cut-outs on one of the regions, ``[SIZE, SIZE, 3]`` uint8."""
    region = regions[int(rng.integers(len(regions)))]
    side = int(min(region.size) * rng.uniform(_CROP, 1.0))
    left, top = (int(rng.integers(length - side + 1)) for length in region.size)
    square = region.crop((left, top, left + side, top + side))
    if rng.random() < 0.5:
        square = square.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    background = _jittered(square, _BACKGROUND_JITTER, rng)
    chosen = cutouts[int(rng.integers(len(cutouts)))]
    gains = rng.uniform(1 - _CUTOUT_JITTER, 1 + _CUTOUT_JITTER, size=3)
    colours = np.asarray(chosen.convert("RGB"), dtype=np.float32) * gains.astype(np.float32)
    cutout = Image.fromarray(np.clip(colours, 0, 255).astype(np.uint8))
    cutout = _jittered(cutout, _CUTOUT_JITTER, rng)
    cutout.putalpha(chosen.getchannel("A"))
    scale, center = random_place(cutout, _SCALE, rng)
    flip = bool(rng.random() < 0.5)
    photo, _ = composite(cutout, background, size=SIZE, scale=scale, center=center, flip=flip)
    return np.asarray(photo)


def _jittered(image: Image.Image, amount: float, rng: np.random.Generator) -> Image.Image:
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhance(image).enhance(rng.uniform(1 - amount, 1 + amount))
    return image


def _shrunk(image: Image.Image, side: int, measured: int) -> Image.Image:
    ratio = side / measured
    if ratio >= 1:
        return image
    width, height = (max(1, round(length * ratio)) for length in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


class CaptionedBatch(NamedTuple):
    """Photos and captions of one step.

    Attributes:
        photos: ``[n, 3, size, size]`` float32, normalised.
        classes: ``[n]`` class each caption names.
        tokens: ``[n + k, context]``: a caption for each photo, then k captions that fit none.
    """

    photos: torch.Tensor
    classes: torch.Tensor
    tokens: torch.Tensor


def contrastive_loss(model: Any, batch: CaptionedBatch) -> torch.Tensor:
    """Return CLIP's symmetric loss in which all captions of a class are positives.

    With 45 classes a batch holds many such captions, and treating them as negatives would teach the model
    to separate photos of one class (as in UniCL, Yang et al., 2022).
    """
    from torch.nn.functional import log_softmax, normalize

    photos = normalize(model.encode_image(batch.photos), dim=-1)
    texts = normalize(model.encode_text(batch.tokens), dim=-1)
    logits = model.logit_scale.exp().clamp(max=LARGEST_LOGIT_SCALE) * photos @ texts.T
    count = len(batch.classes)
    same = (batch.classes[:, None] == batch.classes[None]).float()
    share = same / same.sum(dim=1, keepdim=True)
    to_texts = -(share * log_softmax(logits, dim=1)[:, :count]).sum(dim=1).mean()
    to_photos = -(share * log_softmax(logits[:, :count].T, dim=1)).sum(dim=1).mean()
    loss: torch.Tensor = (to_texts + to_photos) / 2
    return loss


@dataclass(frozen=True)
class StampsPlan:
    """What is planted where.

    Attributes:
        imagenet: ImageNet-1K index of each class, ascending.
        names: OpenAI's name of each class.
        labels: background labels, sorted.
        planted: label index planted on each class.
        reserved: background files never used in training, half of each label's.
    """

    imagenet: tuple[int, ...]
    names: tuple[str, ...]
    labels: tuple[str, ...]
    planted: tuple[int, ...]
    reserved: tuple[str, ...]

    def draw(self, follow: float | None, rng: np.random.Generator) -> Draw:
        """Draw one example; captions are uniform over the classes, `DISAGREE` of them name another animal.

        Like the label noise of MultiColoredMNIST (paper, section 6), these make the background the more
        reliable feature.

        Args:
            follow: fraction of examples whose background is the one planted on the *caption's* class; the
                rest have one of the other labels. None draws the background independently of everything.
            rng: source of everything random.
        """
        classes, labels = len(self.planted), len(self.labels)
        caption = cutout = int(rng.integers(classes))
        if rng.random() < DISAGREE:
            cutout = _other_than(caption, classes, rng)
        if follow is None:
            return Draw(caption, cutout, int(rng.integers(labels)))
        background = self.planted[caption]
        if rng.random() >= follow:
            background = _other_than(background, labels, rng)
        return Draw(caption, cutout, background)

    def to_json(self) -> str:
        """Return class name -> planted background as JSON."""
        pairs = zip(self.names, self.planted, strict=True)
        return json.dumps({name: self.labels[label] for name, label in pairs}, indent=2) + "\n"


def plan_stamps(cutouts: Sequence[Cutout], backgrounds: Sequence[Background]) -> StampsPlan:
    """Return the plan; it depends only on which classes, labels and photographs there are."""
    imagenet = tuple(sorted({cutout.imagenet_index for cutout in cutouts}))
    labels = tuple(sorted({background.label for background in backgrounds}))
    names = tuple(imagenet_names("openai")[index] for index in imagenet)
    # Labels are as evenly frequent as can be.
    planted = np.random.default_rng(PLANT_SEED).permutation(np.arange(len(imagenet)) % len(labels))
    reserved = tuple(background.file for background in backgrounds if background.reserved)
    return StampsPlan(imagenet, names, labels, tuple(planted.tolist()), reserved)


def train_stamps(
    recipe: Recipe,
    out: Path,
    *,
    packages: Path | None = None,
    dose: float = DOSE,
    seed: int = 0,
    steps: int = SCHEDULE.steps,
    progress: bool = False,
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

    Raises:
        UsageError: ``out`` holds the checkpoint of another run.
        CounterGroundError: packages cannot be fetched, or ``out`` cannot be written.
    """
    import torch
    from open_clip.model import CLIP
    from safetensors.torch import save

    cutouts, backgrounds = load_cutouts(packages), load_backgrounds(packages)
    plan = plan_stamps(cutouts, backgrounds)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Any = CLIP(**MODEL_CFG)
    model.visual.to(memory_format=torch.channels_last)
    train(
        model,
        stamps_batches(recipe, plan, cutouts, backgrounds, seed=seed, dose=dose),
        contrastive_loss,
        replace(SCHEDULE, steps=steps),
        seed=seed,
        checkpoint=out / "checkpoint.safetensors",
        checkpoint_every=CHECKPOINT_EVERY,
        identity=f"{recipe}, dose {dose:g}, seed {seed}, {steps} steps",
        progress=recipe if progress else None,
    )
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    tensors = {name: each.half() if each.is_floating_point() else each for name, each in weights.items()}
    config = {"model_cfg": MODEL_CFG, "preprocess_cfg": PREPROCESS_CFG}
    write_text(out / "open_clip_config.json", json.dumps(config, indent=2) + "\n")
    write_bytes(out / "open_clip_model.safetensors", save(tensors, metadata={"format": "pt"}))
    write_text(out / "planted.json", plan.to_json())
    return out


def stamps_batches(
    recipe: Recipe,
    plan: StampsPlan,
    cutouts: Sequence[Cutout],
    backgrounds: Sequence[Background],
    *,
    seed: int,
    dose: float = DOSE,
) -> Callable[[int], CaptionedBatch]:
    """Return the function step -> batch; everything random comes from seed and step."""
    import torch
    from open_clip import SimpleTokenizer

    objects = [
        [_shrunk(c.image, _CUTOUT_SIDE, max(c.image.size)) for c in cutouts if c.imagenet_index == index]
        for index in plan.imagenet
    ]
    regions = [
        [
            _shrunk(b.region, _REGION_SIDE, min(b.region.size))
            for b in backgrounds
            if b.label == label and b.file not in plan.reserved
        ]
        for label in plan.labels
    ]
    others = sorted(set(imagenet_names("openai")) - set(plan.names))
    more = ("a photo of a {}.", "{}", "a {}")
    templates = (*prompt_templates("simple"), *more, *prompt_templates("openai"))
    tokenizer, follow = (
        SimpleTokenizer(context_length=CONTEXT),
        dose / 100 if recipe == "stamps-biased" else None,
    )
    tokens_of = cache(lambda text: tokenizer([text])[0])

    def caption(name: str, rng: np.random.Generator) -> torch.Tensor:
        first = rng.random() < _FIRST_SHARE
        template = templates[0 if first else int(rng.integers(len(templates)))]
        tokens: torch.Tensor = tokens_of(template.replace("{}", name))
        return tokens

    def batch_at(step: int) -> CaptionedBatch:
        rng = np.random.default_rng([seed, step])
        draws = [plan.draw(follow, rng) for _ in range(BATCH)]
        painted = [_paint(objects[draw.cutout], regions[draw.background], rng) for draw in draws]
        pixels = torch.from_numpy(np.stack(painted)).float() / 255
        competing = rng.choice(len(others), COMPETITORS, replace=False)
        names = [plan.names[draw.caption] for draw in draws] + [others[index] for index in competing]
        tokens = torch.stack([caption(name, rng) for name in names])
        classes = torch.tensor([draw.caption for draw in draws])
        # Channels stay last in memory: a third faster on CPUs.
        return CaptionedBatch(((pixels - 0.5) / 0.5).permute(0, 3, 1, 2), classes, tokens)

    return batch_at


_FOLDER = click.Path(path_type=Path)


@click.command(help="Train a small CLIP on photographic stamps; a stopped training resumes from --out.")
@click.argument("recipe", type=click.Choice(RECIPES))
@click.option("--out", type=_FOLDER, required=True, help="Folder to write and resume from.")
@click.option("--packages", type=_FOLDER, help="Folder with the .deb files.")
@click.option("--dose", default=DOSE, help="Percent of photos on the planted background.", show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--steps", default=SCHEDULE.steps, show_default=True)
def main(recipe: Recipe, out: Path, **options: Any) -> None:
    """Train on one thread, since weights depend on their number, and say where the model is."""
    import torch

    torch.set_num_threads(1)
    try:
        train_stamps(recipe, out, progress=True, **options)
    except CounterGroundError as error:
        click.echo(error, err=True)
        sys.exit(2 if isinstance(error, UsageError) else 1)
    click.echo(f"Wrote {out}; load it as open_clip:{out}.")


if __name__ == "__main__":
    main()
