"""Decisions as a log of events: no event is ever changed, and an event sent twice is written once."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl
from sqlalchemy import ColumnElement, Connection, bindparam, insert, literal_column, select

from counterground.construction.pool._database import (
    DECISION,
    DECISION_COLUMNS,
    PHOTO,
    as_frame,
    read_setting,
)
from counterground.construction.pool._schema import (
    BACKGROUND_LABELS,
    DECISION_SCHEMA,
    KEEP,
    LATER,
    REVIEW_LABELS,
    TASKS,
)
from counterground.construction.pool._verdicts import UNDONE
from counterground.errors import UsageError, did_you_mean

_IS_UNDONE: ColumnElement[bool] = literal_column(UNDONE)
# Made once: to make them for each decision takes longer than to execute them.
_PHOTO = select(PHOTO.c.path).where(PHOTO.c.path == bindparam("path"))
_OF_TOKEN = select(DECISION.c.id, DECISION.c.path, DECISION.c.annotator, DECISION.c.task).where(
    DECISION.c.token == bindparam("token")
)
_NEW = insert(DECISION).returning(DECISION.c.id)


def now() -> str:
    """Return the current time in UTC as ISO text with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def labels_of_tasks(connection: Connection) -> dict[str, Sequence[str]]:
    """Return the labels to choose from, by task; background labels are the paper's or the pool's own."""
    backgrounds: list[str] = read_setting(connection, "background_labels", list(BACKGROUND_LABELS))
    return {"review": REVIEW_LABELS, "background": backgrounds}


def record_decision(
    connection: Connection,
    known: Mapping[str, Sequence[str]],
    *,
    path: str,
    annotator: str,
    task: str,
    labels: Sequence[str],
    adjudicates: bool = False,
    seconds: float | None = None,
    suggestion: str | None = None,
    token: str | None = None,
) -> int:
    """Write a decision and return its id; see ``Pool.decide``. ``known`` is from ``labels_of_tasks``."""
    event = {"path": path, "annotator": annotator, "task": task, "labels": labels, "adjudicates": adjudicates}
    written = _written_before(connection, token, event)
    if written is not None:  # the labels may have changed since: what was written stays accepted
        return written
    _check(annotator, task, labels, known)
    if connection.execute(_PHOTO, {"path": path}).first() is None:
        raise UsageError(f"The pool has no photo {path!r}.")
    return _write(connection, token, event | {"seconds": seconds, "suggestion": suggestion})


def undo_decision(
    connection: Connection, annotator: str, task: str, *, of: str | int | None, token: str | None
) -> dict[str, Any] | None:
    """Undo a decision by adding an event, and return the decision's row; see ``Pool.undo``."""
    row = _to_undo(connection, annotator, task, of, token)
    if row is None:
        return None
    event = {"path": row["path"], "annotator": annotator, "task": task, "labels": (), "adjudicates": False}
    if _written_before(connection, token, event) is None:
        _write(connection, token, event | {"undoes": row["id"]})
    return row


def all_decisions(connection: Connection) -> pl.DataFrame:
    """Return every event, oldest first, as ``DECISION_SCHEMA``."""
    query = select(*DECISION_COLUMNS, _IS_UNDONE.label("undone")).order_by(DECISION.c.id)
    rows = [(*row[:-1], bool(row.undone)) for row in connection.execute(query)]
    return as_frame(rows, DECISION_SCHEMA)


def _check(annotator: str, task: str, labels: Sequence[str], known: Mapping[str, Sequence[str]]) -> None:
    """Refuse invalid decisions: no annotator, unknown tasks or labels, labels that exclude each other."""
    if task not in known:
        raise UsageError(f"Unknown task {task!r}: choose {' or '.join(TASKS)}.{did_you_mean(task, TASKS)}")
    for label in labels:
        if label != LATER and label not in known[task]:
            hint = did_you_mean(label, known[task])
            raise UsageError(
                f"{label!r} is not a label of {task}: choose from {', '.join(known[task])}.{hint}"
            )
    alone = LATER in labels or (task == "review" and KEEP in labels)
    if not annotator.strip() or not labels or len(set(labels)) != len(labels) or (alone and len(labels) > 1):
        raise UsageError(
            f"A decision needs its annotator, and one label or several different ones that do not exclude "
            f"each other, not {list(labels)}."
        )


def _written_before(connection: Connection, token: str | None, event: Mapping[str, Any]) -> int | None:
    """Return the id of the event with this token, or None if there is none.

    Raises:
        UsageError: the token belongs to another event.
    """
    if token is None:
        return None
    found = connection.execute(_OF_TOKEN, {"token": token}).one_or_none()
    if found is None:
        return None
    if found[1:] != (event["path"], event["annotator"], event["task"]):
        raise UsageError(f"The token {token!r} belongs to the decision on {found.path}.")
    return int(found.id)


def _write(connection: Connection, token: str | None, event: Mapping[str, Any]) -> int:
    labels = json.dumps(list(event["labels"]))
    row = {**event, "at": now(), "token": token or uuid.uuid4().hex, "labels": labels}
    return int(connection.execute(_NEW, row).scalar_one())


def _to_undo(
    connection: Connection, annotator: str, task: str, of: str | int | None, token: str | None
) -> dict[str, Any] | None:
    """Return the row of the decision to undo; None if there is none and ``of`` names none."""
    query = select(*DECISION_COLUMNS, _IS_UNDONE.label("undone")).where(
        DECISION.c.task == task, DECISION.c.undoes.is_(None)
    )
    sent_before = None
    if token is not None:
        sent_before = connection.execute(select(DECISION.c.undoes).where(DECISION.c.token == token)).scalar()
    if sent_before is not None:
        return _row(connection.execute(query.where(DECISION.c.id == sent_before)).one())
    if of is None:
        mine = query.where(DECISION.c.annotator == annotator, DECISION.c.adjudicates.is_(False))
        query = mine.where(~_IS_UNDONE).order_by(DECISION.c.id.desc()).limit(1)
    else:
        query = query.where((DECISION.c.id if isinstance(of, int) else DECISION.c.token) == of)
    row = connection.execute(query).one_or_none()
    if row is None and of is None:
        return None
    if row is None or row.undone or (row.annotator != annotator and not row.adjudicates):
        raise UsageError(f"There is no decision {of!r} that {annotator!r} can undo.")
    return _row(row)


def _row(row: Any) -> dict[str, Any]:
    values = {column.key: row[place] for place, column in enumerate(DECISION_COLUMNS)}
    return values | {"labels": json.loads(values["labels"])}
