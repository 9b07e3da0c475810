"""Tables as HTML for notebooks: figures with their intervals below, and a picture of each drop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from counterground.metrics import Estimate
from counterground.results.tables._table import Cell, Column, Table

_LINE = "border-bottom:1px solid rgba(128,128,128,.3);vertical-align:top;padding:.3em .7em;"
_NUMBER = f"{_LINE}text-align:right;white-space:nowrap"
_TEXT = f"{_LINE}text-align:left"


def html_table(table: Table) -> str:
    """Return a table as HTML; column titles have their meaning as a tooltip, and the caption is below."""
    columns = table.columns[table.heads :] if table.grouped else table.columns
    titles = "".join(
        f'<th scope="col" style="{_style(column)};white-space:nowrap" '
        f'title="{escape(column.meaning)}">{escape(column.title)}</th>'
        for column in columns
    )
    caption = f"<p>{small(table.caption)}</p>" if table.caption else ""
    return (
        '<div style="overflow-x:auto;margin:.6em 0"><table style="border-collapse:collapse">'
        f"<thead><tr>{titles}</tr></thead><tbody>{_body(table, columns)}</tbody></table></div>{caption}"
    )


def _body(table: Table, columns: Sequence[Column]) -> str:
    rows, above = [], None
    for place, row in enumerate(table.rows):
        head = row[: table.heads]
        if table.grouped and head != above:
            rows.append(_heading(", ".join(cell.value for cell in head), len(columns)))
            above = head
        if place in table.headings:
            rows.append(_heading(row[0].value, len(columns)))
        else:
            rows.append(_row(row[table.heads :] if table.grouped else row, columns))
    return "".join(rows)


def _heading(text: str, width: int) -> str:
    return f'<tr><th scope="rowgroup" colspan="{width}" style="{_TEXT}">{escape(text)}</th></tr>'


def _row(row: Sequence[Cell], columns: Sequence[Column]) -> str:
    cells = [f'<th scope="row" style="{_TEXT};font-weight:normal">{_cell(row[0])}</th>']
    for column, cell in zip(columns[1:], row[1:], strict=True):
        cells.append(f'<td style="{_style(column)}">{_cell(cell)}</td>')
    return f"<tr>{''.join(cells)}</tr>"


def _style(column: Column) -> str:
    return _NUMBER if column.numeric else _TEXT


def _cell(cell: Cell) -> str:
    if cell.picture is not None:
        return interval_picture(*cell.picture)
    return f"{escape(cell.value)}<br>{small(cell.interval)}" if cell.interval else escape(cell.value)


def small(text: str) -> str:
    """Return text as small print in HTML, escaped."""
    return f'<small style="opacity:.75">{escape(text)}</small>'


def interval_picture(common: Estimate, counter: Estimate) -> str:
    """Draw a disc at common accuracy, a ring at counter, the gap between them, and both intervals.

    They may be the sides of another contrast, which the title of the column names.
    """
    if common.value is None or counter.value is None:
        return ""
    title = f"disc {common.text}, ring {counter.text}"
    marks = [_stroke(2, 158, 12, 1, 0.3)]  # the axis
    for side, height in ((common, 7), (counter, 17)):
        if side.low is not None and side.high is not None:
            marks.append(_stroke(_across(side.low), _across(side.high), height, 1.5, 0.5))
    disc, ring = _across(common.value), _across(counter.value)
    if abs(ring - disc) > 6:  # the ring stays open
        marks.append(_stroke(disc, ring - math.copysign(6, ring - disc), 12, 3, 0.6))
    marks.append(f'<circle cx="{disc:.1f}" cy="12" r="5" fill="currentColor"/>')
    hollow = 'fill="none" stroke="currentColor" stroke-width="2"'
    marks.append(f'<circle cx="{ring:.1f}" cy="12" r="5" {hollow}/>')
    return (
        f'<svg width="160" height="24" viewBox="0 0 160 24" role="img"><title>{escape(title)}</title>'
        f"{''.join(marks)}</svg>"
    )


def _across(fraction: float) -> float:
    return 8 + 144 * min(1.0, max(0.0, fraction))


def _stroke(start: float, end: float, height: float, width: float, opacity: float) -> str:
    return (
        f'<line x1="{start:.1f}" x2="{end:.1f}" y1="{height}" y2="{height}" stroke="currentColor" '
        f'stroke-width="{width}" stroke-opacity="{opacity}"/>'
    )


def html_paragraphs(sentences: Sequence[str], most: int, noun: str = "", *, fine: bool = False) -> str:
    """Return sentences as HTML paragraphs; if there are more than ``most``, the rest can be unfolded."""
    written = [f"<p>{small(sentence) if fine else escape(sentence)}</p>" for sentence in sentences]
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
