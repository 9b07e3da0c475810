"""A pool on the terminal: photos by class, who decided, and how much they agree; the page has the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from counterground.construction.pool_page._summary import PoolSummary, agreement_words, pool_sentence
from counterground.text import NOTHING, count, one_line

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.table import Table


@dataclass(frozen=True)
class PoolView:
    """A rich renderable: what a pool holds, fitted to the console it is printed on."""

    summary: PoolSummary

    def __rich_console__(self, _console: Console, _options: ConsoleOptions) -> RenderResult:
        """Draw everything, one part after another."""
        yield from _parts(self.summary)


def _parts(summary: PoolSummary) -> Iterator[RenderableType]:
    from rich.text import Text

    yield Text(f"{one_line(summary.name)}: {pool_sentence(summary)}", style="bold")
    yield _classes(summary)
    if not summary.annotators.is_empty():
        yield _annotators(summary)
    if not summary.agreement.is_empty():
        yield _agreement(summary)
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


def _agreement(summary: PoolSummary) -> Table:
    table = _table("Agreement of annotators", "task", "photos", "agree %", "kappa", "alpha", "95 %")
    for row in summary.agreement.filter(pl.col("class_name").is_null(), pl.col("label").is_null()).to_dicts():
        _add(table, row["task"], *agreement_words(row))
    return table
