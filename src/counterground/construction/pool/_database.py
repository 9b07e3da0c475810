# ruff: noqa: S608 - queries are put together from the constants of this file; values are always parameters
"""``decisions.sqlite``: its tables, its connections, and the one definition of what stands in a pool.

- A decision stands unless an undo points at it.
- An annotator's vote on a photo is their last decision that stands; "later" is not a vote, whatever they
  decided before.
- An adjudication ends a disagreement. The last adjudication that stands counts, whoever made it; "later"
  reopens the photo.
- Without an adjudication, annotators agree if their first labels are the same. In a review, two who discard
  a photo agree whatever their reasons, and the earlier reason counts.
- A photo stands in the review, and so goes into the benchmark, if nobody reviewed it or the verdict is to
  keep it.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, LifoQueue
from typing import Any
from urllib.parse import quote

import polars as pl

from counterground.construction.pool._schema import (
    CANDIDATE_SCHEMA,
    KEEP,
    LATER,
    PHOTO_SCHEMA,
    SIGNAL_SCHEMA,
    VERDICT_SCHEMA,
)
from counterground.errors import CounterGroundError, database_problem, error_message

_APPLICATION = 0x43474E44  # "CGND": marks a pool, not another program's database
_VERSION = 1
_TYPES = {pl.Int64(): "INTEGER", pl.Float64(): "FLOAT", pl.Boolean(): "BOOLEAN", pl.String(): "TEXT"}


def _columns(schema: Mapping[str, pl.DataType]) -> str:
    return ", ".join(f"{name} {_TYPES[kind]}" for name, kind in schema.items())


_TABLES = (
    f"CREATE TABLE photo ({_columns(PHOTO_SCHEMA)}, PRIMARY KEY (path))",
    "CREATE INDEX photo_class ON photo (class_name)",
    f"CREATE TABLE candidate ({_columns(CANDIDATE_SCHEMA)}, PRIMARY KEY (key, class_name))",
    "CREATE INDEX candidate_order ON candidate (class_name, position)",
    f"CREATE TABLE signal ({_columns(SIGNAL_SCHEMA)})",
    "CREATE INDEX signal_path ON signal (path)",
    "CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT)",
    """
    CREATE TABLE decision (
      id INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT NOT NULL REFERENCES photo (path),
      annotator TEXT NOT NULL, task TEXT NOT NULL, labels TEXT NOT NULL,
      adjudicates BOOLEAN NOT NULL, seconds FLOAT,
      at TEXT NOT NULL, token TEXT NOT NULL UNIQUE, undoes INTEGER UNIQUE REFERENCES decision (id)
    )
    """,
    "CREATE INDEX decision_photo ON decision (task, path, annotator)",
    "CREATE INDEX decision_annotator ON decision (annotator, task, id)",
    """
    CREATE TRIGGER decision_no_update BEFORE UPDATE ON decision
    BEGIN SELECT RAISE(ABORT, 'decisions are never changed or deleted'); END
    """,
    """
    CREATE TRIGGER decision_no_delete BEFORE DELETE ON decision
    BEGIN SELECT RAISE(ABORT, 'decisions are never changed or deleted'); END
    """,
    # Who has a photo on screen until when (seconds since the epoch): two annotators are not given the same.
    """
    CREATE TABLE lease (
      path TEXT REFERENCES photo (path), task TEXT, annotator TEXT, until FLOAT NOT NULL,
      PRIMARY KEY (path, task, annotator)
    )
    """,
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {_VERSION}",
)
UNDONE = "EXISTS (SELECT 1 FROM main.decision AS undo WHERE undo.undoes = decision.id)"
# One row per task, photo and voter: the id and the labels of the last decision that stands. Adjudications
# have the voter ''. With max(id), SQLite takes the other columns from the row of that id.
LAST_DECISIONS = f"""
    SELECT task, path, CASE WHEN adjudicates THEN '' ELSE annotator END AS voter, max(id) AS id, labels,
           json_extract(labels, '$[0]') AS label
    FROM main.decision
    WHERE undoes IS NULL AND NOT {UNDONE}
"""
BY_VOTER = "GROUP BY task, path, voter"


def verdicts_of(votes: str, where: str = "TRUE") -> str:
    """Return the query for ``task, path, annotators, status, stands, final`` of photos somebody decided on.

    ``final`` is the id of the decision whose first label is the verdict; null in a disagreement. ``stands``
    is 0 if the task keeps the photo out of the benchmark.

    Args:
        votes: a table with the rows and columns of LAST_DECISIONS.
        where: a condition that selects all of a photo's rows or none.
    """
    return f"""
        SELECT tally.task, tally.path, annotators,
               CASE WHEN adjudication IS NOT NULL THEN 'adjudicated'
                    WHEN sides > 1 THEN 'disagreed'
                    WHEN annotators = 1 THEN 'single'
                    ELSE 'agreed' END AS status,
               tally.task <> 'review' OR coalesce(final.label = '{KEEP}', 0) AS stands,
               final.id AS final
        FROM (
            SELECT task, path, sum(voter <> '') AS annotators,
                   max(CASE WHEN voter = '' THEN id END) AS adjudication,
                   min(CASE WHEN voter <> '' THEN id END) AS first_vote,
                   count(DISTINCT CASE WHEN voter = '' THEN NULL
                                       WHEN task = 'review' THEN label = '{KEEP}'
                                       ELSE label END) AS sides
            FROM {votes} WHERE label <> '{LATER}' AND ({where}) GROUP BY task, path
        ) AS tally
        LEFT JOIN {votes} AS final
            ON final.id = coalesce(adjudication, CASE WHEN sides = 1 THEN first_vote END)
            AND final.task = tally.task AND final.path = tally.path
    """


# The votes that stand, without adjudications, in the order they were made.
VOTES = f"""
    SELECT path, task, voter, labels FROM ({LAST_DECISIONS} {BY_VOTER})
    WHERE voter <> '' AND label <> '{LATER}' ORDER BY id
"""
_VERDICTS = f"""
    WITH vote AS MATERIALIZED ({LAST_DECISIONS} AND task = :task {BY_VOTER}),
         verdict AS ({verdicts_of("vote")}),
         given AS (SELECT path, json_group_array(value) AS labels FROM (
                     SELECT vote.path, value FROM vote, json_each(vote.labels)
                     WHERE voter <> '' AND label <> '{LATER}'
                     GROUP BY vote.path, value ORDER BY vote.path, min(vote.id * 1000 + json_each.key))
                   GROUP BY path)
    SELECT photo.path, class_name, json_extract(final.labels, '$[0]'),
           CASE WHEN status = 'adjudicated' THEN final.labels ELSE given.labels END,
           coalesce(status, 'none'), coalesce(annotators, 0), coalesce(stands, 1)
    FROM main.photo
    LEFT JOIN verdict ON verdict.path = photo.path
    LEFT JOIN given ON given.path = photo.path
    LEFT JOIN main.decision AS final ON final.id = verdict.final
    ORDER BY photo.path
"""


class Database:
    """The connections to a pool's database; safe to use from several threads and processes at once.

    If the folder cannot be written, as on a read-only disk, the file is read without SQLite's log, and
    changes to the pool fail, as they should.

    Args:
        path: the file.
        create: make the tables if there are none.

    Raises:
        CounterGroundError: the file is another program's database, has a newer version, or is damaged.
    """

    def __init__(self, path: Path, *, create: bool) -> None:
        self._path = path
        self._idle: LifoQueue[sqlite3.Connection] = LifoQueue()
        self._writable = create or (os.access(path.parent, os.W_OK) and os.access(path, os.W_OK))
        try:
            with self.transaction(writes=create) as connection:
                _make_or_check(connection, path, create=create)
            if self._writable:  # only once the file is known to be ours
                # Another process that opens it may be faster here, where SQLite does not wait.
                with self._connection() as connection, suppress(sqlite3.OperationalError):
                    connection.execute("PRAGMA journal_mode = WAL")
        except BaseException:
            self.close()
            raise

    @contextmanager
    def transaction(self, *, writes: bool) -> Iterator[sqlite3.Connection]:
        """Yield a connection in one transaction: either everything is written, or nothing."""
        with self._connection() as connection:
            # A write transaction takes the lock at once: taking it later fails if another one was faster.
            connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with _database_errors(self._path):
            try:
                connection = self._idle.get_nowait()
            except Empty:
                connection = self._connect()
            try:
                yield connection
            finally:
                self._idle.put(connection)

    def _connect(self) -> sqlite3.Connection:
        # As an address even where it has no options, since "?" and "%" are signs in names of folders.
        options = "" if self._writable else "?mode=ro&immutable=1"
        connection = sqlite3.connect(
            f"file:{quote(str(self._path))}{options}",
            uri=True,
            timeout=30,
            isolation_level=None,  # transactions begin where they say so, not where the driver guesses
            check_same_thread=False,
        )
        connection.row_factory = sqlite3.Row
        connection.executescript(
            "PRAGMA synchronous = FULL;"  # a decision survives a power cut
            "PRAGMA foreign_keys = ON;"
            "PRAGMA wal_autocheckpoint = 1"  # SQLite drops the log after a damaged byte: it holds one commit
        )
        return connection

    def close(self) -> None:
        """Release the file handles; they are reopened when the database is used."""
        with suppress(Empty):
            while True:
                self._idle.get_nowait().close()


@contextmanager
def _database_errors(path: Path) -> Iterator[None]:
    """Turn errors of the database at ``path``, and values that no pool writes, into one line.

    Raises:
        CounterGroundError: there was one.
    """
    damaged = "{}: it is damaged ({}). Restore the file from a backup."
    try:
        yield
    except (UnicodeDecodeError, json.JSONDecodeError, pl.exceptions.PolarsError) as error:
        raise CounterGroundError(damaged.format(path, error_message(error))) from error
    except sqlite3.Error as error:
        if problem := database_problem(error):
            raise CounterGroundError(f"{path}: {problem}") from error
        if isinstance(error, sqlite3.OperationalError):  # a table or column is missing
            raise CounterGroundError(damaged.format(path, error_message(error))) from error
        raise


def _make_or_check(connection: sqlite3.Connection, path: Path, *, create: bool) -> None:
    """Make the tables, or check that they are a pool's."""
    application, version, tables = connection.execute(
        "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_master)"
        " FROM pragma_application_id, pragma_user_version"
    ).fetchone()
    if create and not tables:
        for statement in _TABLES:
            connection.execute(statement)
    elif (application, version) != (_APPLICATION, _VERSION):
        raise CounterGroundError(
            f"{path} is not the database of a pool, or of a newer version: name another folder, or upgrade "
            "CounterGround."
        )


def read_setting(connection: sqlite3.Connection, name: str, default: Any = None) -> Any:
    """Return a setting (any JSON value), or ``default``."""
    row = connection.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
    return default if row is None else json.loads(row["value"])


def read_frame(
    connection: sqlite3.Connection, query: str, schema: Mapping[str, pl.DataType], **values: str
) -> pl.DataFrame:
    """Return the rows of a query; lists of texts are JSON there, and truth values are numbers."""
    stored: dict[pl.DataType, pl.DataType] = {pl.List(pl.String): pl.String(), pl.Boolean(): pl.Int64()}
    rows = [tuple(row) for row in connection.execute(query, values)]
    frame = pl.DataFrame(rows, {name: stored.get(kind, kind) for name, kind in schema.items()}, orient="row")
    return frame.with_columns(
        pl.col(name).str.json_decode(kind) if isinstance(kind, pl.List) else pl.col(name).cast(kind)
        for name, kind in schema.items()
    )


def read_table(
    connection: sqlite3.Connection, table: str, schema: Mapping[str, pl.DataType], where: str = "TRUE"
) -> pl.DataFrame:
    """Return the rows of a table."""
    return read_frame(connection, f"SELECT {', '.join(schema)} FROM {table} WHERE {where}", schema)


def read_verdicts(connection: sqlite3.Connection, task: str) -> pl.DataFrame:
    """Return what annotators concluded about each photo, as ``VERDICT_SCHEMA``, sorted by path."""
    return read_frame(connection, _VERDICTS, VERDICT_SCHEMA, task=task)
