"""What figures are drawn from (runs, studies, photos), and the result: a drawing, or what is missing."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from counterground.errors import CounterGroundError, UsageError, error_message
from counterground.files import read_parquet
from counterground.reporting.words import DROP_WORDS, Words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from counterground.photos import Benchmark
    from counterground.results import Run


@dataclass(frozen=True)
class StudyResults:
    """The tables of one study folder: ``name`` as on the command line, ``frames`` by stem (fractions)."""

    name: str
    folder: Path
    frames: dict[str, pl.DataFrame]


@dataclass(frozen=True)
class Material:
    """Everything figures may be drawn from.

    Attributes:
        published: whether to draw the paper's own figures from its printed numbers.
        runs: the user's runs.
        studies: results of ``counterground paper study``.
        photos: benchmark whose photos figure 1 shows.
        class_name: class that figure 1 shows; None for the one with the largest drop.
        words: words for the contrast that figures of the runs show.
    """

    published: bool
    runs: Sequence[Run] = ()
    studies: Sequence[StudyResults] = ()
    photos: Benchmark | None = None
    class_name: str | None = None
    words: Words = DROP_WORDS

    def place(self, run: Run) -> str:
        """Return the name of a run's benchmark, with its version if another one has the same name."""
        about = run.info.benchmark
        versions = {
            other.info.benchmark.version for other in self.runs if other.info.benchmark.name == about.name
        }
        return f"{about.name} (version {about.version[:8]})" if len(versions) > 1 else about.name

    def of_study(self, name: str) -> list[StudyResults]:
        """Return the studies with this name."""
        return [study for study in self.studies if study.name == name]


@dataclass(frozen=True)
class Drawing:
    """A figure ready to be written: ``stem`` of its files, a caption in plain sentences, notes on numbers."""

    stem: str
    figure: Figure
    caption: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Absent:
    """A figure that cannot be drawn, and what it needs."""

    figure: str
    need: str


Outcome = Drawing | Absent


def own(stem: str, place: int = 0) -> str:
    """Return the file stem of a figure of the user's own numbers; ``place`` counts them from 0."""
    return f"{stem}-own{f'-{place + 1}' if place else ''}"


def distinct_notes(frame: pl.DataFrame) -> tuple[str, ...]:
    """Return the notes on the rows that were drawn, each once."""
    return tuple(frame["note"].drop_nulls().unique(maintain_order=True).to_list())


_TABLES: dict[str, dict[str, tuple[str, ...]]] = {
    "coloredcoco": {"results": ("model", "strength", "objective", "id", "ood", "id_low", "ood_high")},
    "multicoloredmnist": {"table8": ("k", "p_inv", "p_spu", "method", "rand_mean", "rev_std")},
    "theory": {"grid": ("mu_spu", "p_spu", "prompt", "error_misleads", "exact_error_misleads")},
}


def read_study(folder: Path | str) -> StudyResults:
    """Read the tables that figures are drawn from.

    Raises:
        UsageError: something that is no path.
        CounterGroundError: the folder holds no study, or an unfinished or damaged one.
    """
    if not isinstance(folder, str | os.PathLike):
        raise UsageError(f"A study is given as its folder, not as {type(folder).__name__}.")
    folder = Path(folder)
    record = folder / "run.json"
    if not record.is_file():
        raise CounterGroundError(
            f"{folder} holds no finished study (run.json is missing): run `paper study` with this "
            "folder as --out, again where it was stopped."
        )
    try:
        content = json.loads(record.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise CounterGroundError(
            f"The study in {folder} is damaged ({error_message(error)}): run it again into another folder."
        ) from error
    name = content.get("study") if isinstance(content, dict) else None
    if name not in _TABLES:
        raise CounterGroundError(
            f"{folder} holds no study that figures are drawn from ({', '.join(_TABLES)}). A run is named "
            "without --study."
        )
    frames = {stem: _read(folder / f"{stem}.parquet", columns) for stem, columns in _TABLES[name].items()}
    return StudyResults(name, folder, frames)


def _read(path: Path, columns: tuple[str, ...]) -> pl.DataFrame:
    try:
        frame = read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise CounterGroundError(f"{path} is missing or damaged: run the study again.") from error
    lacking = [column for column in columns if column not in frame.columns]
    if lacking or frame.is_empty():
        what = f"has no column {lacking[0]!r}" if lacking else "is empty"
        raise CounterGroundError(f"{path} {what}: run the study again with this version.")
    return frame
