"""Effective robustness: the line of counter on common accuracy in probit or logit space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from counterground.metrics._codes import Floats
from counterground.metrics.intervals import (
    LEVEL,
    logistic_cdf,
    logistic_quantile,
    normal_cdf,
    normal_quantile,
    t_quantile,
)
from counterground.metrics.lines._regression import ordinary_least_squares

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
