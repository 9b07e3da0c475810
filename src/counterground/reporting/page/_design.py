"""The parts of a benchmark's design other than the page's contrast: contrasts, cells, attributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import polars as pl

from counterground.findings import Words
from counterground.metrics import CELLS, DESIGN, Contrast, Estimate, attributes, in_setting
from counterground.results import ModelScores, Run, strata_notes

_CELLS = 48
_VALUES = 20


class ContrastRow(NamedTuple):
    """One contrast of the design: its words, what it averages over, and its difference for every model."""

    words: Words
    strata: list[str]
    figures: list[Estimate]


class Value(NamedTuple):
    """Values of columns, the number of photos that have them, and the accuracy of every model there."""

    values: tuple[str, ...]
    n: int
    figures: list[Estimate]


@dataclass(frozen=True)
class Breakdown:
    """Accuracy by the values of columns; ``left_out``: number of values without room."""

    columns: tuple[str, ...]
    rows: list[Value]
    left_out: int = 0

    @property
    def title(self) -> str:
        """The columns in words."""
        known = {"class_name": "class", "swap": "kind of composite"}
        return " · ".join(known.get(name, name.replace("_", " ")) for name in self.columns)


@dataclass(frozen=True)
class Cells:
    """Accuracy in the cells; ``worst``: the lowest row of every model; ``summary``: figures of all cells."""

    breakdown: Breakdown
    worst: list[int | None]
    summary: list[tuple[str, list[Estimate]]]


@dataclass(frozen=True)
class DesignPart:
    """All contrasts if there are several, cells if they are not class x group, and attributes.

    For composites, it has only the kind of composite: `Causes` covers their contrasts and cells.
    """

    contrasts: list[ContrastRow]
    cells: Cells | None
    attributes: list[Breakdown]


def describe_design(
    runs: Sequence[Run], models: Sequence[tuple[ModelScores, Run]], words: Words
) -> DesignPart:
    """Gather contrasts, cells and attributes of runs on one benchmark.

    Args:
        runs: runs on the same version of a benchmark, so of one design.
        models: models in the order of the page, with their runs.
        words: words for the contrast of the page.
    """
    if runs[0].info.intervention is not None:
        return DesignPart([], None, [break_down(models, ("swap",))])
    design, photos = runs[0].design, runs[0].photos
    named = [
        name
        for name, kind in attributes(photos.schema).items()
        if kind == pl.String and photos[name].drop_nulls().n_unique() > 1
    ]
    return DesignPart(
        _contrasts(runs, [model for model, _ in models], words),
        None if design == DESIGN else _cells(models, design.cells, list(design.weights)),
        [break_down(models, (name,), most=_VALUES) for name in named],
    )


def _contrasts(runs: Sequence[Run], models: Sequence[ModelScores], words: Words) -> list[ContrastRow]:
    listed: list[Contrast] = list(dict.fromkeys([*runs[0].design.contrasts, words.contrast]))
    if len(listed) < 2:
        return []
    rows = []
    for contrast in listed:
        notes = dict.fromkeys(note for run in runs for note in strata_notes(run, contrast))
        rows.append(
            ContrastRow(Words(contrast), list(notes), [model.of(contrast).difference for model in models])
        )
    measured = [row for row in rows if any(figure.value is not None for figure in row.figures)]
    return measured if len(measured) > 1 else []


def _cells(
    models: Sequence[tuple[ModelScores, Run]], columns: tuple[str, ...], weights: Sequence[str]
) -> Cells:
    breakdown = break_down(models, columns, most=_CELLS, highest_first=False, balanced=False)
    worst = [_lowest([row.figures[place] for row in breakdown.rows]) for place in range(len(models))]
    summary = [("Mean minus worst", [model.get("mean_minus_worst") for model, _ in models])]
    summary += [
        (f"Average weighted by {name}", [model.get(f"average({name})") for model, _ in models])
        for name in weights
    ]
    return Cells(breakdown, worst, summary)


def _lowest(figures: Sequence[Estimate]) -> int | None:
    """Return the place of the lowest figure; among equals, of the one with the most photos."""
    known = [
        (figure.value, -figure.n, place) for place, figure in enumerate(figures) if figure.value is not None
    ]
    return min(known)[2] if known else None


def break_down(
    models: Sequence[tuple[ModelScores, Run]],
    columns: tuple[str, ...],
    *,
    most: int | None = None,
    highest_first: bool = True,
    balanced: bool = True,
) -> Breakdown:
    """Return the accuracy of models by the values of columns.

    Args:
        models: models with their runs.
        columns: columns of the photos.
        most: maximum number of values: those with the most photos or, for cells, the lowest of each model and
            those with the lowest mean accuracy.
        highest_first: whether to order by accuracy, otherwise by value.
        balanced: whether to average over classes, otherwise over photos.
    """
    tables = {id(run): run.by(columns, balanced=balanced) for _, run in models}
    found = [
        {tuple(row["level"].split(CELLS)): Estimate.of(row) for row in rows.iter_rows(named=True)}
        for model, run in models
        for rows in [tables[id(run)].filter(in_setting(model.setting._asdict()))]
    ]
    rows = []
    for values in sorted(set().union(*found)):
        figures = [each.get(values, Estimate()) for each in found]
        rows.append(Value(values, max(figure.n for figure in figures), figures))
    left_out = 0 if most is None else max(0, len(rows) - most)
    if left_out:
        worst = {_lowest([row.figures[place] for row in rows]) for place in range(len(models))}
        last = [-row.n if highest_first else (at not in worst, _mean(row)) for at, row in enumerate(rows)]
        rows = [row for _, row in sorted(zip(last, rows, strict=True), key=lambda each: each[0])][:most]
    rows.sort(key=(lambda row: (-_mean(row), row.values)) if highest_first else (lambda row: row.values))
    return Breakdown(columns, rows, left_out)


def _mean(row: Value) -> float:
    known = [figure.value for figure in row.figures if figure.value is not None]
    return sum(known) / len(known)
