"""The key of a scatter: family is colour and shape, backbone is size, data is shade."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from counterground.report._families import (
    FAMILY_NAMES,
    FAMILY_SHAPES,
    MATPLOTLIB_MARKERS,
    family_colour,
    marker_area,
    shade,
)
from counterground.report.figures._style import INK, QUIET, SMALL

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

    from counterground.metrics import LineFit

Entry = tuple["Artist", str]
_SIZES = ((30_000_000, "30 M parameters"), (2_500_000_000, "2.5 B parameters"))
_SHORT = {"clip": "CLIP", "imagenet": "ImageNet", "lvlm": "LVLM", "other": "other"}
_DATA = ((400_000_000, "400 M pairs"), (5_000_000_000, "5 B pairs"))


def scatter_legend(
    figure: Figure, shown: pl.DataFrame, lines: Sequence[tuple[str, LineFit]], area: float
) -> None:
    """Draw the key below the axes, in three columns: families, lines, sizes and shades."""
    from matplotlib.lines import Line2D

    families = [name for name in FAMILY_NAMES if name in shown["family"]]
    first: list[Entry] = [(_marker(name, _shade(shown, name), 25), FAMILY_NAMES[name]) for name in families]
    if shown["high_quality"].any():
        first.insert(1, (_marker("clip", family_colour("clip"), 25, INK), "… filtered data"))
    second: list[Entry] = [
        (Line2D([], [], color=family_colour(name), linewidth=1), f"trend, {_SHORT[name]}")
        for name, _ in lines
    ]
    second.append((Line2D([], [], color=QUIET, linewidth=0.8, linestyle=(0, (4, 2))), "y = x: no drop"))
    third: list[Entry] = []
    if shown["parameters"].drop_nulls().n_unique() > 1:
        third += [(_marker("clip", QUIET, area * marker_area(count)), text) for count, text in _SIZES]
    if shown.filter(family="clip")["data_size"].drop_nulls().n_unique() > 1:
        third += [(_marker("clip", shade("clip", size), 25), text) for size, text in _DATA]
    columns = [column for column in (first, second, third) if column]
    rows = max(len(column) for column in columns)
    blank: Entry = (Line2D([], [], linestyle="none"), "")
    entries = [entry for column in columns for entry in (*column, *[blank] * (rows - len(column)))]
    figure.legend(
        [handle for handle, _ in entries],
        [text for _, text in entries],
        loc="outside lower center",
        ncols=len(columns),
        fontsize=SMALL - 0.5,
        handlelength=1.6,
        columnspacing=0.8,
    )


def _shade(shown: pl.DataFrame, family: str) -> str:
    """The shade of a family whose models were all trained on as much, else its full colour."""
    sizes = shown.filter(family=family)["data_size"].unique()
    return shade(family, sizes[0] if len(sizes) == 1 else None)


def _marker(family: str, colour: str, area: float, edge: str | None = None) -> Artist:
    from matplotlib.lines import Line2D

    shape = MATPLOTLIB_MARKERS[FAMILY_SHAPES[family]]
    return Line2D(
        [],
        [],
        linestyle="none",
        marker=shape,
        color=colour,
        markersize=area**0.5,
        markeredgecolor=edge or (colour if colour == QUIET else family_colour(family)),
        markeredgewidth=0.9 if edge else 0.4,
    )
