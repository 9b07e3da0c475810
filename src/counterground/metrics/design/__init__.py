"""What scores compare: expressions, contrasts, and the design of a benchmark."""

from __future__ import annotations

from counterground.metrics.design._design import (
    DESIGN,
    DROP,
    RESERVED,
    Contrast,
    Design,
    ScoreKey,
    attributes,
    check_columns,
    check_contrast,
    name_problem,
)
from counterground.metrics.design._expression import Condition, Side, quoted, selection

__all__ = [
    "DESIGN",
    "DROP",
    "RESERVED",
    "Condition",
    "Contrast",
    "Design",
    "ScoreKey",
    "Side",
    "attributes",
    "check_columns",
    "check_contrast",
    "name_problem",
    "quoted",
    "selection",
]
