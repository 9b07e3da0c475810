"""Results that are shown as one table: what all of them share, and the formats they are written in."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

import polars as pl

from counterground.errors import UsageError, did_you_mean
from counterground.results.tables._documents import latex_table, markdown_table
from counterground.results.tables._html import html_table
from counterground.results.tables._rich import plain_text, rich_table
from counterground.results.tables._table import Table

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

TextFormat = Literal["csv", "json", "markdown", "latex"]
FORMATS = ("table", *get_args(TextFormat))


class TableView(ABC):
    """A result with ``rows`` for programs (fractions) and a ``table`` for readers (percent).

    The table fits the console that it is printed on; in a notebook it is an HTML table.
    """

    if TYPE_CHECKING:  # a field of some subclasses, a property of others

        @property
        def rows(self) -> pl.DataFrame: ...

    @property
    @abstractmethod
    def table(self) -> Table:
        """The rows for readers."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Build the table for the console's width."""
        yield rich_table(self.table, options.max_width)

    def __repr__(self) -> str:
        """Write the table as on a terminal."""
        return plain_text(self)

    def _repr_html_(self) -> str:
        return html_table(self.table)


View = TypeVar("View", bound=TableView)


def format_view(view: View, format: str = "table") -> str | View:  # noqa: A002 - as the option
    """Write a result for a person or a program.

    Args:
        view: what ``contrast_scores`` or ``effect_scores`` returns, or a ``BreakdownView``.
        format: ``table`` returns the view itself; ``markdown`` and ``latex`` (booktabs) give percent with
            95 % intervals, ``csv`` and ``json`` the rows, fractions.

    Raises:
        UsageError: an unknown format.
    """
    check_format(format)
    if format == "table":
        return view
    if format in ("csv", "json"):
        return frame_text(view.rows, format)
    return latex_table(view.table) if format == "latex" else markdown_table(view.table)


def check_format(format: str) -> None:  # noqa: A002
    """Refuse an unknown format.

    Raises:
        UsageError: it is not one of ``FORMATS``.
    """
    if format not in FORMATS:
        hint = did_you_mean(format, FORMATS)
        raise UsageError(f"There is no format {format!r}; choose one of {', '.join(FORMATS)}.{hint}")


def frame_text(frame: pl.DataFrame, format: str) -> str:  # noqa: A002
    """Write rows as they are, as ``csv`` or ``json``."""
    if format == "csv":
        return frame.write_csv().rstrip("\n")
    return json.dumps(frame.to_dicts(), ensure_ascii=False, indent=1, allow_nan=False)
