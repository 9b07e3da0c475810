"""What figures are drawn from (runs, studies, photos), and the result: a drawing, or what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from counterground.errors import CounterGroundError
from counterground.files import read_json, read_parquet
from counterground.findings import DROP_WORDS, Words
from counterground.metrics import COMPETING, SETTING
from counterground.paper.figures._style import shorten
from counterground.published import SettingName

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from counterground.photos import Benchmark
    from counterground.results import Run

_TABLES = {"coloredcoco": "results", "multicoloredmnist": "table8", "theory": "grid"}
_DIFFERING = (*SETTING, "source")
_LONGEST = 40
PHOTOS = ("benchmark_version", COMPETING, "comparable")
"""Models that agree in these columns may be drawn in one figure."""


@dataclass(frozen=True)
class StudyResults:
    """The table of a study that figures are drawn from; ``name`` as on the command line; fractions."""

    name: str
    folder: Path
    table: pl.DataFrame


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


def read_study(folder: Path | str) -> StudyResults:
    """Read the table that figures are drawn from.

    Raises:
        CounterGroundError: the folder holds no study, or an unfinished or damaged one.
    """
    folder = Path(folder)
    try:
        name = read_json(folder / "run.json")["study"]
        return StudyResults(name, folder, read_parquet(folder / f"{_TABLES[name]}.parquet"))
    except (OSError, ValueError, LookupError, TypeError, pl.exceptions.PolarsError) as error:
        raise CounterGroundError(
            f"{folder} holds no finished study: run `paper study` with this folder as --out. A run is named "
            "without --study."
        ) from error


def paper_points(setting: SettingName) -> pl.DataFrame:
    """Return the paper's `counterground.comparison.model_points` (fractions), with ``shown``."""
    from counterground.comparison import model_points

    return _shown(model_points((), published=True, setting=setting))


def own_points(material: Material, setting: SettingName = "one-prompt") -> pl.DataFrame:
    """Return the runs' models that have a drop, with intervals and ``shown``, a name that no other has."""
    from counterground.comparison import model_points

    contrast = material.words.contrast
    return _shown(model_points(material.runs, published=False, setting=setting, contrast=contrast))


def _shown(points: pl.DataFrame) -> pl.DataFrame:
    """Add ``shown``: the label and, if several models share it, the settings in which they differ."""
    shown = []
    for row in points.iter_rows(named=True):
        alike = points.filter(label=row["label"])
        differ = [str(row[name]) for name in _DIFFERING if alike[name].n_unique() > 1]
        shown.append(shorten(f"{row['label']} ({', '.join(differ)})" if differ else row["label"], _LONGEST))
    return points.with_columns(shown=pl.Series(shown, dtype=pl.String))
