"""How models are drawn in print: shape, size and shade."""

from __future__ import annotations

import math

from counterground.paper.figures._style import family_colour, tint

MARKERS = {"clip": "o", "imagenet": "^", "lvlm": "s", "other": "D"}
"""Matplotlib's markers: nothing depends on colour alone."""
AREA_RANGE = (40.0, 340.0)
UNKNOWN_AREA = 110.0
_PARAMETERS = (5e6, 2.5e9)
# Within the sizes that CLIPs are trained on, so that 0.4, 2 and 5 billion can be distinguished.
# The palest alone have too little contrast: every shade is drawn with an edge in the full colour or ink.
_DATA_SIZES = (1e8, 5e9)
_PALEST = 0.35


def shade(family: str, data_size: int | None) -> str:
    """Mix a family's colour with white: paler for less training data, on a logarithmic scale.

    Args:
        family: name of the family.
        data_size: training pairs or images; None, if it is not known, gives the full colour.

    Returns:
        ``#RRGGBB``: the full colour from 5 billion pairs, 35 % of it up to 100 million.
    """
    strength = 1.0 if data_size is None else _PALEST + (1 - _PALEST) * _between(data_size, _DATA_SIZES)
    return tint(family_colour(family), strength)


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
