"""A contrast with covariates held."""

from __future__ import annotations

from counterground.metrics.adjusted._adjusted import AdjustedContrast, Adjustment, Words
from counterground.metrics.adjusted._adjusted_scores import (
    ADJUSTED_SCHEMA,
    COVARIATE_GROUPS,
    LOGGED,
    find_covariates,
    score_adjusted,
)
from counterground.metrics.adjusted._overlap import Overlap

__all__ = [
    "ADJUSTED_SCHEMA",
    "COVARIATE_GROUPS",
    "LOGGED",
    "AdjustedContrast",
    "Adjustment",
    "Overlap",
    "Words",
    "find_covariates",
    "score_adjusted",
]
