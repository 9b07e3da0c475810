"""Definition 6.1 and theorem 6.2 (paper section 6): simulated, exact, and as printed."""

from counterground.paper.study.theory._study import (
    QUICK,
    TheorySettings,
    draw_theory,
    simulate_grid,
    study_theory,
)
from counterground.paper.study.theory._theory import (
    MEAN_OF_CLASS,
    OBJECT_ONLY,
    PROMPTS,
    Definition,
    cross_covariance,
    dictionaries,
    draw,
    exact_accuracy,
    minimiser,
    moments,
    printed_bounds,
    prompt,
    zero_shot_correct,
)

__all__ = [
    "MEAN_OF_CLASS",
    "OBJECT_ONLY",
    "PROMPTS",
    "QUICK",
    "Definition",
    "TheorySettings",
    "cross_covariance",
    "dictionaries",
    "draw",
    "draw_theory",
    "exact_accuracy",
    "minimiser",
    "moments",
    "printed_bounds",
    "prompt",
    "simulate_grid",
    "study_theory",
    "zero_shot_correct",
]
