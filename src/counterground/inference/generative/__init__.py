"""Generative models on a benchmark: losses of candidate answers, or generated answers that are read."""

from counterground.inference.generative._evaluate import (
    check_generative,
    evaluate_generative,
    refuse_encoder,
)
from counterground.inference.generative._generation import GenerativeOutput

__all__ = ["GenerativeOutput", "check_generative", "evaluate_generative", "refuse_encoder"]
