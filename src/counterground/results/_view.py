"""Results shown as tables with findings: on a terminal of any width, in a notebook, in files."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Sequence
from html import escape
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Literal, get_args

import polars as pl

from counterground.catalogue import Finding
from counterground.errors import UsageError, did_you_mean
from counterground.results._table import Cell, Column, Table, latex_table, markdown_table
from counterground.text import markdown, one_line

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.text import Text

TextFormat = Literal["csv", "json", "markdown", "latex"]
FORMATS = ("table", *get_args(TextFormat))
_REMARKS = 4  # that HTML shows at once
_INTERVAL = 14  # "[-12.0, 100.0]"
_NAME = 12  # columns of a name that is broken for lack of room
_STYLE = "border-bottom:1px solid rgba(128,128,128,.3);vertical-align:top;padding:.3em .7em;text-align:"


class TableView:
    """A result with ``rows`` for programs (fractions) and tables for readers (percent).

    The tables fit the console that they are printed on; in a notebook they are HTML. Below them are
    ``findings``, those of the catalogue, and ``notes``, texts of a benchmark; the first ``lead`` of these are
    above.
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
    def lead(self) -> int:
        """How many remarks are above the tables."""
        return 0

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

        for sentence in self.remarks[: self.lead]:
            yield Text(sentence)
        for place, table in enumerate(self.tables):
            if place:
                yield Text("")
            yield rich_table(table, options.max_width)
        for sentence in self.remarks[self.lead :]:
            yield Text(sentence)

    def __repr__(self) -> str:
        """Write the tables as on a terminal."""
        return plain_text(self)

    def _repr_html_(self) -> str:
        tables = "".join(unfolding(table, "row") for table in self.tables)
        above = html_paragraphs(self.remarks[: self.lead], _REMARKS)
        return above + tables + html_paragraphs(self.remarks[self.lead :], _REMARKS, "remark", fine=True)

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
            above, below = self.remarks[: self.lead], self.remarks[self.lead :]
            listed = "\n".join(f"- {markdown(text)}" for text in below)
            return "\n\n".join([*map(markdown, above), *parts, *[listed] * bool(listed)])
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


def rich_table(table: Table, width: int) -> RenderableType:
    """Return a table of at most ``width`` columns, if its figures allow it.

    Intervals are below their figures; in a grouped table, beside them if they fit, and what a row shares with
    the one above is not repeated. So that no name is broken, columns marked ``minor`` are left out, the last
    one first. Figures never are broken: if they do not fit, the table is wider than ``width``.
    """
    from rich import box
    from rich.console import Group
    from rich.table import Table as RichTable
    from rich.text import Text

    gap = " " if table.grouped and _total(_widths(table, " ", whole=True)) <= width else "\n"
    while _total(least := _widths(table, gap)) > width and (less := table.without_minor()):
        table = less
    if _total(least) > width:
        least = [
            low if column.numeric else min(low, _NAME)
            for low, column in zip(least, table.columns, strict=True)
        ]
    rooms = list(map(max, least, _widths(table, gap, whole=True)))
    while _total(rooms) > width and rooms != least:
        spare = [place for place, low in enumerate(least) if rooms[place] > low]
        titles = [place for place in spare if table.columns[place].numeric]
        rooms[max(titles or spare, key=rooms.__getitem__)] -= 1
    drawn = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
    for place, column in enumerate(table.columns):
        title = wrap(column.title, rooms[place]) or [""]
        if column.numeric:  # a title that is broken needs no more than its longest line
            rooms[place] = max(least[place], *map(len, title))
        drawn.add_column(
            Text("\n".join(title)),
            justify="right" if column.numeric else "left",
            width=rooms[place],
            no_wrap=column.numeric,
            overflow="fold",
        )
    above: Sequence[Cell] | None = None
    for place, row in enumerate(table.rows):
        head = row[: table.heads]
        repeated = table.grouped and head == above
        if place and (place in table.headings or (table.grouped and not repeated)):
            drawn.add_section()
        above = head
        texts = [_text(Cell() if repeated and k < table.heads else cell, gap) for k, cell in enumerate(row)]
        drawn.add_row(*texts, style="bold" if place in table.headings | table.bold else "")
    drawn.width = max(_total(rooms), 1)
    # Rich would break a title or caption of its own to the width of the table.
    above_it = [Text(table.title, style="italic")] if table.title else []
    below = [Text(table.caption, style="dim italic")] if table.caption else []
    return Group(*above_it, drawn, *below)


def _total(widths: Sequence[int]) -> int:
    """Return the width of a table whose columns have these, with a space between them."""
    return sum(widths) + len(widths) - 1


def _widths(table: Table, gap: str, *, whole: bool = False) -> list[int]:
    """Return the widths of columns in which no figure and no word, or (``whole``) no line, is broken."""
    from rich.cells import cell_len

    widths = []
    for place, column in enumerate(table.columns):
        rows = [row for k, row in enumerate(table.rows) if whole or k not in table.headings]
        lines = [line for row in rows for line in _text(row[place], gap).plain.split("\n")]
        words = lines if column.numeric or whole else [word for line in lines for word in line.split(" ")]
        titles = [column.title] if whole else column.title.split(" ")
        widths.append(max(map(cell_len, (*titles, *words))))
    return widths


def _text(cell: Cell, gap: str) -> Text:
    """Return a figure with its interval dim beside it, or below it if ``gap`` is a new line."""
    from rich.text import Text

    text = Text(cell.value)
    if cell.interval:
        text.append(f"{gap}{cell.interval:>{_INTERVAL if gap == ' ' else 0}}", style="dim")
    return text


def plain_text(text: RenderableType, *, width: int | None = None) -> str:
    """Return text as it is, or a table as on a terminal of ``width`` columns, by default this terminal's."""
    if isinstance(text, str):
        return text
    from rich.console import Console

    width = shutil.get_terminal_size((100, 24)).columns if width is None else width
    # A notebook would display the table, and some kernels request colours.
    console = Console(
        file=io.StringIO(),
        width=width,
        force_jupyter=False,
        force_terminal=False,
        color_system=None,
        highlight=False,
        markup=False,
        emoji=False,
    )
    with console.capture() as capture:
        console.print(text, crop=False)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def html_table(table: Table) -> str:
    """Return a table as HTML; column titles have their meaning as a tooltip, and the caption is below."""
    table = table.with_headings()
    titles = "".join(
        f'<th scope="col" style="{_style(column)};white-space:nowrap" '
        f'title="{escape(column.meaning)}">{escape(column.title)}</th>'
        for column in table.columns
    )
    body = "".join(
        f'<tr><th scope="rowgroup" colspan="{len(row)}" style="{_STYLE}left">{escape(row[0].value)}</th></tr>'
        if place in table.headings
        else _row(row, table.columns)
        for place, row in enumerate(table.rows)
    )
    caption = f"<p>{_small(table.caption)}</p>" if table.caption else ""
    return (
        '<div style="overflow-x:auto;margin:.6em 0"><table style="border-collapse:collapse">'
        f"<thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>{caption}"
    )


def _row(row: Sequence[Cell], columns: Sequence[Column]) -> str:
    texts = [escape(value) + f"<br>{_small(below)}" * bool(below) for value, below in row]
    cells = [f'<th scope="row" style="{_STYLE}left;font-weight:normal">{texts[0]}</th>']
    for column, text in zip(columns[1:], texts[1:], strict=True):
        cells.append(f'<td style="{_style(column)}">{text}</td>')
    return f"<tr>{''.join(cells)}</tr>"


def _style(column: Column) -> str:
    return f"{_STYLE}right;white-space:nowrap" if column.numeric else f"{_STYLE}left"


def _small(text: str) -> str:
    return f'<small style="opacity:.75">{escape(text)}</small>'


def html_paragraphs(sentences: Sequence[str], most: int, noun: str = "", *, fine: bool = False) -> str:
    """Return sentences as HTML paragraphs; if there are more than ``most``, the rest can be unfolded."""
    written = [f"<p>{_small(sentence) if fine else escape(sentence)}</p>" for sentence in sentences]
    return "".join(written[:most]) + folded("".join(written[most:]), len(written) - most, noun)


def folded(markup: str, number: int, noun: str) -> str:
    """Return markup that can be unfolded, announced as ``2 more models``; empty if there is none."""
    if number <= 0:
        return ""
    return f"<details><summary>{number} more {noun}{'s' * (number > 1)}</summary>{markup}</details>"


def unfolding(table: Table, noun: str, most: int = 12) -> str:
    """Return the first rows as a table, the others in one that can be unfolded."""
    rest = table.rows_from(most)
    return html_table(table.rows_from(0, most)) + folded(html_table(rest), len(rest.rows), noun)


def block(*parts: str) -> str:
    """Return parts of HTML as one block."""
    return f'<div style="line-height:1.4">{"".join(parts)}</div>'
