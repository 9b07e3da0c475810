"""Drop per class as a dot plot: one row per class, one lane per model; positions in percent of the width."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from counterground.report._class_facts import ClassFacts
from counterground.report._words import DROP_WORDS, Words
from counterground.report.page._marks import Mark
from counterground.results import Estimate, ModelScores, mean_drop, percent

MODELS_SHOWN = 6
_LANE = 13


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
    left: Estimate
    right: Estimate


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
    models: Sequence[tuple[ModelScores, Mark]], facts: Mapping[int, ClassFacts], words: Words = DROP_WORDS
) -> ClassDrops | None:
    """Lay out the chart, largest mean drop first, classes without a drop last; None where none has one."""
    indices = sorted({index for model, _ in models for index in model.classes})
    if not any(_cell(model, index, words).drop.value is not None for model, _ in models for index in indices):
        return None
    shown = list(models[:MODELS_SHOWN])
    low, high, step = _domain(shown, indices, words)

    def at(drop: float) -> float:
        return round(100 * (min(max(drop, low), high) - low) / (high - low), 3)

    rows = [
        _row(index, shown, models, facts.get(index, ClassFacts(str(index), "", "")), at, words=words)
        for index in indices
    ]
    means = {index: mean_drop([model for model, _ in models], index, words.contrast) for index in indices}
    rows.sort(key=lambda row: (means[row.index] is None, -(means[row.index] or 0), row.facts.name))
    count = round((high - low) / step)
    ticks = [(at(low + k * step), percent(low + k * step).removesuffix(".0")) for k in range(count + 1)]
    return ClassDrops(rows, ticks, at(0), _LANE * len(shown) + 9, shown, len(models) - len(shown))


def _row(
    index: int,
    shown: Sequence[tuple[ModelScores, Mark]],
    models: Sequence[tuple[ModelScores, Mark]],
    facts: ClassFacts,
    at: Callable[[float], float],
    *,
    words: Words,
) -> ClassRow:
    dots, described = [], []
    for lane, (model, drawn) in enumerate(shown):
        drop = _cell(model, index, words).drop
        if drop.value is None:
            continue
        title = f"{model.label}, {facts.name}: {words.noun} {drop.text} points {drop.interval}".rstrip()
        span = None if drop.low is None or drop.high is None else (at(drop.low), at(drop.high))
        dots.append(Dot(at(drop.value), span, 5 + _LANE * (lane + 0.5), drawn, title))
        described.append(f"{model.label} {drop.text}")
    cells = [_cell(model, index, words) for model, _ in models]
    missing = "" if dots else _missing(cells, words)
    return ClassRow(index, facts, dots, missing, missing or "; ".join(described), cells)


def _cell(model: ModelScores, index: int, words: Words) -> Cell:
    left, right, drop = model.of(words.contrast, index)
    return Cell(drop, left, right)


def _missing(cells: Sequence[Cell], words: Words) -> str:
    sides = ((words.left, [cell.left for cell in cells]), (words.right, [cell.right for cell in cells]))
    empty = [name for name, figures in sides if all(figure.value is None for figure in figures)]
    if empty and not words.is_drop:  # those of a contrast are both known or both unknown
        return "no stratum with photos on both sides"
    return f"{' and '.join(empty)}: no photos" if empty else "no drop"


def _domain(
    shown: Sequence[tuple[ModelScores, Mark]], indices: Sequence[int], words: Words
) -> tuple[float, float, float]:
    values = [0.0]
    for model, _ in shown:
        for index in indices:
            drop = _cell(model, index, words).drop
            values += [value for value in (drop.value, drop.low, drop.high) if value is not None]
    low, high = max(min(values), -1.0), min(max(values), 1.0)
    step = 0.1 if high - low <= 0.6 else 0.2 if high - low <= 1.2 else 0.25
    # The small amount keeps 0.3 / 0.1 from counting as a fourth step.
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    if first == last:  # every drop is 0, without an interval
        first, last = first - 1, last + 1
    return first * step, last * step, step
