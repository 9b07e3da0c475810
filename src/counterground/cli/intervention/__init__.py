"""The commands that intervene on backgrounds; see README.md of ``cli``."""

from __future__ import annotations

from counterground.cli.intervention._masks import masks
from counterground.cli.intervention._mitigate import mitigate
from counterground.cli.intervention._swap import swap

__all__ = [
    "masks",
    "mitigate",
    "swap",
]
