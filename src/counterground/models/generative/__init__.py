"""Generative models: losses of answers, and models behind an HTTP API."""

from counterground.models.generative._conversation import Candidate, Conversation, PhotoInputs, placed
from counterground.models.generative._endpoint import ENDPOINT
from counterground.models.generative._losses import NotShareableError, Scorer
from counterground.models.generative._thoughts import opens_thoughts, without_thoughts

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
