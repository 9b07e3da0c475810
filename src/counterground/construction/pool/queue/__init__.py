"""The label queue: which photo each annotator gets next. See README.md of ``pool``."""

from counterground.construction.pool.queue._queue import (
    LEASE_SECONDS,
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
    "LEASE_SECONDS",
    "Adjudication",
    "AnnotatorProgress",
    "Batch",
    "ClassProgress",
    "Disagreement",
    "Flag",
    "Queue",
    "QueuedPhoto",
    "Remaining",
    "review_queue",
]
