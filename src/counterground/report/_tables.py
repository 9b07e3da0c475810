"""Scores as text: percent with intervals for people, fractions for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, overload

import polars as pl

from counterground.errors import UsageError, did_you_mean
from counterground.report._markup import LATEX_FIGURES, sheet_latex, sheet_latex_by_class, sheet_markdown
from counterground.report._sheet import Sheet, make_sheet

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table
    from rich.text import Text

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
        from counterground.report._fragment import table_html

        return table_html(self.scores, self.by_class, self.class_names)
