"""Drop per class as a dot plot: one row per class, one lane per model; positions in percent of the width."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import polars as pl

from counterground.metrics import GROUPS
from counterground.report.page.explorer._marks import Mark
from counterground.results import NOTHING, Estimate, ModelScores, mean_drop, percent

MODELS_SHOWN = 6
_LANE = 13


class ClassFacts(NamedTuple):
    """What the predictions say of a class: its name and the backgrounds of its groups."""

    name: str
    common: str
    counter: str

    @property
    def change(self) -> str:
        """``grass → sky``, or empty where no background is recorded."""
        return f"{self.common or NOTHING} → {self.counter or NOTHING}" if self.common or self.counter else ""


class Dot(NamedTuple):
    """A model's drop in one class: position and interval in percent of the strip, lane centre in pixels."""

    x: float
    span: tuple[float, float] | None
    y: float
    mark: Mark
    title: str


class Cell(NamedTuple):
    """One number of the table under the chart."""

    drop: Estimate
    common: Estimate
    counter: Estimate


@dataclass(frozen=True)
class ClassRow:
    """One class: dots where there is a drop, else the words that say why not."""

    index: int
    facts: ClassFacts
    dots: list[Dot]
    missing: str
    description: str
    cells: list[Cell]


@dataclass(frozen=True)
class ClassDrops:
    """The chart; ``ticks`` are (percent of the width, points) and the zero line is among them."""

    rows: list[ClassRow]
    ticks: list[tuple[float, str]]
    zero: float
    row_height: int
    shown: list[tuple[ModelScores, Mark]]
    left_out: int


def draw_class_drops(
    models: Sequence[tuple[ModelScores, Mark]], facts: Mapping[int, ClassFacts]
) -> ClassDrops | None:
    """Lay out the chart, largest mean drop first, classes without a drop last; None without groups."""
    indices = sorted({index for model, _ in models for index in model.classes})
    if not any(model.has_groups for model, _ in models) or not indices:
        return None
    shown = list(models[:MODELS_SHOWN])
    low, high, step = _domain(shown, indices)

    def at(drop: float) -> float:
        return round(100 * (min(max(drop, low), high) - low) / (high - low), 3)

    rows = [
        _row(index, shown, models, facts.get(index, ClassFacts(str(index), "", "")), at) for index in indices
    ]
    means = {index: mean_drop([model for model, _ in models], index) for index in indices}
    rows.sort(key=lambda row: (means[row.index] is None, -(means[row.index] or 0), row.facts.name))
    count = round((high - low) / step)
    ticks = [(at(low + k * step), percent(low + k * step).removesuffix(".0")) for k in range(count + 1)]
    return ClassDrops(rows, ticks, at(0), _LANE * len(shown) + 9, shown, len(models) - len(shown))


def class_facts(predictions: pl.DataFrame) -> dict[int, ClassFacts]:
    """Name and backgrounds of every class, from the predictions."""
    table = (
        predictions.select("class_index", "class_name", "group", "background")
        .unique()
        .sort("class_index", "group", "background", nulls_last=True)
    )
    names: dict[int, str] = {}
    backgrounds: dict[tuple[int, str], list[str]] = {}
    for index, name, group, background in table.iter_rows():
        names.setdefault(index, name)
        if group in GROUPS and background is not None:
            backgrounds.setdefault((index, group), []).append(background)
    return {
        index: ClassFacts(name, *(", ".join(backgrounds.get((index, group), [])) for group in GROUPS))
        for index, name in names.items()
    }


def _row(
    index: int,
    shown: Sequence[tuple[ModelScores, Mark]],
    models: Sequence[tuple[ModelScores, Mark]],
    facts: ClassFacts,
    at: Callable[[float], float],
) -> ClassRow:
    dots, described = [], []
    for lane, (model, drawn) in enumerate(shown):
        drop = model.get("drop", None, index)
        if drop.value is None:
            continue
        title = f"{model.label}, {facts.name}: drop {drop.text} points {drop.interval}".rstrip()
        span = None if drop.low is None or drop.high is None else (at(drop.low), at(drop.high))
        dots.append(Dot(at(drop.value), span, 5 + _LANE * (lane + 0.5), drawn, title))
        described.append(f"{model.label} {drop.text}")
    cells = [
        Cell(
            model.get("drop", None, index),
            model.get("accuracy", "common", index),
            model.get("accuracy", "counter", index),
        )
        for model, _ in models
    ]
    missing = "" if dots else _missing(cells)
    return ClassRow(index, facts, dots, missing, missing or "; ".join(described), cells)


def _missing(cells: Sequence[Cell]) -> str:
    empty = [
        group
        for group, estimates in (
            ("common", [c.common for c in cells]),
            ("counter", [c.counter for c in cells]),
        )
        if all(estimate.value is None for estimate in estimates)
    ]
    return f"{' and '.join(empty)}: no photos" if empty else "no drop"


def _domain(shown: Sequence[tuple[ModelScores, Mark]], indices: Sequence[int]) -> tuple[float, float, float]:
    values = [0.0]
    for model, _ in shown:
        for index in indices:
            drop = model.get("drop", None, index)
            values += [value for value in (drop.value, drop.low, drop.high) if value is not None]
    low, high = max(min(values), -1.0), min(max(values), 1.0)
    step = 0.1 if high - low <= 0.6 else 0.2 if high - low <= 1.2 else 0.25
    # The small amount keeps 0.3 / 0.1 from counting as a fourth step.
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step, step
