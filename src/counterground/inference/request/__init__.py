"""What is asked of an evaluation: settings, candidates, prompts, and the hash of it all."""

from __future__ import annotations

from counterground.inference.request._candidates import (
    CandidateLabels,
    candidate_labels,
    check_candidates,
    default_label_space,
    listed_classes,
    read_aliases,
    with_confusable,
)
from counterground.inference.request._prompt_specs import PromptSpec, prompt_specs, takes_an
from counterground.inference.request._request import Request, Training
from counterground.inference.request._settings import Article, Engine, Loss, Settings

__all__ = [
    "Article",
    "CandidateLabels",
    "Engine",
    "Loss",
    "PromptSpec",
    "Request",
    "Settings",
    "Training",
    "candidate_labels",
    "check_candidates",
    "default_label_space",
    "listed_classes",
    "prompt_specs",
    "read_aliases",
    "takes_an",
    "with_confusable",
]
