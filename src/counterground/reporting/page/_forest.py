"""A forest plot as rows of a table: a lane and a marker for each model, positions in percent of the width."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from counterground.metrics import Estimate
from counterground.reporting.style import FAMILY_COLOURS
from counterground.text import percent

LANE = 13
MODELS_SHOWN = 6
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


@dataclass(frozen=True)
class Scale:
    """Differences (fractions) from ``low`` to ``high`` in even steps; 0 is always among them."""

    low: float
    high: float
    step: float

    @classmethod
    def of(cls, estimates: Iterable[Estimate]) -> Scale:
        """Return a scale that holds all estimates and their intervals, and 0."""
        values = [0.0]
        for each in estimates:
            values += [value for value in (each.value, each.low, each.high) if value is not None]
        low, high = max(min(values), -1.0), min(max(values), 1.0)
        step = (
            0.05 if high - low <= 0.25 else 0.1 if high - low <= 0.6 else 0.2 if high - low <= 1.2 else 0.25
        )
        # The small amount keeps 0.3 / 0.1 from counting as a fourth step.
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if first == last:  # every difference is 0, without an interval
            first, last = first - 1, last + 1
        return cls(first * step, last * step, step)

    def at(self, value: float) -> float:
        """Return where a value is, in percent of the width."""
        inside = min(max(value, self.low), self.high)
        return round(100 * (inside - self.low) / (self.high - self.low), 3)

    @property
    def zero(self) -> float:
        """Where 0 is."""
        return self.at(0.0)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Where the steps are, and their values in points."""
        count = round((self.high - self.low) / self.step)
        values = (self.low + k * self.step for k in range(count + 1))
        return [(self.at(value), percent(value).removesuffix(".0")) for value in values]


class Dot(NamedTuple):
    """An estimate: position and interval in percent of the strip, centre of its lane in pixels."""

    x: float
    span: tuple[float, float] | None
    y: float
    mark: Mark
    title: str


def draw_dot(
    estimate: Estimate, lane: int, scale: Scale, mark: Mark, title: str, *, unit: str = "points"
) -> Dot | None:
    """Return the dot of an estimate in a lane (from 0), titled with its figures; None without a value."""
    if estimate.value is None:
        return None
    known = estimate.low is not None and estimate.high is not None
    span = (scale.at(estimate.low or 0.0), scale.at(estimate.high or 0.0)) if known else None
    full = f"{title} {estimate.text} {unit} {estimate.interval}".rstrip()
    return Dot(scale.at(estimate.value), span, 5 + LANE * (lane + 0.5), mark, full)


class ForestRow(NamedTuple):
    """A row: its title, its dots, and the same in words."""

    title: str
    dots: list[Dot]
    description: str


@dataclass(frozen=True)
class Forest:
    """The plot of the models ``shown``; ``left_out`` is the number of others."""

    rows: list[ForestRow]
    scale: Scale
    row_height: int
    shown: list[tuple[str, Mark]]
    left_out: int


class Line(NamedTuple):
    """What a row shows: one estimate for each model."""

    title: str
    estimates: Sequence[Estimate]


def draw_forest(
    lines: Sequence[Line], models: Sequence[tuple[str, Mark]], unit: str = "points"
) -> Forest | None:
    """Lay out estimates of models (labels and marks); lines without any are left out; None if all are."""
    shown = list(models[:MODELS_SHOWN])
    known = [line for line in lines if any(each.value is not None for each in line.estimates[: len(shown)])]
    if not known:
        return None
    scale = Scale.of(each for line in known for each in line.estimates[: len(shown)])
    rows = []
    for line in known:
        drawn = [
            draw_dot(estimate, lane, scale, mark, f"{label}, {line.title}:", unit=unit)
            for lane, (estimate, (label, mark)) in enumerate(zip(line.estimates, shown, strict=False))
        ]
        description = "; ".join(
            f"{label} {estimate.text} {estimate.interval}".rstrip()
            for estimate, (label, _) in zip(line.estimates, shown, strict=False)
            if estimate.value is not None
        )
        rows.append(ForestRow(line.title, [dot for dot in drawn if dot], description))
    return Forest(rows, scale, LANE * len(shown) + 9, shown, len(models) - len(shown))
