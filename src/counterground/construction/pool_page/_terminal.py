"""A pool on the terminal: tables and heat maps that fit its width and can be read without colour."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from counterground.construction.pool_page._page import (
    HeatMap,
    background_counts,
    discard_counts,
    referee_accuracy,
)
from counterground.construction.pool_page._summary import (
    FEW_IN_CLASS,
    PoolSummary,
    agreement_words,
    pool_sentence,
)
from counterground.text import NOTHING, count, one_line

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.table import Table


_LOWEST = 5


@dataclass(frozen=True)
class PoolView:
    """A rich renderable: what a pool holds, fitted to the console it is printed on.

    ``cells`` (as in ``cells.parquet`` of a discovery) and ``referee`` add the referee's accuracy.
    """

    summary: PoolSummary
    cells: pl.DataFrame | None = None
    referee: str = ""

    def __rich_console__(self, _console: Console, _options: ConsoleOptions) -> RenderResult:
        """Draw everything, one part after another."""
        yield from _parts(self)


def _parts(view: PoolView) -> Iterator[RenderableType]:
    from rich.text import Text

    summary = view.summary
    yield Text(f"{one_line(summary.name)}: {pool_sentence(summary)}", style="bold")
    yield _classes(summary)
    if summary.total("labelled"):
        yield _heat("Photos by class and background (kept or undecided)", background_counts(summary))
    if summary.total("discarded"):
        yield _heat("Photos discarded, by class and reason", discard_counts(summary))
    if not summary.annotators.is_empty():
        yield _annotators(summary)
    if not summary.agreement.is_empty():
        yield from _agreement(summary)
    if not summary.candidates.is_empty():
        yield _candidates(summary)
    if not summary.failures.is_empty():
        yield _failures(summary)
    if not summary.licences.is_empty():
        yield _licences(summary)
    if view.cells is not None:
        who = f" of {view.referee}" if view.referee else ""
        title = f"Accuracy{who} by class and background, percent"
        yield _heat(title, referee_accuracy(view.cells, summary.labels))
    for sentence in summary.warnings:
        yield Text(f"Warning: {sentence}")


def _table(title: str, *columns: str, texts: int = 1) -> Table:
    """Return an empty table whose first ``texts`` columns are text and whose others are numbers."""
    from rich import box
    from rich.table import Table

    table = Table(
        title=f"\n{title}", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True
    )
    for place, name in enumerate(columns):
        if place < texts:
            table.add_column(name, overflow="fold")
        else:
            table.add_column(name, justify="right", no_wrap=True)
    return table


def _add(table: Table, *cells: object, style: str = "") -> None:
    """Add a row in which nothing is markup or controls the terminal; None is an en dash."""
    from rich.text import Text

    words = [
        NOTHING if cell is None else count(cell) if isinstance(cell, int) else one_line(str(cell))
        for cell in cells
    ]
    table.add_row(*map(Text, words), style=style)


def _classes(summary: PoolSummary) -> Table:
    columns = ("photos", "kept", "discarded", "disagreed", "undecided", "unlabelled")
    table = _table("Photos per class", "class", *columns)
    for row in summary.classes.iter_rows(named=True):
        _add(table, row["class_name"], *(row[name] for name in columns))
    table.add_section()
    _add(table, "all", *(summary.total(name) for name in columns), style="bold")
    return table


def _annotators(summary: PoolSummary) -> Table:
    columns = ("decisions", "photos", "postponed", "undone", "median s")
    table = _table("Decisions and pace per annotator", "annotator", "task", *columns, texts=2)
    for row in summary.annotators.iter_rows(named=True):
        seconds = None if row["seconds"] is None else f"{row['seconds']:.1f}"
        numbers = (row[name] for name in columns[:-1])
        _add(table, row["annotator"], row["task"], *numbers, seconds)
    return table


def _agreement(summary: PoolSummary) -> Iterator[RenderableType]:
    from rich.text import Text

    shared = pl.col("photos") > 0
    for task in summary.agreement["task"].unique(maintain_order=True):
        rows = summary.agreement.filter(pl.col("task") == task)
        title = f"Agreement of annotators on {task}"
        table = _table(title, "label or class", "photos", "agree %", "kappa", "alpha", "95 %")
        for row in rows.filter(pl.col("class_name").is_null(), pl.col("label").is_null()).to_dicts():
            _add(table, "all, first labels", *agreement_words(row), style="bold")
        for row in rows.filter(shared & pl.col("label").is_not_null()).iter_rows(named=True):
            _add(table, row["label"], *agreement_words(row))
        classes = rows.filter(shared & pl.col("class_name").is_not_null())
        known = classes.filter((pl.col("photos") >= FEW_IN_CLASS) & pl.col("alpha").is_not_null())
        lowest = known.sort("alpha").head(_LOWEST)
        table.add_section()
        for row in lowest.iter_rows(named=True):
            _add(table, f"class {row['class_name']}", *agreement_words(row))
        yield table
        if classes.height > lowest.height:
            yield Text(
                f"Of the classes, those with the lowest alpha; --out FILE shows all {count(classes.height)}."
            )


def _candidates(summary: PoolSummary) -> Table:
    states = ("got", "failed", "wanted")
    table = _table("Candidates", "class", *states)
    for row in summary.candidates.iter_rows(named=True):
        _add(table, row["class_name"], *(row[name] for name in states))
    table.add_section()
    _add(table, "all", *(int(summary.candidates[name].sum()) for name in states), style="bold")
    return table


def _failures(summary: PoolSummary) -> Table:
    table = _table("Why candidates failed", "reason", "candidates")
    for row in summary.failures.iter_rows():
        _add(table, *row)
    return table


def _licences(summary: PoolSummary) -> Table:
    table = _table("Licences", "licence", "photos", "kept or undecided")
    for licence, photos, standing in summary.licences.iter_rows():
        _add(table, licence or "unknown", photos, standing)
    return table


def _heat(title: str, heat: HeatMap) -> Table:
    table = _table(title, "class", "", texts=2)
    table.expand = True
    for row, name in enumerate(heat.rows):
        _add(table, name, heat.in_words(row) or NOTHING)
    return table
