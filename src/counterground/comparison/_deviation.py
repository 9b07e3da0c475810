"""How far one model lies off a line, with what is known of both."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit, stdtr

from counterground.comparison._published_points import PUBLISHED
from counterground.comparison._standard_errors import NORMAL, Figure, standard_error
from counterground.metrics import LineFit, Scale, from_scale, to_scale


class Deviation(NamedTuple):
    """Counter accuracy by the line and what the model has more (fractions), 95 % interval and p-value."""

    predicted: float
    residual: float
    low: float | None
    high: float | None
    p_value: float


def deviation(point: dict[str, Any], line: LineFit) -> Deviation:
    """Measure a point against a line that it is no part of.

    On the scale the distance is ``g(counter) - intercept - slope * g(common)``. Its interval adds, in
    quadrature, where the line may be over this common accuracy (Student's t) and the point's own sampling
    error: for a run the ends of its counter and common intervals on the scale, with the correlation that the
    interval of the drop tells (MOVER, Zou and Donner 2008); for a row of the paper or its reproduction the
    standard errors that its rank rests on, turned to the scale by the slope of g. Where the sampling error
    is not known there is no interval. The limits are then turned into counter accuracy; accuracies of 0 and 1
    count as moved onto the scale (``to_scale``), so that residual and limits stand at one height.

    ``p_value`` compares the distance with the scatter of the baseline's models and the uncertainty of the
    line: the externally studentised residual where the line leaves the point out.
    """
    place, height = _at(point, "common", line), _at(point, "counter", line)
    middle, error = float(line.at(place)), float(line.standard_error(place))
    distance = height - middle
    counter, predicted = (float(from_scale(where, line.scale)) for where in (height, middle))
    limits: tuple[float | None, float | None] = (None, None)
    if own := _own(point, line, place, height):
        # The distance is this much lower or higher; the accuracy the line should have, the other way round.
        down, up = np.hypot(line.critical * error, own)
        ends = [float(from_scale(middle + shift, line.scale)) for shift in (down, -up)]
        limits = counter - ends[0], counter - ends[1]
    spread = float(np.hypot(error, line.residual_sd))
    if spread > 0:
        p_value = float(2 * stdtr(line.n - 2, -abs(distance) / spread))
    else:
        p_value = 1.0 if abs(distance) < 1e-12 else 0.0
    return Deviation(predicted, counter - predicted, *limits, p_value)


def error_on_scale(point: dict[str, Any], figure: Figure, scale: Scale) -> float:
    """Return the standard error of an accuracy as a probit or logit, NaN where nothing is known of it."""
    place = to_scale(point[figure], scale, point[f"n_{figure}"])
    if scale == "probit":
        slope = np.exp(-(place**2) / 2) / np.sqrt(2 * np.pi)
    else:
        slope = expit(place) * expit(-place)
    return float(standard_error(point, figure) / slope)


def _at(point: dict[str, Any], group: str, line: LineFit, name: str | None = None) -> float:
    return float(to_scale(point[name or group], line.scale, point[f"n_{group}"]))


def _own(point: dict[str, Any], line: LineFit, place: float, height: float) -> tuple[float, float] | None:
    """How far sampling may have moved the distance, down and up, on the scale; None where not known."""
    if point["source"] in PUBLISHED:
        common, counter = (error_on_scale(point, group, line.scale) for group in ("common", "counter"))
        half = NORMAL * float(np.hypot(counter, line.slope * common))
        return half, half
    ends = [point[f"{group}_{end}"] for group in ("common", "counter") for end in ("low", "high")]
    if any(end is None for end in ends):
        return None
    below_common, above_common, below, above = (
        abs(_at(point, group, line, f"{group}_{end}") - at)
        for group, at in (("common", place), ("counter", height))
        for end in ("low", "high")
    )
    sides = (below_common, above_common) if line.slope >= 0 else (above_common, below_common)
    down, up = (abs(line.slope) * side for side in sides)
    r = float(np.sign(line.slope)) * _correlation(point)
    # The distance is low where counter is low and common is high.
    lower = below**2 + up**2 - 2 * r * below * up
    higher = above**2 + down**2 - 2 * r * above * down
    return float(np.sqrt(max(0.0, lower))), float(np.sqrt(max(0.0, higher)))


def _correlation(point: dict[str, Any]) -> float:
    """Correlation of the sampling errors of common and counter, from the width of the drop's interval."""
    if point["drop_low"] is None or point["drop_high"] is None:
        return 0.0
    widths = (point[f"{name}_high"] - point[f"{name}_low"] for name in ("common", "counter", "drop"))
    common, counter, drop = widths
    if common <= 0 or counter <= 0:
        return 0.0
    return float(np.clip((common**2 + counter**2 - drop**2) / (2 * common * counter), -1, 1))
