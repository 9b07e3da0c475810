"""Lines through models: least squares, and with errors in both accuracies."""

from __future__ import annotations

from counterground.metrics.lines._line import (
    EDGE,
    FEWEST,
    LineFit,
    Scale,
    fit_line,
    from_scale,
    outside,
    scale_density,
    to_scale,
)
from counterground.metrics.lines._regression import (
    INTERCEPT,
    Coefficient,
    Correlation,
    Regression,
    correlation_of,
    ordinary_least_squares,
    rank_correlation,
    standard_ranks,
)
from counterground.metrics.lines._york import MOST_NOISE, LineWithErrors, fit_line_with_errors

__all__ = [
    "EDGE",
    "FEWEST",
    "INTERCEPT",
    "MOST_NOISE",
    "Coefficient",
    "Correlation",
    "LineFit",
    "LineWithErrors",
    "Regression",
    "Scale",
    "correlation_of",
    "fit_line",
    "fit_line_with_errors",
    "from_scale",
    "ordinary_least_squares",
    "outside",
    "rank_correlation",
    "scale_density",
    "standard_ranks",
    "to_scale",
]
