"""Bars with their values written on them, and with intervals where there are any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from counterground.paper.figures._style import GRID, INK, SMALL
from counterground.text import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Bounds = tuple[float | None, float | None]


@dataclass(frozen=True)
class Bars:
    """One series of bars: heights, a colour for each, and what to write on them.

    Attributes:
        name: what the bars show.
        values: heights in percent or points; None where there is no bar.
        colours: one for each bar.
        intervals: low and high ends in the same units, or empty.
        texts: text at the end of each bar; by default the value with one decimal.
        label: name in the legend; ``name`` by default.
    """

    name: str
    values: Sequence[float | None]
    colours: Sequence[str]
    intervals: Sequence[Bounds] = ()
    texts: Sequence[str] = ()
    label: str = ""


def draw_bars(
    axes: Axes,
    labels: Sequence[str],
    series: Sequence[Bars],
    *,
    size: float = SMALL,
    upright: bool = False,
    inside: bool = False,
) -> None:
    """Draw series side by side over ``labels``; a bar without a value is left out, never drawn as 0.

    Values are written at the ends of bars, beyond intervals. All series but the first are hatched.

    Args:
        axes: where to draw.
        labels: one for each place.
        series: series, each with as many bars as labels.
        size: font size of the values written on bars, in points.
        upright: whether to turn these texts by 90 degrees, if bars are close.
        inside: whether to write them in the middle of the bars, if something else is at their ends.
    """
    width = 0.8 / len(series)
    for k, one in enumerate(series):
        bars = axes.bar(
            np.arange(len(labels)) + (k - (len(series) - 1) / 2) * width,
            np.array(one.values, dtype=float),
            0.94 * width,
            yerr=_reach(one),
            label=one.label or one.name,
            color=one.colours,
            edgecolor=INK,
            linewidth=0.4,
            hatch="////" if k else None,
            error_kw={"ecolor": INK, "elinewidth": 0.6},
        )
        axes.bar_label(
            bars,
            one.texts or [percent(None if value is None else value / 100) for value in one.values],
            label_type="center" if inside else "edge",
            rotation=90 if upright else 0,
            padding=0 if inside else 1.5,
            fontsize=size,
            bbox={"boxstyle": "square,pad=0.05", "facecolor": "white", "edgecolor": "none"},
        )
    axes.set_xticks(range(len(labels)), labels)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.6, len(labels) - 0.4)
    axes.margins(y=0.35 if upright else 0.12)
    axes.axhline(0, color=INK, linewidth=0.6)
    axes.grid(axis="y", color=GRID, linewidth=0.5)


def _reach(bars: Bars) -> np.ndarray | None:
    """Return how far intervals reach below and above the bars, ``[2, n]``; 0 where there is none."""
    if not bars.intervals:
        return None
    values, ends = np.array(bars.values, dtype=float), np.array(bars.intervals, dtype=float).T
    reach: np.ndarray = np.nan_to_num(np.abs(ends - values))
    return reach


def ticks_to_100(axes: Axes) -> None:
    """Leave out ticks beyond 100 percent or points, of an axis and of those that share it."""
    low, high = axes.get_ylim()
    axes.set_yticks([tick for tick in axes.get_yticks() if max(low, -100) <= tick <= min(high, 100)])


def bar_legend(figure: Figure, axes: Axes) -> None:
    """Explain the series of one panel above the panels, if there are several."""
    named = dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    if len(named) > 1:
        longest = max(map(len, named))
        columns = len(named) if longest < 24 else 1
        figure.legend(list(named.values()), list(named), loc="outside upper right", ncols=columns)
