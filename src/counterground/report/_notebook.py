"""What fragments for notebooks are made of: styles for light and dark, tables, the picture of a drop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from counterground.report._summary import Estimate

_LINE = "border-bottom:1px solid rgba(128,128,128,.3);vertical-align:top;padding:.3em .7em;"
_NUMBER = f"{_LINE}text-align:right;white-space:nowrap"
_TEXT = f"{_LINE}text-align:left"


class Head(NamedTuple):
    """A column: its title, what it means in a sentence, and whether figures stand in it."""

    title: str
    meaning: str = ""
    numeric: bool = False


def table(heads: Sequence[Head], rows: Sequence[Sequence[str] | str]) -> str:
    """Return a table; cells are markup, the first of each row is its head, and a row of text is a heading."""
    titles = "".join(
        f'<th scope="col" style="{_NUMBER if head.numeric else _TEXT};white-space:nowrap" '
        f'title="{escape(head.meaning)}">'
        f"{escape(head.title)}</th>"
        for head in heads
    )
    body = []
    for row in rows:
        if isinstance(row, str):
            body.append(
                f'<tr><th scope="rowgroup" colspan="{len(heads)}" style="{_TEXT}">{escape(row)}</th></tr>'
            )
            continue
        cells = [f'<th scope="row" style="{_TEXT};font-weight:normal">{row[0]}</th>']
        for head, cell in zip(heads[1:], row[1:], strict=True):
            cells.append(f'<td style="{_NUMBER if head.numeric else _TEXT}">{cell}</td>')
        body.append(f"<tr>{''.join(cells)}</tr>")
    return (
        '<div style="overflow-x:auto;margin:.6em 0"><table style="border-collapse:collapse">'
        f"<thead><tr>{titles}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def small(text: str) -> str:
    """Return text in small print, escaped."""
    return f'<small style="opacity:.75">{escape(text)}</small>'


def figure(text: str, interval: str) -> str:
    """Return a figure with its interval below it."""
    return f"{escape(text)}<br>{small(interval)}" if interval else escape(text)


def picture(common: Estimate, counter: Estimate) -> str:
    """Draw a disc at common accuracy, a ring at counter, the gap between them, and both intervals."""
    if common.value is None or counter.value is None:
        return ""
    said = f"common {common.text} (disc), counter {counter.text} (ring)"
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
        f'<svg width="160" height="24" viewBox="0 0 160 24" role="img"><title>{escape(said)}</title>'
        f"{''.join(marks)}</svg>"
    )


PICTURE = Head(
    "common ● counter ○", "0 to 100 %: a disc at common accuracy, a ring at counter, thin lines: intervals."
)


def paragraphs(sentences: Sequence[str], most: int, noun: str = "", *, fine: bool = False) -> str:
    """Return the sentences; where there are more than ``most``, the rest can be unfolded."""
    written = [f"<p>{small(sentence) if fine else escape(sentence)}</p>" for sentence in sentences]
    return "".join(written[:most]) + folded("".join(written[most:]), len(written) - most, noun)


def folded(markup: str, number: int, noun: str) -> str:
    """Return markup that can be unfolded, announced as ``2 more models``; nothing where there is none."""
    if number <= 0:
        return ""
    return f"<details><summary>{number} more {noun}{'s' * (number > 1)}</summary>{markup}</details>"


def block(*parts: str) -> str:
    """Return the parts of a fragment as one."""
    return f'<div style="line-height:1.4">{"".join(parts)}</div>'


def _across(fraction: float) -> float:
    return 8 + 144 * min(1.0, max(0.0, fraction))


def _stroke(start: float, end: float, height: float, width: float, opacity: float) -> str:
    return (
        f'<line x1="{start:.1f}" x2="{end:.1f}" y1="{height}" y2="{height}" stroke="currentColor" '
        f'stroke-width="{width}" stroke-opacity="{opacity}"/>'
    )
