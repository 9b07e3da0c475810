"""The axes of every scatter: accuracies (fractions) on the probit scale, their range and their ticks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from counterground.metrics import EDGE, GROUPS, from_scale, to_scale

_ROUND = (50, 20, 80, 10, 90, 1, 99, 5, 95, 30, 70, 40, 60, 2, 98, 15, 85, 25, 75, 35, 45, 55, 65)
_TAILS = (97, 3, 0.5, 99.5, 0.2, 99.8)
_EVEN = (5.0, 2.0, 1.0, 0.5, 0.2, 0.1)
"""Steps in percent for an axis so short that few round numbers lie on it."""
_ENOUGH = 5
_MARGIN, _LEAST_MARGIN = 0.08, 0.05
WIDEST_APART = 0.12
"""Share of the axis between ticks: closer labels would hide every other one on a phone."""
# Axes extend a little beyond EDGE, to half of it, so that markers at 0 and 100 % are whole.
_BEYOND = 0.5 / (EDGE / 2)
_BOUNDS_SHOWN = (0.02, 0.98)


def on_axis(accuracy: float) -> float:
    """Move an accuracy onto the axis: 0 and 1, which lie infinitely far away, become 0.001 and 0.999."""
    return min(max(accuracy, EDGE), 1 - EDGE)


def probit(accuracies: Any) -> Any:
    """Return standard normal quantiles of accuracies, clipped a little beyond those of 0.001 and 0.999."""
    return to_scale(np.clip(np.asarray(accuracies, dtype=float), 0, 1), "probit", _BEYOND)


def accuracy(quantiles: Any) -> Any:
    """Return the accuracies at standard normal quantiles."""
    return from_scale(quantiles, "probit")


def shown_values(rows: Iterable[Mapping[str, Any]], groups: Sequence[str] = GROUPS) -> list[float]:
    """Return the accuracies that an axis must show: all points, and ends of intervals not near 0 or 1.

    On this scale, an end near 0 or 1 is far away: an interval may run off the axis, a point may not.

    Args:
        rows: rows of ``model_points``.
        groups: the groups whose accuracies lie along the axis.
    """
    values: list[float] = []
    low, high = _BOUNDS_SHOWN
    for row in rows:
        for group in groups:
            ends = (row[f"{group}_{end}"] for end in ("low", "high"))
            values += [row[group], *(end for end in ends if end is not None and low <= end <= high)]
    return values


def limits(values: Iterable[float]) -> tuple[float, float]:
    """Return the ends (accuracies) of an axis that shows all ``values`` with a margin on both sides.

    Close to 0 and 1 round percentages are rare: the margin grows until two are on the axis.
    """
    ends = probit([on_axis(value) for value in values] or [0.5])
    margin = max(_MARGIN * float(ends.max() - ends.min()), _LEAST_MARGIN)
    while True:
        low, high = float(accuracy(ends.min() - margin)), float(accuracy(ends.max() + margin))
        if len(ticks(low, high, WIDEST_APART)) > 1:
            return low, high
        margin *= 1.5


def ticks(low: float, high: float, apart: float = 0.085) -> list[float]:
    """Return accuracies of round percentages between the limits, ``apart`` (share of the axis) or more apart.

    The roundest take precedence: 50 before 65. If fewer than five fit on the axis, even steps replace them,
    or finer percentages in the tails, where even steps crowd.
    """
    kept = _spaced(_ROUND, low, high, apart)
    if len(kept) >= _ENOUGH:
        return kept
    for step in _EVEN:
        first, last = math.ceil(100 * low / step - 1e-9), math.floor(100 * high / step + 1e-9)
        steps = [round(place * step, 1) / 100 for place in range(first, last + 1)]
        if len(steps) >= _ENOUGH and _shortest(steps, low, high) >= apart:
            return steps
    return _spaced((*_ROUND, *_TAILS), low, high, apart)


def _spaced(candidates: Iterable[float], low: float, high: float, apart: float) -> list[float]:
    """Return, in order, the percentages between the limits that keep their distance from earlier ones."""
    kept: list[float] = []
    for tick in (candidate / 100 for candidate in candidates):
        if low <= tick <= high and _shortest([*kept, tick], low, high) >= apart:
            kept.append(tick)
    return sorted(kept)


def _shortest(marks: Sequence[float], low: float, high: float) -> float:
    """The least distance between two ticks, as a share of the axis."""
    places = np.sort(probit(list(marks)))
    return float(np.diff(places).min(initial=math.inf)) / float(probit(high) - probit(low))
