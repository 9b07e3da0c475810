"""What a referee chose, with its evidence: shown, written with the benchmark, and read back."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, fields
from html import escape
from pathlib import Path
from typing import get_type_hints

import polars as pl
from pydantic import TypeAdapter

from counterground.discovery._finding import ByChance, Finding
from counterground.errors import CounterGroundError
from counterground.files import read_json, read_parquet, write_parquet, write_text
from counterground.metrics import Estimate
from counterground.photos import LABEL_SPACE_FILE, Benchmark, read_benchmark, write_benchmark
from counterground.results import (
    Cell,
    Column,
    Table,
    block,
    html_paragraphs,
    html_table,
    plain_text,
    rich_table,
    unfolding,
)
from counterground.text import NOTHING, bounds, counted, one_line, p_value, percent

BENCHMARK_FILES = ("benchmark.json", LABEL_SPACE_FILE, "photos.parquet")
_RECORD = "discovery.json"
FILES = (*BENCHMARK_FILES, "cells.parquet", "pairs.parquet", "referee")
_CHOSEN_ON = {"first": "first half", "second": "second half"}


@dataclass(frozen=True, eq=False)
class Discovery(Finding):
    """What a referee chose, and what chance alone would have given.

    ``benchmark`` is None if none was written: nothing exceeded chance, or no class varied enough. ``referee``
    is the name of the model, or the names of a committee. ``min_drop`` and all drops are fractions.
    ``chosen_drop`` is measured on the photos that chose (biased upwards), ``reported_drop`` on held-out ones
    (None without a split; for a swap the mean of both halves, with the mean of their intervals).
    """

    benchmark: Benchmark | None
    referee: str
    min_drop: float
    split: str
    choose: str
    sentence: str

    @property
    def table(self) -> Table:
        """The pairs, a row per class; for a swap, a row per class and half."""
        crossed = self.split == "cross"
        drop = (
            "drop"
            if self.split == "none"
            else "drop where chosen"
            if crossed
            else "drop on the selection half"
        )
        rows = [
            [Cell(one_line(row[name])) for name in ("class_name", "common", "counter")]
            + ([Cell(_CHOSEN_ON[row["half"]])] if crossed else [])
            + [Cell(f"{100 * row['drop']:.1f}")]
            for row in self.pairs.iter_rows(named=True)
        ]
        columns = [Column("class"), Column("common"), Column("counter")]
        columns += [Column("chosen on")] if crossed else []
        columns += [Column(drop, True)]
        return Table(columns, rows, title=f"Pairs chosen by {self.referee}", heads=len(columns) - 1)

    @property
    def evidence(self) -> Table:
        """What was found, next to what chance alone gives."""
        kept = self.classes_by_chance
        found = Cell(f"{kept.observed:g} of {self.classes_seen}")
        title = Cell(f"Classes that differ by more than {100 * self.min_drop:g} points")
        rows = [[title, found, _classes(kept), Cell(p_value(kept.p))]]
        drops = {
            "Drop where chosen": self.chosen_by_chance,
            "Drop on the other half, mean of both": self.held_out_by_chance,
        }
        for name, drop in drops.items():
            expected = Cell(percent(drop.expected), bounds(drop.low, drop.high))
            rows.append([Cell(name), Cell(percent(drop.observed)), expected, Cell(p_value(drop.p))])
        columns = [Column("Evidence"), *(Column(title, True) for title in ("found", "by chance", "p"))]
        caption = (
            "Drops in points. By chance: mean and 95 % range with the backgrounds permuted (in the last row "
            "for errors as large as those found); p: how often permutations reach what was found. The last "
            "row decides; the p of the others holds only if all backgrounds have clusters of similar size."
        )
        return Table(columns, rows, caption, title="Is it more than chance?")

    @property
    def summary(self) -> str:
        """How many classes have a pair, and how many photos are left."""
        where = {"half": " on the selection half", "cross": " in one half or both"}.get(self.split, "")
        holds = (
            "no benchmark was written"
            if self.benchmark is None
            else f"the benchmark holds {counted(len(self.benchmark), 'photo')}"
        )
        return (
            f"{self.pairs['class_index'].n_unique()} of {counted(self.classes_seen, 'class')} differ by more "
            f"than {100 * self.min_drop:g} points between backgrounds{where}; {holds}."
        )

    def __repr__(self) -> str:
        """Return the pairs, the evidence and the remarks on them, as on a terminal."""
        width = shutil.get_terminal_size((100, 24)).columns
        tables = [plain_text(rich_table(table, width), width=width) for table in (self.table, self.evidence)]
        return "\n".join([*tables, self.summary, self.sentence])

    def _repr_html_(self) -> str:
        return block(
            f"<p><b>{escape(self.table.title)}</b></p>",
            unfolding(self.table, "class"),
            html_table(self.evidence),
            html_paragraphs([self.summary, self.sentence], 2),
        )


def _classes(kept: ByChance) -> Cell:
    """Return how many classes differ by chance."""
    if kept.expected is None:
        return Cell(NOTHING)
    return Cell(f"{kept.expected:.1f}", f"[{kept.low:.0f}, {kept.high:.0f}]")


def write_discovery(discovery: Discovery, out: Path, asked: dict[str, object]) -> None:
    """Write the evidence into ``out``, and the benchmark if there is one; ``asked`` is the request."""
    (out / _RECORD).unlink(missing_ok=True)  # it is written last: a folder with it is complete
    if discovery.benchmark is not None:
        write_benchmark(discovery.benchmark, out)
    else:
        for name in BENCHMARK_FILES:
            (out / name).unlink(missing_ok=True)
    write_parquet(out / "cells.parquet", discovery.cells)
    write_parquet(out / "pairs.parquet", discovery.pairs)
    kept = [field.name for field in fields(Discovery) if field.name not in ("benchmark", "pairs", "cells")]
    figures = {name: getattr(discovery, name) for name in kept if name not in asked}
    record = {
        **asked,
        "classes_kept": discovery.pairs["class_index"].n_unique(),
        "exceeds_chance": discovery.exceeds_chance,
        **{
            name: asdict(value) if isinstance(value, ByChance | Estimate) else value
            for name, value in figures.items()
        },
    }
    write_text(out / _RECORD, json.dumps(record, indent=2))


def read_discovery(folder: Path) -> Discovery | None:
    """Read what ``discover`` wrote; None for any other folder.

    Raises:
        CounterGroundError: the record is damaged.
    """
    if not (folder / _RECORD).is_file():
        return None
    try:
        record = read_json(folder / _RECORD)
        figures = {
            field.name: record[field.name]
            for field in fields(Discovery)
            if field.name not in ("benchmark", "pairs", "cells")
        }
        kinds = get_type_hints(Discovery)
        figures = {name: TypeAdapter(kinds[name]).validate_python(value) for name, value in figures.items()}
        return Discovery(
            benchmark=read_benchmark(folder) if (folder / BENCHMARK_FILES[0]).exists() else None,
            pairs=read_parquet(folder / "pairs.parquet"),
            cells=read_parquet(folder / "cells.parquet"),
            **figures,
        )
    except (OSError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError) as error:
        raise CounterGroundError(
            f"The discovery in {folder} is damaged ({str(error).splitlines()[0]}). Run discover again."
        ) from error


def asked_before(folder: Path) -> dict[str, object] | None:
    """Return the record of a discovery: empty if it cannot be read, None if there is none."""
    try:
        found = read_json(folder / _RECORD)
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def holds_evidence_only(folder: Path) -> bool:
    """Return whether a folder holds what `write_discovery` writes without a benchmark, and nothing else."""
    evidence = {_RECORD, *FILES} - set(BENCHMARK_FILES)
    return all(entry.name in evidence for entry in folder.glob("[!.]*"))
