"""Labelling a pool: its pages, what they ask and send, and the labels with their keys."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from string import ascii_lowercase
from typing import Annotated, Literal

import polars as pl
from pydantic import Field

from counterground.construction.annotate._server import (
    Body,
    Next,
    Sent,
    SessionSummary,
    Site,
    Token,
    Undo,
    check_names,
    picture,
    record_each,
    render,
    serve,
)
from counterground.construction.pool import (
    KEEP,
    LATER,
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


def read_labels(path: Path, used: Iterable[str]) -> list[str]:
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


class Decide(Sent):
    """A decision."""

    kind: Literal["decide"]
    token: Token
    task: Literal["review", "background"]
    path: str
    labels: Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=60)]
    seconds: Annotated[float | None, Field(ge=0, le=1e6)]
    adjudicates: bool = False


def label_pool(
    path: str | Path, settings: LabelSettings, *, say: Callable[[str], None] = print
) -> SessionSummary:
    """Serve the pages until Ctrl-C; return what was decided, and write a snapshot of the pool.

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
        earlier = pool.decisions()
        if settings.labels is not None:
            used = earlier.filter(task="background")["labels"].explode().drop_nulls()
            pool.set_setting("background_labels", read_labels(settings.labels, used.unique()))
        photos = len(pool.photos())
        if not photos:
            raise CounterGroundError(f"The pool {path} has no photos: collect or import some first.")
        say(f"{pool.root.name}: {counted(photos, 'photo')}, {settings.task}.")
        queue = Queue(pool, second=settings.second, order=settings.order, annotators=settings.annotators)
        serve(Labelling(pool, queue, settings, str(path)).site(), settings, say)
        queue.release(settings.annotators)
        made = pool.decisions().slice(len(earlier)).filter(pl.col("undoes").is_null(), ~pl.col("undone"))
        counts = Counter(made.filter(pl.col("labels").list.first() != LATER)["annotator"])
        decisions = {name: counts[name] for name in settings.annotators}
        return SessionSummary(decisions, f"Snapshot: {pool.snapshot()}")


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
            "/(label|disagreements)/(review|background)": self._page,
        }
        actions = {"next": self._next, "disagreements": self._disagreements, "events": self._record}
        return Site(self.pool.root, home, pages, {r"/photo/(\d{1,18})": self._photo}, actions)

    def _page(self, annotator: str, page: str, task: str) -> str:
        """Return the page that shows one photo after another, to label or to settle disagreements."""
        pool = shlex.quote(self.named)
        hints = {
            "review": f"counterground data label {pool} --task background",
            "background": f"counterground discover {pool} --referee MODEL --out BENCHMARK",
        }
        keys = label_keys(self.pool.background_labels())
        labels = {label: (key, _MEANINGS.get(label, "")) for label, key in keys.items()}
        choices = _REASONS if task == "review" else labels
        context = {
            "annotator": annotator,
            "key": self.site().key,
            "page": page,
            "task": task,
            "tasks": {"review": "Review", "background": "Backgrounds"},
            "pool_name": self.pool.root.name,
            "refresh": "",
            "choices": [(label, *choice) for label, choice in choices.items()],
            "answer_keys": ANSWER_KEYS,
            "ranked": self.settings.order == "ranked" and task == "review",
            "hint": hints[task],
        }
        return render("label.html.j2", context)

    def _photo(self, row: str) -> tuple[bytes, str]:
        found = self.queue.photo_of(int(row))
        if found is None:
            raise UnreadablePhoto(self.pool.root, "the pool has no such photo")
        try:
            file = self.pool.photo_file(found[0])
        except CounterGroundError as error:
            raise UnreadablePhoto(self.pool.root, "it is missing, or lies outside the pool") from error
        return picture(file, found[1])

    def _next(self, annotator: str, body: Body) -> Body:
        """Return the page's next photos, and which of those it has no longer need a decision."""
        asked = Next.model_validate(body)
        batch = self.queue.lease(annotator, asked.task, count=asked.count, leased=asked.leased)
        return vars(batch) | {"photos": self._shown(batch.photos, asked.task)}

    def _disagreements(self, _annotator: str, body: Body) -> Body:
        """Return all photos on which annotators disagree, with their answers, without names."""
        task = str(body.get("task"))
        found = self.queue.disagreements(task)
        photos = self._shown([photo for photo, _ in found], task, adjudicating=True)
        for shown, (photo, votes) in zip(photos, found, strict=True):
            shown["votes"] = [votes[voter] for voter in sorted(votes, key=partial(_place, photo.path))]
        return {"photos": photos, "left": len(photos)}

    def _record(self, annotator: str, body: Body) -> Body:
        """Write events in order, on disk when this returns."""
        with self.pool.connect() as connection:

            def decide(event: Decide) -> Body:
                decision = event.model_dump(exclude={"kind"})
                return {"id": self.pool.decide(annotator=annotator, within=connection, **decision)}

            def undo(event: Undo) -> Body:
                asked = event.model_dump(exclude={"kind"})
                if (found := self.queue.undo(annotator, within=connection, **asked)) is None:
                    return {"undone": None}
                photo, labels = found
                return {"undone": {"photo": self._shown([photo], event.task)[0], "labels": labels}}

            return record_each(body.get("events", []), Decide, decide, undo)

    def _shown(self, photos: Sequence[QueuedPhoto], task: str, *, adjudicating: bool = False) -> list[Body]:
        """Return what the page gets about photos: nothing that others decided, and no source.

        What curation flagged is included if reviews are ranked or somebody adjudicates.
        """
        flags = task == "review" and (self.settings.order == "ranked" or adjudicating)
        found = self.queue.flags([photo.path for photo in photos]) if flags else {}
        return [vars(photo) | {"flags": found.get(photo.path, [])} for photo in photos]


def _place(path: str, voter: str) -> bytes:
    """Return what sorts the voters of a photo without telling who is who."""
    return hashlib.sha256(json.dumps([path, voter]).encode()).digest()
