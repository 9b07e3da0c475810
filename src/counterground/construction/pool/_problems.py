"""What can go wrong with a database on disk, and what to do about it."""

from __future__ import annotations

import sqlite3

_REMEDIES = {
    sqlite3.SQLITE_FULL: ("the disk is full", "Free some space; nothing that was decided is lost"),
    sqlite3.SQLITE_READONLY: ("it cannot be written", "Make the folder writable, or copy it"),
    sqlite3.SQLITE_CANTOPEN: ("it cannot be opened", "Make the folder readable and writable"),
    sqlite3.SQLITE_PERM: ("permission to open it is denied", "Make the folder readable and writable"),
    sqlite3.SQLITE_BUSY: (
        "another program has kept it locked for a long time",
        "Close that program and try again",
    ),
    sqlite3.SQLITE_IOERR: ("the disk fails or is full", "Free some space or move the folder to another disk"),
    sqlite3.SQLITE_NOTADB: ("it is damaged", "Restore the file from a backup"),
    sqlite3.SQLITE_CORRUPT: ("it is damaged", "Restore the file from a backup"),
}


def database_problem(error: BaseException | None) -> str | None:
    """Return what is wrong with a database and the remedy, as two sentences; None for other errors."""
    found = _REMEDIES.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
    return found and "{}. {}.".format(*found)
