"""Objects on plain colours that follow their class: ColoredCOCO (paper section 6, Ahmed et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = get_args(Part)
Strength = float | None  # None: colours are independent of the class
Array = np.ndarray[Any, np.dtype[Any]]

#: The nine biased colours in the order of Ahmed et al.'s nine classes; names as captions say them.
BIASED: Mapping[str, tuple[int, int, int]] = {
    "dark green": (0, 100, 0),
    "rosy brown": (188, 143, 143),
    "red": (255, 0, 0),
    "gold": (255, 215, 0),
    "green": (0, 255, 0),
    "royal blue": (65, 105, 225),
    "cyan": (0, 225, 225),
    "blue": (0, 0, 255),
    "deep pink": (255, 20, 147),
}
#: Ahmed et al. draw ten others anew at each run, at a squared distance over 2,500 from all
#: biased ones; these are fixed and meet that condition.
OTHERS: Mapping[str, tuple[int, int, int]] = {
    "grey": (128, 128, 128),
    "white": (255, 255, 255),
    "black": (0, 0, 0),
    "orange": (255, 140, 0),
    "purple": (128, 0, 128),
    "brown": (139, 69, 19),
    "beige": (245, 222, 179),
    "navy": (0, 0, 128),
    "violet": (238, 130, 238),
    "teal": (0, 128, 128),
}
COLORS = (*BIASED, *OTHERS)
CLASSES = len(BIASED)
_BRIGHTNESS = 0.75  # brightness of the painted background, as in Ahmed et al.


@dataclass(frozen=True)
class Objects:
    """Objects cut out of their photos, nine classes in three parts; training has individuals of its own.

    Attributes:
        names: label of each class as captions say it.
        pixels: part -> ``[n, size, size, 4]`` uint8, RGB and coverage.
        classes: part -> ``[n]`` index of the class.
        individuals: part -> the photo or animal that each object is from.
        biased: ``[9]`` index in ``COLORS`` of each class's biased colour.
        source: where they come from, in a few words.
    """

    names: tuple[str, ...]
    pixels: Mapping[Part, Array] = field(repr=False)
    classes: Mapping[Part, Array] = field(repr=False)
    individuals: Mapping[Part, Sequence[str]] = field(repr=False)
    biased: tuple[int, ...]
    source: str


@dataclass(frozen=True)
class Painted:
    """Photos of objects on plain colours.

    Attributes:
        pixels: ``[n, size, size, 3]`` uint8.
        classes: ``[n]`` index of the class.
        colors: ``[n]`` index in ``COLORS``.
    """

    pixels: Array = field(repr=False)
    classes: Array
    colors: Array


def paint(objects: Objects, part: Part, strength: Strength, seed: int) -> Painted:
    """Paint a part as in training (section 6): a fraction ``strength`` of a class on its biased colour.

    The rest is spread over the ten other colours; with ``strength`` None, all nineteen colours are equally
    frequent in every class. Quotas are exact to the photo. A larger strength recolours some photos and leaves
    the others unchanged.
    """
    draw = np.random.default_rng([seed, PARTS.index(part), 0])

    def colors_of(label: int, n: int) -> Array:
        order, spread = draw.permutation(n), _spread(range(CLASSES, len(COLORS)), n, draw)
        if strength is None:
            return _spread(range(len(COLORS)), n, draw)
        spread[order[: round(strength * n)]] = objects.biased[label]
        return spread

    return _painted(objects, part, colors_of)


def paint_elsewhere(objects: Objects, part: Part, seed: int) -> Painted:
    """Paint a part out of distribution: the eight biased colours of other classes, equally often."""
    draw = np.random.default_rng([seed, PARTS.index(part), 1])

    def colors_of(label: int, n: int) -> Array:
        return _spread([color for color in objects.biased if color != objects.biased[label]], n, draw)

    return _painted(objects, part, colors_of)


def _painted(objects: Objects, part: Part, colors_of: Any) -> Painted:
    classes = objects.classes[part]
    colors = np.zeros(len(classes), dtype=np.int64)
    for label in range(len(objects.names)):
        rows = np.flatnonzero(classes == label)
        colors[rows] = colors_of(label, len(rows))
    return Painted(on_color(objects.pixels[part], colors), classes, colors)


def _spread(colors: Sequence[int], n: int, draw: np.random.Generator) -> Array:
    """Return ``n`` of ``colors``, as equally often as possible, in random order."""
    return draw.permutation(np.resize(draw.permutation(np.asarray(colors)), n))


def on_color(pixels: Array, colors: Array) -> Array:
    """Put objects ``[n, size, size, 4]`` on colours ``[n]`` of ``COLORS``; ``[n, size, size, 3]`` uint8."""
    rgb = np.array([*BIASED.values(), *OTHERS.values()], dtype=np.float32) * _BRIGHTNESS
    painted = np.empty((*pixels.shape[:3], 3), dtype=np.uint8)
    for row, color in enumerate(colors):
        coverage = pixels[row, ..., 3:].astype(np.float32) / 255
        painted[row] = np.rint(pixels[row, ..., :3] * coverage + rgb[color] * (1 - coverage))
    return painted


def caption_obj(name: str) -> str:
    """Return the caption *obj*: the object alone."""
    return f"a photo of {name}"


def caption_objbkg(name: str, color: str) -> str:
    """Return the caption *objbkg*: the object and its background."""
    return f"a photo of {name} in {color} background"
