"""What is asked of an evaluation: settings, candidates, prompts, and the hash of it all."""

from __future__ import annotations

from counterground.inference.request._candidates import (
    BUILT_IN_NAMES,
    CandidateLabels,
    candidate_labels,
    listed_classes,
    match_classes,
    other_names,
    own_options,
    read_aliases,
    requested_labels,
    with_confusable,
)
from counterground.inference.request._request import Request, Training, chooses_options
from counterground.inference.request._settings import (
    MAIN_OBJECT,
    Article,
    Engine,
    Loss,
    PromptSpec,
    Settings,
    check_protocol,
    gives_losses,
    prompt_specs,
    takes_an,
)

__all__ = [
    "BUILT_IN_NAMES",
    "MAIN_OBJECT",
    "Article",
    "CandidateLabels",
    "Engine",
    "Loss",
    "PromptSpec",
    "Request",
    "Settings",
    "Training",
    "candidate_labels",
    "check_protocol",
    "chooses_options",
    "gives_losses",
    "listed_classes",
    "match_classes",
    "other_names",
    "own_options",
    "prompt_specs",
    "read_aliases",
    "requested_labels",
    "takes_an",
    "with_confusable",
]
