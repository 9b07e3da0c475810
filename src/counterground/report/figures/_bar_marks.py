"""Bars with their values written on them, and with intervals where there are any."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from counterground.report._numbers import percent
from counterground.report.figures._style import GRID, INK, QUIET, SMALL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import BarContainer
    from matplotlib.figure import Figure

Bounds = tuple[float | None, float | None]


@dataclass(frozen=True)
class Bars:
    """One series of bars: heights (percent, None where there is none), a colour for each, what to write.

    Attributes:
        name: what the legend calls it.
        values: heights in percent or points.
        colours: one for each bar.
        intervals: low and high ends in the same units, or empty.
        hatch: pattern that tells the series from its neighbour without colour.
        texts: written at the end of each bar; one decimal of the value by default.
    """

    name: str
    values: Sequence[float | None]
    colours: Sequence[str]
    intervals: Sequence[Bounds] = ()
    hatch: str = ""
    texts: Sequence[str] = ()

    def text(self, place: int) -> str:
        """What stands at the end of a bar."""
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
) -> list[BarContainer]:
    """Draw series side by side over ``labels``; a bar that has no value is left out, never drawn as 0.

    Args:
        axes: where.
        labels: one for each place.
        series: as many bars as labels, each.
        size: points of the values written on bars.
        upright: turn these texts by 90 degrees, where bars stand close.
        at_base: write them at the foot of the bars, where something else stands at their ends.

    Returns:
        A container for each series; its bars stand for the values that are there.
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
            width * 0.94,
            label=one.name,
            color=[one.colours[place] for place in there],
            edgecolor=INK,
            linewidth=0.4,
            hatch=one.hatch or None,
        )
        drawn.append(bars)
        tops = _draw_intervals(axes, at, heights, [one.intervals[p] for p in there] if one.intervals else [])
        texts = [one.text(place) for place in there]
        ends = [0.0] * len(at) if at_base else tops
        _write_values(axes, at, heights, ends, texts, size=size, upright=upright, boxed=at_base)
    axes.set_xticks(range(len(labels)), labels)
    axes.set_xlim(-0.6, len(labels) - 0.4)
    axes.tick_params(axis="x", length=0)
    return drawn


def _draw_intervals(
    axes: Axes, at: Sequence[float], heights: Sequence[float], intervals: Sequence[Bounds]
) -> list[float]:
    """Draw the intervals that there are; return where each bar ends, its interval included."""
    tops = list(heights)
    for place, (low, high) in enumerate(intervals):
        if low is None or high is None:
            continue
        value = heights[place]
        reach = [[max(value - low, 0)], [max(high - value, 0)]]
        axes.errorbar(at[place], value, reach, color=INK, linewidth=0.6, capsize=1.5, capthick=0.6)
        tops[place] = min(low, value) if value < 0 else max(high, value)
    return tops


def _write_values(
    axes: Axes,
    at: Sequence[float],
    heights: Sequence[float],
    tops: Sequence[float],
    texts: Sequence[str],
    *,
    size: float,
    upright: bool,
    boxed: bool,
) -> None:
    for x, height, top, text in zip(at, heights, tops, texts, strict=True):
        below = height < 0
        look: dict[str, Any] = {"rotation": 90} if upright else {}
        if boxed:
            look["bbox"] = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"}
        axes.annotate(
            text,
            (x, top),
            xytext=(0, (3.5 if boxed else 1.5) * (-1 if below else 1)),
            textcoords="offset points",
            ha="center",
            va="top" if below else "bottom",
            fontsize=size,
            **look,
        )


def room_for_texts(low: float, high: float, height: float, text: float) -> tuple[float, float]:
    """Limits of an axis from ``low`` (at most 0) to ``high`` that leave room for texts at the ends of bars.

    Args:
        low: the lowest end of a bar or interval; where it is 0 nothing is written below.
        high: the highest.
        height: of the axes, in points of print.
        text: how far a text reaches, in points of print.
    """
    sides = 2 if low < 0 else 1
    room = (high - low) * text / max(height - sides * text, text)
    return (low - room if low < 0 else 0.0), high + room


def bar_legend(figure: Figure, grid: Iterable[Axes]) -> None:
    """Explain the series above the axes, once; grey where the bars of a series differ in colour."""
    from matplotlib.container import BarContainer
    from matplotlib.patches import Patch

    found: dict[str, Any] = {}
    for axes in grid:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            if isinstance(handle, BarContainer) and len({bar.get_facecolor() for bar in handle}) > 1:
                hatch = handle[0].get_hatch()
                grey = GRID if hatch else QUIET
                handle = Patch(facecolor=grey, edgecolor=INK, linewidth=0.4, hatch=hatch)  # noqa: PLW2901
            found.setdefault(label, handle)
    if len(found) > 1:
        figure.legend(list(found.values()), list(found), loc="outside upper right", ncols=len(found))
