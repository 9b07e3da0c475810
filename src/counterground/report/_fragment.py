"""A run's scores as an HTML fragment, for notebooks."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from counterground.report._numbers import count
from counterground.report._summary import MEASURES, ModelScores, headline, regroup, vary

if TYPE_CHECKING:
    from counterground.inference import Run

_CELL = "text-align:right;white-space:nowrap;padding:.3em .7em"
_TEXT = "text-align:left;padding:.3em .7em"


def scores_html(run: Run) -> str:
    """Return headline, table with 95 % intervals and the benchmark's notes; percent, everything escaped."""
    models = regroup(run.scores)
    columns = vary(models)
    head = ["Model", *(name.replace("_", " ").capitalize() for name in columns)]
    titles = "".join(f'<th scope="col" style="{_TEXT}">{escape(title)}</th>' for title in head)
    for measure in MEASURES:
        titles += f'<th scope="col" style="{_CELL}" title="{escape(measure.meaning)}">{measure.title}</th>'
    rows = "".join(f"<tr>{_row(model, columns)}</tr>" for model in models)
    sentences = "".join(f"<p>{escape(headline(model))}.</p>" for model in models)
    notes = "".join(f"<p><small>{escape(note)}</small></p>" for note in _repeated(run))
    return (
        f"<div><p><b>{escape(run.info.benchmark.name)}</b>, {count(run.info.counts.photos)} photos</p>"
        f"{sentences}"
        f'<table><thead><tr>{titles}<th scope="col" style="{_CELL}">n</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
        f"<p><small>Percent; drop in points; 95 % intervals.</small></p>{notes}</div>"
    )


def _row(model: ModelScores, columns: list[str]) -> str:
    cells = f'<th scope="row" style="{_TEXT}">{escape(model.setting.model)}</th>'
    for name in columns:
        cells += f'<td style="{_TEXT}">{escape(str(getattr(model.setting, name)))}</td>'
    for measure in MEASURES:
        figure = model.get(measure.metric, measure.group)
        interval = f"<br><small>{figure.interval}</small>" if figure.interval else ""
        cells += f'<td style="{_CELL}">{figure.text}{interval}</td>'
    return f'{cells}<td style="{_CELL}">{count(model.photos.n)}</td>'


def _repeated(run: Run) -> list[str]:
    stamp = ["Loaded as published, not as the weights were trained."] if run.info.as_published else []
    return [*stamp, *run.info.benchmark.notes, *run.info.warnings]
