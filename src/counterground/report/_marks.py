"""Markers: colour and shape together, so that no reading depends on colour alone."""

from __future__ import annotations

from typing import NamedTuple

# Outlines centred on (0, 0) with about equal areas. Seven shapes and eight colours share no factor, so the
# pair repeats only after 56 models; number keys tell the rest apart.
_SHAPES = (
    "M5 0A5 5 0 1 1 -5 0A5 5 0 1 1 5 0Z",
    "M-4.5 -4.5H4.5V4.5H-4.5Z",
    "M0 -5.8L5.6 4.4H-5.6Z",
    "M0 -6.3L6.3 0L0 6.3L-6.3 0Z",
    "M0 5.8L5.6 -4.4H-5.6Z",
    "M-2 -5.6H2V-2H5.6V2H2V5.6H-2V2H-5.6V-2H-2Z",
    "M-5.8 0L-2.9 -5H2.9L5.8 0L2.9 5H-2.9Z",
)
_COLOURS = 8


class Mark(NamedTuple):
    """How one model is drawn everywhere on the page: its number, CSS class and outline."""

    number: int
    css: str
    path: str


def mark(index: int) -> Mark:
    """Return the marker of the model at ``index`` (from 0)."""
    return Mark(index + 1, f"m{index % _COLOURS + 1}", _SHAPES[index % len(_SHAPES)])
