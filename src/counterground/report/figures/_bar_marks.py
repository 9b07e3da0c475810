"""Bars with their values written on them, and with intervals where there are any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from counterground.report._numbers import percent
from counterground.report.figures._style import INK, SMALL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import BarContainer

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
    texts: Sequence[str] = field(default=())

    def text(self, place: int) -> str:
        """What stands at the end of a bar."""
        value = self.values[place]
        if self.texts:
            return self.texts[place]
        return percent(None if value is None else value / 100)


def draw_bars(
    axes: Axes, labels: Sequence[str], series: Sequence[Bars], *, size: float = SMALL, upright: bool = False
) -> list[BarContainer]:
    """Draw series side by side over ``labels``; a bar that has no value is left out, never drawn as 0.

    Args:
        axes: where.
        labels: one for each place.
        series: as many bars as labels, each.
        size: points of the values written on bars.
        upright: turn these texts by 90 degrees, where bars stand close.

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
        _write_values(
            axes, at, heights, tops, [one.text(place) for place in there], size=size, upright=upright
        )
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
) -> None:
    for x, height, top, text in zip(at, heights, tops, texts, strict=True):
        below = height < 0
        look: dict[str, Any] = {"rotation": 90} if upright else {}
        axes.annotate(
            text,
            (x, top),
            xytext=(0, -1.5 if below else 1.5),
            textcoords="offset points",
            ha="center",
            va="top" if below else "bottom",
            fontsize=size,
            **look,
        )
