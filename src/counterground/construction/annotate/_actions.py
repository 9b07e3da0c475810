"""What pages ask for and what they change: JSON in, JSON out."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection

from counterground.construction.annotate._bodies import (
    Decide,
    Event,
    Events,
    Guidance,
    Labels,
    Next,
    OfTask,
    Undo,
)
from counterground.construction.annotate._labels import check_labels, guidance, label_meanings
from counterground.construction.annotate._state import Desk
from counterground.errors import UsageError


def next_photos(desk: Desk, body: Next) -> dict[str, Any]:
    """Give the page its next photos, and say which of those it has are no longer wanted."""
    batch = desk.queue.take(body.annotator, body.task, count=body.count, have=body.have)
    return {
        "photos": desk.shown(batch.photos, body.task),
        "lost": batch.lost,
        "done": batch.done,
        "left": batch.left,
        "pace": batch.pace,
    }


def rest(desk: Desk, body: OfTask) -> dict[str, Any]:
    """Say what an annotator who is through may wait for, and how many photos are in dispute."""
    found = desk.queue.rest(body.annotator, body.task)
    return {
        "waiting": found.waiting,
        "elsewhere": found.elsewhere,
        "disputed": len(desk.queue.disputes(body.task)),
    }


def disputes(desk: Desk, body: OfTask) -> dict[str, Any]:
    """Give all photos in dispute, the annotators without their names and in an order that tells nothing."""
    found = desk.queue.disputes(body.task)
    photos = desk.shown([dispute.photo for dispute in found], body.task, flags=True)
    for photo, dispute in zip(photos, found, strict=True):
        path = dispute.photo.path

        def place(voter: str, path: str = path) -> bytes:
            return hashlib.sha256(json.dumps([path, voter]).encode()).digest()

        order = sorted(dispute.votes, key=place)
        photo["suggestion"] = None
        photo["votes"] = [
            {"name": _letter(number), "labels": dispute.votes[voter]} for number, voter in enumerate(order)
        ]
    return {"photos": photos, "left": len(photos)}


def _letter(number: int) -> str:
    return chr(ord("A") + number) if number < 26 else f"A{number}"


def record_events(desk: Desk, body: Events) -> dict[str, Any]:
    """Write events in their order, on disk when this returns; one that is refused holds up no other."""
    with desk.pool.connect() as connection:
        results = [_result(desk, connection, body.annotator, raw) for raw in body.events]
    for result in results:
        if (undone := result.get("undone")) is not None:
            undone["photo"] = desk.shown([undone["photo"]], undone.pop("task"))[0]
    return {"results": results}


def _result(desk: Desk, connection: Connection, annotator: str, raw: dict[str, Any]) -> dict[str, Any]:
    token = str(raw.get("token"))
    try:
        event = Event.validate_python(raw)
        if isinstance(event, Undo):
            return {"token": token, "ok": True} | _undo(desk, connection, annotator, event)
        return {"token": token, "ok": True} | _decide(desk, connection, annotator, event)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return {"token": token, "ok": False, "error": f"{where}: {first['msg']}."}
    except UsageError as error:
        return {"token": token, "ok": False, "error": str(error)}


def _decide(desk: Desk, connection: Connection, annotator: str, event: Decide) -> dict[str, Any]:
    shown = None
    if event.suggestion is not None:
        shown = json.dumps(event.suggestion.model_dump(), ensure_ascii=False, sort_keys=True)
    number = desk.queue.decide(
        event.path,
        annotator=annotator,
        task=event.task,
        labels=event.labels,
        token=event.token,
        settles=event.settles,
        seconds=event.seconds,
        suggestion=shown,
        within=connection,
    )
    return {"id": number}


def _undo(desk: Desk, connection: Connection, annotator: str, event: Undo) -> dict[str, Any]:
    found = desk.queue.undo(annotator, event.task, of=event.of, token=event.token, within=connection)
    if found is None:
        return {"undone": None}
    photo, row = found
    return {"undone": {"photo": photo, "labels": row["labels"], "task": event.task}}


def set_labels(desk: Desk, body: Labels) -> dict[str, Any]:
    """Put another label space in place of the one the page shows."""
    if desk.pool.background_labels() != body.before:
        raise UsageError("Somebody else changed the labels meanwhile: load this page again.")
    wanted = check_labels(body.labels, desk.queue.uses("background"))
    meanings = {name: text.strip() for name, text in body.meanings.items() if name in wanted}
    desk.pool.set_setting("label_meanings", label_meanings(desk.pool) | meanings)
    desk.pool.set_setting("background_labels", wanted)
    return {"labels": wanted}


def set_guidance(desk: Desk, body: Guidance) -> dict[str, Any]:
    """Put another guidance text for a class in place of the one the page shows."""
    texts = guidance(desk.pool)
    if texts.get(body.class_name, "") != body.before:
        raise UsageError("Somebody else changed this text meanwhile: load this page again.")
    texts[body.class_name] = body.text.strip()
    desk.pool.set_setting("guidance", {name: text for name, text in sorted(texts.items()) if text})
    return {"text": body.text.strip()}
