"""Accuracy on each background, value of an attribute or cell, even if no photo is common or counter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from counterground.errors import UsageError
from counterground.metrics import BREAKDOWN_SCHEMA, Estimate
from counterground.results._model_scores import TITLES, setting_text
from counterground.results._run import Run, join_frames
from counterground.results._scores_table import (
    varying_settings,
    with_run_names,
)
from counterground.results.tables import Cell, Column, Table, TableView
from counterground.text import count


def has_unpaired_backgrounds(run: Run) -> bool:
    """Return whether there is no drop because no photo is in a group, but ``discover`` could choose pairs."""
    photos = run.photos.select("class_index", "background", "group").unique().drop_nulls("background")
    if photos["group"].is_not_null().any():
        return False
    return bool(photos["class_index"].is_duplicated().any())


def _breakdown_columns(runs: Sequence[Run], by: str) -> tuple[str, ...]:
    """Return the columns that ``--by`` selects: one, or those of the cells."""
    if by != "cell":
        return (by,)
    cells = {run.design.cells for run in runs}
    if len(cells) > 1:
        raise UsageError("These runs have different cells: show them one at a time by cell.")
    return cells.pop()


def join_breakdowns(runs: Sequence[Run], by: str, *, named: bool) -> pl.DataFrame:
    """Return the accuracy of several runs by what ``--by`` selects; ``named`` prepends a column ``run``.

    The columns are those of `metrics.score_by`. The accuracy of a cell is over photos, as in
    ``worst_group_accuracy``.

    Raises:
        UsageError: a run lacks a column, no photo has a value, or the runs have different cells.
    """
    columns = _breakdown_columns(runs, by)
    frames = [run.by(columns, balanced=by != "cell") for run in runs]
    if all(frame.is_empty() for frame in frames):
        if len(columns) > 1:
            raise UsageError(
                f"No photo of these runs is in a cell of their design ({', '.join(columns)}): leave out --by "
                "cell, or name one column there."
            )
        raise UsageError(f"No photo of these runs has a {columns[0]}: leave out --by {columns[0]}.")
    return join_frames(runs, frames, named=named)


@dataclass(frozen=True, eq=False, repr=False)
class BreakdownView(TableView):
    """Accuracy by value, for a reader.

    Attributes:
        rows: what ``join_breakdowns`` returns.
    """

    rows: pl.DataFrame

    @property
    def table(self) -> Table:
        """A row per model and value, the best one first."""
        rows, settings = with_run_names(self.rows), varying_settings(self.rows)
        values = [name for name in rows.columns if name not in BREAKDOWN_SCHEMA and name != "run"]
        columns = [Column("Model"), *(Column(TITLES[name]) for name in settings)]
        columns += [Column(_title(name)) for name in values]
        over_photos = rows["classes"].is_null().all()
        columns.append(Column("Accuracy", True))
        columns += [] if over_photos else [Column("Classes", True)]
        columns.append(Column("n", True, "Photos."))
        cells = []
        for row in rows.iter_rows(named=True):
            heads = [row["model"], *(setting_text(row[name]) for name in settings)]
            found = Estimate.of(row)
            figures = [Cell(found.text, found.interval)]
            figures += [] if over_photos else [Cell(count(row["classes"]))]
            figures.append(Cell(count(row["n"])))
            cells.append([*map(Cell, heads), *(Cell(row[name]) for name in values), *figures])
        where = "on the background" if values == ["background"] else "there"
        over = "the photos of the cell" if over_photos else f"the classes that have photos {where}"
        caption = f"Percent; 95 % intervals. Accuracy is averaged over {over}."
        return Table(columns, cells, caption, heads=1 + len(settings), grouped=True)


def _title(column: str) -> str:
    return "Class" if column == "class_name" else column[0].upper() + column[1:].replace("_", " ")
