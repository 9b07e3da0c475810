"""Accuracy on each background: what there is to read where no photo is in a group common or counter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from counterground.metrics import SETTING
from counterground.results._model_scores import TITLES, setting_text
from counterground.results._numbers import Estimate, count
from counterground.results._run import Run
from counterground.results._scores_table import frame_text, kind_of_intervals, with_run_names
from counterground.results.tables import (
    Cell,
    Column,
    Table,
    html_table,
    latex_table,
    markdown_table,
    rich_table,
)

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult


def has_unpaired_backgrounds(run: Run) -> bool:
    """Return whether there is no drop, since no photo is in a group, but ``discover`` could choose pairs."""
    photos = run.photos.select("class_index", "background", "group").unique().drop_nulls("background")
    if photos["group"].is_not_null().any():
        return False
    return bool(photos["class_index"].is_duplicated().any())


def join_backgrounds(runs: Sequence[Run], *, named: bool) -> pl.DataFrame:
    """Return the accuracy by background of several runs; ``named`` puts a column ``run`` in front."""
    frames = [run.by_background() for run in runs]
    if named:
        frames = [
            frame.select(pl.lit(str(run.path)).alias("run"), pl.all())
            for run, frame in zip(runs, frames, strict=True)
        ]
    return pl.concat(frames)


def backgrounds_as_table(rows: pl.DataFrame) -> Table:
    """Lay out what ``join_backgrounds`` returns: a row per model and background, the best one first."""
    rows = with_run_names(rows)
    settings = [name for name in (*SETTING, "run") if name in rows.columns and rows[name].n_unique() > 1]
    columns = [Column("Model"), *(Column(TITLES[name]) for name in settings), Column("Background")]
    columns += [Column("Accuracy", True), Column("Classes", True), Column("n", True, "Photos.")]
    cells = []
    for row in rows.iter_rows(named=True):
        heads = [row["model"], *(setting_text(name, row[name]) for name in settings), row["background"]]
        found = Estimate.of(row)
        figures = [Cell(found.text, found.interval), Cell(count(row["classes"])), Cell(count(row["n"]))]
        cells.append([*map(Cell, heads), *figures])
    caption = (
        f"Percent; {kind_of_intervals(rows['anytime'])}. Accuracy is averaged over the classes that have "
        "photos on the background."
    )
    return Table(columns, cells, caption, heads=1 + len(settings), grouped=True)


def format_backgrounds(rows: pl.DataFrame, format: str = "table") -> str | BackgroundsView:  # noqa: A002
    """Write what ``join_backgrounds`` returns, in the formats of ``format_scores``."""
    if format in ("csv", "json"):
        return frame_text(rows, format)
    if format == "table":
        return BackgroundsView(rows)
    table = backgrounds_as_table(rows)
    return latex_table(table) if format == "latex" else markdown_table(table)


@dataclass(frozen=True)
class BackgroundsView:
    """Accuracy by background for a reader: a table that fits its console, and in a notebook one of HTML."""

    rows: pl.DataFrame

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Build the table for the width at hand."""
        yield rich_table(backgrounds_as_table(self.rows), options.max_width)

    def _repr_html_(self) -> str:
        return html_table(backgrounds_as_table(self.rows))
