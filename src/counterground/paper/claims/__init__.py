"""What the paper claims, measured again: by setting, by size and data, row by row."""

from counterground.paper.claims._claim import (
    CLAIM_SCHEMA,
    EVERY,
    TERMS,
    WITHOUT,
    Answer,
    Scaling,
    ScalingFit,
    claim_by_setting,
    scaling,
)
from counterground.paper.claims._format import Claims, Reproduction
from counterground.paper.claims._reproduction import REPRODUCTION_SCHEMA, left_out, reproduce

__all__ = [
    "CLAIM_SCHEMA",
    "EVERY",
    "REPRODUCTION_SCHEMA",
    "TERMS",
    "WITHOUT",
    "Answer",
    "Claims",
    "Reproduction",
    "Scaling",
    "ScalingFit",
    "claim_by_setting",
    "left_out",
    "reproduce",
    "scaling",
]
