"""Axes on which accuracies stand as standard normal quantiles; positions are percent."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.special import ndtr, ndtri

if TYPE_CHECKING:
    from matplotlib.axes import Axes


EDGE = 0.1
"""Percent: 0 and 100 lie infinitely far away, so what lies beyond 0.1 and 99.9 is drawn there."""
_ROUND = (50, 20, 80, 10, 90, 1, 99, 5, 95, 30, 70, 40, 60, 2, 98, 15, 85, 25, 75, 35, 45, 55, 65)
_TAILS = (97, 3, 0.5, 99.5, 0.2, 99.8)
_EVEN = (5.0, 2.0, 1.0, 0.5, 0.2, 0.1)
"""Steps in percent for an axis so short that few round numbers lie on it."""
_ENOUGH = 5
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
    """Round percentages between the limits, none closer than 8.5 % of the axis.

    The roundest come first: 50 before 65. Where fewer than five lie on the axis they are even steps instead,
    and in the tails, where even steps crowd, finer ones.
    """
    kept = _apart(_ROUND, low, high)
    if len(kept) >= _ENOUGH:
        return kept
    for step in _EVEN:
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        steps = [round(place * step, 1) for place in range(first, last + 1)]
        if len(steps) >= _ENOUGH and _shortest(steps, low, high) >= _APART:
            return steps
    return _apart((*_ROUND, *_TAILS), low, high)


def _apart(candidates: Iterable[float], low: float, high: float) -> list[float]:
    """Those candidates between the limits that keep their distance from the earlier ones, in order."""
    kept: list[float] = []
    for tick in candidates:
        if low <= tick <= high and _shortest([*kept, tick], low, high) >= _APART:
            kept.append(tick)
    return sorted(kept)


def _shortest(marks: Sequence[float], low: float, high: float) -> float:
    """The least distance between two ticks, as a share of the axis."""
    places = np.sort(position(list(marks)))
    return float(np.diff(places).min(initial=math.inf)) / float(position(high) - position(low))


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
    decimals = 0 if all(tick == round(tick) for tick in marks) else 1
    set_ticks(marks, [f"{tick:.{decimals}f}" for tick in marks])
    set_ticks([], minor=True)
