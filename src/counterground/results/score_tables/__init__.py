"""Tables of scores by parts of photos, of contrasts, and of effects."""

from __future__ import annotations

from counterground.results.score_tables._breakdown import (
    BreakdownView,
    has_unpaired_backgrounds,
    join_breakdowns,
)
from counterground.results.score_tables._contrast_table import (
    ContrastScores,
    contrast_scores,
    contrast_titles,
    one_contrast,
    strata_notes,
)
from counterground.results.score_tables._effects_table import (
    EFFECTS,
    EffectScores,
    effect_scores,
    effect_title,
)

__all__ = [
    "EFFECTS",
    "BreakdownView",
    "ContrastScores",
    "EffectScores",
    "contrast_scores",
    "contrast_titles",
    "effect_scores",
    "effect_title",
    "has_unpaired_backgrounds",
    "join_breakdowns",
    "one_contrast",
    "strata_notes",
]
