"""Accuracy on planted and other backgrounds, on photos made like those of the benchmark."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from counterground.benchmarks import Background, Cutout, composite
from counterground.paper.training import StampsPlan, random_place

if TYPE_CHECKING:
    from counterground.models import DualEncoder

_SIDE = 256  # side of the stamps benchmark's photos
_SCALE = (0.45, 0.75)
_JPEG_QUALITY = 92


@dataclass(frozen=True)
class HeldOutPhotos:
    """Composites that no training saw.

    Attributes:
        images: 256 x 256 RGB photos, once through JPEG.
        classes: ``[n]`` position of the class in the plan.
        labels: ``[n]`` position of the background label in the plan.
        files: background file of each.
    """

    images: list[Image.Image] = field(repr=False)
    classes: np.ndarray
    labels: np.ndarray
    files: tuple[str, ...]


@dataclass(frozen=True)
class PlantedAccuracy:
    """Accuracies balanced over classes; fractions.

    Attributes:
        planted: accuracy on the background planted on the class.
        elsewhere: accuracy on the other backgrounds.
        recovered: share of classes whose most accurate background is the planted one; a tie does not count.
    """

    planted: float
    elsewhere: float
    recovered: float

    @property
    def drop(self) -> float:
        """How much the planted background helps, as a fraction."""
        return self.planted - self.elsewhere


def held_out_photos(
    plan: StampsPlan,
    cutouts: Sequence[Cutout],
    backgrounds: Sequence[Background],
    *,
    reserved: bool,
    photos: int = 4,
    seed: int = 1_000_003,
) -> HeldOutPhotos:
    """Place every cut-out ``photos`` times on every label, at new places.

    Args:
        plan: classes, labels and reserved photographs.
        cutouts: cut-outs, as in the benchmark.
        backgrounds: backgrounds, as in the benchmark.
        reserved: whether to use the photographs that training never used, else those it did.
        photos: number per cut-out and label, cycling over the label's photographs.
        seed: seed of places, sizes and mirroring; different from any training seed.
    """
    rng = np.random.default_rng(seed)
    images: list[Image.Image] = []
    rows: list[tuple[int, int, str]] = []
    for cutout in cutouts:
        for label, name in enumerate(plan.labels):
            usable = [b for b in backgrounds if b.label == name and (b.file in plan.reserved) == reserved]
            first = int(rng.integers(len(usable)))
            for number in range(photos):
                background = usable[(first + number) % len(usable)]
                images.append(_place(cutout, background, rng))
                rows.append((plan.imagenet.index(cutout.imagenet_index), label, background.file))
    classes, labels, files = zip(*rows, strict=True)
    return HeldOutPhotos(images, np.array(classes), np.array(labels), files)


def encode_photos(model: DualEncoder, photos: HeldOutPhotos, block: int = 128) -> np.ndarray:
    """Return image embeddings ``[n, dim]``."""
    import torch

    parts = []
    for start in range(0, len(photos.images), block):
        tensors = [model.preprocess(image) for image in photos.images[start : start + block]]
        parts.append(model.encode(torch.stack(tensors)).numpy())
    return np.concatenate(parts)


def class_head(model: DualEncoder, names: Sequence[str], templates: Sequence[str]) -> np.ndarray:
    """Return zero-shot weights ``[len(names), dim]``: the mean over templates, of unit length."""
    texts = [template.replace("{}", name) for name in names for template in templates]
    embedded = model.encode_texts(texts).reshape(len(names), len(templates), -1).mean(axis=1)
    head: np.ndarray = embedded / np.linalg.norm(embedded, axis=1, keepdims=True)
    return head


def planted_accuracy(
    plan: StampsPlan, photos: HeldOutPhotos, correct: np.ndarray, keep: np.ndarray | None = None
) -> PlantedAccuracy:
    """Summarise ``correct`` over ``photos``, or over those marked in ``keep`` (both ``[n]`` bool)."""
    used = np.ones(len(correct), dtype=bool) if keep is None else keep
    cells = np.full((len(plan.imagenet), len(plan.labels)), np.nan)
    elsewhere = []
    for index, planted in enumerate(plan.planted):
        of_class = used & (photos.classes == index)
        for label in range(len(plan.labels)):
            chosen = correct[of_class & (photos.labels == label)]
            cells[index, label] = chosen.mean() if len(chosen) else np.nan
        elsewhere.append(correct[of_class & (photos.labels != planted)].mean())
    rows = np.arange(len(plan.planted))
    on_planted = cells[rows, list(plan.planted)]
    others = cells.copy()
    others[rows, list(plan.planted)] = np.nan
    return PlantedAccuracy(
        float(on_planted.mean()),
        float(np.mean(elsewhere)),
        float((on_planted > np.nanmax(others, axis=1)).mean()),
    )


def _place(cutout: Cutout, background: Background, rng: np.random.Generator) -> Image.Image:
    scale, center = random_place(cutout.image, _SCALE, rng)
    square, flip = background.crop(float(rng.random())), bool(rng.random() < 0.5)
    photo, _ = composite(cutout.image, square, size=_SIDE, scale=scale, center=center, flip=flip)
    stream = io.BytesIO()
    photo.save(stream, "JPEG", quality=_JPEG_QUALITY)
    return Image.open(stream).convert("RGB")
