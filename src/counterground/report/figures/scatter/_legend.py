"""The key of a scatter: family is colour and shape, backbone is size, data is shade."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from counterground.report._style import (
    FAMILY_NAMES,
    FAMILY_SHAPES,
    MATPLOTLIB_MARKERS,
    family_colour,
    marker_area,
    shade,
)
from counterground.report.figures._style import INK, QUIET, SMALL, tint

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure


Entry = tuple[Any, str]  # an artist, or several that stand side by side; what they mean
EDGE, RING, PALE_EDGE = 0.6, 0.9, 0.45
"""Points: the edge of a marker, the ring of filtered data; and how much colour a pale marker's edge keeps."""
_PALE = 0.2
_AREA, _SMALL_AREA = 25.0, 14.0
_SIZES = ((30_000_000, "30 M parameters"), (2_500_000_000, "2.5 B parameters"))
_SHORT = {"clip": "CLIP", "imagenet": "ImageNet", "lvlm": "LVLM", "other": "other"}
_DATA = ((400_000_000, "400 M pairs"), (2_000_000_000, "2 B pairs"), (5_000_000_000, "5 B pairs"))


def pale_colour(family: str) -> str:
    """The colour of the paper's models where they stand behind others: one for a family."""
    return tint(family_colour(family), _PALE)


def scatter_legend(
    figure: Figure, front: pl.DataFrame, behind: pl.DataFrame, lines: Sequence[str], area: float
) -> None:
    """Draw the key below the axes, in three columns: families, lines, sizes and shades.

    Args:
        figure: that the key belongs to.
        front: the models in full colours; shades and rings are explained where these have them.
        behind: the paper's models where they are pale.
        lines: families with a trend.
        area: what the areas of markers were multiplied by.
    """
    from matplotlib.legend_handler import HandlerTuple
    from matplotlib.lines import Line2D

    trend = "paper's trend" if behind.height else "trend"
    second: list[Entry] = [
        (Line2D([], [], color=family_colour(name), linewidth=1), f"{trend}, {_SHORT[name]}") for name in lines
    ]
    second.append((Line2D([], [], color=QUIET, linewidth=0.8, linestyle=(0, (4, 2))), "y = x: no drop"))
    columns = [_families(front, behind), second, _scales(front, behind, area)]
    columns = [column for column in columns if column]
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
        handler_map={tuple: HandlerTuple(ndivide=None, pad=0)},
    )


def _families(front: pl.DataFrame, behind: pl.DataFrame) -> list[Entry]:
    entries: list[Entry] = []
    for name in _present(front):
        entries.append((_marker(name, _shade(front, name), _AREA), FAMILY_NAMES[name]))
        if front.filter(family=name)["high_quality"].any():
            entries.append((_marker(name, family_colour(name), _AREA, INK), "… filtered data"))
    if behind.height:
        pale = [
            _marker(name, pale_colour(name), _SMALL_AREA, tint(family_colour(name), PALE_EDGE))
            for name in _present(behind)
        ]
        entries.append((tuple(pale), "the paper's models"))
    return entries


def _scales(front: pl.DataFrame, behind: pl.DataFrame, area: float) -> list[Entry]:
    """What sizes of markers say, of all models; what shades say, of those that have them."""
    entries: list[Entry] = []
    if pl.concat([front, behind])["parameters"].drop_nulls().n_unique() > 1:
        entries += [
            (_marker("clip", QUIET, area * marker_area(count), QUIET), text) for count, text in _SIZES
        ]
    if front.filter(family="clip")["data_size"].drop_nulls().n_unique() > 1:
        entries += [(_marker("clip", shade("clip", size), _AREA), text) for size, text in _DATA]
    return entries


def _present(models: pl.DataFrame) -> list[str]:
    return [name for name in FAMILY_NAMES if name in models["family"]]


def _shade(models: pl.DataFrame, family: str) -> str:
    """The shade of a family whose models were all trained on as much, else its full colour."""
    sizes = models.filter(family=family)["data_size"].unique()
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
        markeredgecolor=edge or family_colour(family),
        markeredgewidth=RING if edge == INK else EDGE,
    )
