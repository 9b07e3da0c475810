"""The paper's rows beside our values, laid out as sections."""

from __future__ import annotations

from typing import Any

import polars as pl

from counterground.comparison.tables._sheets import Section, signed
from counterground.results import Cell, Column, Sheet, percent


def reproduction_sections(frame: pl.DataFrame) -> list[Section]:
    """Lay out the paper's rows beside our values, a section per table of the paper."""
    sections = []
    for table, part in frame.group_by("table", maintain_order=True):
        if part["common_ours"].null_count() < part.height or str(table[0]) in ("Table 3", "Table 4"):
            sections.append(_reproduced(str(table[0]), part))
    return sections


def _reproduced(table: str, part: pl.DataFrame) -> Section:
    columns = [Column("Model", False)]
    for group in ("Common", "Counter", "Drop"):
        columns += [Column(f"{group} paper", True), Column("ours", True), Column("diff.", True)]
    ways = part.select("source", "names", "loading").drop_nulls("source").unique()
    notes: list[str] = []
    rows = []
    for row in part.iter_rows(named=True):
        name = (
            row["model"].removeprefix("CLIP-").replace("-", " ", 1)
            if row["family"] == "clip"
            else row["model"]
        )
        if row["checkpoint"]:
            name += f" {row['checkpoint']}"
        if row["note"]:
            if row["note"] not in notes:
                notes.append(row["note"])
            name += f" ({notes.index(row['note']) + 1})"
        if ways.height > 1 and row["source"]:
            name += f" [{_way(row)}]"
        cells: list[Cell] = [(name, "")]
        for figure in ("common", "counter", "drop"):
            cells.append((percent(row[f"{figure}_printed"]), ""))
            cells.append((percent(row[f"{figure}_ours"]), ""))
            difference = row[f"{figure}_difference"]
            cells.append(("" if difference is None else signed(difference), ""))
        rows.append(cells)
    title = f"{table} of the paper and our values"
    run = part.filter(pl.col("common_ours").is_not_null())
    sentences = [
        f"{run['model', 'checkpoint'].unique().height} of {_rows(part)} rows were run.",
        *_said(ways, run),
    ]
    sentences += [f"({number}) {note}" for number, note in enumerate(notes, start=1)]
    return Section(title, Sheet(1, columns, rows, f"{title}. {' '.join(sentences)}"), tuple(sentences))


def _rows(part: pl.DataFrame) -> int:
    return part.select("model", "checkpoint").unique().height


def _said(ways: pl.DataFrame, run: pl.DataFrame) -> list[str]:
    """How the values were measured, and how far they lie off on the whole."""
    if not run.height:
        return []
    how = "; ".join(sorted(_way(row) for row in ways.iter_rows(named=True)))
    offs = [abs(value) for name in ("common", "counter") for value in run[f"{name}_difference"].drop_nulls()]
    mean, most = percent(sum(offs) / len(offs)), percent(max(offs))
    return [f"Ours: {how}.", f"Accuracies differ by {mean} points on average, at most {most}."]


def _way(row: dict[str, Any]) -> str:
    return f"{row['source']}, {row['names']} names, loaded {row['loading']}"
