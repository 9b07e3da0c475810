"""Heat maps of class x something as texts, shades and words, for every renderer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl

from counterground.construction.pool_page._summary import REASONS, PoolSummary
from counterground.text import count, counted, percent

WEAK_BELOW = 5
_DARKEST = 9  # the page's style has a shade for each number from 0, the palest


class Cell(NamedTuple):
    """One cell: its short text, shade (None unshaded), and the full words.

    ``weak`` marks it as doubtful, because few photos are behind it.
    """

    text: str
    shade: int | None
    title: str
    weak: bool = False


@dataclass(frozen=True)
class HeatMap:
    """Rows of cells; ``beside`` says something about each row; ``grid`` is ``[rows][columns]``."""

    rows: list[str]
    columns: list[str]
    grid: list[list[Cell]]
    beside: list[str]

    def in_words(self, row: int) -> str:
        """Return a row in words, without its empty cells."""
        cells = zip(self.columns, self.grid[row], strict=True)
        return ", ".join(f"{name} {cell.text}" for name, cell in cells if cell.shade is not None)


def background_counts(summary: PoolSummary) -> HeatMap:
    """Count photos that stand, by class and background."""
    beside = [
        f"{count(labelled)} of {count(kept + undecided)} labelled"
        for labelled, kept, undecided in summary.classes.select("labelled", "kept", "undecided").iter_rows()
    ]
    return _count_map(summary, summary.backgrounds, "background", summary.labels, beside)


def discard_counts(summary: PoolSummary) -> HeatMap:
    """Count discarded photos, by class and reason."""
    beside = [
        f"{count(discarded)} of {count(photos)}"
        for discarded, photos in summary.classes.select("discarded", "photos").iter_rows()
    ]
    return _count_map(summary, summary.discards, "reason", REASONS, beside)


def referee_accuracy(cells: pl.DataFrame, labels: Sequence[str]) -> HeatMap:
    """Return the accuracy of a referee by class and background, over all photos it saw.

    Args:
        cells: ``class_name, background, n, accuracy`` (fractions); halves are weighted by their photos.
        labels: order of backgrounds; others follow.
    """
    found = {
        (row["class_name"], row["background"]): row
        for row in cells.filter(pl.col("n") > 0)
        .group_by("class_name", "background", maintain_order=True)
        .agg(n=pl.col("n").sum(), accuracy=(pl.col("accuracy") * pl.col("n")).sum() / pl.col("n").sum())
        .iter_rows(named=True)
    }
    rows = sorted(set(cells["class_name"]), key=lambda name: (name.lower(), name))
    used = set(cells["background"])
    columns = [*(name for name in labels if name in used), *sorted(used - set(labels))]
    grid = [[_accuracy_cell(found.get((row, name)), row, name) for name in columns] for row in rows]
    seen = [sum(found[key]["n"] for key in found if key[0] == name) for name in rows]
    return HeatMap(rows, columns, grid, [counted(n, "photo") for n in seen])


def _count_map(
    summary: PoolSummary, frame: pl.DataFrame, by: str, columns: Sequence[str], beside: list[str]
) -> HeatMap:
    rows = summary.classes["class_name"].to_list()
    counts = {(row["class_name"], row[by]): row["n"] for row in frame.iter_rows(named=True)}
    most = max(counts.values(), default=1)
    grid = [[_count_cell(counts.get((row, name), 0), most, row, name) for name in columns] for row in rows]
    return HeatMap(rows, list(columns), grid, beside)


def _count_cell(n: int, most: int, row: str, name: str) -> Cell:
    return Cell(count(n), _DARKEST * n // most if n else None, f"{row}, {name}: {counted(n, 'photo')}")


def _accuracy_cell(found: Mapping[str, Any] | None, row: str, name: str) -> Cell:
    if found is None:
        return Cell("", None, f"{row}, {name}: no photos")
    title = f"{row}, {name}: {percent(found['accuracy'])} % of {counted(found['n'], 'photo')}"
    shown = f"{100 * found['accuracy']:.0f}"
    return Cell(shown, min(_DARKEST, int(shown) // 10), title, found["n"] < WEAK_BELOW)
