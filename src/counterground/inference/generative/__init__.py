"""Generative models on a benchmark: losses of candidate answers, or generated answers that are read."""

from counterground.inference.generative._evaluate import (
    GenerativeOutput,
    announce_calls,
    check_generative,
    evaluate_generative,
    refuse_encoder,
)

__all__ = ["GenerativeOutput", "announce_calls", "check_generative", "evaluate_generative", "refuse_encoder"]
