"""Scores as a fragment of HTML for notebooks: light or dark, without scripts, everything escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from counterground.report._notebook import PICTURE, Head, block, figure, paragraphs, picture, small, table
from counterground.report._numbers import count
from counterground.report._sheet import TITLES, caption, shown_measures
from counterground.report._summary import DROP, Measure, ModelScores, headline, regroup, vary

if TYPE_CHECKING:
    import polars as pl

    from counterground.inference import Run

_HEADLINES = 4
_NOTES = 3


def scores_html(run: Run) -> str:
    """Return benchmark, headlines, table with 95 % intervals, notes and warnings of a run, in percent."""
    info = run.info
    stamp = ["Loaded as published, not as the weights were trained."] if info.as_published else []
    photos, classes = count(info.counts.photos), count(run.predictions["class_index"].n_unique())
    return block(
        f"<p><b>{escape(info.benchmark.name)}</b>, {photos} photos of {classes} classes</p>",
        paragraphs([f"{headline(model)}." for model in regroup(run.scores)], _HEADLINES, "model"),
        paragraphs(stamp, 1),
        table_html(run.scores),
        paragraphs(info.benchmark.notes, _NOTES, "note", fine=True),
        paragraphs([f"Warning: {text}" for text in info.warnings], _NOTES, "warning", fine=True),
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
    heads = [Head("Class")] if by_class else [Head("Model"), *(Head(TITLES[name]) for name in varying)]
    for measure in measures:
        heads += [Head(measure.title, measure.meaning, numeric=True), *[PICTURE] * (measure == DROP)]
    heads.append(Head("n", "Photos.", numeric=True))
    rows: list[Sequence[str] | str] = []
    for model in models:
        texts = [model.setting.model, *(str(getattr(model.setting, name)) for name in varying)]
        if not by_class:
            rows.append([*map(escape, texts), *_figures(model, measures, None)])
            continue
        rows.append(", ".join(texts))
        for index in sorted(model.classes):
            name = (class_names or {}).get(index, str(index))
            rows.append([escape(name), *_figures(model, measures, index)])
    return f"{table(heads, rows)}<p>{small(caption(models, varying, by_class))}</p>"


def _figures(model: ModelScores, measures: Sequence[Measure], index: int | None) -> list[str]:
    cells = []
    for measure in measures:
        found = model.get(measure.metric, measure.group, index)
        cells.append(figure(found.text, found.interval))
        if measure == DROP:
            cells.append(picture(*(model.get("accuracy", group, index) for group in ("common", "counter"))))
    return [*cells, count(model.get("accuracy", None, index).n)]
