"""The pool: photos under curation, from the first candidate to the last decision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from counterground.pool._open import is_pool, open_pool
from counterground.pool._schema import (
    BACKGROUND_LABELS,
    CANDIDATE_SCHEMA,
    DECISION_SCHEMA,
    IMPORTED,
    KEEP,
    LATER,
    PHOTO_SCHEMA,
    REVIEW_LABELS,
    SIGNAL_SCHEMA,
    TASKS,
    VERDICT_SCHEMA,
)

if TYPE_CHECKING:
    from counterground.pool._pool import Pool

__all__ = [
    "BACKGROUND_LABELS",
    "CANDIDATE_SCHEMA",
    "DECISION_SCHEMA",
    "IMPORTED",
    "KEEP",
    "LATER",
    "PHOTO_SCHEMA",
    "REVIEW_LABELS",
    "SIGNAL_SCHEMA",
    "TASKS",
    "VERDICT_SCHEMA",
    "Pool",
    "is_pool",
    "open_pool",
]


def __getattr__(name: str) -> Any:
    """Load what needs SQLAlchemy when it is asked for."""
    if name == "Pool":
        from counterground.pool._pool import Pool

        return Pool
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
