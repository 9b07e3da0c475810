"""How far one model lies off a line, with what is known of both."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtr

from counterground.metrics import LineFit, from_scale, to_scale


class Deviation(NamedTuple):
    """Counter accuracy by the line and what the model has more (fractions), 95 % interval and p-value."""

    predicted: float
    residual: float
    low: float
    high: float
    p_value: float


def deviation(point: dict[str, Any], line: LineFit) -> Deviation:
    """Measure a point against a line that it is no part of.

    On the scale the distance is ``g(counter) - intercept - slope * g(common)``. Its interval adds, in
    quadrature, where the line may be over this common accuracy (Student's t) and, where the point has
    intervals, its own sampling error: the ends of the counter and common intervals on the scale, with the
    correlation that the interval of the drop tells (MOVER, Zou and Donner 2008). The paper prints no
    intervals: for its rows the first part stands alone. The limits are then turned into counter accuracy.

    ``p_value`` compares the distance with the scatter of the baseline's models and the uncertainty of the
    line: the externally studentised residual where the line leaves the point out.
    """
    place, height = _at(point, "common", line), _at(point, "counter", line)
    middle, error = float(line.at(place)), float(line.standard_error(place))
    distance = height - middle
    below, above = _own(point, line, place, height)
    half = line.critical * error
    # The distance is this much lower or higher; the accuracy the line should have, the other way round.
    down, up = np.hypot(half, below), np.hypot(half, above)
    counter, predicted = point["counter"], float(from_scale(middle, line.scale))
    low = counter - float(from_scale(height - distance + down, line.scale))
    high = counter - float(from_scale(height - distance - up, line.scale))
    spread = float(np.hypot(error, line.residual_sd))
    if spread > 0:
        p_value = float(2 * stdtr(line.n - 2, -abs(distance) / spread))
    else:
        p_value = 1.0 if abs(distance) < 1e-12 else 0.0
    return Deviation(predicted, counter - predicted, low, high, p_value)


def _at(point: dict[str, Any], group: str, line: LineFit, name: str | None = None) -> float:
    return float(to_scale(point[name or group], line.scale, point[f"n_{group}"]))


def _own(point: dict[str, Any], line: LineFit, place: float, height: float) -> tuple[float, float]:
    """How far sampling may have moved the distance, down and up, on the scale; zeros where not known."""
    ends = [point[f"{group}_{end}"] for group in ("common", "counter") for end in ("low", "high")]
    if any(end is None for end in ends):
        return 0.0, 0.0
    common = [
        place - _at(point, "common", line, "common_low"),
        _at(point, "common", line, "common_high") - place,
    ]
    counter = [
        height - _at(point, "counter", line, "counter_low"),
        _at(point, "counter", line, "counter_high") - height,
    ]
    slope = line.slope
    against = [abs(slope) * side for side in (common if slope >= 0 else common[::-1])]
    r = float(np.sign(slope)) * _correlation(point)
    # The distance is low where counter is low and common is high.
    below = counter[0] ** 2 + against[1] ** 2 - 2 * r * counter[0] * against[1]
    above = counter[1] ** 2 + against[0] ** 2 - 2 * r * counter[1] * against[0]
    return float(np.sqrt(max(0.0, below))), float(np.sqrt(max(0.0, above)))


def _correlation(point: dict[str, Any]) -> float:
    """Correlation of the sampling errors of common and counter, from the width of the drop's interval."""
    if point["drop_low"] is None or point["drop_high"] is None:
        return 0.0
    widths = (point[f"{name}_high"] - point[f"{name}_low"] for name in ("common", "counter", "drop"))
    common, counter, drop = widths
    if common <= 0 or counter <= 0:
        return 0.0
    return float(np.clip((common**2 + counter**2 - drop**2) / (2 * common * counter), -1, 1))
