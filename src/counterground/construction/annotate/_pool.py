"""Labelling a pool: its pages, what they ask and send, and the labels with their keys."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from sqlite3 import Connection
from string import ascii_lowercase
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from counterground.construction.annotate._server import (
    Body,
    Next,
    Sent,
    Site,
    Token,
    check_names,
    picture,
    record_each,
    render,
    serve,
)
from counterground.construction.pool import (
    KEEP,
    LATER,
    TASKS,
    Pool,
    Queue,
    QueuedPhoto,
    check_annotators,
    open_pool,
    spelling_of,
)
from counterground.construction.settings import LabelSettings
from counterground.errors import CounterGroundError, UsageError
from counterground.files import read_text
from counterground.photos import UnreadablePhoto
from counterground.text import counted

COMMAND_KEYS = frozenset("luz")
"""Later, undo, zoom."""

ANSWER_KEYS = "1234"
"""Keys for the answers of annotators who disagree; no label has one of these."""

_SPARE = "567890"
_MEANINGS = {
    "ground": "bare, or mixed",
    "water": "sea, river, shore",
    "earth": "soil, mud",
    "sand": "beach, desert",
    "snow": "snow or ice",
    "grass": "meadow, straw",
    "human": "hand, arm, person",
    "sky": "open sky",
    "road": "paved way",
    "rock": "stone, cliff, gravel",
    "shrub": "bush, leaves, reeds",
    "indoor": "inside a building",
    "tree": "trunk, branches",
    "outdoor": "none of these",
}
_REASONS = {
    KEEP: ("k", "the class is the main subject, and clear"),
    "label noise": ("n", "not the class at all"),  # "l" is later
    "feature noise": ("f", "too corrupt, blurred or dark to tell"),
    "ambiguity": ("a", "several classes are in the photo"),
    "clarity": ("c", "the class is there, but not a main subject"),
    "duplicate": ("d", "the same shot as another photo"),
}
_TITLES = {"review": "Review", "background": "Backgrounds"}
_TASK = "(review|background)"
_LISTED = 200  # adjudications, each with its photo


def label_keys(labels: Sequence[str]) -> dict[str, str | None]:
    """Return each label's key: its first free letter, else any free letter, else a digit, else None.

    Keys are assigned in the order of the labels, so adding one at the end leaves the others unchanged: what
    annotators have learnt still holds, though a label may not get the letter that suits it best.
    """
    free = dict.fromkeys([letter for letter in ascii_lowercase if letter not in COMMAND_KEYS])
    own: dict[str, str | None] = {}
    for label in labels:
        own[label] = next((letter for letter in label.lower() if letter in free), None)
        free.pop(own[label] or "", None)
    spare = iter([*free, *_SPARE])
    return {label: key or next(spare, None) for label, key in own.items()}


def read_labels(path: Path, used: Mapping[str, int]) -> list[str]:
    """Read a file of background labels, one per line; empty lines and those that begin with # are left out.

    Raises:
        UsageError: the file cannot be read, a label is "later" or there twice, or one that was used is gone.
    """
    try:
        lines = read_text(path).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Cannot read the labels in {path} as UTF-8 text: {error}.") from error
    labels = [" ".join(line.split()) for line in lines if line.strip() and not line.startswith("#")]
    if not labels or LATER in labels or len(spelling_of(labels)) < len(labels):
        raise UsageError(f"{path} needs different labels, one a line, and none called {LATER!r}.")
    if gone := [label for label in used if label not in (*labels, LATER)]:
        raise UsageError(f"Used labels can be neither renamed nor removed: {gone} must stay in {path}.")
    return labels


_Task = Literal["review", "background"]
_Label = Annotated[str, Field(min_length=1, max_length=200)]


class Decide(Sent):
    """A decision."""

    kind: Literal["decide"]
    token: Token
    task: _Task
    path: str
    labels: Annotated[list[_Label], Field(min_length=1, max_length=60)]
    seconds: Annotated[float | None, Field(ge=0, le=1e6)]
    adjudicates: bool = False


class Undo(Sent):
    """Undoes a decision, by token or id; None is the last one."""

    kind: Literal["undo"]
    token: Token
    task: _Task
    of: str | Annotated[int, Field(ge=1, lt=2**63)] | None


_EVENT: TypeAdapter[Decide | Undo] = TypeAdapter(Annotated[Decide | Undo, Field(discriminator="kind")])


@dataclass(frozen=True)
class SessionSummary:
    """The result of a session: how many decisions each annotator made, and the snapshot of the pool."""

    decisions: dict[str, int]
    snapshot: Path


def label_pool(
    path: str | Path, settings: LabelSettings, *, say: Callable[[str], None] = print
) -> SessionSummary:
    """Serve the pages until Ctrl-C; return what was decided.

    Args:
        path: the pool's folder.
        settings: settings of the session.
        say: function that prints a line.

    Raises:
        UsageError: there is no pool, or a name or label that cannot be used.
        CounterGroundError: the pool has no photo, cannot be written, or the port is taken.
    """
    check_names(settings)
    with open_pool(path) as pool:
        check_annotators(pool, settings.annotators)
        queue = Queue(pool, second=settings.second, order=settings.order, annotators=settings.annotators)
        if settings.labels is not None:
            pool.set_setting("background_labels", read_labels(settings.labels, queue.uses("background")))
        photos = sum(row.photos for row in queue.progress("review"))
        if not photos:
            raise CounterGroundError(f"The pool {path} has no photos: collect or import some first.")
        say(f"{pool.root.name}: {counted(photos, 'photo')}, {settings.task}.")
        before = queue.last_decision()
        serve(Labelling(pool, queue, settings, str(path)).site(), settings, say)
        queue.release(settings.annotators)
        made = queue.made_since(before)
        return SessionSummary({name: made.get(name, 0) for name in settings.annotators}, pool.snapshot())


@dataclass(frozen=True)
class Labelling:
    """The pages and answers for a pool, which the user wrote as ``named``."""

    pool: Pool
    queue: Queue
    settings: LabelSettings
    named: str

    def site(self) -> Site:
        """Return what a server shows."""
        home = f"/label/{self.settings.task}"
        pages: dict[str, Callable[..., str]] = {
            "/": lambda _: render("message.html.j2", {"text": "The page is opening.", "refresh": home}),
            f"/label/{_TASK}": partial(self._label_page, mode="label"),
            f"/disagreements/{_TASK}": partial(self._label_page, mode="adjudicate"),
            "/progress": self._progress_page,
        }
        actions = {
            "next": self._next,
            "remaining": self._remaining,
            "disagreements": self._disagreements,
            "events": self._record,
        }
        return Site(self.pool.root, home, pages, {r"/photo/(\d{1,18})": self._photo}, actions)

    # Pages

    def _label_page(self, annotator: str, task: str, *, mode: str) -> str:
        """Return the page that shows one photo after another; ``mode`` is "label" or "adjudicate"."""
        adjudicating = mode == "adjudicate"
        settled = self.queue.adjudications(task) if adjudicating else []
        command = f"counterground data label {shlex.quote(self.named)}"
        hints = {
            "review": f"{command} --task background",
            "background": f"counterground discover {shlex.quote(self.named)} --referee MODEL --out BENCHMARK",
        }
        labels = {label: (key, _MEANINGS.get(label, "")) for label, key in self._keys().items()}
        return render(
            "label.html.j2",
            self._shared(annotator, "disagreements" if adjudicating else "label", task)
            | {
                "mode": mode,
                "choices": [
                    {"label": label, "key": key, "meaning": meaning}
                    for label, (key, meaning) in (_REASONS if task == "review" else labels).items()
                ],
                "answer_keys": ANSWER_KEYS,
                "ranked": self.settings.order == "ranked" and task == "review",
                "adjudications": settled[:_LISTED],
                "adjudicated": len(settled),
                "hint": hints[task],
                "another": f"{command} --task {task} --annotator NAME",
            },
        )

    def _keys(self) -> dict[str, str | None]:
        return label_keys(self.pool.background_labels())

    def _progress_page(self, annotator: str) -> str:
        found = []
        for task in TASKS:
            classes = self.queue.progress(task)
            total = {
                name: sum(getattr(row, name) for row in classes)
                for name in ("photos", "complete", "begun", "disagreed")
            }
            people = self.queue.annotators(task, self.settings.annotators)
            found.append({"task": task, "classes": classes, "people": people, "total": total})
        return render("progress.html.j2", self._shared(annotator, "progress", "") | {"found": found})

    def _shared(self, annotator: str, page: str, task: str) -> dict[str, Any]:
        return {
            "annotator": annotator,
            "key": self.site().key,
            "page": page,
            "task": task,
            "tasks": _TITLES,
            "home": self.settings.task,
            "pool_name": self.pool.root.name,
            "refresh": "",
        }

    def _photo(self, row: str) -> tuple[bytes, str]:
        found = self.queue.photo_of(int(row))
        if found is None:
            raise UnreadablePhoto(self.pool.root, "the pool has no such photo")
        try:
            file = self.pool.photo_file(found[0])
        except CounterGroundError as error:
            raise UnreadablePhoto(self.pool.root, "it is missing, or lies outside the pool") from error
        return picture(file, found[1])

    # Answers

    def _next(self, annotator: str, body: Body) -> Body:
        """Return the page's next photos, and which of those it has no longer need a decision."""
        asked = Next.model_validate(body)
        batch = self.queue.lease(annotator, asked.task, count=asked.count, leased=asked.leased)
        photos = self._shown(batch.photos, asked.task)
        return {**vars(batch), "photos": photos}

    def _remaining(self, annotator: str, body: Body) -> Body:
        """Return what an annotator who has finished may wait for, and the number of disagreements."""
        found = self.queue.remaining(annotator, str(body.get("task")))
        return vars(found) | {"disagreements": {task: len(self.queue.disagreements(task)) for task in TASKS}}

    def _disagreements(self, _annotator: str, body: Body) -> Body:
        """Return all photos on which annotators disagree, with their answers, without names."""
        task = str(body.get("task"))
        found = self.queue.disagreements(task)
        photos = self._shown([disagreement.photo for disagreement in found], task, adjudicating=True)
        for photo, disagreement in zip(photos, found, strict=True):
            neutral = sorted(disagreement.votes, key=partial(_place, disagreement.photo.path))
            photo["votes"] = [disagreement.votes[voter] for voter in neutral]
        return {"photos": photos, "left": len(photos)}

    def _record(self, annotator: str, body: Body) -> Body:
        """Write events in order, on disk when this returns."""
        with self.pool.connect() as connection:
            return record_each(body.get("events", []), partial(self._event, connection, annotator))

    def _event(self, connection: Connection, annotator: str, raw: Body) -> Body:
        event = _EVENT.validate_python(raw)
        if isinstance(event, Decide):
            decision = event.model_dump(exclude={"kind"})
            return {"id": self.queue.decide(annotator=annotator, within=connection, **decision)}
        found = self.queue.undo(annotator, event.task, of=event.of, token=event.token, within=connection)
        if found is None:
            return {"undone": None}
        photo, row = found
        shown = self._shown([photo], event.task)[0]
        return {"undone": {"photo": shown, "labels": row["labels"]}}

    def _shown(self, photos: Sequence[QueuedPhoto], task: str, *, adjudicating: bool = False) -> list[Body]:
        """Return what the page gets about photos: nothing that others decided, and no source.

        What curation flagged is included if reviews are ranked or somebody adjudicates.
        """
        flags = task == "review" and (self.settings.order == "ranked" or adjudicating)
        found = self.queue.flags([photo.path for photo in photos]) if flags else {}
        return [
            vars(photo) | {"flags": [vars(flag) for flag in found.get(photo.path, [])]} for photo in photos
        ]


def _place(path: str, voter: str) -> bytes:
    return hashlib.sha256(json.dumps([path, voter]).encode()).digest()
