"""Generative models: losses of answers, and models behind an HTTP API."""

from counterground.models.generative._conversation import (
    Candidate,
    Conversation,
    PhotoInputs,
    opens_thoughts,
    placed,
    without_thoughts,
)
from counterground.models.generative._endpoint import ENDPOINT
from counterground.models.generative._losses import NotShareableError, Scorer

__all__ = [
    "ENDPOINT",
    "Candidate",
    "Conversation",
    "NotShareableError",
    "PhotoInputs",
    "Scorer",
    "opens_thoughts",
    "placed",
    "without_thoughts",
]
