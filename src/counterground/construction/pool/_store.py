"""The pool: photos under curation, and everything people decided about them."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import polars as pl

from counterground.benchmarks import FolderReader
from counterground.construction.pool._database import (
    UNDONE,
    VOTES,
    Database,
    read_frame,
    read_setting,
    read_table,
    read_verdicts,
)
from counterground.construction.pool._schema import (
    BACKGROUND_LABELS,
    CANDIDATE_SCHEMA,
    DATABASE_FILE,
    DECISION_SCHEMA,
    FILES,
    KEEP,
    LATER,
    PHOTO_SCHEMA,
    REVIEW_LABELS,
    SIGNAL_SCHEMA,
    TASKS,
    VOTE_SCHEMA,
    inside_files,
    is_pool,
    spelling_of,
)
from counterground.errors import CounterGroundError, UsageError, did_you_mean
from counterground.files import check_writable, write_parquet
from counterground.photos import MANIFEST_SCHEMA, Benchmark, assign_classes, describe_gaps
from counterground.text import and_more

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
        self._database = Database(root / DATABASE_FILE, create=create)
        if create:
            self.files.mkdir(exist_ok=True)

    @contextmanager
    def connect(
        self, *, writes: bool = True, within: sqlite3.Connection | None = None
    ) -> Iterator[sqlite3.Connection]:
        """Yield a connection in one transaction: either everything is written, or nothing.

        ``within`` is a transaction that this becomes a part of, which can fail on its own.
        """
        if within is None:
            with self._database.transaction(writes=writes) as connection:
                yield connection
            return
        within.execute("SAVEPOINT part")
        try:
            yield within
        except BaseException:
            within.execute("ROLLBACK TO part")
            raise
        finally:
            within.execute("RELEASE part")

    def close(self) -> None:
        """Release the file handles; the pool reopens them when it is used."""
        self._database.close()

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
            return _photos(connection)

    def add_photos(self, rows: Sequence[Mapping[str, object]]) -> int:
        """Add photos whose files are already in the pool, also for candidates; return how many are new.

        Args:
            rows: values by column of ``PHOTO_SCHEMA``; missing ones are null, ``added_at`` is now. Rows of
                existing paths are left unchanged.

        Raises:
            CounterGroundError: a file is elsewhere, is a link, or is missing.
        """
        for row in rows:
            inside_files(self.root, str(row["path"]))
        with self.connect() as connection:
            connection.executemany(
                "UPDATE candidate SET status = 'got', reason = NULL, tries = tries + 1"
                " WHERE key = ? AND class_name = ?",
                [(row.get("key"), row["class_name"]) for row in rows],
            )
            return _insert(connection, "photo", PHOTO_SCHEMA, rows, added_at=_now())

    def update_photos(self, changes: Mapping[str, Mapping[str, object]]) -> None:
        """Correct what a source says about photos, in one transaction, all or none.

        Args:
            changes: new values by path; only columns of ``PHOTO_DETAILS``.
        """
        with self.connect() as connection:
            for path, values in changes.items():
                columns = ", ".join(f"{name} = :{name}" for name in values)
                connection.execute(
                    f"UPDATE photo SET {columns} WHERE path = :path",  # noqa: S608 - names of our columns
                    {**values, "path": path},
                )

    def photo_file(self, path: str) -> Path:
        """Return the file of a photo or mask.

        Raises:
            CounterGroundError: the file is outside ``files/``, is a link, or is missing.
        """
        return inside_files(self.root, path)

    def candidates(self, class_name: str | None = None) -> pl.DataFrame:
        """Return the photos found to fetch, as ``CANDIDATE_SCHEMA``, by class and position."""
        with self.connect(writes=False) as connection:
            candidates = read_table(connection, "candidate", CANDIDATE_SCHEMA)
        if class_name is not None:
            candidates = candidates.filter(class_name=class_name)
        return candidates.sort("class_name", "position", "key")

    def add_candidates(self, rows: Sequence[Mapping[str, object]]) -> int:
        """Add photos to fetch; return how many are new; a key that its class has is left as it is."""
        with self.connect() as connection:
            return _insert(connection, "candidate", CANDIDATE_SCHEMA, rows, status="wanted", tries=0)

    def mark_candidates(self, rows: Sequence[tuple[str, str, str, str | None]]) -> None:
        """Set candidates' ``(key, class_name, status, reason)``; any status but "wanted" counts as a try."""
        with self.connect() as connection:
            connection.executemany(
                "UPDATE candidate SET status = ?3, reason = ?4, tries = tries + (?3 <> 'wanted')"
                " WHERE key = ?1 AND class_name = ?2",
                rows,
            )

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
        token: str | None = None,
        within: sqlite3.Connection | None = None,
    ) -> int:
        """Record a decision, on disk when this returns, and return its id.

        Args:
            path: the photo's path.
            annotator: who decides.
            task: "review" or "background".
            labels: the primary one first; ``("later",)`` postpones the photo.
            adjudicates: whether this ends a disagreement; it then outranks what annotators decided.
            seconds: how long the photo was looked at.
            token: makes resending harmless: the second time writes nothing and returns the first id.
            within: a transaction of ``connect`` that this joins.

        Raises:
            UsageError: unknown photo, task or label, no annotator, no label, or another decision's token.
        """
        event = {"path": path, "annotator": annotator, "task": task, "adjudicates": adjudicates}
        with self.connect(within=within) as connection:
            written = _written_before(connection, token, event)
            if written is not None:  # the labels may have changed since: what was written stays accepted
                return written
            _check(connection, annotator, task, labels)
            if connection.execute("SELECT 1 FROM photo WHERE path = ?", (path,)).fetchone() is None:
                raise UsageError(f"The pool has no photo {path!r}.")
            of_photo = "DELETE FROM lease WHERE path = :path AND task = :task AND annotator = :annotator"
            connection.execute(of_photo, event)
            made = {"seconds": seconds, "labels": json.dumps(list(labels))}
            return _write(connection, token, event | made)

    def decide_all(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Record decisions in one transaction, all or none; the keys are the arguments of ``decide``.

        Raises:
            UsageError: see ``decide``.
        """
        with self.connect() as connection:
            for event in events:
                self.decide(**event, within=connection)

    def undo(
        self,
        annotator: str,
        task: str,
        *,
        of: str | None = None,
        adjudicates: bool = False,
        token: str | None = None,
        within: sqlite3.Connection | None = None,
    ) -> dict[str, Any] | None:
        """Undo a decision by adding an event; return the decision's row, or None if there is none.

        The previous decision on the same photo stands again.

        Args:
            annotator: who undoes it.
            task: task of the decision.
            of: token of the decision; None is the annotator's last one that stands.
            adjudicates: whether that is an adjudication.
            token: makes resending harmless.
            within: a transaction of ``connect`` that this joins.

        Raises:
            UsageError: the annotator has no such decision, or it was already undone.
        """
        with self.connect(within=within) as connection:
            asked = {"annotator": annotator, "task": task, "adjudicates": adjudicates}
            row = _to_undo(connection, asked | {"of": of, "token": token})
            if row is None:
                return None
            event = asked | {"path": row["path"], "adjudicates": False}
            if _written_before(connection, token, event) is None:
                _write(connection, token, event | {"labels": "[]", "undoes": row["id"]})
            return {**dict(row), "labels": json.loads(row["labels"])}

    def decisions(self) -> pl.DataFrame:
        """Return every event, oldest first, as ``DECISION_SCHEMA``."""
        with self.connect(writes=False) as connection:
            return read_frame(connection, f"{_EVENTS} ORDER BY id", DECISION_SCHEMA)

    def votes(self) -> pl.DataFrame:
        """Return each annotator's standing decision on each photo, oldest first.

        ``VOTE_SCHEMA`` with ``class_name`` and ``cluster`` of the photos, as ``agreement`` takes them: those
        of one observation are related even if no cluster was given. Adjudications are left out, since an
        adjudicator has seen what others decided.
        """
        with self.connect(writes=False) as connection:
            votes, photos = read_frame(connection, VOTES, VOTE_SCHEMA), _photos(connection)
        known = photos.select("path", "class_name", cluster=pl.coalesce("cluster", "observation"))
        return votes.join(known, on="path", how="left", maintain_order="left")

    def verdicts(self, task: str) -> pl.DataFrame:
        """Return what annotators concluded about each photo, as ``VERDICT_SCHEMA``, sorted by path."""
        with self.connect(writes=False) as connection:
            return read_verdicts(connection, task)

    # Signals and settings

    def write_signals(self, signals: pl.DataFrame, *, names: Iterable[str] = ()) -> None:
        """Write signals (``SIGNAL_SCHEMA``), replacing those of the same names and of ``names``."""
        with self.connect() as connection:
            replaced = {*names, *signals["signal"]}
            connection.executemany("DELETE FROM signal WHERE signal = ?", [(name,) for name in replaced])
            _insert(connection, "signal", SIGNAL_SCHEMA, signals.to_dicts())

    def signals(self) -> pl.DataFrame:
        """Return the signals as ``SIGNAL_SCHEMA``, by path and name."""
        with self.connect(writes=False) as connection:
            return read_table(connection, "signal", SIGNAL_SCHEMA).sort("path", "signal")

    def setting(self, name: str, default: Any = None) -> Any:
        """Return a setting (any JSON value), or ``default``."""
        with self.connect(writes=False) as connection:
            return read_setting(connection, name, default)

    def set_setting(self, name: str, value: Any, *, within: sqlite3.Connection | None = None) -> None:
        """Store a setting; ``within`` is a transaction of ``connect`` that this joins."""
        with self.connect(within=within) as connection:
            text = json.dumps(value, ensure_ascii=False)
            connection.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (name, text))

    def background_labels(self) -> list[str]:
        """Return the background labels: the paper's, unless the pool has its own."""
        return list(self.setting("background_labels", BACKGROUND_LABELS))

    def add_background_labels(self, labels: Iterable[str]) -> None:
        """Append new labels to the background labels; others may add some meanwhile.

        A label that the pool has in another spelling (``name_key``) is not new.
        """
        with self.connect() as connection:
            known = read_setting(connection, "background_labels", BACKGROUND_LABELS)
            ways = spelling_of(known)
            if new := [label for name, label in spelling_of(labels).items() if name not in ways]:
                self.set_setting("background_labels", [*known, *new], within=connection)

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
            photos = _photos(connection)
        kept, backgrounds = photos.filter(review["stands"]), background.filter(review["stands"])
        if kept.is_empty():
            raise CounterGroundError(
                f"The pool {self.root} has no photo to keep: all {len(photos)} were discarded, or annotators"
                " disagree on them. Collect or import photos, or keep some with `counterground data label`."
            )
        named = assign_classes(kept["class_name"].unique().sort().to_list())
        indices = [named.index[name] for name in kept["class_name"]]
        manifest = kept.with_columns(
            pl.Series("class_index", indices, pl.Int32),
            pl.Series("class_name", [named.classes.names[index] for index in indices], pl.String),
            backgrounds["label"].alias("background"),
            pl.lit(None, pl.String).alias("group"),
        ).select(*MANIFEST_SCHEMA)
        notes = (*named.notes, *_notes(photos, kept, review, backgrounds))
        benchmark = Benchmark(self.root.name, self.root, manifest, named.classes, notes)
        return benchmark.described(notes=(*notes, *describe_gaps(benchmark)))

    def snapshot(self) -> Path:
        """Write ``photos.parquet``, the photos with their verdicts, for other programs; return its path.

        It is a copy of the database's current state; CounterGround never reads it.
        """
        with self.connect(writes=False) as connection:
            labels = [read_verdicts(connection, task)["label"].alias(task) for task in TASKS]
            photos = _photos(connection).with_columns(labels)
        out = self.root / SNAPSHOT_FILE
        write_parquet(out, photos)
        return out

    def __repr__(self) -> str:
        return f"Pool {self.root}"


def _photos(connection: sqlite3.Connection) -> pl.DataFrame:
    return read_table(connection, "photo", PHOTO_SCHEMA).sort("path")


def _now() -> str:
    """Return the current time in UTC as ISO text with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _insert(
    connection: sqlite3.Connection,
    table: str,
    columns: Iterable[str],
    rows: Sequence[Mapping[str, object]],
    **defaults: object,
) -> int:
    """Add rows, except those whose key is there; return how many were added."""
    names = list(columns)
    absent = dict.fromkeys(names) | defaults
    before = connection.total_changes
    connection.executemany(
        f"INSERT OR IGNORE INTO {table} ({', '.join(names)})"  # noqa: S608 - names of our tables and columns
        f" VALUES ({', '.join(f':{name}' for name in names)})",
        [absent | dict(row) for row in rows],
    )
    return connection.total_changes - before


_COLUMNS = ", ".join(DECISION_SCHEMA).replace("undone", f"{UNDONE} AS undone")
_EVENTS = f"SELECT {_COLUMNS} FROM decision"  # noqa: S608 - constants only


def _check(connection: sqlite3.Connection, annotator: str, task: str, labels: Sequence[str]) -> None:
    """Refuse invalid decisions: no annotator, unknown tasks or labels, labels that exclude each other."""
    if task not in TASKS:
        raise UsageError(f"Unknown task {task!r}: choose {' or '.join(TASKS)}.{did_you_mean(task, TASKS)}")
    known: Sequence[str] = REVIEW_LABELS
    if task == "background":
        known = read_setting(connection, "background_labels", BACKGROUND_LABELS)
    if unknown := [label for label in labels if label not in (LATER, *known)]:
        raise UsageError(
            f"{unknown[0]!r} is not a label of {task}: choose from {', '.join(known)}."
            f"{did_you_mean(unknown[0], known)}"
        )
    alone = LATER in labels or (task == "review" and KEEP in labels)
    if not annotator.strip() or not labels or len(set(labels)) != len(labels) or (alone and len(labels) > 1):
        raise UsageError(
            f"A decision needs its annotator, and one label or several different ones that do not exclude "
            f"each other, not {list(labels)}."
        )


def _written_before(
    connection: sqlite3.Connection, token: str | None, event: Mapping[str, Any]
) -> int | None:
    """Return the id of the event with this token, or None if there is none.

    Raises:
        UsageError: the token belongs to another event.
    """
    query = "SELECT path, annotator, task, id FROM decision WHERE token = ?"
    row = connection.execute(query, (token,)).fetchone()
    if row is None:
        return None
    if tuple(row)[:3] != (event["path"], event["annotator"], event["task"]):
        raise UsageError(f"The token {token!r} belongs to the decision on {row['path']}.")
    return int(row["id"])


def _write(connection: sqlite3.Connection, token: str | None, event: Mapping[str, Any]) -> int:
    """Append an event to the log: no event is ever changed."""
    row = {**event, "at": _now(), "token": token or uuid.uuid4().hex}
    _insert(connection, "decision", row, [row])
    return int(connection.execute("SELECT last_insert_rowid()").fetchone()[0])


def _to_undo(connection: sqlite3.Connection, asked: Mapping[str, Any]) -> sqlite3.Row | None:
    """Return the row of the decision to undo; None if there is none and ``of`` names none."""

    def decision(where: str) -> sqlite3.Row | None:
        query = f"{_EVENTS} WHERE task = :task AND annotator = :annotator AND undoes IS NULL AND {where}"
        row: sqlite3.Row | None = connection.execute(query, asked).fetchone()
        return row

    if row := decision("id = (SELECT undoes FROM decision WHERE token = :token)"):
        return row  # sent before
    if asked["of"] is None:
        return decision(f"adjudicates = :adjudicates AND NOT {UNDONE} ORDER BY id DESC LIMIT 1")
    row = decision("token = :of")
    if row is None or row["undone"]:
        raise UsageError(f"There is no decision {asked['of']!r} that {asked['annotator']!r} can undo.")
    return row


def _notes(
    photos: pl.DataFrame, kept: pl.DataFrame, review: pl.DataFrame, backgrounds: pl.DataFrame
) -> Iterator[str]:
    """Count what is not in a benchmark, and what it lacks."""
    total, stand = len(photos), len(kept)
    reasons = Counter(review.filter(~pl.col("stands") & (pl.col("status") != "disagreed"))["label"])
    settle = "since annotators disagree on %s: settle this in `counterground data label`, page Disagreements"
    gone = sorted(set(photos["class_name"]) - set(kept["class_name"]))
    classes = photos["class_name"].n_unique()
    unclustered = kept["cluster"].null_count() % len(kept)  # if none has a cluster, nothing is lacking
    discarded = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
    counts = (
        (reasons.total(), f"of {total} photos of the pool were discarded ({discarded})."),
        (
            (review["status"] == "disagreed").sum(),
            f"of {total} photos are left out, {settle % 'keeping them'}.",
        ),
        ((review["status"] == "none").sum(), f"of {total} photos were included without a review."),
        ((backgrounds["status"] == "none").sum(), f"of {stand} photos have no background label yet."),
        (
            (backgrounds["status"] == "disagreed").sum(),
            f"of {stand} photos have no background, {settle % 'it'}.",
        ),
        (len(gone), f"of {classes} classes of the pool have no photo left: {and_more(gone, 5)}."),
        (unclustered, f"of {stand} photos have no cluster, so each counts as independent."),
    )
    return (f"{count} {text}" for count, text in counts if count)


def open_pool(path: str | Path, *, create: bool = False) -> Pool:
    """Open the pool in a folder; ``create`` makes one if there is none. Close it, or use ``with``.

    Raises:
        UsageError: there is no pool.
        CounterGroundError: the folder holds something else, cannot be written, or the database is damaged.
    """
    root = Path(path)
    if not is_pool(root):
        if not create:
            raise UsageError(
                f"There is no pool in {root}: make one with `counterground data collect` or `import`."
            )
        check_writable(root)
        others = [entry.name for entry in root.iterdir() if not entry.name.startswith(".")]
        if others and not is_pool(root):  # another process may have made it meanwhile
            raise CounterGroundError(
                f"{root} is not a pool, and not empty (it holds {others[0]!r}): name a new folder for one."
            )
    return Pool(root.resolve(), create=create)


def _find(path: Path) -> Path | None:
    """Return the pool that a path names: its folder, or the table of photos in it.

    Raises:
        UsageError: the folder of all its photos.
    """
    if path.name == "photos.parquet" and is_pool(path.parent):
        return path.parent  # this copy for other programs has the discarded photos, too
    if path.name == FILES and is_pool(path.parent):
        raise UsageError(
            f"{path} holds all photos of a pool, also discarded ones: name the pool, {path.parent}."
        )
    return path if is_pool(path) else None


def _freeze(root: Path) -> Benchmark:
    with open_pool(root) as pool:
        return pool.freeze()


POOL_FOLDERS = FolderReader("pool", _find, _freeze)
