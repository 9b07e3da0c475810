"""How figures look in print: sizes, inks, colours and shapes of families, Matplotlib's parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from counterground.errors import CounterGroundError, needs_extra
from counterground.files import read_json, read_parquet
from counterground.findings import DROP_WORDS, Words
from counterground.metrics import COMPETING, SETTING
from counterground.published import SettingName
from counterground.reporting.style import FAMILY_COLOURS
from counterground.text import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from counterground.photos import Benchmark
    from counterground.results import Run


COLUMN, PAGE = 3.3, 6.9
"""Inches: one column and the full width of a two-column page."""
TEXT, SMALL, TINY = 7.0, 6.0, 5.0
"""Points, at print size."""
INK, QUIET, GRID = "#1F2328", "#5B6470", "#E3E7EB"
MARKERS = {"clip": "o", "imagenet": "^", "lvlm": "s", "other": "D"}
"""Matplotlib's markers: nothing depends on colour alone."""
LARGEST_AREA = 340.0
_SMALLEST_AREA, _UNKNOWN_AREA = 40.0, 110.0
_PARAMETERS = (5e6, 2.5e9)
# Within the sizes that CLIPs are trained on, so that 0.4, 2 and 5 billion can be distinguished.
# The palest alone have too little contrast: every shade is drawn with an edge in the full colour or ink.
_DATA_SIZES = (1e8, 5e9)
_PALEST = 0.35

_RC: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": TEXT,
    "axes.labelsize": TEXT,
    "axes.titlesize": TEXT,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 4,
    "axes.labelcolor": INK,
    "axes.edgecolor": QUIET,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.pad": 2,
    "ytick.major.pad": 2,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "legend.handletextpad": 0.4,
    "legend.columnspacing": 0.8,
    "legend.borderaxespad": 0.2,
    "lines.linewidth": 1.0,
    "lines.markersize": 3.5,
    "hatch.linewidth": 0.5,
    "text.color": INK,
    "text.parse_math": False,  # a dollar in a name is a dollar
    "figure.dpi": 200,
    "figure.constrained_layout.h_pad": 0.02,
    "figure.constrained_layout.w_pad": 0.02,
    # Text stays text in every format.
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}


def print_style() -> AbstractContextManager[None]:
    """Return a context with Matplotlib's defaults and ours, whatever the matplotlibrc, to draw and save in.

    Raises:
        UsageError: Matplotlib is not installed.
    """
    with needs_extra("paper"):
        from matplotlib import style
    context: AbstractContextManager[None] = style.context(["default", _RC])
    return context


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of ``width`` x ``height`` inches; pyplot does not know about it."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def panel_grid(
    panels: int, columns: int, height: float, label: str, *, sharex: bool = False
) -> tuple[Figure, list[Axes]]:
    """Return a figure of a page's width with panels of ``height`` inches that share their y-axis."""
    lines = -(-panels // columns)
    figure = new_figure(PAGE, height * lines + 0.3)
    grid = figure.subplots(lines, columns, squeeze=False, sharex=sharex, sharey=True).ravel()
    for axes in grid[panels:]:
        axes.set_visible(False)
    figure.supylabel(label, fontsize=TEXT)
    return figure, list(grid[:panels])


def family_colour(family: str) -> str:
    """Return the colour of a family as ``#RRGGBB``; an unknown family is drawn as ``other``."""
    return FAMILY_COLOURS.get(family, FAMILY_COLOURS["other"])


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
    strength = 1.0 if data_size is None else _PALEST + (1 - _PALEST) * _between(data_size, _DATA_SIZES)
    return tint(family_colour(family), strength)


def marker_area(parameters: int | None) -> float:
    """Return a model's marker area (points squared) by its parameters, on a logarithmic scale."""
    if parameters is None:
        return _UNKNOWN_AREA
    return _SMALLEST_AREA + (LARGEST_AREA - _SMALLEST_AREA) * _between(parameters, _PARAMETERS)


def _between(value: float, ends: tuple[float, float]) -> float:
    """Return where a value lies between two ends, 0 to 1, on a logarithmic scale."""
    low, high = map(math.log, ends)
    return min(max((math.log(max(value, 1)) - low) / (high - low), 0.0), 1.0)


def group_colours(family: str = "clip") -> dict[str, str]:
    """Return the family's colour for common, its tint for counter: distinguishable without colour too."""
    colour = family_colour(family)
    return {"common": colour, "counter": tint(colour, 0.4)}


def shorten(text: str, longest: int) -> str:
    """Return one line of at most ``longest`` characters, cut in the middle: names differ at both ends."""
    line = one_line(text)
    if len(line) <= longest:
        return line
    tail = (longest - 1) // 2
    return f"{line[: longest - 1 - tail]}…{line[-tail:]}"


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
