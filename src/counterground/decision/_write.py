"""How plans and checks are written: five formats of one table and its rows."""

from __future__ import annotations

import json
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from counterground.results import (
    TableView,
    check_format,
    html_paragraphs,
    html_table,
    latex_table,
    markdown_table,
    rich_table,
)
from counterground.text import markdown

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult


class Written(TableView):
    """A result with ``rows`` for programs, a ``table`` with notes for readers, and a ``record`` of both."""

    @property
    @abstractmethod
    def record(self) -> dict[str, Any]:
        """Everything, for JSON."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the table for the console, with its notes below it."""
        from rich.text import Text

        yield rich_table(self.table, options.max_width)
        for sentence in self.table.notes:
            yield Text(sentence)

    def _repr_html_(self) -> str:
        notes = self.table.notes
        return html_table(self.table) + html_paragraphs(notes, len(notes), "note", fine=True)

    def write(self, format: str = "table") -> str:  # noqa: A002 - the option has this name
        """Return it as ``table`` (for a terminal), ``markdown``, ``latex`` (percent), ``csv`` or ``json``.

        Raises:
            UsageError: an unknown format.
        """
        check_format(format)
        if format == "table":
            return repr(self)
        if format == "csv":
            return self.rows.write_csv().rstrip("\n")
        if format == "json":
            return json.dumps(self.record, ensure_ascii=False, indent=1, allow_nan=False)
        if format == "markdown":
            notes = [f"- {markdown(sentence)}" for sentence in self.table.notes]
            return "\n".join([markdown_table(self.table), "", *notes])
        notes = [f"% {' '.join(sentence.split())}" for sentence in self.table.notes]
        return "\n".join([latex_table(self.table), *notes])
