"""What figures are made of, and what comes of it: a drawing, or the line that says what is lacking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from counterground.photos import Benchmark
    from counterground.results import Run


@dataclass(frozen=True)
class StudyResults:
    """The tables of one study folder: ``name`` as on the command line, file stem -> frame (fractions)."""

    name: str
    folder: Path
    frames: dict[str, pl.DataFrame]


@dataclass(frozen=True)
class Material:
    """Everything figures may be drawn from.

    Attributes:
        published: draw the paper's own figures from its printed numbers.
        runs: the user's runs.
        studies: results of ``counterground study``.
        photos: a benchmark whose photos figure 1 shows.
        class_name: the class that figure 1 shows; the one with the largest drop where it is None.
    """

    published: bool
    runs: Sequence[Run] = ()
    studies: Sequence[StudyResults] = ()
    photos: Benchmark | None = None
    class_name: str | None = None

    def of_study(self, name: str) -> list[StudyResults]:
        """The studies of one name."""
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
    """A figure that cannot be drawn, and what it needs: said in one line for all that need the same."""

    figure: str
    need: str


Outcome = Drawing | Absent


def own(stem: str, place: int = 0) -> str:
    """File stem of a figure of the user's own numbers; ``place`` counts from 0 where there are several."""
    return f"{stem}-own{f'-{place + 1}' if place else ''}"


def stamp(as_published: bool | None) -> str:
    """What every output says of models that were loaded as the paper seems to have loaded them."""
    return " (as published)" if as_published else ""


def distinct_notes(frame: pl.DataFrame) -> tuple[str, ...]:
    """The notes on the rows that were drawn, each once."""
    return tuple(frame["note"].drop_nulls().unique(maintain_order=True).to_list())
