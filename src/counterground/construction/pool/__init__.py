"""The pool: photos under curation, from the first candidate to the last decision. See README.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from counterground.construction.pool._folder import is_pool, leads_out
from counterground.construction.pool._names import check_annotators, check_class_names, spelling_of
from counterground.construction.pool._open import POOL_FOLDERS, open_pool
from counterground.construction.pool._schema import (
    BACKGROUND_LABELS,
    CANDIDATE_SCHEMA,
    DECISION_SCHEMA,
    IMPORTED,
    KEEP,
    LATER,
    PHOTO_DETAILS,
    PHOTO_SCHEMA,
    REVIEW_LABELS,
    SIGNAL_SCHEMA,
    TASKS,
    VERDICT_SCHEMA,
    VOTE_SCHEMA,
    PhotoKey,
    is_from,
)
from counterground.errors import needs_extra

if TYPE_CHECKING:
    from counterground.construction.pool._store import Pool
    from counterground.construction.pool.queue import (
        Adjudication,
        AnnotatorProgress,
        Batch,
        ClassProgress,
        Disagreement,
        Flag,
        Queue,
        QueuedPhoto,
        Remaining,
        review_queue,
    )

__all__ = [
    "BACKGROUND_LABELS",
    "CANDIDATE_SCHEMA",
    "DECISION_SCHEMA",
    "IMPORTED",
    "KEEP",
    "LATER",
    "PHOTO_DETAILS",
    "PHOTO_SCHEMA",
    "POOL_FOLDERS",
    "REVIEW_LABELS",
    "SIGNAL_SCHEMA",
    "TASKS",
    "VERDICT_SCHEMA",
    "VOTE_SCHEMA",
    "Adjudication",
    "AnnotatorProgress",
    "Batch",
    "ClassProgress",
    "Disagreement",
    "Flag",
    "PhotoKey",
    "Pool",
    "Queue",
    "QueuedPhoto",
    "Remaining",
    "check_annotators",
    "check_class_names",
    "is_from",
    "is_pool",
    "leads_out",
    "open_pool",
    "review_queue",
    "spelling_of",
]


def __getattr__(name: str) -> Any:
    """Load the names that need SQLAlchemy, an optional package, on demand."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with needs_extra("data"):
        from counterground.construction.pool import _store, queue
    return getattr(_store if name == "Pool" else queue, name)
