"""Predictions: the labels they are chosen from, and those that others made, scored without a model."""

from counterground.predictions._candidates import (
    BUILT_IN_NAMES,
    BUILT_IN_PROMPTS,
    CandidateLabels,
    candidate_labels,
    default_space,
    listed_classes,
    match_classes,
    named_by_content,
    other_names,
    requested_labels,
    with_confusable,
)
from counterground.predictions._evaluate import FORMATS, evaluate_predictions
from counterground.predictions._formats import NO_ANSWER, GivenPredictions, PredictionFormat

__all__ = [
    "BUILT_IN_NAMES",
    "BUILT_IN_PROMPTS",
    "FORMATS",
    "NO_ANSWER",
    "CandidateLabels",
    "GivenPredictions",
    "PredictionFormat",
    "candidate_labels",
    "default_space",
    "evaluate_predictions",
    "listed_classes",
    "match_classes",
    "named_by_content",
    "other_names",
    "requested_labels",
    "with_confusable",
]
