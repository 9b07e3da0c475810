"""Tables for a terminal of any width."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from counterground.results.tables._table import Cell, Column, Table

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table as RichTable
    from rich.text import Text

_INTERVAL = 14  # "[-12.0, 100.0]" without padding
_NAME = 8  # columns that a name gets however narrow the terminal is, if its title is not longer
_UNLIMITED = 100_000
_BREAKS = re.compile(r"(?<=[/:_@-])(?=[^/:_@-])")


def rich_table(table: Table, width: int) -> RichTable:
    """Return a table of at most ``width`` columns, if the names allow it.

    Intervals are below their figures; in a grouped table, beside them if they fit. If the longest word of a
    name does not fit, columns marked ``below`` go below the one before them. Words are broken only if nothing
    else helps, after one of ``/ : _ @ -``, and elsewhere only if not even these parts fit. Numbers never are:
    if they do not fit, the table is wider than ``width``.
    """
    table = table.as_text()
    if table.grouped or table.heads != 1:
        drawn, floors = _grouped(table, width), [not column.numeric for column in table.columns]
    else:
        drawn = _by_name(table, width)
        floors = [place == 0 for place in range(len(drawn.columns))]
    if (needed := _least_width(drawn, floors)) > width:
        drawn.width = needed
    return drawn


def plain_text(text: RenderableType, *, width: int | None = None) -> str:
    """Return text as it is, or a table as on a terminal of ``width`` columns, by default this terminal's."""
    if isinstance(text, str):
        return text
    from rich.console import Console

    width = shutil.get_terminal_size((100, 24)).columns if width is None else width
    console = Console(
        file=io.StringIO(),
        width=width,
        highlight=False,
        markup=False,
        emoji=False,
        # A notebook would display the table, and some kernels request colours.
        force_jupyter=False,
        force_terminal=False,
        color_system=None,
    )
    with console.capture() as capture:
        console.print(text, crop=False)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def figures_that_fit(table: Table, width: int) -> int:
    """Return how many columns of figures with intervals a terminal has room for, at least three."""
    texts = sum(not column.numeric for column in table.columns)
    return max(3, (width - 18 * texts - 8) // (_INTERVAL + 1))


def _grouped(table: Table, width: int) -> RichTable:
    """A table with several columns of names; what a row shares with the one above is not repeated."""
    gap = " " if table.grouped and _one_line_width(table) <= width else "\n"
    drawn = _with_names(table, gap, {})
    rooms = _rooms(drawn, table, width)
    return _with_names(table, gap, rooms) if rooms else drawn


def _with_names(table: Table, gap: str, rooms: Mapping[int, int]) -> RichTable:
    """Draw a table whose columns of names are as wide as ``rooms`` says by place, or else as Rich thinks."""
    drawn = _empty(table, collapse_padding=True)
    for place, column in enumerate(table.columns):
        if column.numeric:
            drawn.add_column(column.title, justify="right", no_wrap=True)
        elif place in rooms:
            drawn.add_column(column.title, overflow="fold", width=rooms[place])
        else:
            drawn.add_column(column.title, overflow="fold", min_width=min(12, len(column.title)))
    above: Sequence[Cell] | None = None
    for row in table.rows:
        head = row[: table.heads]
        repeated = table.grouped and head == above
        if table.grouped and above is not None and not repeated:
            drawn.add_section()
        above = head
        shown = [*[Cell()] * table.heads, *row[table.heads :]] if repeated else list(row)
        for place, room in rooms.items():
            cell = shown[place]
            shown[place] = Cell(_wrapped(cell.value, room), _wrapped(cell.interval, room))
        drawn.add_row(*(_figure(cell, gap) for cell in shown))
    return drawn


def _rooms(drawn: RichTable, table: Table, width: int) -> dict[int, int]:
    """Return how wide each column of names is, by its place, so that the table fits and no word is cut.

    Rich would take from each column in proportion, also where that cuts a word. Empty if the table fits as it
    is, or not even if words are broken.
    """
    from rich.console import Console
    from rich.measure import Measurement

    console = Console(file=io.StringIO(), width=_UNLIMITED)
    over = Measurement.get(console, console.options, drawn).maximum - width
    names = [place for place, column in enumerate(table.columns) if not column.numeric]
    if over <= 0 or not names:
        return {}
    rooms, words, parts = {}, {}, {}
    for place in names:
        cells = [drawn.columns[place].header, *drawn.columns[place].cells]
        rooms[place] = max(Measurement.get(console, console.options, cell).maximum for cell in cells)
        texts = (table.columns[place].title, *(part for row in table.rows for part in row[place][:2]))
        found = {word for text in texts for word in text.split()}
        words[place] = max(map(len, found), default=0)
        parts[place] = max((len(part) for word in found for part in _BREAKS.split(word)), default=0)
    room = sum(rooms.values()) - over
    for place in sorted(names, key=lambda place: parts[place] - words[place]):
        if sum(words.values()) > room:
            words[place] = parts[place]
    if sum(words.values()) > room:
        return {}
    while sum(rooms.values()) > room:
        rooms[max((place for place in names if rooms[place] > words[place]), key=rooms.__getitem__)] -= 1
    return rooms


def _by_name(table: Table, width: int) -> RichTable:
    """A table with one column of names, which gets all the room that figures leave."""
    columns, rows = [_narrow(column) for column in table.columns], table.rows
    words = max(
        len(word) for cell in (Cell(columns[0].title), *(row[0] for row in rows)) for word in _words(cell)
    )
    room = _room(columns, rows, width)
    if room < words and any(column.below for column in columns):
        columns, rows = _stacked(columns, rows)
        room = _room(columns, rows, width)
    drawn = _empty(table, show_edge=False, padding=0, collapse_padding=True)
    for column in columns:
        drawn.add_column(_text(column.title), justify="right" if column.numeric else "left", overflow="fold")
    for place, row in enumerate(rows):
        heading = place in table.headings
        if heading and place:
            drawn.add_section()
        name = row[0]
        if room < words:
            name = Cell(_wrapped(name.value, room), _wrapped(name.interval, room))
        style = "bold" if heading or place in table.bold else ""
        drawn.add_row(*(_figure(cell, "\n") for cell in (name, *row[1:])), style=style)
    return drawn


def _least_width(drawn: RichTable, names: Sequence[bool]) -> int:
    """Return the columns of a terminal below which Rich would cut figures; ``names`` may be broken."""
    from rich.console import Console
    from rich.measure import Measurement

    console = Console(file=io.StringIO(), width=_UNLIMITED)
    width = Measurement.get(console, console.options, drawn).maximum
    for column, name in zip(drawn.columns, names, strict=True):
        cells = [Measurement.get(console, console.options, cell) for cell in (column.header, *column.cells)]
        widest = max(column.min_width or 0, *(cell.maximum for cell in cells))
        if name:
            width -= max(0, widest - (column.min_width or _NAME))
        elif not column.no_wrap:
            width -= widest - max(cell.minimum for cell in cells)
    return width


def _empty(table: Table, **options: object) -> RichTable:
    from rich import box
    from rich.table import Table as RichTable

    words = {"title": table.title, "title_justify": "left"} if table.title else {}
    caption = {} if table.title else {"caption": table.caption, "caption_justify": "left"}
    return RichTable(box=box.SIMPLE_HEAD, pad_edge=False, **words, **caption, **options)  # type: ignore[arg-type]


def _figure(cell: Cell, gap: str) -> Text:
    """Return a figure with its interval dim beside it, or below it if ``gap`` is a new line."""
    text = _text(cell.value)
    if cell.interval:
        text.append(f"{gap}{cell.interval:>{_INTERVAL if gap == ' ' else 0}}", style="dim")
    return text


def _text(value: str) -> Text:
    from rich.text import Text

    return Text(value)


def _one_line_width(table: Table) -> int:
    """Return the columns that a table with intervals beside the figures needs."""
    wide = 0
    for place, column in enumerate(table.columns):
        texts = [column.title, *(row[place].value for row in table.rows)]
        spread = 1 + _INTERVAL if any(row[place].interval for row in table.rows) else 0
        wide += max(map(len, texts)) + spread + 2
    return wide


def _words(cell: Cell) -> list[str]:
    return [*cell.value.split(" "), *cell.interval.split(" ")]


def _room(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int) -> int:
    """Return the columns of a terminal left for names; titles may be broken between words."""
    taken = 0
    for place, column in enumerate(columns[1:], start=1):
        parts = [part for row in rows for part in row[place][:2]]
        lines = [*column.title.split(), *(line for part in parts for line in part.split("\n"))]
        taken += 1 + max(map(len, lines))
    return width - taken


def _stacked(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]]
) -> tuple[list[Column], list[list[Cell]]]:
    """Put columns below another one if they may be there."""
    kept: list[list[int]] = []
    for place, column in enumerate(columns):
        if place and column.below:
            kept[-1].append(place)
        else:
            kept.append([place])
    titles = ["\n".join(columns[place].title for place in places) for places in kept]
    joined = [columns[places[0]]._replace(title=title) for places, title in zip(kept, titles, strict=True)]
    return joined, [[_below([row[place] for place in places]) for places in kept] for row in rows]


def _below(cells: Sequence[Cell]) -> Cell:
    first, *others = cells
    lines = [first.interval, *(part for cell in others for part in cell[:2])]
    return Cell(first.value, "\n".join(line for line in lines if line))


def _wrapped(text: str, room: int) -> str:
    """Break a text into lines of ``room`` columns, inside words only if one alone is longer."""
    if "\n" in text:
        return "\n".join(_wrapped(line, room) for line in text.split("\n"))
    lines = [""]
    for word in text.split(" "):
        pieces = [word] if len(word) <= room else _BREAKS.split(word)
        for place, piece in enumerate(pieces):
            joint = " " if lines[-1] and not place else ""
            if lines[-1] and len(lines[-1]) + len(joint) + len(piece) > room:
                lines.append(piece)
            else:
                lines[-1] += f"{joint}{piece}"
    return "\n".join(lines)


def _narrow(column: Column) -> Column:
    """Break a figure's short title into two lines, which leaves room for the names."""
    title = column.title
    short = column.numeric and len(title) < 14 and title[-1] != "%"
    return column._replace(title=title.replace(" ", "\n")) if short else column
