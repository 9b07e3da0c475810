"""Decisions as a log of events, and what follows from them for each photo."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl
from sqlalchemy import Connection, insert, select

from counterground.errors import UsageError, did_you_mean
from counterground.pool._errors import DamagedError
from counterground.pool._schema import DECISION_SCHEMA, KEEP, LATER, TASKS, VERDICT_SCHEMA
from counterground.pool._tables import DECISION, PHOTO, as_frame


def now() -> str:
    """Return the time in UTC as ISO text with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def check_decision(annotator: str, task: str, labels: Sequence[str], known: Sequence[str]) -> None:
    """Refuse what is no decision.

    Raises:
        UsageError: no annotator, an unknown task or label, a label twice, none, or "later" beside others.
    """
    if not annotator.strip():
        raise UsageError("A decision needs the name of its annotator.")
    if task not in TASKS:
        raise UsageError(f"Unknown task {task!r}: there are {', '.join(TASKS)}.{did_you_mean(task, TASKS)}")
    if not labels or len(set(labels)) != len(labels) or (LATER in labels and len(labels) > 1):
        raise UsageError(f"A decision needs one label or several different ones, not {list(labels)}.")
    for label in labels:
        if label != LATER and label not in known:
            hint = did_you_mean(label, known)
            raise UsageError(f"{label!r} is no label of task {task}: there are {', '.join(known)}.{hint}")
    if task == "review" and KEEP in labels and len(labels) > 1:
        raise UsageError(f"A photo is kept or discarded, not both: {list(labels)}.")


def record(connection: Connection, token: str | None, event: dict[str, Any]) -> int:
    """Write an event once: a token that is there already gives the id it has.

    Raises:
        UsageError: there is no such photo, or the token belongs to another event.
    """
    if token is not None:
        columns = (DECISION.c.id, DECISION.c.path, DECISION.c.annotator, DECISION.c.task)
        found = connection.execute(select(*columns).where(DECISION.c.token == token)).one_or_none()
        if found is not None:
            if found[1:] != (event["path"], event["annotator"], event["task"]):
                raise UsageError(f"The token {token!r} belongs to the decision on {found[1]}.")
            return int(found[0])
    if connection.execute(select(PHOTO.c.path).where(PHOTO.c.path == event["path"])).first() is None:
        raise UsageError(f"The pool has no photo {event['path']!r}.")
    row = {"settles": False, "seconds": None, "suggestion": None, "undoes": None} | event
    row |= {"at": now(), "token": token or uuid.uuid4().hex, "labels": json.dumps(row["labels"])}
    return int(connection.execute(insert(DECISION).values(row).returning(DECISION.c.id)).scalar_one())


def undo_last(connection: Connection, annotator: str, task: str, token: str | None) -> dict[str, Any] | None:
    """Take back the annotator's last decision that stands; return its row, or None where there is none."""
    if token is not None:
        done = connection.execute(select(DECISION.c.undoes).where(DECISION.c.token == token)).scalar()
        if done is not None:
            return _row(connection, done)
    taken_back = select(DECISION.c.undoes).where(DECISION.c.undoes.is_not(None))
    last = connection.execute(
        select(DECISION.c.id, DECISION.c.path)
        .where(DECISION.c.annotator == annotator, DECISION.c.task == task, DECISION.c.undoes.is_(None))
        .where(DECISION.c.id.not_in(taken_back))
        .order_by(DECISION.c.id.desc())
        .limit(1)
    ).one_or_none()
    if last is None:
        return None
    event = {"path": last.path, "annotator": annotator, "task": task, "labels": [], "undoes": last.id}
    record(connection, token, event)
    return _row(connection, last.id)


def _row(connection: Connection, number: int) -> dict[str, Any]:
    row = dict(connection.execute(select(DECISION).where(DECISION.c.id == number)).mappings().one())
    return row | {"labels": _read_labels(row["labels"])}


def _read_labels(text: str) -> list[str]:
    try:
        labels = json.loads(text)
    except ValueError:
        labels = None
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise DamagedError(f"a decision has the labels {str(text)[:60]!r}")
    return labels


def all_decisions(connection: Connection) -> pl.DataFrame:
    """Return every event, oldest first, as ``DECISION_SCHEMA``."""
    rows = [dict(row) for row in connection.execute(select(DECISION).order_by(DECISION.c.id)).mappings()]
    undone = {row["undoes"] for row in rows} - {None}
    for row in rows:
        row |= {"labels": _read_labels(row["labels"]), "undone": row["id"] in undone}
    return as_frame([tuple(row[name] for name in DECISION_SCHEMA) for row in rows], DECISION_SCHEMA)


def standing(decisions: pl.DataFrame) -> pl.DataFrame:
    """Keep each annotator's last decision per photo, task and kind that was not undone and is a verdict."""
    return (
        decisions.filter(pl.col("undoes").is_null() & ~pl.col("undone"))
        .sort("id")
        .unique(["path", "annotator", "task", "settles"], keep="last", maintain_order=True)
        .filter(pl.col("labels").list.first() != LATER)
    )


def verdicts(photos: pl.DataFrame, decisions: pl.DataFrame, task: str) -> pl.DataFrame:
    """Return what annotators concluded about each photo, as ``VERDICT_SCHEMA`` in the order of ``photos``.

    A settling decision outranks all. Else annotators agree where their first labels are the same; in a review
    two who discard a photo agree whatever their reasons, and the earlier reason stands.
    """
    current = standing(decisions.filter(pl.col("task") == task)).with_columns(
        label=pl.col("labels").list.first()
    )
    side = pl.col("label") == KEEP if task == "review" else pl.col("label")
    votes = (
        current.filter(~pl.col("settles"))
        .group_by("path", maintain_order=True)
        .agg(
            label=pl.col("label").first(),
            labels=pl.col("labels").explode().unique(maintain_order=True),
            sides=side.n_unique(),
            annotators=pl.col("annotator").n_unique(),
        )
    )
    settled = current.filter("settles").unique("path", keep="last").select("path", final="labels")
    agreed = pl.col("sides") == 1
    status = (
        pl.when(pl.col("final").is_not_null())
        .then(pl.lit("settled"))
        .when(pl.col("annotators").is_null())
        .then(pl.lit("none"))
        .when(~agreed)
        .then(pl.lit("disagreed"))
        .when(pl.col("annotators") == 1)
        .then(pl.lit("single"))
        .otherwise(pl.lit("agreed"))
    )
    joined = (
        photos.select("path", "class_name")
        .join(votes, on="path", how="left", maintain_order="left")
        .join(settled, on="path", how="left", maintain_order="left")
    )
    final = pl.col("final")
    return joined.select(
        "path",
        "class_name",
        label=pl.when(final.is_not_null()).then(final.list.first()).when(agreed).then("label"),
        labels=pl.coalesce("final", "labels"),
        status=status,
        annotators=pl.col("annotators").fill_null(0),
    ).cast(dict(VERDICT_SCHEMA))  # type: ignore[arg-type]
