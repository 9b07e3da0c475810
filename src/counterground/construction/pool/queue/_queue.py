"""The label queue: which photo each annotator gets next, in SQL so that several servers agree.

Every connection keeps what it derives from the log in its own temporary tables. The log only grows, so only
new events update them: queries stay fast with any number of decisions, and nothing derived is on disk.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

import polars as pl
from sqlalchemy import Connection, TextClause, delete, text
from sqlalchemy.dialects.sqlite import insert

from counterground.construction.pool._database import LEASE
from counterground.construction.pool._decisions import labels_of_tasks, record_decision, undo_decision
from counterground.construction.pool._schema import IMPORTED, REVIEW_LABELS, TASKS
from counterground.construction.pool._store import Pool
from counterground.construction.pool.queue._sql import (
    ADJUDICATIONS,
    DISAGREEMENTS,
    DONE,
    DRAW,
    DRAWN,
    FLAGS,
    LEFT,
    MADE_SINCE,
    NEWEST,
    NEXT,
    PACE,
    PEOPLE,
    PROGRESS,
    RANK,
    REFRESH,
    REMAINING,
    STANDING,
    STILL_WANTED,
    TABLES,
    USES,
)
from counterground.errors import UsageError

# Keeps one reason of the highest priority below two of the lowest.
_BELOW_ONE = 0.999


def review_queue(signals: pl.DataFrame, photos: pl.DataFrame) -> pl.DataFrame:
    """Return ``path, class_name, score, reasons, explanations`` of all photos, the most doubtful first.

    The score is the number of different reasons for which a photo is flagged plus its highest priority (times
    0.999): two reasons always rank above one, however many signals give that one. A photo without any has 0.
    Photos of equal score keep the order of ``photos``. Reasons and explanations are listed strongest first.

    Args:
        signals: signals as ``SIGNAL_SCHEMA``; those of photos not in ``photos`` are left out.
        photos: photos with at least ``path`` and ``class_name``.
    """
    order = {reason: place for place, reason in enumerate(REVIEW_LABELS)}
    flagged = signals.filter("flagged").with_columns(
        strength=pl.col("priority").max().over("path", "reason"),
        place=pl.col("reason").replace_strict(order, return_dtype=pl.Int64),
    )
    sides = {"path": False, "strength": True, "place": False, "priority": True, "signal": False}
    found = (
        flagged.sort(*sides, descending=list(sides.values()))
        .group_by("path", maintain_order=True)
        .agg(
            score=pl.col("reason").n_unique() + _BELOW_ONE * pl.col("priority").max(),
            reasons=pl.col("reason").unique(maintain_order=True),
            explanations=pl.col("explanation"),
        )
    )
    none = pl.lit([], dtype=pl.List(pl.String))
    return (
        photos.select("path", "class_name")
        .join(found, on="path", how="left", maintain_order="left")
        .with_columns(
            pl.col("score").fill_null(0.0),
            pl.col("reasons").fill_null(none),
            pl.col("explanations").fill_null(none),
        )
        .sort("score", descending=True, maintain_order=True)
    )


@dataclass(frozen=True)
class QueuedPhoto:
    """A photo to show on screen; ``row`` stands for it in addresses, which hides its source."""

    path: str
    row: int
    class_name: str
    width: int | None
    height: int | None
    postponed: bool


@dataclass(frozen=True)
class Batch:
    """What an annotator gets.

    Attributes:
        photos: the next photos, reserved for ``LEASE_SECONDS``.
        revoked: photos of ``leased`` that the annotator need no longer decide on.
        done: photos the annotator has decided on.
        left: photos that await the annotator, including those on screen.
        pace: median seconds of the annotator's last 101 decisions that stand, without postponed photos; None
            if none was timed.
    """

    photos: list[QueuedPhoto]
    revoked: list[str]
    done: int
    left: int
    pace: float | None


@dataclass(frozen=True)
class Remaining:
    """Photos still unfinished when an annotator has decided on everything.

    Attributes:
        waiting: photos that the annotator decided on and that await another annotator.
        elsewhere: photos that others have on screen now.
        alone: whether nobody else takes part, so that no photo awaits a second annotator.
    """

    waiting: int
    elsewhere: int
    alone: bool


@dataclass(frozen=True)
class Disagreement:
    """A photo on which annotators disagree: the labels of each, by annotator."""

    photo: QueuedPhoto
    votes: dict[str, list[str]]


@dataclass(frozen=True)
class Adjudication:
    """The end of a disagreement: the id of the decision, its labels and its time (ISO, UTC)."""

    photo: QueuedPhoto
    id: int
    labels: list[str]
    at: str


@dataclass(frozen=True)
class Flag:
    """What curation found: a reason to discard, a sentence, and the other photo or class it names."""

    reason: str
    explanation: str
    row: int | None
    related: str | None


@dataclass(frozen=True)
class ClassProgress:
    """The progress of a task in one class, in photos.

    Attributes:
        class_name: the class.
        photos: photos of the task (for backgrounds, those that stand in the review).
        complete: photos on which enough annotators decided, or someone adjudicated.
        begun: photos decided on by fewer annotators than they need.
        disagreed: photos on which annotators disagree and nobody adjudicated.
    """

    class_name: str
    photos: int
    complete: int
    begun: int
    disagreed: int


@dataclass(frozen=True)
class AnnotatorProgress:
    """An annotator's progress with a task: photos decided on, photos left, and median seconds per photo."""

    name: str
    done: int
    left: int
    pace: float | None


LEASE_SECONDS = 180.0
"""How long a photo on screen is reserved for its annotator, since the page's last request."""

Order = Literal["blind", "ranked"]


class Queue:
    """The queue of one pool; any number of queues, in any number of processes, can serve the same pool.

    A photo needs one annotator; a share ``second`` of each class needs two, once two people take part.
    Imported labels count as one annotator's, but not as a person who could decide on further photos. A photo
    on another annotator's screen counts as decided by them until its lease ends. The background task goes
    class by class, only through photos that stand in the review; the review goes through all classes at once.
    Both follow an order drawn from the content hash and the annotator's name. ``ranked`` reviews begin with
    what curation had flagged when the queue was opened. Postponed photos come last.

    Args:
        pool: the pool.
        second: the share (fraction) of photos that two annotators decide on.
        order: order of reviews.
        annotators: who takes part now; those who have decided before take part anyway.
    """

    def __init__(
        self, pool: Pool, *, second: float = 0.1, order: Order = "blind", annotators: Sequence[str] = ()
    ) -> None:
        self.pool = pool
        self._second = second
        self._present = frozenset(annotators)
        self._ranks: list[dict[str, Any]] = []
        if order == "ranked":
            doubtful = review_queue(pool.signals(), pool.photos())
            self._ranks = doubtful.select("path", "score").to_dicts()

    def lease(self, annotator: str, task: str, *, count: int = 6, leased: Sequence[str] = ()) -> Batch:
        """Give an annotator the next photos; reserve them, and those of ``leased``, for that screen."""
        with self.pool.connect() as connection:
            self._refresh(connection, task)
            asked = self._asked(connection, annotator, task) | {
                "count": count + len(leased),
                "leased": json.dumps(list(leased)),
            }
            rows = connection.execute(_query(NEXT, task), asked).all()
            still: set[str] = set()
            if leased:
                still.update(connection.execute(_query(STILL_WANTED, task), asked).scalars())
            fresh = [row for row in rows if row.path not in leased][:count]
            _lease(connection, annotator, task, [*still, *(row.path for row in fresh)])
            done = connection.execute(text(DONE), asked).scalar_one()
            left = connection.execute(_query(LEFT, task), asked).scalar_one()
            seconds = connection.execute(text(PACE), asked).scalars().all()
        return Batch(
            photos=[_photo(row) for row in fresh],
            revoked=[path for path in leased if path not in still],
            done=done,
            left=left,
            pace=median(seconds) if seconds else None,
        )

    def remaining(self, annotator: str, task: str) -> Remaining:
        """Return what an annotator who has finished may wait for."""
        with self.pool.connect(writes=False) as connection:
            self._refresh(connection, task)
            asked = self._asked(connection, annotator, task)
            waiting, elsewhere = connection.execute(_query(REMAINING, task), asked).one()
        return Remaining(waiting, elsewhere, alone=asked["people"] == 1)

    def decide(
        self, path: str, *, annotator: str, task: str, within: Connection | None = None, **decision: Any
    ) -> int:
        """Record a decision, as ``Pool.decide`` does, and release the photo; return the decision's id.

        ``within`` is a transaction of ``Pool.connect`` to join: all of it reaches the disk together.
        """
        with self.pool.connect_within(within) as connection:
            newest = connection.execute(text(NEWEST)).one().newest
            known = labels_of_tasks(connection)
            number = record_decision(connection, known, path=path, annotator=annotator, task=task, **decision)
            if number > newest:  # a resent decision may have been undone, and its photo be on screen again
                same = LEASE.c.path == path, LEASE.c.task == task, LEASE.c.annotator == annotator
                connection.execute(delete(LEASE).where(*same))
        return number

    def undo(
        self,
        annotator: str,
        task: str,
        *,
        of: str | int | None,
        token: str,
        within: Connection | None = None,
    ) -> tuple[QueuedPhoto, dict[str, Any]] | None:
        """Undo a decision, as ``Pool.undo`` does, and reserve its photo for the annotator; return both."""
        with self.pool.connect_within(within) as connection:
            row = undo_decision(connection, annotator, task, of=of, token=token)
            if row is None:
                return None
            if not row["adjudicates"]:
                _lease(connection, annotator, task, [row["path"]])
            photo = connection.execute(
                text("SELECT path, rowid, class_name, width, height, 0 FROM photo WHERE path = :path"),
                {"path": row["path"]},
            ).one()
        return _photo(photo), row

    def photo_of(self, row: int) -> tuple[str, str | None] | None:
        """Return path and SHA-256 of the photo with this number, or None if there is none."""
        with self.pool.connect(writes=False) as connection:
            query = text("SELECT path, photo_id FROM photo WHERE rowid = :row")
            found = connection.execute(query, {"row": row}).one_or_none()
        return None if found is None else (found.path, found.photo_id)

    def disagreements(self, task: str) -> list[Disagreement]:
        """Return the photos on which annotators disagree and nobody has adjudicated, by class."""
        with self.pool.connect(writes=False) as connection:
            self._refresh(connection, task)
            rows = connection.execute(_query(DISAGREEMENTS, task), {"task": task}).all()
        found: dict[str, Disagreement] = {}
        for row in rows:
            disagreement = found.setdefault(row.path, Disagreement(_photo(row), {}))
            disagreement.votes[row.voter] = json.loads(row.labels)
        return list(found.values())

    def adjudications(self, task: str) -> list[Adjudication]:
        """Return the adjudications that stand, newest first."""
        with self.pool.connect(writes=False) as connection:
            self._refresh(connection, task)
            rows = connection.execute(text(ADJUDICATIONS), {"task": task}).all()
        return [Adjudication(_photo(row), row.id, json.loads(row.labels), row.at) for row in rows]

    def progress(self, task: str) -> list[ClassProgress]:
        """Return the progress of the task, class by class."""
        with self.pool.connect(writes=False) as connection:
            self._refresh(connection, task)
            rows = connection.execute(_query(PROGRESS, task), self._asked(connection, "", task)).all()
        return [ClassProgress(*row) for row in rows]

    def annotators(self, task: str, also: Sequence[str] = ()) -> list[AnnotatorProgress]:
        """Return each annotator's progress, by name; those in ``also`` even if they have not begun."""
        with self.pool.connect(writes=False) as connection:
            self._refresh(connection, task)
            names = connection.execute(text(PEOPLE), {"task": task}).scalars().all()
        found = []
        for name in sorted({*names, *also}):
            batch = self.lease(name, task, count=0)
            found.append(AnnotatorProgress(name, batch.done, batch.left, batch.pace))
        return found

    def uses(self, task: str) -> dict[str, int]:
        """Return how often each label is in the log, including decisions that were undone."""
        with self.pool.connect(writes=False) as connection:
            rows = connection.execute(text(USES), {"task": task}).all()
        return {str(label): int(count) for label, count in rows}

    def flags(self, paths: Sequence[str]) -> dict[str, list[Flag]]:
        """Return what curation found about each of these photos, strongest first."""
        with self.pool.connect(writes=False) as connection:
            rows = connection.execute(text(FLAGS), {"paths": json.dumps(list(paths))}).all()
        found: dict[str, list[Flag]] = {}
        for path, reason, explanation, row, related in rows:
            found.setdefault(path, []).append(Flag(reason, explanation, row, related))
        return found

    def last_decision(self) -> int:
        """Return the id of the last event in the log, or 0 if there is none."""
        with self.pool.connect(writes=False) as connection:
            return int(connection.execute(text(NEWEST)).one().newest)

    def made_since(self, number: int) -> dict[str, int]:
        """Return how many decisions later than this id stand, by annotator; postponing does not count."""
        with self.pool.connect(writes=False) as connection:
            rows = connection.execute(text(MADE_SINCE), {"id": number}).all()
        return {str(name): int(count) for name, count in rows}

    def release(self, annotators: Sequence[str]) -> None:
        """Release everything these annotators have on screen."""
        with self.pool.connect() as connection:
            connection.execute(delete(LEASE).where(LEASE.c.annotator.in_(annotators)))

    def _refresh(self, connection: Connection, task: str) -> None:
        """Update this connection's tables for queries about a task."""
        for statement in TABLES:
            connection.execute(text(statement))
        seen = connection.execute(text("SELECT id AS seen, row FROM temp.seen")).mappings().one_or_none()
        newest = connection.execute(text(NEWEST)).mappings().one()
        if seen is None and self._ranks:
            connection.execute(text(RANK), self._ranks)
        if seen is None or tuple(seen.values()) != tuple(newest.values()):
            since = {"seen": 0, "row": 0} | dict(seen or {}) | dict(newest)
            stood = set(connection.execute(text(STANDING), since))
            for statement in REFRESH:
                connection.execute(text(statement), since)
            for stale in self._stale(connection, since, stood):
                connection.execute(text("DELETE FROM temp.drawn WHERE task = :task"), {"task": stale})
        drawn = connection.execute(text(DRAWN), {"task": task}).scalar_one_or_none()
        if drawn != self._second:  # another queue may have used this connection
            for statement in DRAW:
                connection.execute(text(statement), {"task": task, "share": self._second})

    def _stale(self, connection: Connection, since: dict[str, Any], stood: set[Any]) -> Sequence[str]:
        """Return the tasks whose set of photos has changed: only then is the share drawn again."""
        if since["last"] != since["row"]:
            return TASKS
        return () if set(connection.execute(text(STANDING), since)) == stood else ("background",)

    def _asked(self, connection: Connection, annotator: str, task: str) -> dict[str, Any]:
        ranked = bool(self._ranks) and task == "review"
        voters = connection.execute(text(PEOPLE), {"task": task}).scalars().all()
        # Digits of a content hash are independent: the annotator's name picks those that set the order.
        now = time.time()
        here, there = (9 + digit % 52 for digit in hashlib.sha256(annotator.encode()).digest()[:2])
        return {
            "here": here,
            "there": there,
            "me": annotator,
            "task": task,
            "now": now,
            # A lease that ends later was made before the clock was set back. Twice the length of a lease,
            # since others make leases while this request waits for the lock.
            "latest": now + 2 * LEASE_SECONDS,
            "people": len({*voters, *self._present, annotator} - {IMPORTED, ""}),
            "imported": IMPORTED,
            "ranked": ranked,
        }


def _query(template: str, task: str) -> TextClause:
    if task not in TASKS:
        raise UsageError(f"Unknown task {task!r}: choose {' or '.join(TASKS)}.")
    return text(template.replace("TASK", task))


def _photo(row: Sequence[Any]) -> QueuedPhoto:
    path, number, class_name, width, height, postponed = row[:6]
    return QueuedPhoto(path, number, class_name, width, height, bool(postponed))


def _lease(connection: Connection, annotator: str, task: str, paths: Sequence[str]) -> None:
    now = time.time()
    connection.execute(delete(LEASE).where(LEASE.c.until <= now))
    if not paths:
        return
    rows = [
        {"path": path, "task": task, "annotator": annotator, "until": now + LEASE_SECONDS} for path in paths
    ]
    statement = insert(LEASE)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["path", "task", "annotator"], set_={"until": statement.excluded.until}
        ),
        rows,
    )
