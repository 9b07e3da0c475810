"""Encode the photos that are missing, keep the features, score them, write a run. See README.md."""

from counterground.inference._competition import Competition, default_label_space
from counterground.inference._evaluate import evaluate_models
from counterground.inference._run import PREDICTIONS_SCHEMA, Run, RunInfo, open_run, why_not_comparable
from counterground.inference._settings import Settings

__all__ = [
    "PREDICTIONS_SCHEMA",
    "Competition",
    "Run",
    "RunInfo",
    "Settings",
    "default_label_space",
    "evaluate_models",
    "open_run",
    "why_not_comparable",
]
