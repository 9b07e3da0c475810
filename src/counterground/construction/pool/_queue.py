# ruff: noqa: S608 - queries are put together from the constants of this file; values are always parameters
"""The label queue: which photo each annotator gets next, in SQL so that several servers agree.

Every connection keeps what it derives from the log in its own temporary tables. The log only grows, so only
new events update them: queries stay fast with any number of decisions, and nothing derived is on disk. In the
queries, ``TASK`` stands for the name of a task.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from counterground.construction.pool._database import BY_VOTER, LAST_DECISIONS, verdicts_of
from counterground.construction.pool._schema import IMPORTED, REVIEW_LABELS, TASKS
from counterground.construction.pool._store import Pool
from counterground.errors import UsageError

_TABLES = (
    "CREATE TEMP TABLE IF NOT EXISTS seen (id, row)",
    """
    CREATE TEMP TABLE IF NOT EXISTS vote (
      task, path, voter, id UNIQUE, labels, label, PRIMARY KEY (task, path, voter)
    ) WITHOUT ROWID
    """,
    """
    CREATE TEMP TABLE IF NOT EXISTS place (
      row INTEGER PRIMARY KEY, path UNIQUE, photo_id, class_name, width, height,
      review_voters, review_status, background_voters, background_status, stands
    )
    """,
    "CREATE TEMP TABLE IF NOT EXISTS rank (path PRIMARY KEY, score)",
    "CREATE TEMP TABLE IF NOT EXISTS person (task, voter, PRIMARY KEY (task, voter)) WITHOUT ROWID",
    "CREATE TEMP TABLE IF NOT EXISTS second (task, path, PRIMARY KEY (task, path)) WITHOUT ROWID",
    "CREATE TEMP TABLE IF NOT EXISTS drawn (task PRIMARY KEY, share)",
)
_TOUCHED = "(SELECT path FROM main.decision WHERE id > :seen)"
_PLACES = f"""
    INSERT OR REPLACE INTO temp.place
    WITH verdict AS ({verdicts_of("temp.vote", f":seen = 0 OR path IN {_TOUCHED}")})
    SELECT photo.rowid, photo.path, photo_id, class_name, width, height,
           coalesce(review.annotators, 0), coalesce(review.status, 'none'),
           coalesce(background.annotators, 0), coalesce(background.status, 'none'), coalesce(review.stands, 1)
    FROM main.photo
    LEFT JOIN verdict AS review ON review.task = 'review' AND review.path = photo.path
    LEFT JOIN verdict AS background ON background.task = 'background' AND background.path = photo.path
    WHERE photo.rowid > :row OR photo.path IN {_TOUCHED}
"""


_REFRESH = (
    f"DELETE FROM temp.vote WHERE path IN {_TOUCHED}",
    f"""
    INSERT INTO temp.vote {LAST_DECISIONS}
      AND (:seen = 0 OR (task IN ('review', 'background') AND path IN {_TOUCHED})) {BY_VOTER}
    """,
    _PLACES,
    """
    INSERT OR IGNORE INTO temp.person
    SELECT task, annotator FROM main.decision WHERE id > :seen AND undoes IS NULL AND NOT adjudicates
    """,
    # The photos of a task change with new photos, and those with backgrounds also with reviews.
    """
    DELETE FROM temp.drawn WHERE :last <> :row OR (task = 'background' AND EXISTS (
      SELECT 1 FROM main.decision WHERE id > :seen AND task = 'review'))
    """,
    "DELETE FROM temp.seen",
    "INSERT INTO temp.seen VALUES (:newest, :last)",
)
_NEWEST = """
    SELECT (SELECT coalesce(max(id), 0) FROM main.decision) AS newest,
           (SELECT coalesce(max(rowid), 0) FROM main.photo) AS last
"""
# Draws the photos of a task that two annotators decide on: a share of all photos (to the nearest whole photo)
# and of each class (to within a photo). Within a class they are the first by content hash, so one more photo
# changes little. Classes are interleaved: the n-th photo of a class is placed at (n - offset) / photos of the
# class. Offsets differ between classes, so that small classes together also give their share.
_DRAW = (
    "DELETE FROM temp.second WHERE task = :task",
    """
    INSERT INTO temp.second
    WITH class AS (SELECT class_name, count(*) AS photos,
                          (row_number() OVER (ORDER BY class_name) - 0.5) / count(*) OVER () AS offset
                   FROM temp.place WHERE :task = 'review' OR stands GROUP BY class_name)
    SELECT :task, path FROM (
        SELECT path, photo_id, class_name,
               row_number() OVER (PARTITION BY class_name ORDER BY photo_id, path) AS number
        FROM temp.place WHERE :task = 'review' OR stands
    ) JOIN class USING (class_name)
    ORDER BY (number - offset) / photos, photo_id, path
    LIMIT (SELECT round(:share * total(photos)) FROM class)
    """,
    "INSERT OR REPLACE INTO temp.drawn VALUES (:task, :share)",
)
# Two annotators decide on what is drawn. A single annotator does not wait for a second who may never come,
# but imported labels are checked.
_TWO = """
    EXISTS (SELECT 1 FROM temp.second WHERE second.task = :task AND second.path = place.path
            AND (:people > 1 OR EXISTS (SELECT 1 FROM temp.vote AS given WHERE given.task = :task
                                        AND given.path = place.path AND given.voter = :imported)))
"""
# The first condition drops photos that have all their voters, before anything is joined.
_WANTED = f"""
    SELECT place.*, vote.id AS postponed, score, vote.label <> 'later' AS mine,
           TASK_voters + coalesce(screens, 0) AS taken, {_TWO} AS two
    FROM temp.place
    LEFT JOIN temp.vote ON vote.task = :task AND vote.path = place.path AND voter = :me
    LEFT JOIN temp.rank ON :ranked AND rank.path = place.path
    LEFT JOIN (SELECT path, count(*) AS screens FROM main.lease
               WHERE task = :task AND annotator <> :me AND until > :now AND until <= :latest
               GROUP BY path) AS held
           ON held.path = place.path
    WHERE (TASK_voters = 0 OR (TASK_voters = 1 AND {_TWO})) AND TASK_status <> 'adjudicated'
      AND (:task = 'review' OR stands)
"""
_FREE = "mine IS NOT TRUE AND (taken = 0 OR (taken = 1 AND two))"
_NEXT = f"""
    SELECT path, row, class_name, width, height, postponed IS NOT NULL
    FROM ({_WANTED}) WHERE {_FREE}
    ORDER BY postponed, CASE WHEN :task = 'background' THEN class_name END, score DESC,
             substr(photo_id, :here, 4), substr(photo_id, :there, 4), path
    LIMIT :count
"""
_LEFT = f"SELECT count(*) FROM ({_WANTED}) WHERE {_FREE}"
_STILL_WANTED = f"""
    SELECT path FROM ({_WANTED} AND place.path IN (SELECT value FROM json_each(:leased)))
    WHERE {_FREE}
"""
_DONE = "SELECT count(*) FROM temp.vote WHERE task = :task AND voter = :me AND label <> 'later'"
_DISAGREEMENTS = """
    SELECT place.path, place.row, class_name, width, height, 0, voter, labels
    FROM temp.place
    JOIN temp.vote ON vote.task = :task AND vote.path = place.path AND voter <> '' AND vote.label <> 'later'
    WHERE TASK_status = 'disagreed' AND (:task = 'review' OR stands)
    ORDER BY class_name, place.path, voter
"""
_FLAGS = """
    SELECT signal.path, reason, explanation, other.rowid
    FROM main.signal LEFT JOIN main.photo AS other ON other.path = signal.related
    WHERE flagged AND signal.path IN (SELECT value FROM json_each(:paths))
    ORDER BY signal.path, priority DESC
"""
# Keeps one reason of the highest priority below two of the lowest.
_BELOW_ONE = 0.999


def review_queue(signals: pl.DataFrame, photos: pl.DataFrame) -> pl.DataFrame:
    """Return ``path, class_name, score, explanations`` of all photos, the most doubtful first.

    The score is the number of different reasons for which a photo is flagged plus its highest priority (times
    0.999): two reasons always rank above one, however many signals give that one. A photo without any has 0.
    Photos of equal score keep the order of ``photos``. Explanations are listed strongest first.

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
            explanations=pl.col("explanation"),
        )
    )
    none = pl.lit([], dtype=pl.List(pl.String))
    return (
        photos.select("path", "class_name")
        .join(found, on="path", how="left", maintain_order="left")
        .with_columns(
            pl.col("score").fill_null(0.0),
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
    """

    photos: list[QueuedPhoto]
    revoked: list[str]
    done: int
    left: int


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
        with self._connect(task, writes=True) as connection:
            asked = self._asked(connection, annotator, task)
            asked |= {"count": count + len(leased), "leased": json.dumps(list(leased))}
            rows = connection.execute(_query(_NEXT, task), asked).fetchall()
            fresh = [_photo(row) for row in rows if row["path"] not in leased][:count]
            wanted = {row["path"] for row in connection.execute(_query(_STILL_WANTED, task), asked)}
            _lease(connection, annotator, task, [*wanted, *(photo.path for photo in fresh)])
            done, left = (
                connection.execute(_query(sql, task), asked).fetchone()[0] for sql in (_DONE, _LEFT)
            )
        revoked = [path for path in leased if path not in wanted]
        return Batch(fresh, revoked, done, left)

    def undo(
        self, annotator: str, task: str, *, within: sqlite3.Connection | None = None, **undo: Any
    ) -> tuple[QueuedPhoto, list[str]] | None:
        """Undo a decision, as ``Pool.undo`` does; return its photo, now reserved, and its labels."""
        with self.pool.connect(within=within) as connection:
            decision = self.pool.undo(annotator, task, within=connection, **undo)
            if decision is None:
                return None
            if not decision["adjudicates"]:
                _lease(connection, annotator, task, [decision["path"]])
            query = "SELECT path, rowid AS row, class_name, width, height, 0 AS postponed FROM photo"
            photo = connection.execute(f"{query} WHERE path = :path", decision).fetchone()
        return _photo(photo), decision["labels"]

    def photo_of(self, row: int) -> tuple[str, str | None] | None:
        """Return path and SHA-256 of the photo with this number, or None if there is none."""
        with self.pool.connect(writes=False) as connection:
            found = connection.execute("SELECT path, photo_id FROM photo WHERE rowid = ?", (row,)).fetchone()
        return found and tuple(found)

    def disagreements(self, task: str) -> list[tuple[QueuedPhoto, dict[str, list[str]]]]:
        """Return the photos on which annotators disagree, by class, with the labels of each annotator."""
        found: dict[str, tuple[QueuedPhoto, dict[str, list[str]]]] = {}
        with self._connect(task) as connection:
            for row in connection.execute(_query(_DISAGREEMENTS, task), {"task": task}):
                _, votes = found.setdefault(row["path"], (_photo(row), {}))
                votes[row["voter"]] = json.loads(row["labels"])
        return list(found.values())

    def flags(self, paths: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        """Return what curation found about each of these photos, strongest first: reason and explanation.

        ``row`` is the number of the other photo that an explanation names.
        """
        found: dict[str, list[dict[str, Any]]] = {}
        with self.pool.connect(writes=False) as connection:
            for path, *flag in connection.execute(_FLAGS, {"paths": json.dumps(list(paths))}):
                found.setdefault(path, []).append(
                    dict(zip(("reason", "explanation", "row"), flag, strict=True))
                )
        return found

    def release(self, annotators: Sequence[str]) -> None:
        """Release everything these annotators have on screen."""
        with self.pool.connect() as connection:
            connection.executemany("DELETE FROM lease WHERE annotator = ?", [(name,) for name in annotators])

    @contextmanager
    def _connect(self, task: str, *, writes: bool = False) -> Iterator[sqlite3.Connection]:
        """Yield a connection whose temporary tables are up to date for queries about a task."""
        if task not in TASKS:
            raise UsageError(f"Unknown task {task!r}: choose {' or '.join(TASKS)}.")
        with self.pool.connect(writes=writes) as connection:
            for statement in _TABLES:
                connection.execute(statement)
            seen = connection.execute("SELECT id AS seen, row FROM temp.seen").fetchone()
            newest = connection.execute(_NEWEST).fetchone()
            if seen is None:
                connection.executemany("INSERT OR IGNORE INTO temp.rank VALUES (:path, :score)", self._ranks)
            if seen is None or tuple(seen) != tuple(newest):
                since = {"seen": 0, "row": 0, **dict(seen or {}), **dict(newest)}
                for statement in _REFRESH:
                    connection.execute(statement, since)
            share = connection.execute("SELECT share FROM temp.drawn WHERE task = ?", (task,)).fetchone()
            if share is None or share[0] != self._second:  # another queue may have used this connection
                for statement in _DRAW:
                    connection.execute(statement, {"task": task, "share": self._second})
            yield connection

    def _asked(self, connection: sqlite3.Connection, annotator: str, task: str) -> dict[str, Any]:
        # Digits of a content hash are independent: the annotator's name picks those that set the order.
        here, there = (9 + digit % 52 for digit in hashlib.sha256(annotator.encode()).digest()[:2])
        now = time.time()
        voters = connection.execute("SELECT voter FROM temp.person WHERE task = ?", (task,))
        return {
            "here": here,
            "there": there,
            "me": annotator,
            "task": task,
            "now": now,
            # A lease that ends later was made before the clock was set back. Twice the length of a lease,
            # since others make leases while this request waits for the lock.
            "latest": now + 2 * LEASE_SECONDS,
            "people": len({*(row[0] for row in voters), *self._present, annotator} - {IMPORTED, ""}),
            "imported": IMPORTED,
            "ranked": bool(self._ranks) and task == "review",
        }


def _query(template: str, task: str) -> str:
    return template.replace("TASK", task)


def _photo(row: sqlite3.Row) -> QueuedPhoto:
    path, number, class_name, width, height, postponed = tuple(row)[:6]
    return QueuedPhoto(path, number, class_name, width, height, bool(postponed))


def _lease(connection: sqlite3.Connection, annotator: str, task: str, paths: Sequence[str]) -> None:
    now = time.time()
    connection.execute("DELETE FROM lease WHERE until <= ?", (now,))
    rows = [(path, task, annotator, now + LEASE_SECONDS) for path in paths]
    connection.executemany("INSERT OR REPLACE INTO lease VALUES (?, ?, ?, ?)", rows)
