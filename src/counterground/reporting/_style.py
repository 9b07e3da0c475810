"""How families of models are drawn, on the page and in figures: colour, shape, size and shade."""

from __future__ import annotations

import math
from typing import Literal

Theme = Literal["light", "dark"]

FAMILY_NAMES = {
    "clip": "CLIP",
    "imagenet": "ImageNet models",
    "lvlm": "Vision-language models",
    "other": "Other models",
}
# Okabe and Ito: distinguishable with any of the common kinds of colour blindness.
FAMILY_COLOURS = {"clip": "#0072B2", "imagenet": "#D55E00", "lvlm": "#009E73", "other": "#CC79A7"}
# The same hues, lighter: at least 4.5 to 1 against the page's dark ground.
FAMILY_COLOURS_DARK = {"clip": "#56B4E9", "imagenet": "#FF8F52", "lvlm": "#3FCEA0", "other": "#F29CC6"}
# Names known to Vega-Lite and, via `MATPLOTLIB_MARKERS`, Matplotlib: nothing depends on colour alone.
FAMILY_SHAPES = {"clip": "circle", "imagenet": "triangle-up", "lvlm": "square", "other": "diamond"}
MATPLOTLIB_MARKERS = {"circle": "o", "triangle-up": "^", "square": "s", "diamond": "D"}

GROUNDS: dict[Theme, str] = {"light": "#FFFFFF", "dark": "#14171B"}
AREA_RANGE = (40.0, 340.0)
UNKNOWN_AREA = 110.0
_PARAMETERS = (5e6, 2.5e9)
# Within the sizes that CLIPs are trained on, so that 0.4, 2 and 5 billion can be distinguished.
# The palest alone have too little contrast: every shade is drawn with an edge in the full colour or ink.
_DATA_SIZES = (1e8, 5e9)
_PALEST = 0.35


def family_colour(family: str, theme: Theme = "light") -> str:
    """Return the colour of a family as ``#RRGGBB``; an unknown family is drawn as ``other``."""
    colours = FAMILY_COLOURS if theme == "light" else FAMILY_COLOURS_DARK
    return colours.get(family, colours["other"])


def shade(family: str, data_size: int | None, theme: Theme = "light") -> str:
    """Mix a family's colour with the ground: paler for less training data, on a logarithmic scale.

    Args:
        family: one of `FAMILY_NAMES`.
        data_size: training pairs or images; None, if it is not known, gives the full colour.
        theme: the background of the page.

    Returns:
        ``#RRGGBB``: the full colour from 5 billion pairs, 35 % of it up to 100 million.
    """
    share = strength(data_size)
    colour, ground = _channels(family_colour(family, theme)), _channels(GROUNDS[theme])
    mixed = (round(ground[k] + share * (colour[k] - ground[k])) for k in range(3))
    return "#" + "".join(f"{channel:02X}" for channel in mixed)


def strength(data_size: int | None) -> float:
    """Return how much of a family's colour is in its `shade`: 0.35 to 1, and 1 if the data is not known."""
    return 1.0 if data_size is None else _PALEST + (1 - _PALEST) * _between(data_size, _DATA_SIZES)


def marker_area(parameters: int | None) -> float:
    """Return a model's marker area (pixels or points squared) by its parameters, on a logarithmic scale."""
    if parameters is None:
        return UNKNOWN_AREA
    low, high = AREA_RANGE
    return low + (high - low) * _between(parameters, _PARAMETERS)


def _between(value: float, ends: tuple[float, float]) -> float:
    """Return where a value lies between two ends, 0 to 1, on a logarithmic scale."""
    low, high = map(math.log, ends)
    return min(max((math.log(max(value, 1)) - low) / (high - low), 0.0), 1.0)


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
