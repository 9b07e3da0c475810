"""Budgets of requests and bytes, counted for all processes of this user in one small file."""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from counterground.errors import CounterGroundError
from counterground.files import check_writable

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
_LONGEST_WAIT = HOUR + MINUTE
_MARGIN = 2.0  # seconds that a request may take from here to the server

Waiting = Callable[[str], None]
"""Called with the reason for a pause, for whoever watches the screen."""


@dataclass(frozen=True)
class Limit:
    """At most ``amount`` in any window of ``seconds``, by the server's count; see `Budget`."""

    seconds: float
    amount: int


def margin(seconds: float) -> float:
    """Return the seconds by which a window is longer than its limit states."""
    return min(_MARGIN, 0.05 * seconds)


class Budget:
    """Sliding windows over what was spent, kept in SQLite: safe in several processes; for one thread.

    A server counts a request when it arrives, some time after `take` allowed it. So a request counts from
    when its answer has come (`arrived`). If its process was killed in the meantime, it counts from when it
    was allowed. Windows are longer by `margin`, the time that such a request may take to arrive.

    Every method raises ``CounterGroundError`` if the file cannot be read or written.

    Attributes:
        taken_at: when the last amount was taken.

    Args:
        account: whose budget this is, such as the host's name.
        limits: limits by kind, such as "requests" or "bytes".
        path: the file; several accounts may share it.
    """

    def __init__(self, account: str, limits: Mapping[str, Sequence[Limit]], path: Path) -> None:
        self._account = account
        self._limits = limits
        self._path = path
        self.taken_at = 0.0
        check_writable(self._path.parent)
        with self._clear_errors():
            self._connection = sqlite3.connect(self._path, timeout=30, isolation_level=None)
            # A killed process loses nothing. Only a power cut may: not worth waiting for the disk.
            self._connection.execute("PRAGMA synchronous = OFF")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS spent (account TEXT, kind TEXT, at REAL, amount INTEGER,"
                " PRIMARY KEY (account, kind, at)) WITHOUT ROWID"
            )

    def take(self, kind: str, amount: int) -> float:
        """Return 0 and count the amount if it may be spent now, else the seconds until it may be."""
        with self._transaction() as connection:
            now = time.time()
            # After the clock was set back, entries in the future must not keep anyone waiting.
            connection.execute(
                "DELETE FROM spent WHERE at < ? OR at > ?", (now - DAY - margin(DAY), now + MINUTE)
            )
            waits = (self._wait(connection, kind, limit, amount, now) for limit in self._limits[kind])
            if wait := max(waits, default=0.0):
                return wait
            self._add(connection, kind, amount, now)
            self.taken_at = now
            return 0.0

    def settle(self, kind: str, difference: int) -> None:
        """Correct the amount taken by its difference to the amount used."""
        if difference:
            with self._transaction() as connection:
                self._add(connection, kind, difference, time.time())

    def arrived(self, kind: str, taken_at: float) -> None:
        """Count a request from now on, not from ``taken_at``: its answer has come, so it has arrived."""
        with self._transaction() as connection:
            key = (self._account, kind, taken_at)
            moved = connection.execute(
                "UPDATE spent SET amount = amount - 1"
                " WHERE account = ? AND kind = ? AND at = ? AND amount > 0",
                key,
            ).rowcount
            if moved:
                connection.execute(
                    "DELETE FROM spent WHERE account = ? AND kind = ? AND at = ? AND amount = 0", key
                )
                self._add(connection, kind, 1, time.time())

    def _add(self, connection: sqlite3.Connection, kind: str, amount: int, now: float) -> None:
        # Whole seconds for bytes, so that a day of photos stays a small table.
        at = now if kind == "requests" else float(math.ceil(now))
        connection.execute(
            "INSERT INTO spent VALUES (?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET amount = amount + excluded.amount",
            (self._account, kind, at, amount),
        )

    def _wait(
        self, connection: sqlite3.Connection, kind: str, limit: Limit, amount: int, now: float
    ) -> float:
        window = limit.seconds + margin(limit.seconds)
        since = now - window
        where = (self._account, kind, since)
        spent = connection.execute(
            "SELECT coalesce(sum(amount), 0) FROM spent WHERE account = ? AND kind = ? AND at > ?", where
        ).fetchone()[0]
        over = spent + amount - limit.amount
        if spent <= 0 or over <= 0:  # an amount above the limit may be spent if nothing else was
            return 0.0
        rows = connection.execute(
            "SELECT at, amount FROM spent WHERE account = ? AND kind = ? AND at > ? ORDER BY at", where
        )
        for at, gone in rows:
            over -= gone
            spent -= gone
            if over <= 0 or spent <= 0:
                return max(0.01, float(at) + window - now)
        return window

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._clear_errors():
            try:  # an interrupt may come as soon as it has begun
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # after some errors SQLite itself has rolled back
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise CounterGroundError(
                f"Cannot keep count of requests in {self._path}: {error}. Free some space, or delete it."
            ) from error


def refuse_long_wait(seconds: float, what: str) -> None:
    """Refuse to wait for another day.

    Raises:
        CounterGroundError: the wait is longer than an hour.
    """
    if seconds > _LONGEST_WAIT:
        then = datetime.fromtimestamp(time.time() + seconds, UTC)
        raise CounterGroundError(
            f"The daily budget of {what} is spent. What was fetched is kept: run the same command again "
            f"after {then:%Y-%m-%d %H:%M} UTC."
        )
