"""The tables of ``decisions.sqlite``, how it is opened, and what can go wrong with it."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl
from sqlalchemy import (
    URL,
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    Engine,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    select,
)
from sqlalchemy.exc import DBAPIError

from counterground.construction.pool._schema import (
    CANDIDATE_SCHEMA,
    CANDIDATE_STATES,
    PHOTO_SCHEMA,
    SIGNAL_SCHEMA,
    TASKS,
)
from counterground.errors import CounterGroundError, database_problem, error_message

_APPLICATION = 0x43474E44  # "CGND": marks a pool, not another program's database
_VERSION = 1
_BUSY_MS = 30_000

METADATA = MetaData()


def _columns(schema: dict[str, pl.DataType], *keys: str) -> list[Column[Any]]:
    kinds = {pl.Int64(): Integer, pl.Float64(): Float, pl.Boolean(): Boolean, pl.String(): String}
    return [Column(name, kinds[kind], primary_key=name in keys) for name, kind in schema.items()]


PHOTO = Table("photo", METADATA, *_columns(PHOTO_SCHEMA, "path"), Index("photo_class", "class_name"))
CANDIDATE = Table(
    "candidate",
    METADATA,
    *_columns(CANDIDATE_SCHEMA, "key", "class_name"),
    CheckConstraint(f"status IN {CANDIDATE_STATES}"),
    Index("candidate_order", "class_name", "position"),
)
SIGNAL = Table("signal", METADATA, *_columns(SIGNAL_SCHEMA), Index("signal_path", "path"))
SETTINGS_TABLE = Table("setting", METADATA, Column("name", String, primary_key=True), Column("value", String))
DECISION_COLUMNS: list[Column[Any]] = [
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("path", ForeignKey("photo.path"), nullable=False),
    Column("annotator", String, nullable=False),
    Column("task", String, CheckConstraint(f"task IN {TASKS}"), nullable=False),
    Column("labels", String, nullable=False),  # JSON
    Column("settles", Boolean, key="adjudicates", nullable=False),
    Column("seconds", Float),
    Column("suggestion", String),
    Column("at", String, nullable=False),
    Column("token", String, nullable=False, unique=True),
    Column("undoes", ForeignKey("decision.id"), unique=True),
]
DECISION = Table(
    "decision",
    METADATA,
    *DECISION_COLUMNS,
    Index("decision_photo", "task", "path", "annotator"),
    Index("decision_annotator", "annotator", "task", "id"),
)
LEASE = Table(
    "lease",  # who has a photo on screen, so that two annotators are not given the same one
    METADATA,
    Column("path", ForeignKey("photo.path"), primary_key=True),
    Column("task", String, primary_key=True),
    Column("annotator", String, primary_key=True),
    Column("until", Float, nullable=False),  # seconds since the epoch
)
_TRIGGERS = tuple(
    f"CREATE TRIGGER decision_no_{verb.lower()} BEFORE {verb} ON decision "
    "BEGIN SELECT RAISE(ABORT, 'decisions are never changed or deleted'); END"
    for verb in ("UPDATE", "DELETE")
)


@contextmanager
def database_errors(path: Path) -> Iterator[None]:
    """Turn errors of the database at ``path``, and values that no pool writes, into one line.

    Raises:
        CounterGroundError: there was one.
    """
    try:
        yield
    except (UnicodeDecodeError, json.JSONDecodeError, pl.exceptions.PolarsError) as error:
        raise CounterGroundError(
            f"{path}: it is damaged ({error_message(error)}). Restore the file from a backup."
        ) from error
    except (DBAPIError, sqlite3.Error) as error:  # the latter from raw connections
        found = error.orig if isinstance(error, DBAPIError) else error
        problem = database_problem(found)
        if problem is None and isinstance(found, sqlite3.OperationalError):  # a table or column is missing
            problem = f"it is damaged ({error_message(found)}). Restore the file from a backup."
        if problem is None:
            raise
        raise CounterGroundError(f"{path}: {problem}") from error


def open_database(path: Path, *, create: bool) -> Engine:
    """Return the engine of a pool's database; ``create`` makes one if there is none.

    If the folder cannot be written, as on a read-only disk, the file is read without SQLite's log, and
    changes to the pool fail, as they should.

    Raises:
        CounterGroundError: the file is another program's database, or has a newer version.
        sqlalchemy.exc.DatabaseError: the file is not a database, is damaged, or cannot be written.
    """
    writable = create or (os.access(path.parent, os.W_OK) and os.access(path, os.W_OK))
    engine = _engine(path) if writable else _engine(path, mode="ro", immutable="1")
    try:
        with _transaction(engine, writes=create) as connection:
            _make_or_check(connection, path, create=create)
        if writable:  # only once the file is known to be ours
            _keep_log(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _engine(path: Path, **options: str) -> Engine:
    """Return the engine of a file; ``options`` are those of SQLite's URIs."""
    # As parts, since an address in one text gives a meaning to "?" and "%" in names of folders.
    place = f"file:{quote(str(path))}" if options else str(path)
    address = URL.create("sqlite", database=place, query={"uri": "true", **options} if options else {})
    engine = create_engine(address, connect_args={"timeout": _BUSY_MS / 1000})
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


def _keep_log(engine: Engine) -> None:
    """Switch to write-ahead logging; unlike elsewhere, SQLite does not wait for other processes here."""
    end = time.monotonic() + _BUSY_MS / 1000
    while True:
        try:
            with closing(engine.raw_connection()) as raw:
                raw.cursor().execute("PRAGMA journal_mode = WAL").close()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.01)
        else:
            return


@contextmanager
def _transaction(engine: Engine, *, writes: bool) -> Iterator[Connection]:
    with engine.connect().execution_options(writes=writes) as connection, connection.begin():
        yield connection


def _make_or_check(connection: Connection, path: Path, *, create: bool) -> None:
    """Make the tables, or check that they are a pool's."""
    application, version = (
        connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
        for name in ("application_id", "user_version")
    )
    empty = not connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one()
    if empty and create:
        _make(connection)
        return
    if (application, version) != (_APPLICATION, _VERSION):
        raise CounterGroundError(
            f"{path} is not the database of a pool, or of a newer version: name another folder, or upgrade "
            "CounterGround."
        )


def _make(connection: Connection) -> None:
    METADATA.create_all(connection)
    for trigger in _TRIGGERS:
        connection.exec_driver_sql(trigger)
    connection.exec_driver_sql(f"PRAGMA application_id = {_APPLICATION}")
    connection.exec_driver_sql(f"PRAGMA user_version = {_VERSION}")


def _on_connect(raw: Any, _record: Any) -> None:
    raw.isolation_level = None  # transactions begin where _on_begin says, not where the driver guesses
    for pragma in (
        "synchronous = FULL",  # a decision survives a power cut
        "foreign_keys = ON",
        "wal_autocheckpoint = 1",  # SQLite drops the log after a damaged byte: it holds only one commit
    ):
        raw.execute(f"PRAGMA {pragma}").close()


def _on_begin(connection: Connection) -> None:
    # A write transaction takes the lock at once: taking it later fails if another one was faster.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def read_setting(connection: Connection, name: str, default: Any = None) -> Any:
    """Return a setting (any JSON value), or ``default``."""
    found = connection.execute(select(SETTINGS_TABLE.c.value).where(SETTINGS_TABLE.c.name == name)).scalar()
    return default if found is None else json.loads(found)


def as_frame(rows: Sequence[tuple[Any, ...]], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Return rows as a frame; lists of texts are given as JSON, which Polars reads at once."""
    given = {name: pl.String() if kind == pl.List(pl.String) else kind for name, kind in schema.items()}
    lists = [pl.col(name).str.json_decode(kind) for name, kind in schema.items() if given[name] != kind]
    return pl.DataFrame(rows, schema=given, orient="row").with_columns(lists)
