"""Paint training examples: a jittered cut-out on a piece of a background photograph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance

from counterground.benchmarks import composite
from counterground.paper.training._planting import Draw

_CUTOUT_SIDE = 128  # twice the photos' side: enough for any scale, quick to resize
_REGION_SIDE = 112


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
