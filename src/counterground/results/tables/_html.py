"""Tables as HTML for notebooks: figures with their intervals below, titles with their meaning."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

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
    return f"{escape(cell.value)}<br>{small(cell.interval)}" if cell.interval else escape(cell.value)


def small(text: str) -> str:
    """Return text as small print in HTML, escaped."""
    return f'<small style="opacity:.75">{escape(text)}</small>'


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
