"""A table of figures with intervals, before anyone has decided how it is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple


class Column(NamedTuple):
    """A column.

    ``meaning`` is a sentence that explains it; ``minor`` says that it may be left out for lack of room.
    """

    title: str
    numeric: bool = False
    meaning: str = ""
    minor: bool = False


class Cell(NamedTuple):
    """A value as text, with its interval or whatever else belongs below it."""

    value: str = ""
    interval: str = ""


@dataclass(frozen=True)
class Table:
    """Columns and rows of cells.

    Attributes:
        columns: the columns.
        rows: a cell for each column.
        caption: units, settings, and what a reader of the table alone must know.
        title: what the table is called among others; else empty.
        heads: the first columns, which name a model in its setting.
        grouped: rows with the same heads belong together, and the heads are written once.
        headings: rows whose first cell is the title of those below.
        bold: rows that stand out.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    title: str = ""
    heads: int = 1
    grouped: bool = False
    headings: frozenset[int] = frozenset()
    bold: frozenset[int] = frozenset()

    @property
    def minor(self) -> list[int]:
        """The places of the columns that may be left out."""
        return [place for place, column in enumerate(self.columns) if column.minor]

    def without(self, place: int) -> Table:
        """Return the table without a column."""
        rows = [[*row[:place], *row[place + 1 :]] for row in self.rows]
        return replace(self, columns=[*self.columns[:place], *self.columns[place + 1 :]], rows=rows)

    def rows_from(self, start: int, stop: int | None = None) -> Table:
        """Return some of the rows."""
        headings, bold = (frozenset(place - start for place in of) for of in (self.headings, self.bold))
        return replace(self, rows=self.rows[start:stop], headings=headings, bold=bold)


def heading(text: str, width: int) -> list[Cell]:
    """Return a row that is the title of those below."""
    return [Cell(text), *[Cell()] * (width - 1)]
