"""Bars with their values written on them, and with intervals where there are any."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from counterground.paper.figures._style import GRID, INK, QUIET, SMALL, wrap
from counterground.results import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import BarContainer
    from matplotlib.figure import Figure

Bounds = tuple[float | None, float | None]
_FILLED = 0.94  # share of its width that a bar fills
_FLAT = 15.0  # typographic points that a value takes
_CAP = 2.0  # typographic points by which an axis extends beyond the end of an interval
_ROUNDS = 30
_LONG = 24  # characters of a name from which each name gets its own line of the legend
_PER_INCH = 15  # characters of such a line


@dataclass(frozen=True)
class Bars:
    """One series of bars: heights, a colour for each, and what to write on them.

    Attributes:
        name: what the bars show.
        values: heights in percent or points; None where there is no bar.
        colours: one for each bar.
        intervals: low and high ends in the same units, or empty.
        hatch: pattern that sets the series off from its neighbour without colour.
        texts: text at the end of each bar; by default the value with one decimal.
        label: name in the legend; ``name`` by default.
    """

    name: str
    values: Sequence[float | None]
    colours: Sequence[str]
    intervals: Sequence[Bounds] = ()
    hatch: str = ""
    texts: Sequence[str] = ()
    label: str = ""

    def text(self, place: int) -> str:
        """Return the text at the end of a bar."""
        value = self.values[place]
        if self.texts:
            return self.texts[place]
        return percent(None if value is None else value / 100)


def draw_bars(
    axes: Axes,
    labels: Sequence[str],
    series: Sequence[Bars],
    *,
    size: float = SMALL,
    upright: bool = False,
    at_base: bool = False,
    outside: Bounds = (None, None),
) -> list[BarContainer]:
    """Draw series side by side over ``labels``; a bar without a value is left out, never drawn as 0.

    Values are written at the ends of bars, beside the lines of intervals, on white.

    Args:
        axes: where to draw.
        labels: one for each place.
        series: series, each with as many bars as labels.
        size: font size of the values written on bars, in points.
        upright: whether to turn these texts by 90 degrees, if bars are close.
        at_base: whether to write them at the foot of the bars, if something else is at their ends.
        outside: heights between which there is room at the ends of bars; values beyond are written inside.

    Returns:
        A container for each series, with a bar for each value that is not None.
    """
    width = 0.8 / len(series)
    drawn = []
    for k, one in enumerate(series):
        there = [place for place, value in enumerate(one.values) if value is not None]
        at = [place + (k - (len(series) - 1) / 2) * width for place in there]
        heights = [float(one.values[place] or 0) for place in there]
        bars = axes.bar(
            at,
            heights,
            width * _FILLED,
            label=one.label or one.name,
            color=[one.colours[place] for place in there],
            edgecolor=INK,
            linewidth=0.4,
            hatch=one.hatch or None,
        )
        drawn.append(bars)
        intervals = [one.intervals[place] if one.intervals else (None, None) for place in there]
        for x, place, height, bounds in zip(at, there, heights, intervals, strict=True):
            aside = _draw_interval(axes, x, height, bounds)
            look = _look(height, size=size, upright=upright, at_base=at_base, aside=aside, outside=outside)
            axes.annotate(
                one.text(place), (x, 0.0 if at_base else height), textcoords="offset points", **look
            )
    axes.set_xticks(range(len(labels)), labels)
    axes.set_xlim(-0.6, len(labels) - 0.4)
    axes.tick_params(axis="x", length=0)
    return drawn


def _draw_interval(axes: Axes, x: float, value: float, bounds: Bounds) -> bool:
    """Draw an interval; return False if there is none."""
    low, high = bounds
    if low is None or high is None:
        return False
    reach = [[max(value - low, 0)], [max(high - value, 0)]]
    axes.errorbar(x, value, reach, color=INK, linewidth=0.6, capsize=1.5, capthick=0.6)
    return True


def _look(
    height: float, *, size: float, upright: bool, at_base: bool, aside: bool, outside: Bounds
) -> dict[str, Any]:
    """Return how the text of a bar is written, relative to the bar's end (or its foot)."""
    low, high = outside
    inside = (low is not None and height < low) or (high is not None and height > high)
    below = (height < 0) != inside
    shift = 0.0
    if aside and not at_base:
        shift = 1.5 + size / 2 if upright else 2.0
    return {
        "xytext": (shift, (3.5 if at_base else 1.5) * (-1 if below else 1)),
        "ha": "left" if shift and not upright else "center",
        "va": "top" if below else "bottom",
        "fontsize": size,
        "rotation": 90 if upright else 0,
        "bbox": {
            "boxstyle": "round,pad=0.15" if at_base else "square,pad=0.05",
            "facecolor": "white",
            "edgecolor": "none",
        },
    }


def lies_flat(width: float, labels: int, series: Sequence[Bars]) -> bool:
    """Return whether values can be written level: beside an interval, one must fit into half a bar.

    Args:
        width: width of the axes, in typographic points.
        labels: number of places on them.
        series: what is drawn.
    """
    if not any(bounds != (None, None) for bars in series for bounds in bars.intervals):
        return True
    return width / (labels + 0.2) * 0.8 * _FILLED / len(series) / 2 >= _FLAT


def room_for_texts(
    low: float, high: float, height: float, text: float, ends: Sequence[float] = ()
) -> tuple[float, float]:
    """Return limits of an axis that leave room for texts at the ends of bars, and for intervals.

    Args:
        low: lowest end of a bar; if it is 0, nothing is written below.
        high: highest end of a bar.
        height: height of the axes, in typographic points.
        text: how far a text reaches, in typographic points.
        ends: ends of intervals, beyond which nothing is written: they need only a little room for their caps.
    """
    least, most = min([low, *ends]), max([high, *ends])
    bottom, top = least, most
    for _ in range(_ROUNDS):  # the room for a text grows with the axis; this converges
        point = (top - bottom) / max(height, 2.5 * text)
        bottom = min(low - text * point if low < 0 else 0.0, least - _CAP * point if least < 0 else 0.0)
        top = max(high + text * point, most + _CAP * point)
    return bottom, top


def scale_in_points(axes: Axes, low: float, high: float) -> None:
    """Give an axis, and those that share it, limits in percent or points, with ticks up to 100."""
    axes.set_ylim(low, high)
    marks = axes.yaxis.get_major_locator().tick_values(low, high)
    axes.set_yticks([float(mark) for mark in marks if max(low, -100) <= mark <= min(high, 100)])
    for each in axes.figure.axes:
        each.spines["left"].set_bounds(max(low, -100), min(high, 100))


def bar_legend(figure: Figure, grid: Iterable[Axes]) -> None:
    """Explain each series once, above the axes; grey if its bars differ in colour anywhere."""
    from matplotlib.container import BarContainer
    from matplotlib.patches import Patch

    found: dict[str, list[Any]] = {}
    for axes in grid:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, []).append(handle)
    shown: dict[str, Any] = {}
    for label, handles in found.items():
        bars = [bar for handle in handles if isinstance(handle, BarContainer) for bar in handle]
        shown[label] = handles[0]
        if len({bar.get_facecolor() for bar in bars}) > 1:
            hatch = bars[0].get_hatch()
            grey = GRID if hatch else QUIET
            shown[label] = Patch(facecolor=grey, edgecolor=INK, linewidth=0.4, hatch=hatch)
    if len(shown) > 1:
        figure.legend(
            list(shown.values()),
            [wrap(label, int(figure.get_figwidth() * _PER_INCH)) for label in shown],
            loc="outside upper right",
            ncols=1 if max(map(len, shown)) > _LONG else len(shown),
        )
