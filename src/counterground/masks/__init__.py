"""Masks: where they come from, whether they can be used, and what people decided about them."""

from counterground.masks._decisions import (
    DECISIONS_FILE,
    MOST_MASK_BYTES,
    REDRAWN,
    VERDICTS,
    MaskDecision,
    MaskDecisions,
    Verdict,
    standing,
)

__all__ = [
    "DECISIONS_FILE",
    "MOST_MASK_BYTES",
    "REDRAWN",
    "VERDICTS",
    "MaskDecision",
    "MaskDecisions",
    "Verdict",
    "standing",
]
