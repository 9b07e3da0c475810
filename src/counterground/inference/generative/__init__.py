"""Generative models on a benchmark: losses of candidate answers, or generated answers that are read."""

from counterground.inference.generative._answers import GenerativeOutput
from counterground.inference.generative._evaluate import (
    check_generative,
    evaluate_generative,
    refuse_encoder,
)

__all__ = ["GenerativeOutput", "check_generative", "evaluate_generative", "refuse_encoder"]
