"""What figures are drawn from, what drawing one gives, and the colours of families."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from counterground.comparison import model_points
from counterground.errors import CounterGroundError
from counterground.files import read_json, read_parquet
from counterground.findings import DROP_WORDS, Words
from counterground.metrics import COMPETING, SETTING
from counterground.published import SettingName
from counterground.reporting.shell import FAMILY_COLOURS
from counterground.text import one_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from counterground.photos import Benchmark
    from counterground.results import Run

# Within the sizes that CLIPs are trained on, so that 0.4, 2 and 5 billion can be distinguished.
# The palest alone have too little contrast: every shade is drawn with an edge in the full colour or ink.
_DATA_SIZES = (1e8, 5e9)
_PALEST = 0.35
_TABLES = {"coloredcoco": "results", "multicoloredmnist": "table8", "theory": "grid"}
_DIFFERING = (*SETTING, "source")
PHOTOS = ("benchmark_version", COMPETING, "comparable")
"""Models that agree in these columns may be drawn in one figure."""


def tint(colour: str, strength: float) -> str:
    """Mix ``#RRGGBB`` with white: 1 leaves it, 0 gives white."""
    channels = [int(colour[k : k + 2], 16) for k in (1, 3, 5)]
    return "#" + "".join(f"{round(255 + strength * (channel - 255)):02X}" for channel in channels)


def shade(family: str, data_size: int | None) -> str:
    """Mix a family's colour with white: paler for less training data, on a logarithmic scale.

    Args:
        family: name of the family.
        data_size: training pairs or images; None, if it is not known, gives the full colour.

    Returns:
        ``#RRGGBB``: the full colour from 5 billion pairs, 35 % of it up to 100 million.
    """
    strength = 1.0 if data_size is None else _PALEST + (1 - _PALEST) * between(data_size, _DATA_SIZES)
    return tint(FAMILY_COLOURS[family], strength)


def between(value: float, ends: tuple[float, float]) -> float:
    """Return where a value lies between two ends, 0 to 1, on a logarithmic scale."""
    low, high = map(math.log, ends)
    return min(max((math.log(max(value, 1)) - low) / (high - low), 0.0), 1.0)


def shorten(text: str, longest: int = 40) -> str:
    """Return one line of at most ``longest`` characters, cut in the middle: names differ at both ends."""
    line = one_line(text)
    if len(line) <= longest:
        return line
    tail = (longest - 1) // 2
    return f"{line[: longest - 1 - tail]}…{line[-tail:]}"


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


def points_of(material: Material | None = None, setting: SettingName = "one-prompt") -> pl.DataFrame:
    """Return the models of the runs that have a drop (fractions), or those of the paper.

    ``shown`` is the label and, if several models share it, the settings in which they differ.
    """
    if material is None:
        points = model_points((), published=True, setting=setting)
    else:
        points = model_points(
            material.runs, published=False, setting=setting, contrast=material.words.contrast
        )
    shown = []
    for row in points.iter_rows(named=True):
        alike = points.filter(label=row["label"])
        differ = [str(row[name]) for name in _DIFFERING if alike[name].n_unique() > 1]
        shown.append(shorten(f"{row['label']} ({', '.join(differ)})" if differ else row["label"]))
    return points.with_columns(shown=pl.Series(shown, dtype=pl.String))
