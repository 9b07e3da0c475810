"""Tables for a terminal of any width."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING

from counterground.results.tables._table import Cell, Table

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table as RichTable
    from rich.text import Text

_INTERVAL = 14  # "[-12.0, 100.0]"
_WORDS = re.compile(r" |\n")
_PARTS = re.compile(r" |\n|(?<=[/:_@-])(?=[^/:_@-])")


def rich_table(table: Table, width: int) -> RenderableType:
    """Return a table of at most ``width`` columns, if its names allow it.

    Intervals are below their figures; in a grouped table, beside them if they fit. So that no word is broken,
    columns marked ``minor`` are left out, the last one first. Words are broken only if that does not help,
    after one of ``/ : _ @ -``. Numbers never are: if they do not fit, the table is wider than ``width``.
    """
    from rich.console import Group
    from rich.text import Text

    beside = [_natural(table, place, " ") for place in _places(table)]
    gap = " " if table.grouped and _total(beside) <= width else "\n"
    while (minor := table.minor) and _total(_least(table, gap, _WORDS)) > width:
        table = table.without(minor[-1])
    least, parts = _least(table, gap, _WORDS), _least(table, gap, _PARTS)
    for place in sorted(_places(table), key=lambda place: parts[place] - least[place]):
        if _total(least) > width:
            least[place] = parts[place]
    rooms = [max(low, _natural(table, place, gap)) for place, low in enumerate(least)]
    while _total(rooms) > width:
        spare = [place for place in _places(table) if rooms[place] > least[place]]
        if not spare:
            break
        titles = [place for place in spare if table.columns[place].numeric]
        rooms[max(titles or spare, key=rooms.__getitem__)] -= 1
    for place, column in enumerate(table.columns):
        if column.numeric:  # a title that is broken needs no more than its longest line
            lines = _wrapped(column.title, rooms[place]).split("\n")
            rooms[place] = max(least[place], *map(_columns, lines))
    drawn = _drawn(table, rooms, gap)
    if _total(rooms) > width:
        drawn.width = _total(rooms)
    # Rich would break a title or caption of its own to the width of the table.
    above = [Text(table.title, style="italic")] if table.title else []
    below = [Text(table.caption, style="dim italic")] if table.caption else []
    return Group(*above, drawn, *below)


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


def _places(table: Table) -> range:
    return range(len(table.columns))


def _total(widths: Sequence[int]) -> int:
    """Return the width of a table whose columns have these, with a space between them."""
    return sum(widths) + len(widths) - 1


def _lines(cell: Cell, gap: str) -> list[str]:
    if cell.interval and gap == " ":
        return [f"{cell.value} {cell.interval:>{_INTERVAL}}"]
    return [*cell.value.split("\n"), *cell.interval.split("\n")]


def _natural(table: Table, place: int, gap: str) -> int:
    """Return the width of a column none of whose lines is broken."""
    lines = (line for row in table.rows for line in _lines(row[place], gap))
    return max(map(_columns, (table.columns[place].title, *lines)))


def _least(table: Table, gap: str, breaks: re.Pattern[str]) -> list[int]:
    """Return the widths of columns whose names are broken wherever they may be, and figures nowhere."""
    widths = []
    for place, column in enumerate(table.columns):
        lines = [line for row in table.rows if not _is_heading(row) for line in _lines(row[place], gap)]
        pieces = lines if column.numeric else [piece for line in lines for piece in breaks.split(line)]
        widths.append(max(map(_columns, (*_WORDS.split(column.title), *pieces))))
    return widths


def _is_heading(row: Sequence[Cell]) -> bool:
    return len(row) > 1 and not any(any(cell) for cell in row[1:])


def _columns(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)


def _drawn(table: Table, rooms: Sequence[int], gap: str) -> RichTable:
    """Draw a table; what a row of a grouped one shares with the one above is not repeated."""
    from rich import box
    from rich.table import Table as RichTable

    drawn = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
    for column, room in zip(table.columns, rooms, strict=True):
        title = _text(_wrapped(column.title, room))
        drawn.add_column(title, justify="right" if column.numeric else "left", no_wrap=True, min_width=room)
    above: Sequence[Cell] | None = None
    for place, row in enumerate(table.rows):
        head = row[: table.heads]
        repeated = table.grouped and head == above
        if place and (place in table.headings or (table.grouped and not repeated)):
            drawn.add_section()
        above = head
        cells = [
            cell if column.numeric else Cell(_wrapped(cell.value, room), _wrapped(cell.interval, room))
            for cell, column, room in zip(row, table.columns, rooms, strict=True)
        ]
        if repeated:
            cells[: table.heads] = [Cell()] * table.heads
        style = "bold" if place in table.headings or place in table.bold else ""
        drawn.add_row(*(_figure(cell, gap) for cell in cells), style=style)
    return drawn


def _figure(cell: Cell, gap: str) -> Text:
    """Return a figure with its interval dim beside it, or below it if ``gap`` is a new line."""
    text = _text(cell.value)
    if cell.interval:
        text.append(f"{gap}{cell.interval:>{_INTERVAL if gap == ' ' else 0}}", style="dim")
    return text


def _text(value: str) -> Text:
    from rich.text import Text

    return Text(value)


def _wrapped(text: str, room: int) -> str:
    """Break a text into lines of ``room`` columns, inside words only if one alone is longer."""
    if "\n" in text:
        return "\n".join(_wrapped(line, room) for line in text.split("\n"))
    lines = [""]
    for word in text.split(" "):
        pieces = [word] if _columns(word) <= room else _PARTS.split(word)
        for place, piece in enumerate(pieces):
            joint = " " if lines[-1] and not place else ""
            if lines[-1] and _columns(f"{lines[-1]}{joint}{piece}") > room:
                lines.append(piece)
            else:
                lines[-1] += f"{joint}{piece}"
    return "\n".join(lines)
