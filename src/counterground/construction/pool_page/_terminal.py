"""A pool on the terminal: tables and heat maps that fit its width and can be read without colour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from counterground.construction.pool_page._heat import (
    SHADES,
    WEAK_BELOW,
    Cell,
    HeatMap,
    background_counts,
    discard_counts,
    referee_accuracy,
)
from counterground.construction.pool_page._summary import (
    FEW_IN_CLASS,
    PoolSummary,
    agreement_words,
    failures_by_reason,
    pool_sentence,
)
from counterground.results import NOTHING, count
from counterground.text import one_line

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.table import Table
    from rich.text import Text


_NAME_AT_LEAST, _NAME_AT_MOST = 12, 30
_HEAD_AT_MOST = 14
_LOWEST = 5


@dataclass(frozen=True)
class PoolView:
    """A rich renderable: what a pool holds, fitted to the console it is printed on.

    ``cells`` (as in ``cells.parquet`` of a discovery) and ``referee`` add the referee's accuracy.
    """

    summary: PoolSummary
    cells: pl.DataFrame | None = None
    referee: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw everything, one part after another."""
        yield from _parts(self, options.max_width)


def _parts(view: PoolView, width: int) -> Iterator[RenderableType]:
    from rich.text import Text

    summary = view.summary
    yield Text(f"{one_line(summary.name)}: {pool_sentence(summary)}", style="bold")
    yield _classes(summary)
    if summary.total("labelled"):
        title = "Photos by class and background (kept or undecided)"
        yield from _heat(title, background_counts(summary), width)
    if summary.total("discarded"):
        yield from _heat("Photos discarded, by class and reason", discard_counts(summary), width)
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
        weak = f"~ fewer than {WEAK_BELOW} photos."
        title = f"Accuracy{who} by class and background, percent"
        yield from _heat(title, referee_accuracy(view.cells, summary.labels), width, weak)
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
    table = _table("Why candidates failed", "reason", "candidates", "classes")
    for row in failures_by_reason(summary).iter_rows():
        _add(table, *row)
    return table


def _licences(summary: PoolSummary) -> Table:
    table = _table("Licences", "licence", "photos", "kept or undecided")
    for licence, photos, standing in summary.licences.iter_rows():
        _add(table, licence or "unknown", photos, standing)
    return table


def _heat(title: str, heat: HeatMap, width: int, note: str = "") -> Iterator[RenderableType]:
    from rich.text import Text

    yield Text(f"\n{title}\n", style="italic")
    name, size = _sizes(heat, width)
    for columns in heat.blocks(max(1, (width - name) // size)):
        yield from _heads([one_line(heat.columns[k]) for k in columns], name, size)
        for label, row in zip(heat.rows, heat.grid, strict=True):
            yield from _row(one_line(label), [row[k] for k in columns], name, size)
        yield Text("")
    shades = Text("Shades: ")
    for shade, words in heat.key:
        shades.append(f" {words} ".replace(" ", "\N{NO-BREAK SPACE}"), style=_style(shade))
        shades.append(" ")
    yield shades
    if note:
        yield Text(note)


def _sizes(heat: HeatMap, width: int) -> tuple[int, int]:
    """Return widths of names and of a cell: room for whole words, else for doubt marks, else for numbers."""
    cells = [cell for row in heat.grid for cell in row]
    number = max((len(cell.text) for cell in cells), default=1)
    doubted = max((len(cell.text) + cell.weak for cell in cells), default=1)
    word = max((len(word) for column in heat.columns for word in column.split()), default=1)
    wanted = min(_NAME_AT_MOST, max(map(len, heat.rows), default=0))
    for size in (1 + max(word, doubted), 1 + doubted, 1 + number):
        if wanted + size * len(heat.columns) <= width:
            return wanted, size
    return min(wanted, max(_NAME_AT_LEAST, width - size * len(heat.columns))), size


def _heads(names: Sequence[str], name: int, size: int) -> Iterator[Text]:
    """Yield the names of the columns: word under word if they fit, else letter under letter."""
    from rich.text import Text

    if max((len(word) for column in names for word in column.split()), default=0) < size:
        stacks = [column.split() for column in names]
    else:
        cut = [word if len(word) <= _HEAD_AT_MOST else f"{word[: _HEAD_AT_MOST - 1]}…" for word in names]
        stacks = [list(word) for word in cut]
    height = max(map(len, stacks), default=0)
    for line in range(height):
        words = [([""] * (height - len(stack)) + stack)[line].rjust(size) for stack in stacks]
        yield Text(" " * name + "".join(words).rstrip(), no_wrap=True)


def _row(label: str, cells: Sequence[Cell], name: int, size: int) -> Iterator[Text]:
    """Yield a row; a name that is too long continues on its own lines below."""
    from textwrap import wrap

    from rich.text import Text

    first, *more = wrap(label, name) or [""]
    line = Text(first.ljust(name), no_wrap=True, end="")
    for cell in cells:
        text = f"~{cell.text}" if cell.weak else cell.text
        line.append(text.rjust(size), style=_style(cell.shade))
    line.end = "\n"
    yield line
    for rest in more:
        yield Text(f"  {rest}", no_wrap=True)


def _style(shade: int | None) -> str:
    return "" if shade is None else f"{SHADES[shade].dark_ink} on {SHADES[shade].dark_fill}"
