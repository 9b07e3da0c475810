"""A straight line through points with known sampling errors in both coordinates (York et al. 2004)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from counterground.metrics._codes import Floats
from counterground.metrics.intervals import LEVEL, t_quantile
from counterground.metrics.lines._line import FEWEST, Scale, from_scale, to_scale

MOST_NOISE = 0.5
"""The largest share of sampling variance in the variance of x at which a line is fitted."""
LEAST_SHARE = 0.25
"""The least share of scatter in the variance about the line: simulated intervals then cover 94 to 97 %."""

_STEPS = 200
_CLOSE = 1e-10


@dataclass(frozen=True)
class LineWithErrors:
    """``g(counter) = intercept + slope * g(common)`` with sampling errors in both and scatter of the models.

    Slope and intercept have standard errors and 95 % t-intervals, on the scale. Only the scatter is
    estimated, so ``df`` is ``n - 2`` over its share of the variance about the line (at least ``LEAST_SHARE``,
    since it is never known to be 0). ``chi_square`` is the sum of squares about the line in units of the
    sampling errors, about ``n - 2`` if they explain all of it; ``scatter`` is the standard deviation of
    models about the line beyond them, 0 if they suffice. ``noise`` is the share of sampling variance in the
    variance of ``g(common)``: least squares makes the slope too small by about that much.
    """

    scale: Scale
    slope: float
    slope_error: float
    slope_low: float
    slope_high: float
    intercept: float
    intercept_error: float
    intercept_low: float
    intercept_high: float
    scatter: float
    chi_square: float
    noise: float
    df: float
    n: int

    def predict(self, common: npt.ArrayLike) -> Floats:
        """Return the counter accuracies that the line gives for common ones, both fractions.

        Raises:
            ValueError: a value is not a fraction.
        """
        return from_scale(self.intercept + self.slope * to_scale(common, self.scale), self.scale)


class _Fit(NamedTuple):
    slope: float
    intercept: float
    slope_error: float
    intercept_error: float
    chi_square: float
    gain: float  # how fast chi_square falls as the variance of y grows


def fit_line_with_errors(
    common: npt.ArrayLike,
    counter: npt.ArrayLike,
    common_error: npt.ArrayLike,
    counter_error: npt.ArrayLike,
    correlation: npt.ArrayLike = 0.0,
    *,
    scale: Scale = "probit",
) -> LineWithErrors:
    """Fit a line with known sampling errors in both coordinates (York et al. 2004).

    Models also differ from any line by more than sampling. That scatter is an additional variance of y, such
    that the weighted sum of squares is ``n - 2`` (Paule and Mandel 1982). Scaling the intervals instead would
    treat it as larger sampling errors, of x too, and make the line too steep. Standard errors are those of
    the estimating equation of the slope. York's own, ``1 / sum(W u^2)``, count the error of the adjusted
    places as information and are too small if x is noisy (bench/experiments/line_with_errors.py). Errors of
    different models are treated as independent. Models that saw the same photos share part of theirs, which
    moves all points alike and does not flatten the line: the correction is then somewhat too large.

    Args:
        common: ``[n]`` places on the scale.
        counter: ``[n]`` heights on the scale.
        common_error: ``[n]`` standard errors on the scale.
        counter_error: ``[n]`` standard errors on the scale.
        correlation: correlation of the two errors of each point.
        scale: ``probit`` or ``logit``, which is only recorded.

    Raises:
        ValueError: fewer than three points, an unknown error, sampling errors so large that the slope cannot
            be determined (``MOST_NOISE``), or a slope that does not converge.
    """
    x, y, sx, sy = (np.asarray(v, dtype=np.float64) for v in (common, counter, common_error, counter_error))
    if len(x) < FEWEST:
        raise ValueError(f"A line needs at least {FEWEST} models, not {len(x)}.")
    if not all(np.isfinite(v).all() for v in (x, y, sx, sy)):
        raise ValueError("The sampling error of some models is not known.")
    noise = float((sx**2).mean() / max(x.var(ddof=1), 1e-300))
    if noise > MOST_NOISE:
        raise ValueError(
            f"Sampling error is {100 * noise:.0f} % of the variance of common accuracies, too much to "
            "determine a slope."
        )
    covariance = np.asarray(correlation, dtype=np.float64) * sx * sy
    free, scatter = len(x) - 2, 0.0
    first = fit = _york(x, y, sx**2, sy**2, covariance)
    for _ in range(_STEPS):
        if fit.chi_square <= free:
            break
        # Newton's method from below: chi_square is convex in the variance that is added.
        step = (fit.chi_square - free) / fit.gain
        if step <= _CLOSE * scatter:
            break
        scatter += step
        fit = _york(x, y, sx**2, sy**2 + scatter, covariance)
    known = float((sy**2 + fit.slope**2 * sx**2 - 2 * fit.slope * covariance).mean())
    df = free / max(scatter / (scatter + known), LEAST_SHARE)
    half = float(t_quantile(df, (1 + LEVEL) / 2))
    return LineWithErrors(
        scale,
        fit.slope,
        fit.slope_error,
        fit.slope - half * fit.slope_error,
        fit.slope + half * fit.slope_error,
        fit.intercept,
        fit.intercept_error,
        fit.intercept - half * fit.intercept_error,
        fit.intercept + half * fit.intercept_error,
        float(np.sqrt(scatter)),
        first.chi_square,
        noise,
        df,
        len(x),
    )


def _york(x: Floats, y: Floats, var_x: Floats, var_y: Floats, covariance: Floats) -> _Fit:
    """Iterate equations 13 of York et al. (2004) with variances instead of weights."""
    slope = float(np.polyfit(x, y, 1)[0])
    for _ in range(_STEPS):
        weight = 1 / (var_y + slope**2 * var_x - 2 * slope * covariance)
        centre_x, centre_y = np.average(x, weights=weight), np.average(y, weights=weight)
        u, v = x - centre_x, y - centre_y
        beta = weight * (u * var_y + slope * v * var_x - (slope * u + v) * covariance)
        before, slope = slope, float((weight * beta * v).sum() / (weight * beta * u).sum())
        if abs(slope - before) <= _CLOSE * abs(slope):
            break
    else:
        raise ValueError("The slope of the line with errors in both variables does not settle.")
    intercept = float(centre_y - slope * centre_x)
    adjusted = centre_x + beta  # the places on the line that belong to the points
    middle = np.average(adjusted, weights=weight)
    spread = float((weight * (adjusted - middle) ** 2).sum())
    # Part of the spread of these places is their own error, which says nothing about the slope.
    noise = float((weight**2 * (var_x * var_y - covariance**2)).sum())
    slope_variance = spread / max(spread - noise, 1e-300) ** 2
    off = y - intercept - slope * x
    return _Fit(
        slope,
        intercept,
        float(np.sqrt(slope_variance)),
        float(np.sqrt(1 / weight.sum() + middle**2 * slope_variance)),
        float((weight * off**2).sum()),
        float((weight**2 * off**2).sum()),
    )
