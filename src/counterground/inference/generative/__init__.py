"""Generative models on a benchmark: losses of candidate answers, or generated answers that are read."""

from counterground.inference.generative._evaluate import (
    announce_calls,
    check_generative,
    evaluate_generative,
    refuse_encoder,
)
from counterground.inference.generative._output import GenerativeOutput

__all__ = ["GenerativeOutput", "announce_calls", "check_generative", "evaluate_generative", "refuse_encoder"]
