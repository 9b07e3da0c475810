"""What backgrounds cause: effects on composites, and the decomposition of a drop."""

from __future__ import annotations

from counterground.metrics.effects._decomposition import BACKGROUND
from counterground.metrics.effects._effects import (
    BG_GAP,
    SWAP_DESIGN,
    swap_design,
    swap_effects,
)

__all__ = [
    "BACKGROUND",
    "BG_GAP",
    "SWAP_DESIGN",
    "swap_design",
    "swap_effects",
]
