"""Names of models beside their markers: measured, placed, and written where they were placed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from counterground.report._labels import Box, Disc, Place, Segment, place_names
from counterground.report._style import marker_area
from counterground.report.figures._style import INK, QUIET, TINY
from counterground.report.figures.scatter._probit_axis import clip

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_SIZE = TINY + 0.3
_PADDING = 0.7
_INCH = 72.0
# Lines behind a name fade; a stroke around the letters would turn text into outlines.
_GROUND = {"boxstyle": "square,pad=0.08", "facecolor": "white", "edgecolor": "none", "alpha": 0.7}


def write_names(
    axes: Axes, points: pl.DataFrame, texts: Sequence[str], area: float, *, obstacles: pl.DataFrame
) -> list[str]:
    """Write ``texts`` beside ``points``; return those for which there was no room.

    The layout of the figure is settled here and stays as it is: names are placed on measured positions.

    Args:
        axes: probit axes in percent, with everything else already drawn.
        points: models to name.
        texts: a name for each.
        area: what the areas of markers were multiplied by.
        obstacles: other models, whose markers no name may cover.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = axes.figure.get_figure(root=True)
    assert figure is not None
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    unit = _INCH / figure.dpi
    corners = axes.transAxes.transform([(0, 0), (1, 1)]) * unit
    frame = Box(corners[0][0] + 2, corners[0][1] + 2, corners[1][0] - 2, corners[1][1] - 2)
    places = place_names(
        _discs(axes, points, area, unit),
        [_measure(axes, text, unit) for text in texts],
        frame=frame,
        lines=_segments(axes, unit),
        markers=_discs(axes, obstacles, area, unit),
    )
    centres = axes.transData.transform(_positions(points))
    for place, text, centre in zip(places, texts, centres, strict=True):
        if place is not None:
            _write(axes, place, text, unit)
            if place.leader is not None:
                _lead(axes, centre, np.array(place.leader.end) / unit)
    return [text for place, text in zip(places, texts, strict=True) if place is None]


def _discs(axes: Axes, points: pl.DataFrame, area: float, unit: float) -> list[Disc]:
    if points.is_empty():
        return []
    places = axes.transData.transform(_positions(points)) * unit
    # The square around a triangle or a diamond of this area reaches a little farther than a disc.
    reach = [0.6 * math.sqrt(area * marker_area(count)) + 0.5 for count in points["parameters"]]
    return [Disc(float(x), float(y), radius) for (x, y), radius in zip(places, reach, strict=True)]


def _positions(points: pl.DataFrame) -> list[tuple[float, float]]:
    """Where the markers stand, in percent."""
    return [(clip(100 * x), clip(100 * y)) for x, y in points.select("common", "counter").iter_rows()]


def _measure(axes: Axes, text: str, unit: float) -> tuple[float, float]:
    probe = axes.text(0.5, 0.5, text, transform=axes.transAxes, fontsize=_SIZE)
    extent = probe.get_window_extent()
    probe.remove()
    return extent.width * unit + 2 * _PADDING, extent.height * unit + 2 * _PADDING


def _segments(axes: Axes, unit: float) -> list[Segment]:
    """The lines that are drawn, in points of print, cut into straight pieces."""
    pieces = []
    for line in axes.get_lines():
        path = axes.transData.transform(np.column_stack([line.get_xdata(), line.get_ydata()])) * unit
        ends = [(float(x), float(y)) for x, y in path]
        pieces += [Segment(start, end) for start, end in itertools.pairwise(ends)]
    return pieces


def _write(axes: Axes, place: Place, text: str, unit: float) -> None:
    back = axes.transData.inverted()
    corner = (place.box.left + _PADDING, place.box.top + _PADDING)
    x, y = back.transform(np.array(corner) / unit)
    written = axes.text(
        x, y, text, fontsize=_SIZE, color=INK, ha="left", va="bottom", zorder=5, gid="name", bbox=_GROUND
    )
    written.set_in_layout(False)


def _lead(axes: Axes, centre: np.ndarray, end: np.ndarray) -> None:
    """Draw a leader that comes out from under its marker, whatever the marker's shape; ends in pixels."""
    ends = axes.transData.inverted().transform([centre, end])
    axes.plot(ends[:, 0], ends[:, 1], color=QUIET, linewidth=0.45, zorder=2.8, gid="leader")
