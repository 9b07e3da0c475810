"""The pool: photos under curation, and everything people decided about them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import Connection, Table, bindparam, delete, select, update
from sqlalchemy.dialects.sqlite import insert

from counterground.errors import CounterGroundError
from counterground.files import write_parquet
from counterground.photos import Benchmark
from counterground.pool._decisions import all_decisions, check_decision, now, record, undo_last, verdicts
from counterground.pool._errors import DamagedError, database_errors
from counterground.pool._freeze import freeze
from counterground.pool._open import DATABASE_FILE
from counterground.pool._paths import FILES, class_folder, inside_files
from counterground.pool._schema import (
    BACKGROUND_LABELS,
    CANDIDATE_SCHEMA,
    PHOTO_SCHEMA,
    REVIEW_LABELS,
    SIGNAL_SCHEMA,
)
from counterground.pool._tables import (
    CANDIDATE,
    PHOTO,
    SETTING,
    SIGNAL,
    as_frame,
    kind_problem,
    open_database,
)

SNAPSHOT_FILE = "photos.parquet"


class Pool:
    """Photos under curation; see ``open_pool``. Safe in threads, and in several processes at once.

    Every method raises ``CounterGroundError`` where the database is damaged, locked for long or cannot be
    written.

    Attributes:
        root: the folder.
        files: where the photos lie, one folder per class.
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
        """Yield a connection in one transaction: all of it is written, or nothing."""
        with (
            database_errors(self._database),
            self._engine.connect().execution_options(writes=writes) as connection,
            connection.begin(),
        ):
            yield connection

    def close(self) -> None:
        """Give back the file handles; the pool opens them again when it is used."""
        self._engine.dispose()

    # Photos and where they come from

    def photos(self) -> pl.DataFrame:
        """Return all photos as ``PHOTO_SCHEMA``, sorted by path; every path is below ``files/``."""
        photos = self._read(PHOTO, PHOTO_SCHEMA, "path")
        astray = ~pl.col("path").str.starts_with(f"{FILES}/") | pl.col("path").str.contains(
            r"(^|/)\.*(/|$)|\\"
        )
        wrong = photos.filter(astray | pl.col("class_name").is_null())
        if len(wrong):
            with database_errors(self._database):
                raise DamagedError(f"the photo {wrong['path'][0]!r} has no class, or lies outside {FILES}/")
        return photos

    def add_photos(self, rows: Sequence[Mapping[str, object]]) -> int:
        """Take in photos whose files lie in the pool already; return how many are new.

        Args:
            rows: values by columns of ``PHOTO_SCHEMA``; absent ones are null, ``added_at`` is now. A path
                that is there already is left as it is.

        Raises:
            CounterGroundError: a file lies elsewhere, is a link, or is missing.
        """
        for row in rows:
            inside_files(self.root, str(row["path"]))
        return self._add(PHOTO, PHOTO_SCHEMA, [{"added_at": now()} | dict(row) for row in rows])

    def photo_file(self, path: str) -> Path:
        """Return the file of a photo or mask.

        Raises:
            CounterGroundError: it lies outside ``files/``, is a link, or is missing.
        """
        return inside_files(self.root, path)

    def class_folder(self, class_name: str) -> str:
        """Return the name of a class's folder below ``files/``."""
        return class_folder(class_name)

    def candidates(self, class_name: str | None = None) -> pl.DataFrame:
        """Return what was found to be fetched, as ``CANDIDATE_SCHEMA``, by class and position."""
        where = {} if class_name is None else {"class_name": class_name}
        return self._read(CANDIDATE, CANDIDATE_SCHEMA, "class_name", "position", "key", **where)

    def add_candidates(self, rows: Sequence[Mapping[str, object]]) -> int:
        """Note photos to be fetched; return how many are new (a key that its class has is left as it is)."""
        fresh = {"status": "wanted", "tries": 0}
        return self._add(CANDIDATE, CANDIDATE_SCHEMA, [fresh | dict(row) for row in rows])

    def mark_candidates(self, rows: Sequence[tuple[str, str, str, str | None]]) -> None:
        """Set ``(key, class_name, status, reason)`` of candidates; all but "wanted" count as a try."""
        if not rows:
            return
        statement = (
            update(CANDIDATE)
            .where(CANDIDATE.c.key == bindparam("k"), CANDIDATE.c.class_name == bindparam("c"))
            .values(status=bindparam("s"), reason=bindparam("r"), tries=CANDIDATE.c.tries + bindparam("t"))
        )
        with self.connect() as connection:
            for key, class_name, status, reason in rows:
                values = {"k": key, "c": class_name, "s": status, "r": reason, "t": int(status != "wanted")}
                if not connection.execute(statement, values).rowcount:
                    raise CounterGroundError(f"The pool has no candidate {key!r} of class {class_name!r}.")

    # Decisions

    def decide(
        self,
        path: str,
        *,
        annotator: str,
        task: str,
        labels: Sequence[str],
        settles: bool = False,
        seconds: float | None = None,
        suggestion: str | None = None,
        token: str | None = None,
    ) -> int:
        """Record a decision and return its id; on disk when this returns.

        Args:
            path: the photo.
            annotator: who decides.
            task: "review" or "background".
            labels: the first is the primary one; ``("later",)`` postpones the photo.
            settles: ends a disagreement: outranks what annotators decided.
            seconds: how long the photo was looked at.
            suggestion: JSON of what a model suggested on screen.
            token: makes sending twice harmless: the second time writes nothing and returns the first id.

        Raises:
            UsageError: unknown photo, task or label, no annotator, no label, or another decision's token.
        """
        known = REVIEW_LABELS if task == "review" else self.background_labels()
        check_decision(annotator, task, labels, known)
        event = {
            "path": path,
            "annotator": annotator,
            "task": task,
            "labels": list(labels),
            "settles": settles,
            "seconds": seconds,
            "suggestion": suggestion,
        }
        with self.connect() as connection:
            return record(connection, token, event)

    def decide_all(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Record many decisions in one transaction: all of them, or none; keys as ``decide`` takes them."""
        for event in events:
            known = REVIEW_LABELS if event["task"] == "review" else self.background_labels()
            check_decision(event["annotator"], event["task"], event["labels"], known)
        with self.connect() as connection:
            for event in events:
                record(connection, event.get("token"), {k: v for k, v in event.items() if k != "token"})

    def undo(self, annotator: str, task: str, *, token: str | None = None) -> dict[str, Any] | None:
        """Take back the annotator's last decision that stands, by an event of its own; return its row.

        None where there is nothing to take back. The decision before it, on the same photo, stands again.
        """
        with self.connect() as connection:
            return undo_last(connection, annotator, task, token)

    def decisions(self) -> pl.DataFrame:
        """Return every event there ever was, oldest first, as ``DECISION_SCHEMA``."""
        with self.connect(writes=False) as connection:
            return all_decisions(connection)

    def verdicts(self, task: str) -> pl.DataFrame:
        """Return what annotators concluded about each photo, as ``VERDICT_SCHEMA``, sorted by path."""
        return verdicts(self.photos(), self.decisions(), task)

    # Signals and settings

    def write_signals(self, signals: pl.DataFrame) -> None:
        """Write signals (``SIGNAL_SCHEMA``) in place of those there were of the same names."""
        rows = signals.select(*SIGNAL_SCHEMA).to_dicts()
        names = signals["signal"].unique().to_list()
        with self.connect() as connection:
            connection.execute(delete(SIGNAL).where(SIGNAL.c.signal.in_(names)))
            if rows:
                connection.execute(SIGNAL.insert(), rows)

    def signals(self) -> pl.DataFrame:
        """Return the signals as ``SIGNAL_SCHEMA``, by path and name."""
        return self._read(SIGNAL, SIGNAL_SCHEMA, "path", "signal")

    def setting(self, name: str, default: Any = None) -> Any:
        """Return a setting (any JSON value), or ``default``."""
        with self.connect(writes=False) as connection:
            text = connection.execute(select(SETTING.c.value).where(SETTING.c.name == name)).scalar()
            try:
                return default if text is None else json.loads(text)
            except ValueError as error:
                raise DamagedError(f"the setting {name!r} is no JSON") from error

    def set_setting(self, name: str, value: Any) -> None:
        """Keep a setting."""
        row = {"name": name, "value": json.dumps(value, ensure_ascii=False)}
        statement = insert(SETTING).values(row)
        with self.connect() as connection:
            connection.execute(
                statement.on_conflict_do_update(index_elements=["name"], set_={"value": row["value"]})
            )

    def background_labels(self) -> list[str]:
        """Return the labels of backgrounds: the paper's, unless the pool has its own."""
        labels = self.setting("background_labels", list(BACKGROUND_LABELS))
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            with database_errors(self._database):
                raise DamagedError("the setting 'background_labels' is no list of labels")
        return labels

    # What becomes of it

    def freeze(self) -> Benchmark:
        """Return the benchmark of the photos that stand, and say in its notes what was left out.

        Out are photos that were discarded, and those about which annotators disagree until one settles it.
        Photos nobody reviewed are in. A background that is not agreed is null.

        Raises:
            CounterGroundError: no photo is left.
        """
        return freeze(self.root, self.photos(), self.decisions())

    def snapshot(self) -> Path:
        """Write ``photos.parquet``, the photos with their verdicts, for other programs; return its path.

        It is a copy of what the database says now; nothing of ours reads it.
        """
        photos, decisions = self.photos(), self.decisions()
        for task in ("review", "background"):
            labels = verdicts(photos, decisions, task).select("path", pl.col("label").alias(task))
            photos = photos.join(labels, on="path", how="left", maintain_order="left")
        out = self.root / SNAPSHOT_FILE
        write_parquet(out, photos)
        return out

    def _read(self, table: Table, schema: dict[str, pl.DataType], *order: str, **where: str) -> pl.DataFrame:
        query = select(*(table.c[name] for name in schema)).filter_by(**where)
        with self.connect(writes=False) as connection:
            rows = [tuple(row) for row in connection.execute(query)]
            return as_frame(rows, schema).sort(*order)

    def _add(self, table: Table, schema: dict[str, pl.DataType], rows: list[dict[str, Any]]) -> int:
        if not rows:
            return 0
        if unknown := {name for row in rows for name in row} - set(schema):
            raise CounterGroundError(f"The pool's table {table.name} has no column {min(unknown)!r}.")
        for row in rows:
            for name, value in row.items():
                if problem := kind_problem(value, schema[name]):
                    raise CounterGroundError(
                        f"The pool's column {name!r} ({schema[name]}) cannot hold {problem}."
                    )
        absent = dict.fromkeys(schema)
        with self.connect() as connection:
            statement = insert(table).on_conflict_do_nothing()
            return sum(connection.execute(statement, absent | row).rowcount for row in rows)

    def __repr__(self) -> str:
        return f"Pool({str(self.root)!r})"
