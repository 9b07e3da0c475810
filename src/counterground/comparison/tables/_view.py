"""Comparisons as text: tables for a terminal, Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, get_args

import polars as pl

from counterground.comparison._comparison import Comparison
from counterground.comparison.tables._reproduced import reproduction_sections
from counterground.comparison.tables._sheets import Section, comparison_sections
from counterground.errors import UsageError, did_you_mean
from counterground.results import Cell, TextFormat, sheet_latex, sheet_markdown
from counterground.text import markdown

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
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


_FORMATS = ("table", *get_args(TextFormat))


def format_comparison(comparison: Comparison, format: str = "table") -> str | SectionsView:  # noqa: A002
    """Write a comparison for a person or a program.

    Args:
        comparison: what ``full_comparison`` returns.
        format: ``table`` (a rich renderable), ``markdown`` and ``latex`` (booktabs) show percent; ``csv``
            holds a row per model, fractions, with its line and rank; ``json`` holds everything, fractions.

    Raises:
        UsageError: an unknown format.
    """
    _check(format)
    if format == "csv":
        return comparison.models.write_csv().rstrip("\n")
    if format == "json":
        return _dumped(_record(comparison))
    warnings = [f"Warning: {sentence}" for sentence in comparison.warnings]
    return _written(comparison_sections(comparison), warnings, format, "compared")


def format_reproduction(
    rows: pl.DataFrame,
    format: str = "table",  # noqa: A002
    warnings: Sequence[str] = (),
) -> str | SectionsView:
    """Write the paper's rows beside our values.

    Args:
        rows: what ``reproduce`` returns.
        format: as in ``format_comparison``; csv and json hold the rows alone.
        warnings: what ``left_out`` returns.

    Raises:
        UsageError: an unknown format.
    """
    _check(format)
    if format == "csv":
        return rows.write_csv().rstrip("\n")
    if format == "json":
        return _dumped(rows.to_dicts())
    told = [f"Warning: {sentence}" for sentence in warnings]
    return _written(reproduction_sections(rows), told, format, "reproduced")


@dataclass(frozen=True)
class SectionsView:
    """A rich renderable: one table after another, each with its sentences, and the warnings last."""

    sections: Sequence[Section]
    warnings: Sequence[str]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the tables for the console at hand."""
        from rich.text import Text

        for section in self.sections:
            yield section_table(section, options.max_width)
            yield Text("")
            for sentence in section.sentences:
                yield Text(sentence)
            yield Text("")
        for sentence in self.warnings:
            yield Text(sentence)


def _check(style: str) -> None:
    if style not in _FORMATS:
        hint = did_you_mean(style, _FORMATS)
        raise UsageError(f"There is no format {style!r}; choose one of {', '.join(_FORMATS)}.{hint}")


def _written(
    sections: Sequence[Section], warnings: Sequence[str], style: str, kind: str
) -> str | SectionsView:
    if style == "table":
        return SectionsView(sections, warnings)
    if style == "markdown":
        parts = [f"### {section.title}\n\n{sheet_markdown(section.sheet)}" for section in sections]
        return "\n\n".join([*parts, *(f"- {markdown(sentence)}" for sentence in warnings)])
    tables = [
        sheet_latex(section.sheet).replace("{tab:counterground}", f"{{tab:counterground-{kind}-{number}}}")
        for number, section in enumerate(sections, start=1)
    ]
    return "\n\n".join([*tables, *(f"% {' '.join(sentence.split())}" for sentence in warnings)])


def _record(comparison: Comparison) -> dict[str, Any]:
    robustness, scaling = comparison.robustness, comparison.scaling
    return {
        "baseline": robustness.baseline,
        "scale": robustness.scale,
        "lines": [asdict(line) for line in robustness.lines],
        "models": comparison.models.to_dicts(),
        "scaling": None if scaling is None else _scaling_record(scaling),
        "tests": comparison.tests.to_dicts(),
        "agreement": comparison.agreement.to_dicts(),
        "warnings": list(comparison.warnings),
    }


def _scaling_record(scaling: Any) -> dict[str, Any]:
    record = asdict(scaling)
    # Named tuples would become bare lists.
    for fit, given in zip(record["fits"], scaling.fits, strict=True):
        fit["joint"]["coefficients"] = [term._asdict() for term in given.joint.coefficients]
        for single, alone in zip(fit["single"], given.single, strict=True):
            single["coefficients"] = [term._asdict() for term in alone.coefficients]
    for answer, given in zip(record["answers"], scaling.answers, strict=True):
        answer["alone"] = given.alone._asdict()
    return record


def _dumped(record: Any) -> str:
    return json.dumps(_finite(record), ensure_ascii=False, indent=1, allow_nan=False)


def _finite(value: Any) -> Any:
    """What JSON cannot hold as null."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and value - value != 0 else value
