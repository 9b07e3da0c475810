"""Room: comparison. Models against each other and against the paper: points, lines, ranks, scaling."""

from __future__ import annotations

from counterground.comparison._points import POINTS_SCHEMA, model_points
from counterground.comparison._robustness import (
    RESIDUALS_SCHEMA,
    EffectiveRobustness,
    RobustnessLine,
    effective_robustness,
)

__all__ = [
    "POINTS_SCHEMA",
    "RESIDUALS_SCHEMA",
    "EffectiveRobustness",
    "RobustnessLine",
    "effective_robustness",
    "model_points",
]
