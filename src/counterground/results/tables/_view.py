"""Results that are shown as tables with findings: what all of them share, and the formats they have."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import polars as pl

from counterground.catalogue import Finding
from counterground.errors import UsageError, did_you_mean
from counterground.results.tables._documents import latex_table, markdown_table
from counterground.results.tables._html import html_paragraphs, unfolding
from counterground.results.tables._rich import plain_text, rich_table
from counterground.results.tables._table import Table
from counterground.text import markdown, one_line

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

TextFormat = Literal["csv", "json", "markdown", "latex"]
FORMATS = ("table", *get_args(TextFormat))
_REMARKS = 4  # that HTML shows at once


class TableView:
    """A result with ``rows`` for programs (fractions) and tables for readers (percent).

    The tables fit the console that they are printed on; in a notebook they are HTML. Below them are
    ``findings``, those of the catalogue, and ``notes``, texts of a benchmark.
    """

    if TYPE_CHECKING:  # fields of some subclasses, properties of others

        @property
        def rows(self) -> pl.DataFrame: ...

        @property
        def findings(self) -> Sequence[Finding]: ...

        @property
        def notes(self) -> Sequence[str]: ...

        @property
        def table(self) -> Table: ...

    @property
    def tables(self) -> Sequence[Table]:
        """The rows for readers."""
        return [self.table]

    @property
    def record(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {"rows": self.rows.to_dicts(), "findings": [each.to_json() for each in self._findings]}

    @property
    def _findings(self) -> Sequence[Finding]:
        return getattr(self, "findings", ())

    @property
    def remarks(self) -> list[str]:
        """Findings and notes, each in one line after its kind."""
        told = [f"{each.severity.capitalize()}: {each.text}" for each in self._findings]
        return [*told, *(f"Note: {one_line(text)}" for text in getattr(self, "notes", ()))]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Build the tables for the console's width."""
        from rich.text import Text

        for place, table in enumerate(self.tables):
            if place:
                yield Text("")
            yield rich_table(table, options.max_width)
        for sentence in self.remarks:
            yield Text(sentence)

    def __repr__(self) -> str:
        """Write the tables as on a terminal."""
        return plain_text(self)

    def _repr_html_(self) -> str:
        tables = "".join(unfolding(table, "row") for table in self.tables)
        return tables + html_paragraphs(self.remarks, _REMARKS, "remark", fine=True)

    def write(self, format: str = "table") -> str:  # noqa: A002 - the option has this name
        """Return it as ``table`` (for a terminal), ``markdown``, ``latex`` (percent), ``csv`` or ``json``.

        Raises:
            UsageError: an unknown format.
        """
        if format not in FORMATS:
            hint = did_you_mean(format, FORMATS)
            raise UsageError(f"There is no format {format!r}; choose one of {', '.join(FORMATS)}.{hint}")
        if format == "table":
            return repr(self)
        if format == "csv":
            return self.rows.write_csv().rstrip("\n")
        if format == "json":
            return json.dumps(_finite(self.record), ensure_ascii=False, indent=1, allow_nan=False)
        if format == "markdown":
            parts = [
                f"### {each.title}\n\n" * bool(each.title) + markdown_table(each) for each in self.tables
            ]
            listed = "\n".join(f"- {markdown(text)}" for text in self.remarks)
            return "\n\n".join([*parts, *[listed] * bool(listed)])
        several = len(self.tables) > 1
        labels = (
            f"counterground-{k}" if several else "counterground" for k in range(1, 1 + len(self.tables))
        )
        written = [latex_table(table, label) for table, label in zip(self.tables, labels, strict=True)]
        return "\n\n".join([*written, *(f"% {one_line(text)}" for text in self.remarks)])


def _finite(value: Any) -> Any:
    """Replace numbers that JSON cannot hold by null."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and value - value != 0 else value
