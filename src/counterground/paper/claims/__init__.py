"""What the paper claims, measured again: by setting, by size and data, row by row."""

from counterground.paper.claims._claim import CLAIM_SCHEMA, claim_by_setting
from counterground.paper.claims._format import Claims, Reproduction
from counterground.paper.claims._reproduction import (
    REPRODUCTION_SCHEMA,
    left_out,
    reproduce,
)
from counterground.paper.claims._scaling import EVERY, TERMS, WITHOUT, Answer, scaling

__all__ = [
    "CLAIM_SCHEMA",
    "EVERY",
    "REPRODUCTION_SCHEMA",
    "TERMS",
    "WITHOUT",
    "Answer",
    "Claims",
    "Reproduction",
    "claim_by_setting",
    "left_out",
    "reproduce",
    "scaling",
]
