"""The tables of ``decisions.sqlite``, the way it is opened, and what can go wrong with it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import (
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

from counterground.errors import CounterGroundError
from counterground.pool._problems import database_problem
from counterground.pool._schema import CANDIDATE_SCHEMA, CANDIDATE_STATES, PHOTO_SCHEMA, SIGNAL_SCHEMA, TASKS

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
DECISION = Table(
    "decision",
    METADATA,
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
_TRIGGERS = {
    f"decision_no_{verb.lower()}": f"CREATE TRIGGER decision_no_{verb.lower()} BEFORE {verb} ON decision "
    "BEGIN SELECT RAISE(ABORT, 'decisions are never changed or deleted'); END"
    for verb in ("UPDATE", "DELETE")
}


class DamagedError(Exception):
    """A value that no pool writes; what was found is the message."""


@contextmanager
def database_errors(path: Path) -> Iterator[None]:
    """Turn errors of the database at ``path``, and values no pool writes, into one line with the remedy."""
    try:
        yield
    except DamagedError as error:
        raise CounterGroundError(
            f"{path} was changed by something else: {error}. Put a copy of the file in its place."
        ) from error
    except (DBAPIError, sqlite3.Error) as error:  # the latter from raw connections
        problem = database_problem(error.orig if isinstance(error, DBAPIError) else error)
        if problem is None:
            raise
        raise CounterGroundError(f"{path}: {problem}") from error


def open_database(path: Path, *, create: bool) -> Engine:
    """Return the engine of a pool's database, made when ``create``.

    Raises:
        CounterGroundError: the file is another program's database, or of a newer version.
        DamagedError: its tables or triggers are not those it was made with.
        sqlalchemy.exc.DatabaseError: it is none, is damaged, or cannot be written.
    """
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": _BUSY_MS / 1000})
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    try:
        with engine.connect().execution_options(writes=create) as connection, connection.begin():
            _make_or_check(connection, path, create=create)
        with closing(engine.raw_connection()) as raw:  # in no transaction, and only now that the file is ours
            raw.cursor().execute("PRAGMA journal_mode = WAL").close()
    except BaseException:
        engine.dispose()
        raise
    return engine


def _make_or_check(connection: Connection, path: Path, *, create: bool) -> None:
    application, version = (
        connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
        for name in ("application_id", "user_version")
    )
    empty = not connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one()
    if empty and create:
        _make(connection)
    elif application != _APPLICATION:
        raise CounterGroundError(f"{path} is not the database of a pool: name another folder.")
    elif version != _VERSION:
        raise CounterGroundError(
            f"{path} has version {version}, and this CounterGround reads version {_VERSION}: upgrade it."
        )
    else:
        _check_tables(connection)


def _make(connection: Connection) -> None:
    METADATA.create_all(connection)
    for trigger in _TRIGGERS.values():
        connection.exec_driver_sql(trigger)
    connection.exec_driver_sql(f"PRAGMA application_id = {_APPLICATION}")
    connection.exec_driver_sql(f"PRAGMA user_version = {_VERSION}")


def _check_tables(connection: Connection) -> None:
    """Refuse tables without our columns, views, and triggers other than ours, which might undo decisions."""
    found = connection.exec_driver_sql("SELECT type, name, sql FROM sqlite_master WHERE type <> 'index'")
    rows = [tuple(row) for row in found if not str(row[1]).startswith("sqlite_")]
    named = {name: sql if kind == "trigger" else kind for kind, name, sql in rows}
    wanted = dict.fromkeys(METADATA.tables, "table") | _TRIGGERS
    if odd := [name for name in {**named, **wanted} if named.get(name) != wanted.get(name)]:
        raise DamagedError(f"its {odd[0]!r} is not as it was made")
    columns = connection.exec_driver_sql(
        "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'"
    )
    there = {tuple(row) for row in columns}
    for table in METADATA.tables.values():
        if missing := [one.name for one in table.columns if (table.name, one.name) not in there]:
            raise DamagedError(f"its table {table.name} has no column {missing[0]!r}")


def _on_connect(raw: Any, _record: Any) -> None:
    raw.isolation_level = None  # transactions begin where _on_begin says, not where the driver guesses
    for pragma in (
        "synchronous = FULL",  # a decision survives a power cut
        "foreign_keys = ON",
        "trusted_schema = OFF",  # views and triggers of a stranger's file may call nothing unsafe
    ):
        raw.execute(f"PRAGMA {pragma}").close()


def _on_begin(connection: Connection) -> None:
    # A transaction that writes takes the lock at once: taking it later fails when another one was faster.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def read_setting(connection: Connection, name: str, default: Any = None) -> Any:
    """Return a setting (any JSON value), or ``default``.

    Raises:
        DamagedError: what is kept is not JSON.
    """
    found = connection.execute(select(SETTINGS_TABLE.c.value).where(SETTINGS_TABLE.c.name == name)).scalar()
    try:
        return default if found is None else json.loads(found)
    except ValueError as error:
        raise DamagedError(f"the setting {name!r} is not JSON") from error


def as_frame(rows: Sequence[tuple[Any, ...]], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Return rows as a frame.

    Raises:
        DamagedError: a value is of another kind than its column; SQLite itself lets everything pass.
    """
    try:
        return pl.DataFrame(rows, schema=schema, orient="row")
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
        for place, (name, kind) in enumerate(schema.items()):
            for row in rows:
                if problem := kind_problem(row[place], kind):
                    raise DamagedError(f"a column {name!r} holds {problem}") from error
        raise


def kind_problem(value: Any, kind: pl.DataType) -> str:
    """Say what a value is that a column of this kind cannot hold; empty where it can."""
    kinds = {pl.Int64(): int, pl.Float64(): (int, float), pl.Boolean(): bool, pl.String(): str}
    if value is None or kind not in kinds:
        return ""
    fits = isinstance(value, kinds[kind]) and (kind != pl.Int64() or -(2**63) <= value < 2**63)  # type: ignore[arg-type]
    return "" if fits else f"{str(value)[:40]!r}"
