"""The pool: photos under curation, from the first candidate to the last decision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from counterground.pool._classes import check_class_names
from counterground.pool._open import is_pool, open_pool
from counterground.pool._paths import leads_out
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
from counterground.pool.queue._ranking import review_queue
from counterground.pool.queue._rows import (
    AnnotatorProgress,
    Batch,
    ClassProgress,
    Dispute,
    Flag,
    QueuedPhoto,
    Rest,
    Settled,
)

if TYPE_CHECKING:
    from counterground.pool._pool import Pool
    from counterground.pool.queue._queue import Queue, pool_key

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
    "AnnotatorProgress",
    "Batch",
    "ClassProgress",
    "Dispute",
    "Flag",
    "Pool",
    "Queue",
    "QueuedPhoto",
    "Rest",
    "Settled",
    "check_class_names",
    "is_pool",
    "leads_out",
    "open_pool",
    "pool_key",
    "review_queue",
]


def __getattr__(name: str) -> Any:
    """Load what needs SQLAlchemy when it is asked for."""
    if name == "Pool":
        from counterground.pool._pool import Pool

        return Pool
    if name in {"Queue", "pool_key"}:
        from counterground.pool.queue import _queue

        return getattr(_queue, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
