"""Scores as text: percent with intervals for people, fractions for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Literal, NamedTuple, overload

import polars as pl

from counterground.errors import UsageError, did_you_mean
from counterground.results._numbers import count
from counterground.results._summary import DROP, Estimate, Measure, ModelScores, headline, regroup, vary
from counterground.results.tables._markup import (
    LATEX_FIGURES,
    sheet_latex,
    sheet_latex_by_class,
    sheet_markdown,
)
from counterground.results.tables._table import TITLES, Sheet, caption, make_sheet, shown_measures

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table
    from rich.text import Text

    from counterground.results._run import Run


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
        texts = [model.setting.model, *(model.setting.text(name) for name in varying)]
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


TextFormat = Literal["csv", "json", "markdown", "latex"]
_FORMATS = ("table", "csv", "json", "markdown", "latex")
_CELL = 14  # "[-12.0, 100.0]" without padding


@overload
def format_scores(
    scores: pl.DataFrame,
    format: TextFormat,
    by_class: bool = False,
    class_names: Mapping[int, str] | None = None,
) -> str: ...
@overload
def format_scores(
    scores: pl.DataFrame,
    format: Literal["table"] = "table",
    by_class: bool = False,
    class_names: Mapping[int, str] | None = None,
) -> ScoresView: ...
@overload
def format_scores(
    scores: pl.DataFrame,
    format: str,
    by_class: bool = False,
    class_names: Mapping[int, str] | None = None,
) -> str | ScoresView: ...
def format_scores(
    scores: pl.DataFrame,
    format: str = "table",  # noqa: A002 - the command's option has this name
    by_class: bool = False,
    class_names: Mapping[int, str] | None = None,
) -> str | ScoresView:
    """Write scores for a person or a program.

    Args:
        scores: columns of ``scores.parquet``, fractions; where several runs stand together, a column ``run``
            first with the folder of each, which csv and json keep and tables show by its name.
        format: ``table`` (a rich renderable that fits its console), ``markdown`` and ``latex`` (booktabs)
            give percent with 95 % intervals; ``csv`` and ``json`` give the rows as they are, fractions.
        by_class: one row per model and class instead of one per model.
        class_names: names to write for class indices; csv and json by class get a ``class_name`` column.

    Raises:
        UsageError: an unknown format, or a figure that stands twice in the same setting and run.
    """
    if format not in _FORMATS:
        raise UsageError(
            f"There is no format {format!r}; choose one of {', '.join(_FORMATS)}."
            + did_you_mean(format, _FORMATS)
        )
    if format == "table":
        return ScoresView(scores, by_class, class_names)
    if format in ("csv", "json"):
        frame = score_rows(scores, by_class, class_names)
        if format == "csv":
            return frame.write_csv().rstrip("\n")
        return json.dumps(frame.to_dicts(), ensure_ascii=False, indent=1, allow_nan=False)
    sheet = make_sheet(scores, by_class, class_names, most=LATEX_FIGURES if format == "latex" else None)
    if format == "markdown":
        return sheet_markdown(sheet)
    return sheet_latex_by_class(sheet) if by_class else sheet_latex(sheet)


def score_rows(
    scores: pl.DataFrame, by_class: bool = False, class_names: Mapping[int, str] | None = None
) -> pl.DataFrame:
    """Return the rows of all classes together, or of each class, as csv, json and parquet hold them.

    Args:
        scores: columns of ``scores.parquet``; what is no number becomes null.
        by_class: the rows of single classes instead of those of all together.
        class_names: names by class index, for a column ``class_name``.
    """
    chosen = pl.col("class_index").is_not_null() if by_class else pl.col("class_index").is_null()
    frame = scores.filter(chosen).with_columns(pl.col("value", "low", "high").fill_nan(None))
    if not by_class or class_names is None:
        return frame
    names = [None if index is None else class_names.get(index) for index in frame["class_index"]]
    place = frame.get_column_index("class_index") + 1
    return frame.insert_column(place, pl.Series("class_name", names, dtype=pl.String))


def scores_table(
    scores: pl.DataFrame,
    by_class: bool = False,
    class_names: Mapping[int, str] | None = None,
    *,
    width: int | None = None,
) -> Table:
    """Return a rich table in percent; at less than about 140 columns the minor figures are left out.

    Args:
        scores: columns of ``scores.parquet``.
        by_class: one row per model and class.
        class_names: names to write for class indices.
        width: columns of the terminal; by default those of rich's own console.
    """
    from rich import box, get_console
    from rich.table import Table

    width = get_console().width if width is None else width
    sheet = make_sheet(scores, by_class, class_names)
    if not by_class:
        texts = sum(not column.numeric for column in sheet.columns)
        most = max(3, (width - 18 * texts - 8) // (_CELL + 1))
        sheet = make_sheet(scores, by_class, class_names, most=most)
    gap = " " if by_class and _one_line_width(sheet) <= width else "\n"
    table = Table(
        box=box.SIMPLE_HEAD,
        caption=sheet.caption,
        caption_justify="left",
        pad_edge=False,
        collapse_padding=True,
    )
    for column in sheet.columns:
        if column.numeric:
            table.add_column(column.title, justify="right", no_wrap=True)
        else:
            table.add_column(column.title, overflow="fold", min_width=min(12, len(column.title)))
    above: list[tuple[str, str]] | None = None
    for row in sheet.rows:
        head = row[: sheet.heads]
        repeated = by_class and head == above
        if by_class and above is not None and not repeated:
            table.add_section()
        above = head
        shown = [*[("", "")] * sheet.heads, *row[sheet.heads :]] if repeated else row
        table.add_row(*(_cell(value, interval, gap) for value, interval in shown))
    return table


def _cell(value: str, interval: str, gap: str) -> Text:
    """Return a figure with its interval dim beside it, or below where ``gap`` is a new line."""
    from rich.text import Text

    text = Text(value)
    if interval:
        text.append(f"{gap}{interval:>{_CELL if gap == ' ' else 0}}", style="dim")
    return text


def _one_line_width(sheet: Sheet) -> int:
    """Columns that a table needs which has intervals beside the figures."""
    wide = 0
    for place, column in enumerate(sheet.columns):
        texts = [column.title, *(row[place][0] for row in sheet.rows)]
        spread = 1 + _CELL if any(row[place][1] for row in sheet.rows) else 0
        wide += max(map(len, texts)) + spread + 2
    return wide


@dataclass(frozen=True)
class ScoresView:
    """Scores for a reader: a table that fits its console, and in a notebook a table of HTML."""

    scores: pl.DataFrame
    by_class: bool = False
    class_names: Mapping[int, str] | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Build the table for the width at hand."""
        yield scores_table(self.scores, self.by_class, self.class_names, width=options.max_width)

    def _repr_html_(self) -> str:
        return table_html(self.scores, self.by_class, self.class_names)
