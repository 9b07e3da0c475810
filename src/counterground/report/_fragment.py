"""Scores as a fragment of HTML for notebooks: light or dark, without scripts, everything escaped."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from counterground.report._numbers import count
from counterground.report._sheet import TITLES, caption, shown_measures
from counterground.report._summary import DROP, Estimate, Measure, ModelScores, headline, regroup, vary

if TYPE_CHECKING:
    import polars as pl

    from counterground.inference import Run

_HEADLINES = 4
_NOTES = 3
_LINE = "border-bottom:1px solid rgba(128,128,128,.3);"
_CELL = f"{_LINE}text-align:right;vertical-align:top;white-space:nowrap;padding:.3em .7em"
_TEXT = f"{_LINE}text-align:left;vertical-align:top;padding:.3em .7em"
_SMALL = '<small style="opacity:.75">{}</small>'


def scores_html(run: Run) -> str:
    """Return benchmark, headlines, table with 95 % intervals, notes and warnings of a run, in percent."""
    info = run.info
    sentences = [f"{headline(model)}." for model in regroup(run.scores)]
    stamp = ["Loaded as published, not as the weights were trained."] if info.as_published else []
    photos, classes = count(info.counts.photos), count(run.predictions["class_index"].n_unique())
    return (
        '<div style="line-height:1.4">'
        f"<p><b>{escape(info.benchmark.name)}</b>, {photos} photos of {classes} classes</p>"
        f"{_paragraphs(sentences, _HEADLINES, 'models')}{_paragraphs(stamp, 1, '')}"
        f"{table_html(run.scores)}"
        f"{_paragraphs(info.benchmark.notes, _NOTES, 'notes', small=True)}"
        f"{_paragraphs([f'Warning: {text}' for text in info.warnings], _NOTES, 'warnings', small=True)}"
        "</div>"
    )


def table_html(
    scores: pl.DataFrame, by_class: bool = False, class_names: Mapping[int, str] | None = None
) -> str:
    """Return scores as a table of percent with 95 % intervals, and a picture of each drop.

    Args:
        scores: columns of ``scores.parquet``, and ``run`` where several runs stand together.
        by_class: one row per model and class.
        class_names: names to write for class indices.
    """
    models = regroup(scores)
    varying, measures = vary(models), shown_measures(models, by_class)
    texts = ["Model", *(TITLES[name] for name in varying), *(["Class"] if by_class else [])]
    titles = "".join(f'<th scope="col" style="{_TEXT}">{escape(title)}</th>' for title in texts)
    for measure in measures:
        meaning = escape(measure.meaning)
        titles += f'<th scope="col" style="{_CELL}" title="{meaning}">{escape(measure.title)}</th>'
        titles += f'<th scope="col" style="{_TEXT}">0 to 100 %</th>' if measure == DROP else ""
    rows = []
    for model in models:
        head = [model.setting.model, *(str(getattr(model.setting, name)) for name in varying)]
        for index in sorted(model.classes) if by_class else [None]:
            named = [] if index is None else [(class_names or {}).get(index, str(index))]
            rows.append(_row([*head, *named], model, measures, index))
    return (
        '<div style="overflow-x:auto"><table style="border-collapse:collapse">'
        f'<thead><tr>{titles}<th scope="col" style="{_CELL}">n</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        f"<p>{_SMALL.format(escape(caption(models, varying, by_class)))}</p>"
    )


def _row(texts: Sequence[str], model: ModelScores, measures: Sequence[Measure], index: int | None) -> str:
    cells = f'<th scope="row" style="{_TEXT}">{escape(texts[0])}</th>'
    cells += "".join(f'<td style="{_TEXT}">{escape(text)}</td>' for text in texts[1:])
    for measure in measures:
        figure = model.get(measure.metric, measure.group, index)
        interval = f"<br>{_SMALL.format(figure.interval)}" if figure.interval else ""
        cells += f'<td style="{_CELL}">{figure.text}{interval}</td>'
        if measure == DROP:
            sides = [model.get("accuracy", group, index) for group in ("common", "counter")]
            cells += f'<td style="{_TEXT}">{_picture(*sides)}</td>'
    return f'<tr>{cells}<td style="{_CELL}">{count(model.get("accuracy", None, index).n)}</td></tr>'


def _picture(common: Estimate, counter: Estimate) -> str:
    """Draw a disc at common accuracy, a ring at counter, the gap between them, and both intervals."""
    if common.value is None or counter.value is None:
        return ""
    said = f"common {common.text} (disc), counter {counter.text} (ring)"
    marks = [_stroke(2, 158, 12, 1, 0.3)]  # the axis
    for figure, height in ((common, 7), (counter, 17)):
        if figure.low is not None and figure.high is not None:
            marks.append(_stroke(_across(figure.low), _across(figure.high), height, 1.5, 0.5))
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


def _across(fraction: float) -> float:
    return 8 + 144 * min(1.0, max(0.0, fraction))


def _stroke(start: float, end: float, height: float, width: float, opacity: float) -> str:
    return (
        f'<line x1="{start:.1f}" x2="{end:.1f}" y1="{height}" y2="{height}" stroke="currentColor" '
        f'stroke-width="{width}" stroke-opacity="{opacity}"/>'
    )


def _paragraphs(sentences: Sequence[str], most: int, noun: str, *, small: bool = False) -> str:
    """The sentences; where there are more than ``most``, the rest can be unfolded."""
    written = [f"<p>{_SMALL.format(escape(s)) if small else escape(s)}</p>" for s in sentences]
    if len(written) <= most:
        return "".join(written)
    folded = (
        f"<details><summary>{len(written) - most} more {noun}</summary>{''.join(written[most:])}</details>"
    )
    return "".join(written[:most]) + folded
