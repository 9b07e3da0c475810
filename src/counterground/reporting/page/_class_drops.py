"""Drop per class as a dot plot: one row per class, one lane per model; positions in percent of the width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from counterground.findings import DROP_WORDS, Words
from counterground.metrics import Estimate
from counterground.reporting.class_facts import ClassFacts
from counterground.reporting.page._forest import LANE, MODELS_SHOWN, Dot, Mark, Scale, draw_dot
from counterground.results import ModelScores, mean_drop


class Cell(NamedTuple):
    """One cell of the table below the chart."""

    drop: Estimate
    left: Estimate
    right: Estimate


@dataclass(frozen=True)
class ClassRow:
    """One class: its dots or, if it has no drop, the words that say why."""

    index: int
    facts: ClassFacts
    dots: list[Dot]
    missing: str
    description: str
    cells: list[Cell]


@dataclass(frozen=True)
class ClassDrops:
    """The chart of the models ``shown``; ``left_out`` is the number of others."""

    rows: list[ClassRow]
    scale: Scale
    row_height: int
    shown: list[tuple[ModelScores, Mark]]
    left_out: int


def draw_class_drops(
    models: Sequence[tuple[ModelScores, Mark]], facts: Mapping[int, ClassFacts], words: Words = DROP_WORDS
) -> ClassDrops | None:
    """Lay out the chart, largest mean drop first, classes without a drop last; None if no class has one."""
    indices = sorted({index for model, _ in models for index in model.classes})
    if not any(_cell(model, index, words).drop.value is not None for model, _ in models for index in indices):
        return None
    shown = list(models[:MODELS_SHOWN])
    scale = Scale.of(_cell(model, index, words).drop for model, _ in shown for index in indices)
    rows = [
        _row(index, shown, models, facts.get(index, ClassFacts(str(index), "", "")), scale=scale, words=words)
        for index in indices
    ]
    means = {index: mean_drop([model for model, _ in models], index, words.contrast) for index in indices}
    rows.sort(key=lambda row: (means[row.index] is None, -(means[row.index] or 0), row.facts.name))
    return ClassDrops(rows, scale, LANE * len(shown) + 9, shown, len(models) - len(shown))


def _row(
    index: int,
    shown: Sequence[tuple[ModelScores, Mark]],
    models: Sequence[tuple[ModelScores, Mark]],
    facts: ClassFacts,
    *,
    scale: Scale,
    words: Words,
) -> ClassRow:
    dots, described = [], []
    for lane, (model, drawn) in enumerate(shown):
        drop = _cell(model, index, words).drop
        dot = draw_dot(drop, lane, scale, drawn, f"{model.label}, {facts.name}: {words.noun}")
        if dot is not None:
            dots.append(dot)
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
    if empty and not words.is_drop:  # the sides of a contrast are both known or both unknown
        return "no stratum with photos on both sides"
    return f"{' and '.join(empty)}: no photos" if empty else "no drop"
