"""Scores as text: percent with intervals for people, fractions for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal, overload

import polars as pl

from counterground.errors import UsageError, did_you_mean
from counterground.report._numbers import count
from counterground.report._summary import (
    BALANCED,
    COMMON,
    COUNTER,
    DROP,
    MEASURES,
    WORST_GROUP,
    Measure,
    ModelScores,
    Setting,
    regroup,
    vary,
)

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table

TextFormat = Literal["csv", "json", "markdown", "latex"]
_FORMATS = ("table", "csv", "json", "markdown", "latex")
_BY_CLASS = (COMMON, COUNTER, DROP)
_CELL = 14  # "[-12.0, 100.0]" without padding
_TITLES = {
    "names": "Names",
    "prompts": "Prompts",
    "protocol": "Protocol",
    "label_space": "Label space",
    "run": "Run",
}


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
        return _records(scores, format, by_class, class_names)
    sheet = _sheet(scores, by_class, class_names, width=None)
    return _markdown(sheet) if format == "markdown" else _latex(sheet)


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
    from rich.text import Text

    width = get_console().width if width is None else width
    sheet = _sheet(scores, by_class, class_names, width)
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
        cells = []
        head = row[: sheet.heads]
        repeated = by_class and head == above
        if by_class and above is not None and not repeated:
            table.add_section()
        above = head
        for value, interval in [("", ""), *row[1:]] if repeated else row:
            text = Text(value)
            if interval:
                text.append(f"\n{interval}", style="dim")
            cells.append(text)
        table.add_row(*cells)
    return table


@dataclass(frozen=True)
class ScoresView:
    """A rich renderable: the scores table with the columns that fit the console it is printed on."""

    scores: pl.DataFrame
    by_class: bool = False
    class_names: Mapping[int, str] | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Build the table for the width at hand."""
        yield scores_table(self.scores, self.by_class, self.class_names, width=options.max_width)


@dataclass(frozen=True)
class _Column:
    title: str
    numeric: bool


@dataclass(frozen=True)
class _Sheet:
    """Cells as (value, interval) texts, the same for every format in percent; ``heads`` name a model."""

    heads: int
    columns: list[_Column]
    rows: list[list[tuple[str, str]]]
    caption: str


def _sheet(
    scores: pl.DataFrame, by_class: bool, class_names: Mapping[int, str] | None, width: int | None
) -> _Sheet:
    models = regroup(_with_run_names(scores))
    varying = vary(models)
    columns = [_Column("Model", False), *(_Column(_TITLES[name], False) for name in varying)]
    heads = len(columns)
    if by_class:
        columns.append(_Column("Class", False))
    measures = _fitting(_measures(models, by_class), len(columns), width)
    columns += [_Column(measure.title, True) for measure in measures] + [_Column("n", True)]
    rows = []
    for model in models:
        head = [(model.setting.model, ""), *((str(getattr(model.setting, name)), "") for name in varying)]
        if not by_class:
            rows.append([*head, *_cells(model, measures, None), (count(model.photos.n), "")])
            continue
        for index in sorted(model.classes):
            name = (class_names or {}).get(index, str(index))
            n = count(model.get("accuracy", None, index).n)
            rows.append([*head, (name, ""), *_cells(model, measures, index), (n, "")])
    return _Sheet(heads, columns, rows, _caption(models, varying, by_class))


def _with_run_names(scores: pl.DataFrame) -> pl.DataFrame:
    """Runs by the name of their folder; by its path, as given, where two folders have one name."""
    if "run" not in scores.columns:
        return scores
    paths = scores["run"].unique(maintain_order=True).to_list()
    names = {path: PurePath(path).name or path for path in paths}
    if len(set(names.values())) < len(paths):
        return scores
    return scores.with_columns(pl.col("run").replace(names))


def _cells(model: ModelScores, measures: Sequence[Measure], index: int | None) -> list[tuple[str, str]]:
    figures = [model.get(measure.metric, measure.group, index) for measure in measures]
    return [(figure.text, figure.interval) for figure in figures]


def _measures(models: Sequence[ModelScores], by_class: bool) -> Sequence[Measure]:
    """The figures to show: where no model has groups, none that only groups can have."""
    if not models or any(model.has_groups for model in models):
        return _BY_CLASS if by_class else MEASURES
    if by_class:
        return (BALANCED._replace(title="Accuracy"),)
    return [measure for measure in MEASURES if measure not in (*_BY_CLASS, WORST_GROUP)]


def _fitting(measures: Sequence[Measure], texts: int, width: int | None) -> Sequence[Measure]:
    if width is None:
        return measures
    room = width - 18 * texts - 8
    return measures[: max(3, room // (_CELL + 1))]


def _caption(models: Sequence[ModelScores], varying: Sequence[str], by_class: bool) -> str:
    if not models:
        return "No scores."
    same = [
        f"{_TITLES[name].lower()} {getattr(models[0].setting, name)}"
        for name in Setting._fields[1:]
        if name not in varying and getattr(models[0].setting, name) is not None
    ]
    clusters = sorted({model.photos.clusters for model in models if model.photos.clusters is not None})
    counted = f" from {' or '.join(count(n) for n in clusters)} clusters" if clusters and not by_class else ""
    listed = ", ".join(same)
    settings = f" {listed[0].upper()}{listed[1:]}." if same else ""
    drop = " drop in points;" if any(model.has_groups for model in models) else ""
    return f"Percent;{drop} 95 % intervals{counted}.{settings}"


def _records(
    scores: pl.DataFrame,
    style: str,
    by_class: bool,
    class_names: Mapping[int, str] | None,
) -> str:
    chosen = pl.col("class_index").is_not_null() if by_class else pl.col("class_index").is_null()
    frame = scores.filter(chosen).with_columns(pl.col("value", "low", "high").fill_nan(None))
    if by_class and class_names is not None:
        names = [None if index is None else class_names.get(index) for index in frame["class_index"]]
        place = frame.get_column_index("class_index") + 1
        frame = frame.insert_column(place, pl.Series("class_name", names, dtype=pl.String))
    if style == "csv":
        return frame.write_csv().rstrip("\n")
    return json.dumps(frame.to_dicts(), ensure_ascii=False, indent=1, allow_nan=False)


def _markdown(sheet: _Sheet) -> str:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cells)} |"

    def escape(text: str) -> str:
        plain = text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
        return plain.replace("_", "\\_").replace("*", "\\*").replace("`", "\\`")

    lines = [line([column.title for column in sheet.columns])]
    lines.append(line(["---:" if column.numeric else ":---" for column in sheet.columns]))
    lines += [line([f"{escape(value)} {interval}".strip() for value, interval in row]) for row in sheet.rows]
    return "\n".join([*lines, "", sheet.caption])


_LATEX = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "−": "$-$",
    "–": "--",
    "→": r"$\rightarrow$",
    "\n": " ",
}


def _escape_latex(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)


def _latex(sheet: _Sheet) -> str:
    def cell(value: str, interval: str) -> str:
        # Braces keep LaTeX from reading a bracket at the start of a row as the argument of \\.
        return _escape_latex(value) + (f" {{\\scriptsize {_escape_latex(interval)}}}" if interval else "")

    alignment = "".join("r" if column.numeric else "l" for column in sheet.columns)
    lines = [
        "% " + sheet.caption.replace("\n", " "),
        f"\\begin{{tabular}}{{@{{}}{alignment}@{{}}}}",
        r"\toprule",
    ]
    lines += [" & ".join(_escape_latex(column.title) for column in sheet.columns) + r" \\", r"\midrule"]
    lines += [" & ".join(cell(*pair) for pair in row) + r" \\" for row in sheet.rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])
