"""What the label page asks and sends, and its pages."""

from __future__ import annotations

import hashlib
import json
import shlex
from sqlite3 import Connection
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from counterground.construction.annotate._labels import (
    ANSWER_KEYS,
    GUIDE,
    MOST_GUIDANCE,
    MOST_LETTERS,
    MOST_PICTURES,
    AppState,
    check_labels,
    choices,
    guidance,
    guide_addresses,
    label_meanings,
)
from counterground.construction.annotate._web import Body, Events, Sent, Text, Token, record_each, render
from counterground.construction.pool import TASKS, AnnotatorProgress, Disagreement
from counterground.errors import UsageError

_Label = Annotated[str, Field(min_length=1, max_length=200)]
_Task = Literal["review", "background"]


class Next(Body):
    """Asks for more photos; ``leased`` are those the page has."""

    task: _Task
    leased: Annotated[list[Text], Field(max_length=2000)]
    count: Annotated[int, Field(ge=0, le=20)]


class OfTask(Body):
    """Asks about a task."""

    task: _Task


class Suggestion(Sent):
    """What was suggested on screen."""

    model: Text
    label: _Label


class Decide(Sent):
    """A decision."""

    kind: Literal["decide"]
    token: Token
    task: _Task
    path: Text
    labels: Annotated[list[_Label], Field(min_length=1, max_length=60)]
    seconds: Annotated[float | None, Field(ge=0, le=1e6)]
    suggestion: Suggestion | None = None
    adjudicates: bool = False


class Undo(Sent):
    """Undoes a decision, by token or id; None is the last one."""

    kind: Literal["undo"]
    token: Token
    task: _Task
    of: Text | Annotated[int, Field(ge=1, lt=2**63)] | None


class Labels(Body):
    """A new label space; ``before`` is the one the page shows."""

    before: list[str]
    labels: list[str]
    meanings: dict[str, Annotated[str, Field(max_length=200)]]


class Guidance(Body):
    """A new guidance text for a class; ``before`` is the one the page shows."""

    class_name: Text
    before: str
    text: Annotated[str, Field(max_length=2000)]


Event: TypeAdapter[Decide | Undo] = TypeAdapter(Annotated[Decide | Undo, Field(discriminator="kind")])


def next_photos(state: AppState, body: Next) -> dict[str, Any]:
    """Return the page's next photos, and which of those it has no longer need a decision."""
    batch = state.queue.lease(body.annotator, body.task, count=body.count, leased=body.leased)
    return {
        "photos": state.shown(batch.photos, body.task),
        "revoked": batch.revoked,
        "done": batch.done,
        "left": batch.left,
        "pace": batch.pace,
    }


def remaining(state: AppState, body: OfTask) -> dict[str, Any]:
    """Return what an annotator who has finished may wait for, and the number of disagreements."""
    found = state.queue.remaining(body.annotator, body.task)
    return {
        "waiting": found.waiting,
        "elsewhere": found.elsewhere,
        "alone": found.alone,
        "disagreements": {task: len(state.queue.disagreements(task)) for task in TASKS},
    }


def disagreements(state: AppState, body: OfTask) -> dict[str, Any]:
    """Return all photos on which annotators disagree, with their answers, anonymous and in neutral order."""
    found = state.queue.disagreements(body.task)
    photos = state.shown([disagreement.photo for disagreement in found], body.task, adjudicating=True)
    for photo, disagreement in zip(photos, found, strict=True):
        photo["votes"] = _anonymous(disagreement)
    return {"photos": photos, "left": len(photos)}


def _anonymous(disagreement: Disagreement) -> list[list[str]]:
    def place(voter: str) -> bytes:
        return hashlib.sha256(json.dumps([disagreement.photo.path, voter]).encode()).digest()

    return [disagreement.votes[voter] for voter in sorted(disagreement.votes, key=place)]


def record_events(state: AppState, body: Events) -> dict[str, Any]:
    """Write events in order, on disk when this returns; a refused one does not block the others."""
    with state.pool.connect() as connection:

        def record(raw: dict[str, Any]) -> dict[str, Any]:
            event = Event.validate_python(raw)
            act = _undo if isinstance(event, Undo) else _decide
            return act(state, connection, body.annotator, event)  # type: ignore[arg-type]

        results = record_each(body.events, record)
    for result in results:
        if (undone := result.get("undone")) is not None:
            undone["photo"] = state.shown([undone["photo"]], undone.pop("task"))[0]
    return {"results": results}


def _decide(state: AppState, connection: Connection, annotator: str, event: Decide) -> dict[str, Any]:
    shown = None
    if event.suggestion is not None:
        shown = json.dumps(event.suggestion.model_dump(), ensure_ascii=False, sort_keys=True)
    number = state.queue.decide(
        event.path,
        annotator=annotator,
        task=event.task,
        labels=event.labels,
        token=event.token,
        adjudicates=event.adjudicates,
        seconds=event.seconds,
        suggestion=shown,
        within=connection,
    )
    return {"id": number}


def _undo(state: AppState, connection: Connection, annotator: str, event: Undo) -> dict[str, Any]:
    found = state.queue.undo(annotator, event.task, of=event.of, token=event.token, within=connection)
    if found is None:
        return {"undone": None}
    photo, row = found
    return {"undone": {"photo": photo, "labels": row["labels"], "task": event.task}}


def set_labels(state: AppState, body: Labels) -> dict[str, Any]:
    """Replace the label space that the page shows.

    Raises:
        UsageError: it has changed since the page was loaded, or a label cannot be used.
    """
    with state.pool.connect() as connection:  # nobody else writes between the read and the write
        if state.pool.background_labels() != body.before:
            raise UsageError("Somebody else has changed the labels: reload this page.")
        wanted = check_labels(body.labels, state.queue.uses("background"))
        # A label may have been typed with more spaces than `check_labels` leaves.
        meanings = {
            label: text.strip()
            for name, text in body.meanings.items()
            for label in (" ".join(name.split()), name)
            if label in wanted
        }
        kept = {"label_meanings": label_meanings(state.pool) | meanings, "background_labels": wanted}
        for name, value in kept.items():
            state.pool.set_setting(name, value, within=connection)
    return {"labels": wanted}


def set_guidance(state: AppState, body: Guidance) -> dict[str, Any]:
    """Replace the guidance text for a class that the page shows.

    Raises:
        UsageError: it has changed since the page was loaded.
    """
    with state.pool.connect() as connection:  # as above
        texts = guidance(state.pool)
        if texts.get(body.class_name, "") != body.before:
            raise UsageError("Somebody else has changed this text: reload this page.")
        texts[body.class_name] = body.text.strip()
        texts = {name: text for name, text in sorted(texts.items()) if text}
        state.pool.set_setting("guidance", texts, within=connection)
    return {"text": body.text.strip()}


_LISTED = 200  # adjudications, each with its photo
_TASK_TITLES = {"review": "Review", "background": "Backgrounds"}


def label_page(state: AppState, annotator: str, task: str, mode: str) -> str:
    """Return the page that shows one photo after another; ``mode`` is "label" or "adjudicate"."""
    adjudicating = mode == "adjudicate"
    settled = state.queue.adjudications(task) if adjudicating else []
    command = f"counterground data label {shlex.quote(state.named)}"
    hints = {
        "review": f"{command} --task background",
        "background": f"counterground discover {shlex.quote(state.named)} --referee MODEL --out BENCHMARK",
    }
    return render(
        "label.html.j2",
        _shared(state, annotator, "disagreements" if adjudicating else "label", task)
        | {
            "mode": mode,
            "choices": choices(state.pool, task),
            "answer_keys": ANSWER_KEYS,
            "ranked": state.ranked and task == "review",
            "suggester": state.suggester.spec if state.suggester and task == "background" else "",
            "adjudications": settled[:_LISTED],
            "adjudicated": len(settled),
            "hint": hints[task],
            "another": f"{command} --task {task} --annotator NAME",
        },
    )


def progress_page(state: AppState, annotator: str) -> str:
    """Return the page with the progress of each task, per class and per annotator."""
    found = []
    for task in TASKS:
        classes = state.queue.progress(task)
        people = state.queue.annotators(task, state.sessions.annotators)
        total = {
            name: sum(getattr(row, name) for row in classes)
            for name in ("photos", "complete", "begun", "disagreed")
        }
        found.append({"task": task, "classes": classes, "people": people, "total": total})
    return render(
        "progress.html.j2", _shared(state, annotator, "progress", "") | {"found": found, "left": time_left}
    )


def time_left(person: AnnotatorProgress) -> float | None:
    """Return an estimate of the seconds an annotator still needs, or None if nothing was timed."""
    return None if person.pace is None else person.pace * person.left


def labels_page(state: AppState, annotator: str) -> str:
    """Return the page on which the label space and the guidance texts are edited."""
    uses = state.queue.uses("background")
    texts = guidance(state.pool)
    return render(
        "labels.html.j2",
        _shared(state, annotator, "labels", "")
        | {
            "choices": choices(state.pool, "background"),
            "reasons": choices(state.pool, "review"),
            "uses": uses,
            "classes": [
                (
                    row.class_name,
                    texts.get(row.class_name, ""),
                    guide_addresses(state.pool, row.class_name),
                    f"{GUIDE}/{state.pool.class_folder(row.class_name)}/",
                )
                for row in state.queue.progress("review")
            ],
            "most_pictures": MOST_PICTURES,
            "longest": {"label": MOST_LETTERS, "guidance": MOST_GUIDANCE},
        },
    )


def _shared(state: AppState, annotator: str, page: str, task: str) -> dict[str, Any]:
    return {
        "annotator": annotator,
        "key": state.key,
        "page": page,
        "task": task,
        "tasks": _TASK_TITLES,
        "home": state.task,
        "pool_name": state.pool.root.name,
        "refresh": "",
    }
