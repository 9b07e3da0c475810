"""A picture of estimates as rows of a table: a marker for each model, positions in percent of the width."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from counterground.metrics import Estimate
from counterground.reporting.shell import FAMILY_COLOURS
from counterground.text import percent

LANE = 13
MODELS_SHOWN = 6
"""So many models have room in a picture; of more, the table of pairs has those of the lead."""
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


class Line(NamedTuple):
    """A row of a chart and of its table: an estimate for each model, or for each quantity.

    ``meaning`` explains the row, ``tags`` mark single estimates, ``n`` is how many photos are behind all;
    ``class_index`` is set if the row is a class, whose photos the page can show.
    """

    title: str
    estimates: Sequence[Estimate]
    meaning: str = ""
    tags: Sequence[str] = ()
    n: int | None = None
    class_index: int | None = None

    @property
    def known(self) -> bool:
        """Whether any of its estimates has a value."""
        return any(each.value is not None for each in self.estimates)

    @property
    def mean(self) -> float:
        """The mean of what is known, for sorting; without any, less than all."""
        values = [each.value for each in self.estimates if each.value is not None]
        return sum(values) / len(values) if values else -math.inf


class ChartRow(NamedTuple):
    """A row: what it shows, its dots, and the same in words."""

    line: Line
    dots: list[Dot]
    description: str


@dataclass(frozen=True)
class Chart:
    """Estimates to scale; ``shown`` are their marks, ``left_out`` is the number of others.

    In a ``joined`` chart, both dots of a row lie in one lane, joined by a line.
    """

    rows: list[ChartRow]
    scale: Scale
    shown: list[tuple[str, Mark]]
    left_out: int
    joined: bool = False

    @property
    def row_height(self) -> float:
        """Height of a row in pixels: a lane for each mark, or one and a half."""
        return LANE * (1.5 if self.joined else len(self.shown)) + 9


def draw_chart(
    lines: Sequence[Line],
    marks: Sequence[tuple[str, Mark]],
    *,
    unit: str = "points",
    joined: bool = False,
) -> Chart | None:
    """Lay out estimates in the order of ``marks``; lines without any are left out; None if all are."""
    shown = list(marks[:MODELS_SHOWN])
    scale = Scale.of(each for line in lines for each in line.estimates[: len(shown)])
    rows = []
    for line in lines:
        known = [
            (lane, each, *of)
            for lane, (each, of) in enumerate(zip(line.estimates, shown, strict=False))
            if each.value is not None
        ]
        dots = [
            _dot(
                each, lane / 2 if joined else lane, scale, mark, f"{label}, {line.title}: {each.text} {unit}"
            )
            for lane, each, label, mark in known
        ]
        said = "; ".join(f"{label} {each.text} {each.interval}".rstrip() for _, each, label, _ in known)
        if known:
            rows.append(ChartRow(line, dots, said))
    return Chart(rows, scale, shown, len(marks) - len(shown), joined) if rows else None


def _dot(estimate: Estimate, lane: float, scale: Scale, mark: Mark, title: str) -> Dot:
    value, low, high = estimate.value or 0.0, estimate.low, estimate.high
    span = None if low is None or high is None else (scale.at(low), scale.at(high))
    return Dot(scale.at(value), span, 5 + LANE * (lane + 0.5), mark, f"{title} {estimate.interval}".rstrip())
