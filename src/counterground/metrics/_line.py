"""Effective robustness: the line of counter on common accuracy in probit or logit space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from counterground.metrics._codes import Floats
from counterground.metrics._distributions import (
    logistic_cdf,
    logistic_quantile,
    normal_cdf,
    normal_quantile,
    t_quantile,
)
from counterground.metrics._regression import ordinary_least_squares
from counterground.metrics._sampling import LEVEL

Scale = Literal["probit", "logit"]
EDGE = 0.001
"""Distance from 0 and 1 (fraction) within which accuracies are moved if the number of photos is unknown."""

FEWEST = 3
"""The fewest models that a line is fitted to."""

_SLOPE = "common"


def to_scale(accuracy: npt.ArrayLike, scale: Scale, photos: npt.ArrayLike | None = None) -> Floats:
    """Return accuracies (fractions) as probits or logits, which are infinite at 0 and 1.

    Values outside ``[edge, 1 - edge]`` are moved onto that edge: half a photo, ``1 / (2 n)``, if the number
    of photos is known, else ``EDGE`` (0.1 %). ``outside`` returns which.

    Args:
        accuracy: fractions, any shape.
        scale: ``probit`` or ``logit``.
        photos: number of photos behind each; NaN or None if unknown.

    Raises:
        ValueError: an unknown scale, or a value that is not a fraction.
    """
    if scale not in get_args(Scale):
        raise ValueError(f"The scale is 'probit' or 'logit', not {scale!r}.")
    values, edge = _fractions(accuracy), _edge(accuracy, photos)
    clipped = np.clip(values, edge, 1 - edge)
    return normal_quantile(clipped) if scale == "probit" else logistic_quantile(clipped)


def from_scale(position: npt.ArrayLike, scale: Scale) -> Floats:
    """Return probits or logits as accuracies (fractions)."""
    values = np.asarray(position, dtype=np.float64)
    return normal_cdf(values) if scale == "probit" else logistic_cdf(values)


def scale_density(position: npt.ArrayLike, scale: Scale) -> Floats:
    """Return how much accuracy changes with the probit or logit, at positions on the scale."""
    values = np.asarray(position, dtype=np.float64)
    if scale == "probit":
        return np.asarray(np.exp(-(values**2) / 2) / np.sqrt(2 * np.pi))
    return np.asarray(logistic_cdf(values) * logistic_cdf(-values))


def outside(accuracy: npt.ArrayLike, photos: npt.ArrayLike | None = None) -> npt.NDArray[np.bool_]:
    """Return which accuracies ``to_scale`` moves onto its edge; arguments and errors are the same."""
    values, edge = _fractions(accuracy), _edge(accuracy, photos)
    return np.asarray((values < edge) | (values > 1 - edge))


@dataclass(frozen=True)
class LineFit:
    """``g(counter) = intercept + slope * g(common)``, ``g`` being probit or logit, by least squares.

    ``slope`` and ``intercept`` have 95 % t-intervals; ``residual_sd`` is on the scale, with ``n - 2`` degrees
    of freedom. ``centre`` and ``spread`` are mean and sum of squares of ``g(common)``; ``clipped`` counts
    models with an accuracy that was moved off 0 or 1.
    """

    scale: Scale
    slope: float
    slope_low: float
    slope_high: float
    intercept: float
    intercept_low: float
    intercept_high: float
    residual_sd: float
    r_squared: float | None
    n: int
    centre: float
    spread: float
    clipped: int = 0

    @property
    def critical(self) -> float:
        """The t value of the 95 % intervals."""
        return float(t_quantile(self.n - 2, (1 + LEVEL) / 2))

    def predict(self, common: npt.ArrayLike) -> Floats:
        """Return the counter accuracies that the line gives for common ones, both fractions.

        Raises:
            ValueError: a value is not a fraction.
        """
        return from_scale(self.at(to_scale(common, self.scale)), self.scale)

    def at(self, place: npt.ArrayLike) -> Floats:
        """Return the height of the line at ``g(common)``, both on the scale."""
        return self.intercept + self.slope * np.asarray(place, dtype=np.float64)

    def standard_error(self, place: npt.ArrayLike) -> Floats:
        """Return the standard error of the line at ``g(common)``, on the scale."""
        away = np.asarray(place, dtype=np.float64) - self.centre
        return np.asarray(self.residual_sd * np.sqrt(1 / self.n + away**2 / self.spread))


def fit_line(
    common: npt.ArrayLike,
    counter: npt.ArrayLike,
    *,
    scale: Scale = "probit",
    photos_common: npt.ArrayLike | None = None,
    photos_counter: npt.ArrayLike | None = None,
) -> LineFit:
    """Fit counter on common accuracy over models (section 4: effective robustness).

    Args:
        common: ``[n]`` fractions, one per model.
        counter: ``[n]`` fractions.
        scale: ``probit`` (standard normal quantiles) or ``logit``.
        photos_common: ``[n]`` photos behind each common accuracy, which determine what 0 and 1 are moved to.
        photos_counter: the same for the counter accuracies.

    Raises:
        ValueError: fewer than three models, all with the same common accuracy, different lengths, a value
            that is not a fraction, or an unknown scale.
    """
    x, y = to_scale(common, scale, photos_common), to_scale(counter, scale, photos_counter)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"Common and counter accuracies differ in shape: {x.shape} and {y.shape}.")
    if len(x) < FEWEST:
        raise ValueError(f"A line needs at least {FEWEST} models, not {len(x)}.")
    spread = float(((x - x.mean()) ** 2).sum())
    if spread < 1e-12:
        raise ValueError("A line needs models of different accuracies; these are all alike.")
    fit = ordinary_least_squares(y, {_SLOPE: x}, name="counter")
    intercept, slope = fit.coefficients
    moved = outside(common, photos_common) | outside(counter, photos_counter)
    return LineFit(
        scale,
        slope.value,
        slope.low,
        slope.high,
        intercept.value,
        intercept.low,
        intercept.high,
        fit.residual_sd,
        fit.r_squared,
        len(x),
        float(x.mean()),
        spread,
        int(moved.sum()),
    )


def _fractions(accuracy: npt.ArrayLike) -> Floats:
    values = np.asarray(accuracy, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("Accuracies are fractions from 0 to 1, without gaps.")
    return values


def _edge(accuracy: npt.ArrayLike, photos: npt.ArrayLike | None) -> Floats:
    shape = np.shape(accuracy)
    if photos is None:
        return np.full(shape, EDGE)
    counts = np.broadcast_to(np.asarray(photos, dtype=np.float64), shape)
    known = np.where(counts >= 1, counts, np.nan)
    return np.asarray(np.where(np.isnan(known), EDGE, 0.5 / np.where(np.isnan(known), 1.0, known)))


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
