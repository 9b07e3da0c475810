"""Markers: a family's colour and a shape together, so that nothing depends on colour alone."""

from __future__ import annotations

from typing import NamedTuple

from counterground.reporting.style import FAMILY_COLOURS

# Outlines centred on (0, 0) with about equal areas; the first is a circle. They repeat after eight models,
# which are then distinguished by the names beside the marks and by hovering.
_SHAPES = (
    "M5 0A5 5 0 1 1 -5 0A5 5 0 1 1 5 0Z",
    "M0 -5.8L5.6 4.4L-5.6 4.4Z",
    "M-4.5 -4.5L4.5 -4.5L4.5 4.5L-4.5 4.5Z",
    "M0 -6.3L6.3 0L0 6.3L-6.3 0Z",
    "M0 5.8L5.6 -4.4L-5.6 -4.4Z",
    "M-2 -5.6L2 -5.6L2 -2L5.6 -2L5.6 2L2 2L2 5.6L-2 5.6L-2 2L-5.6 2L-5.6 -2L-2 -2Z",
    "M-5.8 0L-2.9 -5L2.9 -5L5.8 0L2.9 5L-2.9 5Z",
    "M0 -6.6L1.8 -2.2L6.3 -2L2.8 0.9L3.9 5.3L0 2.9L-3.9 5.3L-2.8 0.9L-6.3 -2L-1.8 -2.2Z",
)


class Mark(NamedTuple):
    """How one model is drawn everywhere on the page: its number, CSS class and outline."""

    number: int
    css: str
    path: str


SIDES = (Mark(1, "s-left", _SHAPES[0]), Mark(2, "s-right", _SHAPES[3]))
"""Markers of two quantities of one model, such as both sides of a contrast."""


def mark(index: int, family: str = "other") -> Mark:
    """Return the marker of the model at ``index`` (from 0), in the colour of its family."""
    css = f"f-{family if family in FAMILY_COLOURS else 'other'}"
    return Mark(index + 1, css, _SHAPES[index % len(_SHAPES)])
