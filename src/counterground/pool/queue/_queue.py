"""The label queue: which photo comes next for whom, asked in SQL so that several servers agree.

Every connection keeps what follows from the log in temporary tables of its own. The log only grows, so they
are brought up to date by what is new in it: asking stays fast with any number of decisions, and there is no
second truth on the disk.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any, Literal

from sqlalchemy import Connection, TextClause, delete, select, text
from sqlalchemy.dialects.sqlite import insert

from counterground.errors import UsageError
from counterground.pool._decisions import check_decision, record
from counterground.pool._pool import Pool
from counterground.pool._schema import BACKGROUND_LABELS, REVIEW_LABELS, TASKS
from counterground.pool._tables import DECISION, LEASE, SETTING
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
from counterground.pool.queue._sql import (
    DISPUTES,
    DONE,
    FLAGS,
    LEFT,
    MADE_SINCE,
    NEWEST,
    NEXT,
    PACE,
    PROGRESS,
    RANK,
    REFRESH,
    REST,
    SETTLED,
    STILL_WANTED,
    TABLES,
    USES,
    VOTERS,
)

LEASE_SECONDS = 180.0
"""How long a photo is kept for the one who has it on screen, since the page was last heard of."""

Order = Literal["blind", "ranked"]


class Queue:
    """The queue of one pool; any number of them, in any number of processes, serve the same pool.

    A photo needs one annotator, and two where the hash of its content falls into the share ``second``;
    imported labels are an annotator's. What is on screens of others counts as decided by them until its lease
    ends. Backgrounds come class by class, only of photos that stand in the review; reviews over all classes;
    both in an order drawn from the hash of the content and the annotator's name. ``ranked`` reviews begin
    with what curation flagged when the queue was opened. Postponed photos come last.

    Args:
        pool: the pool.
        second: the share (fraction) of photos that two annotators decide on.
        order: of reviews.
    """

    def __init__(self, pool: Pool, *, second: float = 0.1, order: Order = "blind") -> None:
        self.pool = pool
        self._ranks = _ranks(pool) if order == "ranked" else []
        # Content hashes are uniform: comparing their first digits as text draws the share.
        self._second = "g" if second >= 1 else f"{int(second * 2**32):08x}"

    def take(self, annotator: str, task: str, *, count: int = 6, have: Sequence[str] = ()) -> Batch:
        """Give an annotator the next photos and keep them for that screen, with those of ``have``."""
        asked = self._asked(annotator, task) | {
            "count": count + len(have),
            "have": json.dumps(list(have)),
        }
        with self.pool.connect() as connection:
            self._refresh(connection)
            rows = connection.execute(_query(NEXT, task), asked).all()
            still = set(connection.execute(_query(STILL_WANTED, task), asked).scalars()) if have else set()
            fresh = [row for row in rows if row.path not in have][:count]
            _lease(connection, annotator, task, [*still, *(row.path for row in fresh)])
            done = connection.execute(text(DONE), asked).scalar_one()
            left = connection.execute(_query(LEFT, task), asked).scalar_one()
            seconds = connection.execute(text(PACE), asked).scalars().all()
        return Batch(
            photos=[_photo(row) for row in fresh],
            lost=[path for path in have if path not in still],
            done=done,
            left=left,
            pace=median(seconds) if seconds else None,
        )

    def rest(self, annotator: str, task: str) -> Rest:
        """Say what an annotator who is through may wait for."""
        with self.pool.connect(writes=False) as connection:
            self._refresh(connection)
            waiting, elsewhere = connection.execute(_query(REST, task), self._asked(annotator, task)).one()
        return Rest(waiting, elsewhere)

    def decide(
        self,
        path: str,
        *,
        annotator: str,
        task: str,
        labels: Sequence[str],
        token: str,
        settles: bool = False,
        seconds: float | None = None,
        suggestion: str | None = None,
        within: Connection | None = None,
    ) -> int:
        """Record a decision, as ``Pool.decide`` does, and give the photo back; return the decision's id.

        ``within`` is a transaction of ``Pool.connect`` of which this becomes a part: on disk with all of it.
        """
        event: dict[str, Any] = {"path": path, "annotator": annotator, "task": task, "labels": list(labels)}
        event |= {"settles": settles, "seconds": seconds, "suggestion": suggestion}
        with self._part(within) as connection:
            known = _token_is_known(connection, token)
            if not known:  # the labels may have changed since: what was written stays accepted
                check_decision(annotator, task, labels, _known_labels(connection, task))
            number = record(connection, token, event)
            if not known:
                connection.execute(delete(LEASE).where(*_same_lease(path, task, annotator)))
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
        """Take back a decision and keep its photo for the annotator; return both, or None: there is none.

        Args:
            annotator: who takes it back.
            task: of the decision.
            of: token or id of the decision (a settlement may be anyone's); None is the annotator's last one.
            token: makes sending twice harmless.
            within: as in ``decide``.

        Raises:
            UsageError: there is no such decision of the annotator, or it was taken back before.
        """
        with self._part(within) as connection:
            row = _to_undo(connection, annotator, task, of, token)
            if row is None:
                return None
            event = {"path": row["path"], "annotator": annotator, "task": task, "labels": []}
            record(connection, token, event | {"undoes": row["id"]})
            if not row["settles"]:
                _lease(connection, annotator, task, [row["path"]])
            photo = connection.execute(
                text("SELECT path, rowid, class_name, width, height, 0 FROM photo WHERE path = :path"),
                {"path": row["path"]},
            ).one()
        return _photo(photo), row | {"labels": json.loads(row["labels"])}

    def path_of(self, row: int) -> str | None:
        """Return the path of the photo with this number, None where there is none."""
        with self.pool.connect(writes=False) as connection:
            found = connection.execute(text("SELECT path FROM photo WHERE rowid = :row"), {"row": row})
            return found.scalar_one_or_none()

    def disputes(self, task: str) -> list[Dispute]:
        """Return the photos on which annotators disagree and nobody has settled, by class."""
        with self.pool.connect(writes=False) as connection:
            self._refresh(connection)
            rows = connection.execute(_query(DISPUTES, task), {"task": task}).all()
        found: dict[str, Dispute] = {}
        for row in rows:
            dispute = found.setdefault(row.path, Dispute(_photo(row), {}))
            dispute.votes[row.voter] = json.loads(row.labels)
        return list(found.values())

    def settled(self, task: str) -> list[Settled]:
        """Return what was settled and stands, the last one first."""
        with self.pool.connect(writes=False) as connection:
            self._refresh(connection)
            rows = connection.execute(text(SETTLED), {"task": task}).all()
        return [Settled(_photo(row), row.id, json.loads(row.labels), row.at) for row in rows]

    def progress(self, task: str) -> list[ClassProgress]:
        """Return how far the task is, class by class."""
        with self.pool.connect(writes=False) as connection:
            self._refresh(connection)
            rows = connection.execute(_query(PROGRESS, task), self._asked("", task)).all()
        return [ClassProgress(*row) for row in rows]

    def annotators(self, task: str, also: Sequence[str] = ()) -> list[AnnotatorProgress]:
        """Return how far each annotator is, those of ``also`` even where they have not begun, by name."""
        with self.pool.connect(writes=False) as connection:
            self._refresh(connection)
            names = connection.execute(text(VOTERS), {"task": task}).scalars().all()
        found = []
        for name in sorted({*names, *also}):
            batch = self.take(name, task, count=0)
            found.append(AnnotatorProgress(name, batch.done, batch.left, batch.pace))
        return found

    def uses(self, task: str) -> dict[str, int]:
        """Return how often each label stands in the log, decisions that were undone included."""
        with self.pool.connect(writes=False) as connection:
            rows = connection.execute(text(USES), {"task": task}).all()
        return {str(label): int(count) for label, count in rows}

    def flags(self, paths: Sequence[str]) -> dict[str, list[Flag]]:
        """Return what curation found of each of these photos, the strongest first."""
        with self.pool.connect(writes=False) as connection:
            rows = connection.execute(text(FLAGS), {"paths": json.dumps(list(paths))}).all()
        found: dict[str, list[Flag]] = {}
        for path, reason, explanation, row, related in rows:
            found.setdefault(path, []).append(Flag(reason, explanation, row, related))
        return found

    def needs(self, photo_id: str) -> int:
        """Return how many annotators a photo needs."""
        return 1 + (photo_id[:8] < self._second)

    def last_decision(self) -> int:
        """Return the id of the last event in the log, 0 where there is none."""
        with self.pool.connect(writes=False) as connection:
            return int(connection.execute(text(NEWEST)).one().newest)

    def made_since(self, number: int) -> dict[str, int]:
        """Return how many decisions later than this id stand, by annotator; postponing is none."""
        with self.pool.connect(writes=False) as connection:
            rows = connection.execute(text(MADE_SINCE), {"id": number}).all()
        return {str(name): int(count) for name, count in rows}

    def release(self, annotators: Sequence[str]) -> None:
        """Give back everything these annotators have on screen."""
        with self.pool.connect() as connection:
            connection.execute(delete(LEASE).where(LEASE.c.annotator.in_(annotators)))

    @contextmanager
    def _part(self, within: Connection | None) -> Iterator[Connection]:
        """A transaction, or a part of one that fails alone."""
        if within is None:
            with self.pool.connect() as connection:
                yield connection
        else:
            with within.begin_nested():
                yield within

    def _refresh(self, connection: Connection) -> None:
        """Bring this connection's tables up to date."""
        for statement in TABLES:
            connection.execute(text(statement))
        seen = connection.execute(text("SELECT id AS seen, row FROM temp.seen")).mappings().one_or_none()
        newest = connection.execute(text(NEWEST)).mappings().one()
        if seen is None and self._ranks:
            connection.execute(text(RANK), self._ranks)
        if seen is None or tuple(seen.values()) != tuple(newest.values()):
            for statement in REFRESH:
                connection.execute(text(statement), {"seen": 0, "row": 0} | dict(seen or {}) | dict(newest))

    def _asked(self, annotator: str, task: str) -> dict[str, Any]:
        ranked = bool(self._ranks) and task == "review"
        # Digits of a content hash are independent: those the annotator's name picks give an order of its own.
        here, there = (9 + digit % 52 for digit in hashlib.sha256(annotator.encode()).digest()[:2])
        return {
            "here": here,
            "there": there,
            "me": annotator,
            "task": task,
            "now": time.time(),
            "second": self._second,
            "ranked": ranked,
        }


def pool_key(pool: Pool) -> str:
    """Return a name of the pool that no other pool has, made when it is first asked for."""
    fresh = json.dumps(hashlib.sha256(f"{pool.root}{time.time_ns()}".encode()).hexdigest()[:16])
    with pool.connect() as connection:
        statement = insert(SETTING).values(name="pool_key", value=fresh)
        connection.execute(statement.on_conflict_do_nothing())
        found = connection.execute(select(SETTING.c.value).where(SETTING.c.name == "pool_key"))
        return str(json.loads(found.scalar_one()))


def _token_is_known(connection: Connection, token: str) -> bool:
    """Say whether an event with this token is in the log."""
    return connection.execute(select(DECISION.c.id).where(DECISION.c.token == token)).first() is not None


def _ranks(pool: Pool) -> list[dict[str, Any]]:
    from counterground.pool.queue._ranking import review_queue

    return review_queue(pool.signals(), pool.photos()).select("path", "score").to_dicts()


def _query(template: str, task: str) -> TextClause:
    if task not in TASKS:
        raise UsageError(f"Unknown task {task!r}: there are {', '.join(TASKS)}.")
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


def _same_lease(path: str, task: str, annotator: str) -> tuple[Any, ...]:
    return LEASE.c.path == path, LEASE.c.task == task, LEASE.c.annotator == annotator


def _known_labels(connection: Connection, task: str) -> Sequence[str]:
    if task == "review":
        return REVIEW_LABELS
    found = connection.execute(select(SETTING.c.value).where(SETTING.c.name == "background_labels")).scalar()
    return BACKGROUND_LABELS if found is None else list(json.loads(found))


def _to_undo(
    connection: Connection, annotator: str, task: str, of: str | int | None, token: str
) -> dict[str, Any] | None:
    """Return the row of the decision that is to be taken back."""
    before = connection.execute(select(DECISION.c.undoes).where(DECISION.c.token == token)).scalar()
    query = select(DECISION).where(DECISION.c.task == task, DECISION.c.undoes.is_(None))
    undone = select(DECISION.c.undoes).where(DECISION.c.undoes.is_not(None))
    if before is not None:
        query = query.where(DECISION.c.id == before)
    elif of is None:
        mine = query.where(DECISION.c.annotator == annotator, DECISION.c.settles.is_(False))
        query = mine.where(DECISION.c.id.not_in(undone)).order_by(DECISION.c.id.desc()).limit(1)
    elif isinstance(of, int):
        query = query.where(DECISION.c.id == of)
    else:
        query = query.where(DECISION.c.token == of)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        if of is None:
            return None
        raise UsageError(f"There is no decision {of!r} to take back.")
    if before is None:
        if row["annotator"] != annotator and not row["settles"]:
            raise UsageError("A decision can only be taken back by its annotator.")
        if connection.execute(select(DECISION.c.id).where(DECISION.c.undoes == row["id"])).first():
            raise UsageError("That decision was taken back before.")
    return dict(row)
