"""What can go wrong with the database, in one line each."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from counterground.errors import CounterGroundError

_REMEDIES = (
    (sqlite3.SQLITE_FULL, "the disk is full", "Free some space; nothing that was decided is lost"),
    (sqlite3.SQLITE_READONLY, "it cannot be written", "Make the folder writable, or copy the pool"),
    (sqlite3.SQLITE_CANTOPEN, "it cannot be opened", "Make the folder readable and writable"),
    (sqlite3.SQLITE_PERM, "it may not be opened", "Make the folder readable and writable"),
    (sqlite3.SQLITE_BUSY, "another program has kept it locked for long", "Close that program and try again"),
    (sqlite3.SQLITE_IOERR, "the disk fails or is full", "Free some space or move the pool to another disk"),
    (sqlite3.SQLITE_NOTADB, "it is damaged", "Put a copy of the file in its place"),
    (sqlite3.SQLITE_CORRUPT, "it is damaged", "Put a copy of the file in its place"),
)


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
    except DBAPIError as error:
        code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
        for known, what, remedy in _REMEDIES:
            if code == known:
                raise CounterGroundError(f"{path}: {what}. {remedy}.") from error
        raise
