"""Heat maps of class x something as texts, shades and words, for every renderer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from counterground.construction.pool_page._summary import REASONS, PoolSummary
from counterground.results import bounds, count, percent
from counterground.text import counted

WEAK_BELOW = 5
COLUMNS_AT_MOST = 16
_MOST_BINS = 7


class Shade(NamedTuple):
    """Fill and text colour on a light page, and on a dark one."""

    fill: str
    ink: str
    dark_fill: str
    dark_ink: str


# Equal steps of lightness in Oklab: a scale that only gets darker works with any kind of colour vision.
# Texts are black or white, whichever has more contrast: 4.5 or more everywhere (WCAG AA).
SHADES = (
    Shade("#e5f2fe", "#000000", "#1d2f45", "#ffffff"),
    Shade("#c7e1fa", "#000000", "#253f5e", "#ffffff"),
    Shade("#aad0f5", "#000000", "#2b5079", "#ffffff"),
    Shade("#8bbef0", "#000000", "#326294", "#ffffff"),
    Shade("#6cadeb", "#000000", "#3974b1", "#ffffff"),
    Shade("#5397d9", "#000000", "#4d8ac7", "#000000"),
    Shade("#417dbd", "#000000", "#6ca4d7", "#000000"),
    Shade("#3064a2", "#ffffff", "#8cbee6", "#000000"),
    Shade("#204d88", "#ffffff", "#acd8f6", "#000000"),
    Shade("#11356e", "#ffffff", "#cdf2ff", "#000000"),
)


class Cell(NamedTuple):
    """One cell: its short text, shade (0 the palest, None unshaded), the full words and the photos behind it.

    ``weak`` marks it as doubtful, because these are few.
    """

    text: str
    shade: int | None
    title: str
    n: int
    weak: bool = False


@dataclass(frozen=True)
class HeatMap:
    """Rows of cells; ``beside`` says something about each row, ``key`` explains the shades.

    ``grid`` is ``[rows][columns]``.
    """

    rows: list[str]
    columns: list[str]
    grid: list[list[Cell]]
    beside: list[str]
    key: list[tuple[int | None, str]]

    def blocks(self, most: int = COLUMNS_AT_MOST) -> Iterator[range]:
        """Yield the columns in the fewest blocks of about equal width, none wider than ``most``."""
        parts = max(1, -(-len(self.columns) // most))
        edges = np.linspace(0, len(self.columns), parts + 1).round().astype(int).tolist()
        yield from (range(*pair) for pair in pairwise(edges))

    def in_words(self, row: int, columns: Sequence[int]) -> str:
        """Return a row in words, without its empty cells."""
        cells = [(self.columns[k], self.grid[row][k]) for k in columns]
        full = [f"{name} {cell.text}" for name, cell in cells if cell.shade is not None]
        return f"{self.rows[row]}: {', '.join(full) if full else 'none'}"


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
        f"{count(discarded)} of {count(photos)}{_share(discarded, photos)}"
        for discarded, photos in summary.classes.select("discarded", "photos").iter_rows()
    ]
    return _count_map(summary, summary.discards, "reason", REASONS, beside)


def referee_accuracy(cells: pl.DataFrame, labels: Sequence[str]) -> HeatMap:
    """Return the accuracy of a referee by class and background, over all photos it saw.

    Args:
        cells: ``class_name, background, n, accuracy, low, high`` (fractions), and ``half`` if the photos
            were split; halves are weighted by their photos, and the words give each with its interval.
        labels: order of backgrounds; others follow.
    """
    found = list(
        cells.filter(pl.col("n") > 0)
        .group_by("class_name", "background", maintain_order=True)
        .agg(n=pl.col("n").sum(), accuracy=(pl.col("accuracy") * pl.col("n")).sum() / pl.col("n").sum())
        .iter_rows(named=True)
    )
    halves: dict[tuple[str, str], list[str]] = {}
    for row in cells.iter_rows(named=True):
        halves.setdefault((row["class_name"], row["background"]), []).append(_half(row))
    rows = sorted(set(cells["class_name"]), key=lambda name: (name.lower(), name))
    used = set(cells["background"])
    columns = [*(name for name in labels if name in used), *sorted(used - set(labels))]
    known = {(row["class_name"], row["background"]): row for row in found}
    grid = [
        [_accuracy_cell(known.get((row, name)), row, name, halves.get((row, name), [])) for name in columns]
        for row in rows
    ]
    seen = {name: sum(row["n"] for row in found if row["class_name"] == name) for name in rows}
    key: list[tuple[int | None, str]] = [(None, "no photos")]
    key += [(shade, f"{10 * shade}–{10 * shade + 9}") for shade in range(9)] + [(9, "90–100")]
    return HeatMap(rows, columns, grid, [counted(seen[name], "photo") for name in rows], key)


def _count_map(
    summary: PoolSummary, frame: pl.DataFrame, by: str, columns: Sequence[str], beside: list[str]
) -> HeatMap:
    rows = summary.classes["class_name"].to_list()
    counts = {(row["class_name"], row[by]): row["n"] for row in frame.iter_rows(named=True)}
    starts = _bins(max(counts.values(), default=0))
    shades = [round(k) for k in np.linspace(0, len(SHADES) - 1, len(starts))]
    grid = [[_count_cell(counts, row, name, starts, shades) for name in columns] for row in rows]
    ends = [*(start - 1 for start in starts[1:]), None]
    key: list[tuple[int | None, str]] = [(None, "0")]
    key += [(shade, _bin(start, end)) for shade, start, end in zip(shades, starts, ends, strict=True)]
    return HeatMap(rows, list(columns), grid, beside, key)


def _count_cell(
    counts: Mapping[tuple[str, str], int], row: str, name: str, starts: Sequence[int], shades: Sequence[int]
) -> Cell:
    n = counts.get((row, name), 0)
    title = f"{row}, {name}: {counted(n, 'photo')}"
    if not n:
        return Cell("0", None, title, 0)
    return Cell(_short(n), shades[int(np.searchsorted(starts, n, side="right")) - 1], title, n)


def _accuracy_cell(found: Mapping[str, Any] | None, row: str, name: str, halves: Sequence[str]) -> Cell:
    if found is None:
        return Cell("", None, f"{row}, {name}: no photos", 0)
    accuracy, n = found["accuracy"], found["n"]
    title = f"{row}, {name}: {percent(accuracy)} % of {counted(n, 'photo')}; {'; '.join(halves)}"
    shown = f"{100 * accuracy:.0f}"
    return Cell(shown, min(9, int(shown) // 10), title, n, n < WEAK_BELOW)


def _half(row: Mapping[str, Any]) -> str:
    interval = bounds(row["low"], row["high"]) or "no interval"
    names = {"chooses": "selection half: ", "reports": "held-out half: "}
    names |= {"first": "first half: ", "second": "second half: "}
    half = names.get(row.get("half") or "", "")
    return f"{half}{percent(row['accuracy'])} {interval}, n {count(row['n'])}"


def _bins(most: int) -> list[int]:
    """Return where bins start, up to ``most``: at 1, 2, 5, 10 and so on; at fewer if there are too many."""
    for steps in ((1, 2, 5), (1, 3), (1,)):
        starts = [step * 10**power for power in range(len(str(most))) for step in steps]
        starts = [start for start in starts if start <= most] or [1]
        if len(starts) <= _MOST_BINS:
            break
    return starts


def _bin(start: int, end: int | None) -> str:
    if end is None:
        return f"{count(start)} or more"
    return count(start) if start == end else f"{count(start)}–{count(end)}"


def _short(n: int) -> str:
    """Return at most four characters: 999, 1.2k, 12k."""
    if n < 1000:
        return str(n)
    return f"{n / 1000:.1f}k" if n < 9950 else f"{n / 1000:.0f}k"


def _share(part: int, whole: int) -> str:
    return f" ({100 * part / whole:.0f} %)" if whole else ""
