"""Axes on which accuracies stand as standard normal quantiles; positions are percent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.special import ndtr, ndtri

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EDGE = 0.1
"""Percent: 0 and 100 lie infinitely far away, so what lies beyond 0.1 and 99.9 is drawn there."""
_CANDIDATES = (
    (50, 20, 80, 10, 90, 1, 99, 5, 95),
    (30, 70, 40, 60),
    (2, 98, 15, 85, 25, 75, 35, 45, 55, 65),
    (0.5, 99.5, 97, 3, 92.5, 87.5, 82.5, 77.5, 72.5),
)
_APART = 0.085
_ROOM = 0.08


def clip(percent: float) -> float:
    """Move an accuracy in percent onto the axis: 0 becomes 0.1, 100 becomes 99.9."""
    return min(max(percent, EDGE), 100 - EDGE)


def position(percent: Any) -> Any:
    """Standard normal quantile of an accuracy in percent, or of an array of them."""
    return ndtri(np.clip(np.asarray(percent, dtype=float) / 100, EDGE / 200, 1 - EDGE / 200))


def accuracy(quantile: Any) -> Any:
    """The accuracy in percent that stands at a quantile."""
    return 100 * ndtr(np.asarray(quantile, dtype=float))


def limits(values: Iterable[float]) -> tuple[float, float]:
    """Percent limits that hold all ``values`` (percent) with some room on both sides."""
    ends = position([clip(value) for value in values] or [50.0])
    room = max(_ROOM * float(ends.max() - ends.min()), 0.05)
    return float(accuracy(ends.min() - room)), float(accuracy(ends.max() + room))


def ticks(low: float, high: float) -> list[float]:
    """Round percentages between the limits, the roundest first, none closer than 8.5 % of the axis."""
    start, length = position(low), position(high) - position(low)
    kept: list[float] = []
    for level in _CANDIDATES:
        for tick in level:
            at = (position(tick) - start) / length
            if low <= tick <= high and all(abs(at - (position(k) - start) / length) >= _APART for k in kept):
                kept.append(tick)
    return sorted(kept)


def set_probit(axes: Axes, which: Literal["x", "y"], low: float, high: float) -> None:
    """Give one axis the probit scale between two percentages, with ticks and their texts."""
    set_scale, set_limits, set_ticks = (
        (axes.set_xscale, axes.set_xlim, axes.set_xticks)
        if which == "x"
        else (axes.set_yscale, axes.set_ylim, axes.set_yticks)
    )
    set_scale("function", functions=(position, accuracy))
    set_limits(low, high)
    marks = ticks(low, high)
    set_ticks(marks, [f"{tick:g}" for tick in marks])
    set_ticks([], minor=True)
