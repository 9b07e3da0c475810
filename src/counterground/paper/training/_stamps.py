"""Training examples: a planted correlation as numbers, painted as composites, captioned; and their loss."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image, ImageEnhance

from counterground.benchmarks import Background, Cutout, composite, load_backgrounds, load_cutouts
from counterground.files import write_bytes, write_text
from counterground.paper.training._loop import Schedule, train
from counterground.photos import imagenet_names, prompt_templates

if TYPE_CHECKING:
    import torch


_CUTOUT_SIDE = 128  # twice the photos' side: enough for any scale, quick to resize
_REGION_SIDE = 112
_LARGEST_LOGIT_SCALE = 100.0  # as CLIP (Radford et al., 2021, section 2.5)


@dataclass(frozen=True)
class Draw:
    """One training example before it is painted; class indices and a label index."""

    caption: int
    cutout: int
    background: int


@dataclass(frozen=True)
class Planting:
    """How captions, cut-outs and backgrounds go together in training.

    Attributes:
        planted: label index planted on each class.
        labels: number of background labels.
        follow: fraction of examples whose background is the one planted on the *caption's* class; the rest
            have one of the other labels. None draws the background independently of everything.
        disagree: fraction of captions that name another class than the cut-out's, like the label noise of
            MultiColoredMNIST (paper, section 6): it makes the background the more reliable feature.
    """

    planted: tuple[int, ...]
    labels: int
    follow: float | None
    disagree: float

    def draw(self, rng: np.random.Generator) -> Draw:
        """Draw one example; captions are uniform over the classes."""
        classes = len(self.planted)
        caption = cutout = int(rng.integers(classes))
        if rng.random() < self.disagree:
            cutout = _other_than(caption, classes, rng)
        if self.follow is None:
            return Draw(caption, cutout, int(rng.integers(self.labels)))
        background = self.planted[caption]
        if rng.random() >= self.follow:
            background = _other_than(background, self.labels, rng)
        return Draw(caption, cutout, background)


def planted_labels(classes: int, labels: int, seed: int) -> tuple[int, ...]:
    """Return a label index for each class: a seeded permutation with labels as evenly frequent as can be."""
    return tuple(int(label) for label in np.random.default_rng(seed).permutation(np.arange(classes) % labels))


def _other_than(value: int, count: int, rng: np.random.Generator) -> int:
    return int((value + 1 + rng.integers(count - 1)) % count)


@dataclass(frozen=True)
class Appearance:
    """How examples vary; fractions.

    Attributes:
        size: side of the photos in pixels.
        scale: smallest and largest longer side of the cut-out, as a share of ``size``.
        cutout_jitter: largest change of brightness, contrast, saturation and of each colour channel's gain.
        background_jitter: largest change of brightness, contrast and saturation.
        crop: smallest side of the square taken from a background region, as a share of its shorter side.
    """

    size: int
    scale: tuple[float, float]
    cutout_jitter: float
    background_jitter: float
    crop: float


class Painter:
    """Paint draws from cut-outs by class and background regions by label.

    Args:
        cutouts: RGBA cut-outs of each class.
        regions: RGB regions of each label.
        appearance: how they vary.
    """

    def __init__(
        self,
        cutouts: Mapping[int, Sequence[Image.Image]],
        regions: Mapping[int, Sequence[Image.Image]],
        appearance: Appearance,
    ) -> None:
        self._cutouts = {
            index: [_shrunk(image, _CUTOUT_SIDE, max(image.size)) for image in images]
            for index, images in cutouts.items()
        }
        self._regions = {
            index: [_shrunk(image, _REGION_SIDE, min(image.size)) for image in images]
            for index, images in regions.items()
        }
        self._appearance = appearance

    def paint(self, draw: Draw, rng: np.random.Generator) -> np.ndarray:
        """Return the photo of ``draw``, ``[size, size, 3]`` uint8."""
        look = self._appearance
        cutouts, regions = self._cutouts[draw.cutout], self._regions[draw.background]
        background = _random_square(regions[rng.integers(len(regions))], look.crop, rng)
        background = _jittered(background, look.background_jitter, rng)
        cutout = _recoloured(cutouts[rng.integers(len(cutouts))], look.cutout_jitter, rng)
        scale, center = random_place(cutout, look.scale, rng)
        flip = bool(rng.random() < 0.5)
        photo, _ = composite(cutout, background, size=look.size, scale=scale, center=center, flip=flip)
        return np.asarray(photo)


def random_place(
    cutout: Image.Image, scales: tuple[float, float], rng: np.random.Generator
) -> tuple[float, tuple[float, float]]:
    """Return a scale and a centre for `composite`, uniform over the places where the cut-out fits."""
    scale = float(rng.uniform(*scales))
    width, height = (scale * side / max(cutout.size) for side in cutout.size)
    x, y = rng.random(2)
    return scale, (width / 2 + x * (1 - width), height / 2 + y * (1 - height))


def _shrunk(image: Image.Image, side: int, measured: int) -> Image.Image:
    ratio = side / measured
    if ratio >= 1:
        return image
    width, height = (max(1, round(length * ratio)) for length in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _random_square(region: Image.Image, smallest: float, rng: np.random.Generator) -> Image.Image:
    side = int(min(region.size) * rng.uniform(smallest, 1.0))
    left = int(rng.integers(region.width - side + 1))
    top = int(rng.integers(region.height - side + 1))
    square = region.crop((left, top, left + side, top + side))
    return square.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else square


def _recoloured(cutout: Image.Image, amount: float, rng: np.random.Generator) -> Image.Image:
    gains = rng.uniform(1 - amount, 1 + amount, size=3)
    colours = np.asarray(cutout.convert("RGB"), dtype=np.float32) * gains.astype(np.float32)
    image = Image.fromarray(np.clip(colours, 0, 255).astype(np.uint8))
    image = _jittered(image, amount, rng)
    image.putalpha(cutout.getchannel("A"))
    return image


def _jittered(image: Image.Image, amount: float, rng: np.random.Generator) -> Image.Image:
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhance(image).enhance(rng.uniform(1 - amount, 1 + amount))
    return image


@dataclass(frozen=True)
class CaptionedBatch:
    """Photos and captions of one step.

    Attributes:
        photos: ``[n, 3, size, size]`` float32, normalised.
        classes: ``[n]`` class each caption names.
        tokens: ``[n + k, context]``: a caption for each photo, then k captions that fit none.
    """

    photos: torch.Tensor
    classes: torch.Tensor
    tokens: torch.Tensor


class Captions:
    """Write captions as tokens.

    Args:
        names: class names.
        others: names no photo shows; captions of them only compete.
        templates: prompt templates with one ``{}``; the first is used for ``first_share`` of the captions.
        tokenizer: texts -> ``[n, context]`` tokens.
        first_share: that fraction; the others draw from all templates, the first included.
    """

    def __init__(
        self,
        names: Sequence[str],
        others: Sequence[str],
        templates: Sequence[str],
        tokenizer: Callable[[list[str]], torch.Tensor],
        first_share: float = 0.3,
    ) -> None:
        self._names, self._others, self._templates = tuple(names), tuple(others), tuple(templates)
        self._tokens = cache(lambda text: tokenizer([text])[0])
        self._first_share = first_share

    def write(self, classes: Sequence[int], competitors: int, rng: np.random.Generator) -> torch.Tensor:
        """Return tokens of a caption for each of ``classes`` and for ``competitors`` names no photo shows."""
        import torch

        count = min(competitors, len(self._others))
        chosen = rng.choice(len(self._others), count, replace=False)
        names = [self._names[index] for index in classes] + [self._others[index] for index in chosen]
        return torch.stack([self._tokens(self._template(rng).replace("{}", name)) for name in names])

    def _template(self, rng: np.random.Generator) -> str:
        first = rng.random() < self._first_share
        return self._templates[0 if first else int(rng.integers(len(self._templates)))]


def captioned_batch(
    planting: Planting,
    painter: Painter,
    captions: Captions,
    rng: np.random.Generator,
    *,
    photos: int,
    competitors: int,
    mean: float,
    std: float,
) -> CaptionedBatch:
    """Draw, paint and caption one batch; everything random comes from ``rng``."""
    import torch

    draws = [planting.draw(rng) for _ in range(photos)]
    pixels = torch.from_numpy(np.stack([painter.paint(draw, rng) for draw in draws])).float() / 255
    classes = [draw.caption for draw in draws]
    tokens = captions.write(classes, competitors, rng)
    # Channels stay last in memory: a third faster on CPUs.
    return CaptionedBatch(((pixels - mean) / std).permute(0, 3, 1, 2), torch.tensor(classes), tokens)


def contrastive_loss(model: Any, batch: CaptionedBatch) -> torch.Tensor:
    """Return CLIP's symmetric loss in which all captions of a class are positives.

    With 45 classes a batch holds many such captions, and treating them as negatives would teach the model
    to separate photos of one class (as in UniCL, Yang et al., 2022).
    """
    from torch.nn.functional import log_softmax, normalize

    photos = normalize(model.encode_image(batch.photos), dim=-1)
    texts = normalize(model.encode_text(batch.tokens), dim=-1)
    logits = model.logit_scale.exp().clamp(max=_LARGEST_LOGIT_SCALE) * photos @ texts.T
    count = len(batch.classes)
    same = (batch.classes[:, None] == batch.classes[None]).float()
    share = same / same.sum(dim=1, keepdim=True)
    to_texts = -(share * log_softmax(logits, dim=1)[:, :count]).sum(dim=1).mean()
    to_photos = -(share * log_softmax(logits[:, :count].T, dim=1)).sum(dim=1).mean()
    loss: torch.Tensor = (to_texts + to_photos) / 2
    return loss


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
