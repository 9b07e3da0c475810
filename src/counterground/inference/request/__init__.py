"""What is asked of an evaluation: settings, candidates, prompts, and the hash of it all."""

from __future__ import annotations

from counterground.inference.request._candidates import (
    BUILT_IN_NAMES,
    CandidateLabels,
    candidate_labels,
    default_space,
    listed_classes,
    match_classes,
    other_names,
    own_options,
    read_aliases,
    requested_labels,
    with_confusable,
)
from counterground.inference.request._prompt_specs import (
    MAIN_OBJECT,
    PromptSpec,
    check_protocol,
    gives_losses,
    prompt_specs,
    takes_an,
)
from counterground.inference.request._request import Request, Training, chooses_options, load_requested

__all__ = [
    "BUILT_IN_NAMES",
    "MAIN_OBJECT",
    "CandidateLabels",
    "PromptSpec",
    "Request",
    "Training",
    "candidate_labels",
    "check_protocol",
    "chooses_options",
    "default_space",
    "gives_losses",
    "listed_classes",
    "load_requested",
    "match_classes",
    "other_names",
    "own_options",
    "prompt_specs",
    "read_aliases",
    "requested_labels",
    "takes_an",
    "with_confusable",
]
