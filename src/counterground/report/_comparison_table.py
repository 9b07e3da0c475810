"""A section of a comparison as a table for a terminal, which breaks names where they may be broken."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from counterground.report._comparison_sheets import Section
from counterground.report._sheet import Cell

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

# Columns that may stand below the one before them where names have no room.
_BELOW = ("95 %", "diff.")
_BREAKS = re.compile(r"(?<=[/:_@-])(?=[^/:_@-])")


def section_table(section: Section, width: int) -> Table:
    """Return a table of at most ``width`` columns, if the names allow it.

    Where the longest word of a name has no room, intervals and differences go below their figures; words
    are broken only where nothing else helps, behind one of ``/ : _ @ -``.
    """
    from rich import box
    from rich.table import Table

    table = Table(
        title=section.title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=0,
        collapse_padding=True,
    )
    titles = [_narrow(column.title) if column.numeric else column.title for column in section.sheet.columns]
    rows = section.sheet.rows
    named = [(titles[0], ""), *(row[0] for row in rows)]
    words = max(len(word) for cell in named for part in cell for word in part.split(" "))
    room = _room(titles, rows, width)
    if room < words and any(title in _BELOW for title in titles):
        titles, rows = _stacked(titles, rows)
        room = _room(titles, rows, width)
    for place, title in enumerate(titles):
        numeric = section.sheet.columns[place].numeric
        table.add_column(_text(title), justify="right" if numeric else "left", overflow="fold")
    for place, row in enumerate(rows):
        heading = place in section.headings
        if heading and place:
            table.add_section()
        name = row[0] if room >= words else (_wrapped(row[0][0], room), _wrapped(row[0][1], room))
        style = "bold" if heading or place in section.bold else ""
        table.add_row(*(_cell(cell) for cell in (name, *row[1:])), style=style)
    return table


def _room(titles: list[str], rows: list[list[Cell]], width: int) -> int:
    """The columns of a terminal that are left for names; titles may be broken between words."""
    taken = 0
    for place, title in enumerate(titles[1:], start=1):
        lines = [*title.split(), *(line for row in rows for part in row[place] for line in part.split("\n"))]
        taken += 1 + max(map(len, lines))
    return width - taken


def _stacked(titles: list[str], rows: list[list[Cell]]) -> tuple[list[str], list[list[Cell]]]:
    """Put columns that may stand below another there."""
    kept: list[list[int]] = []
    for place, title in enumerate(titles):
        if place and title in _BELOW:
            kept[-1].append(place)
        else:
            kept.append([place])
    joined = ["\n".join(titles[place] for place in places) for places in kept]
    return joined, [[_below([row[place] for place in places]) for places in kept] for row in rows]


def _below(cells: list[Cell]) -> Cell:
    (value, interval), *others = cells
    lines = [interval, *(part for cell in others for part in cell)]
    return value, "\n".join(line for line in lines if line)


def _wrapped(text: str, room: int) -> str:
    """Break a text into lines of ``room`` columns, inside words only where one alone is longer."""
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


def _narrow(title: str) -> str:
    """A short title in two lines leaves the room to the names."""
    return title.replace(" ", "\n") if len(title) < 14 and title[-1] != "%" else title


def _text(value: str) -> Text:
    from rich.text import Text

    return Text(value)


def _cell(cell: Cell) -> Text:
    value, interval = cell
    text = _text(value)
    if interval:
        text.append(f"\n{interval}", style="dim")
    return text
