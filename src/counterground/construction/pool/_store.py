"""The pool: photos under curation, and everything people decided about them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import polars as pl
from sqlalchemy import Connection, Table, bindparam, delete, select, update
from sqlalchemy.dialects.sqlite import insert

from counterground.construction.pool._database import (
    CANDIDATE,
    PHOTO,
    SETTINGS_TABLE,
    SIGNAL,
    as_frame,
    database_errors,
    open_database,
    read_setting,
)
from counterground.construction.pool._decisions import (
    all_decisions,
    labels_of_tasks,
    now,
    record_decision,
    undo_decision,
)
from counterground.construction.pool._folder import DATABASE_FILE, FILES, class_folder, inside_files
from counterground.construction.pool._freeze import freeze
from counterground.construction.pool._names import spelling_of
from counterground.construction.pool._schema import (
    CANDIDATE_SCHEMA,
    PHOTO_SCHEMA,
    SIGNAL_SCHEMA,
    TASKS,
)
from counterground.construction.pool._verdicts import read_verdicts, read_votes
from counterground.files import write_parquet
from counterground.photos import Benchmark

SNAPSHOT_FILE = "photos.parquet"


class Pool:
    """Photos under curation; see ``open_pool``. Safe to use from several threads and processes at once.

    Every method raises ``CounterGroundError`` if the database is damaged, stays locked or cannot be written.

    Attributes:
        root: the pool's folder.
        files: where the photos are, one folder per class.
    """

    def __init__(self, root: Path, *, create: bool = False) -> None:
        self.root = root
        self.files = root / FILES
        self._database = root / DATABASE_FILE
        with database_errors(self._database):
            self._engine = open_database(self._database, create=create)
        if create:
            self.files.mkdir(exist_ok=True)

    @contextmanager
    def connect(self, *, writes: bool = True) -> Iterator[Connection]:
        """Yield a connection in one transaction: either everything is written, or nothing."""
        with (
            database_errors(self._database),
            self._engine.connect().execution_options(writes=writes) as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def connect_within(self, outer: Connection | None) -> Iterator[Connection]:
        """Yield a write transaction, or a part of ``outer`` that can fail on its own."""
        if outer is None:
            with self.connect() as connection:
                yield connection
        else:
            with outer.begin_nested():
                yield outer

    def close(self) -> None:
        """Release the file handles; the pool reopens them when it is used."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Photos and where they come from

    def photos(self) -> pl.DataFrame:
        """Return all photos as ``PHOTO_SCHEMA``, sorted by path; every path is below ``files/``."""
        with self.connect(writes=False) as connection:
            return self._photos(connection)

    def _photos(self, connection: Connection) -> pl.DataFrame:
        return _read(connection, PHOTO, PHOTO_SCHEMA).sort("path")

    def add_photos(self, rows: Sequence[Mapping[str, object]]) -> int:
        """Add photos whose files are already in the pool; return how many are new.

        Args:
            rows: values by column of ``PHOTO_SCHEMA``; missing ones are null, ``added_at`` is now. Rows of
                existing paths are left unchanged.

        Raises:
            CounterGroundError: a file is elsewhere, is a link, or is missing.
        """
        for row in rows:
            inside_files(self.root, str(row["path"]))
        return self._add(PHOTO, PHOTO_SCHEMA, [{"added_at": now()} | dict(row) for row in rows])

    def update_photos(self, changes: Mapping[str, Mapping[str, object]]) -> None:
        """Correct what a source says about photos, in one transaction, all or none.

        Args:
            changes: new values by path; only columns of ``PHOTO_DETAILS``.
        """
        with self.connect() as connection:
            for path, values in changes.items():
                connection.execute(update(PHOTO).where(PHOTO.c.path == path).values(**values))

    def photo_file(self, path: str) -> Path:
        """Return the file of a photo or mask.

        Raises:
            CounterGroundError: the file is outside ``files/``, is a link, or is missing.
        """
        return inside_files(self.root, path)

    def class_folder(self, class_name: str) -> str:
        """Return the name of a class's folder below ``files/``."""
        return class_folder(class_name)

    def candidates(self, class_name: str | None = None) -> pl.DataFrame:
        """Return the photos found to fetch, as ``CANDIDATE_SCHEMA``, by class and position."""
        where = {} if class_name is None else {"class_name": class_name}
        with self.connect(writes=False) as connection:
            found = _read(connection, CANDIDATE, CANDIDATE_SCHEMA, **where)
        return found.sort("class_name", "position", "key")

    def add_candidates(
        self, rows: Sequence[Mapping[str, object]], *, within: Connection | None = None
    ) -> int:
        """Add photos to fetch; return how many are new (a key that its class already has is left unchanged).

        ``within`` is a transaction of ``connect`` that this joins.
        """
        fresh = {"status": "wanted", "tries": 0}
        return self._add(CANDIDATE, CANDIDATE_SCHEMA, [fresh | dict(row) for row in rows], within)

    def forget_waiting(self, class_name: str, source: str, *, within: Connection) -> None:
        """Forget the photos of a class that wait to be fetched from a source; ``within`` is a transaction."""
        of_source = CANDIDATE.c.key.startswith(f"{source}:"), CANDIDATE.c.status == "wanted"
        within.execute(delete(CANDIDATE).where(CANDIDATE.c.class_name == class_name, *of_source))

    def mark_candidates(self, rows: Sequence[tuple[str, str, str, str | None]]) -> None:
        """Set candidates' ``(key, class_name, status, reason)``; any status but "wanted" counts as a try."""
        same = update(CANDIDATE).where(
            CANDIDATE.c.key == bindparam("k"), CANDIDATE.c.class_name == bindparam("c")
        )
        mark = same.values(
            status=bindparam("s"), reason=bindparam("r"), tries=CANDIDATE.c.tries + bindparam("t")
        )
        if rows:
            with self.connect() as connection:
                values = [
                    {"k": key, "c": class_name, "s": status, "r": reason, "t": int(status != "wanted")}
                    for key, class_name, status, reason in rows
                ]
                connection.execute(mark, values)

    # Decisions

    def decide(
        self,
        path: str,
        *,
        annotator: str,
        task: str,
        labels: Sequence[str],
        adjudicates: bool = False,
        seconds: float | None = None,
        suggestion: str | None = None,
        token: str | None = None,
    ) -> int:
        """Record a decision, on disk when this returns, and return its id.

        Args:
            path: the photo's path.
            annotator: who decides.
            task: "review" or "background".
            labels: the primary one first; ``("later",)`` postpones the photo.
            adjudicates: whether this ends a disagreement; it then outranks what annotators decided.
            seconds: how long the photo was looked at.
            suggestion: JSON of what a model suggested on screen.
            token: makes resending harmless: the second time writes nothing and returns the first id.

        Raises:
            UsageError: unknown photo, task or label, no annotator, no label, or another decision's token.
        """
        with self.connect() as connection:
            return record_decision(
                connection,
                labels_of_tasks(connection),
                path=path,
                annotator=annotator,
                task=task,
                labels=labels,
                adjudicates=adjudicates,
                seconds=seconds,
                suggestion=suggestion,
                token=token,
            )

    def decide_all(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Record decisions in one transaction, all or none; the keys are the arguments of ``decide``.

        Raises:
            UsageError: see ``decide``.
        """
        with self.connect() as connection:
            known = labels_of_tasks(connection)
            for event in events:
                record_decision(connection, known, **event)

    def undo(
        self,
        annotator: str,
        task: str,
        *,
        of: str | int | None = None,
        token: str | None = None,
    ) -> dict[str, Any] | None:
        """Undo a decision by adding an event; return the decision's row, or None if there is none.

        The previous decision on the same photo stands again.

        Args:
            annotator: who undoes it.
            task: task of the decision.
            of: token or id of the decision; an adjudication may be anyone's. None is the annotator's last
                vote that stands.
            token: makes resending harmless.

        Raises:
            UsageError: the annotator has no such decision, or it was already undone.
        """
        with self.connect() as connection:
            return undo_decision(connection, annotator, task, of=of, token=token)

    def decisions(self) -> pl.DataFrame:
        """Return every event, oldest first, as ``DECISION_SCHEMA``."""
        with self.connect(writes=False) as connection:
            return all_decisions(connection)

    def votes(self) -> pl.DataFrame:
        """Return each annotator's standing decision on each photo, as ``VOTE_SCHEMA``, oldest first.

        Adjudications are left out, since an adjudicator has seen what others decided.
        """
        with self.connect(writes=False) as connection:
            return read_votes(connection)

    def votes_by_cluster(self) -> pl.DataFrame:
        """Return the votes with ``class_name`` and ``cluster`` of their photos, as ``agreement`` takes them.

        Photos of one observation are related even if no cluster was given.
        """
        with self.connect(writes=False) as connection:
            votes, photos = read_votes(connection), self._photos(connection)
        known = photos.select("path", "class_name", cluster=pl.coalesce("cluster", "observation"))
        return votes.join(known, on="path", how="left", maintain_order="left")

    def verdicts(self, task: str) -> pl.DataFrame:
        """Return what annotators concluded about each photo, as ``VERDICT_SCHEMA``, sorted by path."""
        with self.connect(writes=False) as connection:
            return read_verdicts(connection, task)

    # Signals and settings

    def write_signals(self, signals: pl.DataFrame, *, names: Iterable[str] = ()) -> None:
        """Write signals (``SIGNAL_SCHEMA``), replacing those of the same names and of ``names``."""
        rows = signals.select(*SIGNAL_SCHEMA).to_dicts()
        names = {*names, *signals["signal"]}
        with self.connect() as connection:
            connection.execute(delete(SIGNAL).where(SIGNAL.c.signal.in_(names)))
            if rows:
                connection.execute(SIGNAL.insert(), rows)

    def signals(self) -> pl.DataFrame:
        """Return the signals as ``SIGNAL_SCHEMA``, by path and name."""
        with self.connect(writes=False) as connection:
            return _read(connection, SIGNAL, SIGNAL_SCHEMA).sort("path", "signal")

    def setting(self, name: str, default: Any = None) -> Any:
        """Return a setting (any JSON value), or ``default``."""
        with self.connect(writes=False) as connection:
            return read_setting(connection, name, default)

    def set_setting(self, name: str, value: Any, *, within: Connection | None = None) -> None:
        """Store a setting; ``within`` is a transaction of ``connect`` that this joins."""
        with self.connect_within(within) as connection:
            _keep_setting(connection, name, value)

    def background_labels(self) -> list[str]:
        """Return the background labels: the paper's, unless the pool has its own."""
        with self.connect(writes=False) as connection:
            return list(labels_of_tasks(connection)["background"])

    def add_background_labels(self, labels: Iterable[str]) -> None:
        """Append new labels to the background labels; others may add some meanwhile.

        A label that the pool has in another spelling (``name_key``) is not new.
        """
        with self.connect() as connection:
            known = labels_of_tasks(connection)["background"]
            ways = spelling_of(known)
            if new := [label for name, label in spelling_of(labels).items() if name not in ways]:
                _keep_setting(connection, "background_labels", [*known, *new])

    def key(self) -> str:
        """Return a name that no other pool has, made on first use."""
        fresh = {"name": "pool_key", "value": json.dumps(secrets.token_hex(8))}
        with self.connect() as connection:
            connection.execute(insert(SETTINGS_TABLE).values(fresh).on_conflict_do_nothing())
            return str(read_setting(connection, "pool_key"))

    # Benchmark and snapshot

    def freeze(self) -> Benchmark:
        """Return the benchmark of the photos that stand; its notes say what was left out.

        Discarded photos are left out, and so are those on which annotators disagree until someone
        adjudicates. Photos nobody reviewed are included. A background without agreement is null.

        Raises:
            CounterGroundError: no photo is left, or names of classes are unclear.
        """
        with self.connect(writes=False) as connection:
            review, background = (read_verdicts(connection, task) for task in TASKS)
            return freeze(self.root, self._photos(connection), review, background)

    def snapshot(self) -> Path:
        """Write ``photos.parquet``, the photos with their verdicts, for other programs; return its path.

        It is a copy of the database's current state; CounterGround never reads it.
        """
        with self.connect(writes=False) as connection:
            photos = self._photos(connection)
            photos = photos.with_columns(
                read_verdicts(connection, task)["label"].alias(task) for task in TASKS
            )
        out = self.root / SNAPSHOT_FILE
        write_parquet(out, photos)
        return out

    def _add(
        self,
        table: Table,
        schema: dict[str, pl.DataType],
        rows: list[dict[str, Any]],
        within: Connection | None = None,
    ) -> int:
        if not rows:
            return 0
        absent = dict.fromkeys(schema)
        with self.connect_within(within) as connection:
            statement = insert(table).on_conflict_do_nothing()
            return sum(connection.execute(statement, absent | row).rowcount for row in rows)

    def __repr__(self) -> str:
        return f"Pool {self.root}"


def _keep_setting(connection: Connection, name: str, value: Any) -> None:
    row = {"name": name, "value": json.dumps(value, ensure_ascii=False)}
    statement = insert(SETTINGS_TABLE).values(row)
    changed = {"value": statement.excluded.value}
    connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=changed))


def _read(connection: Connection, table: Table, schema: dict[str, pl.DataType], **where: str) -> pl.DataFrame:
    query = select(*(table.c[name] for name in schema)).filter_by(**where)
    return as_frame([tuple(row) for row in connection.execute(query)], schema)
