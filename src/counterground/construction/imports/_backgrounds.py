"""Background labels of imported photos become decisions, like those of any annotator."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import polars as pl

from counterground.construction.pool import LATER, spelling_of
from counterground.errors import CounterGroundError
from counterground.photos import name_key, quoted_ways
from counterground.text import and_more

if TYPE_CHECKING:
    from counterground.construction.pool import Pool


class Backgrounds:
    """Records the labels of an import; a label in force, or imported before, is not recorded twice.

    So a label that its annotator has since changed or undone stays that way until the source changes it. Two
    imports at the same time write the same token, of which the pool keeps one. A label that the pool has in
    another spelling (``name_key``) is the pool's: annotators who chose it agree with the source.

    Attributes:
        recorded: number of decisions recorded.
        added: labels that are new in the pool's label space.
        respelled: the pool's spelling of labels that the source writes otherwise.
        kept: photos with a label of an earlier import, and none in the source now.
        given: whether the source gives any label.
    """

    def __init__(self, pool: Pool, annotator: str) -> None:
        self._pool, self._annotator = pool, annotator
        self._standing, self._imported, self._events = _known_labels(pool, annotator)
        self._spelling = spelling_of(pool.background_labels())
        self._waiting: list[dict[str, Any]] = []
        self.recorded = 0
        self.added: list[str] = []
        self.respelled: dict[str, str] = {}
        self.kept = 0
        self.given = False

    def note(self, path: str, label: str | None) -> None:
        """Note the label of a photo; None and an empty label change nothing.

        Raises:
            CounterGroundError: the label is the reserved word that postpones photos.
        """
        label = (label or "").strip()
        if label == LATER:
            raise CounterGroundError(
                f"{LATER!r} is reserved and cannot be a background ({path}): rename it in the source."
            )
        if not label:
            standing = self._standing.get(path)
            self.kept += standing is not None and standing == self._imported.get(path)
            return
        self.given = True
        name = name_key(label)
        if name in (_key(self._standing.get(path)), _key(self._imported.get(path))):
            return
        if name not in self._spelling:
            self._spelling[name] = label
            self.added.append(label)
        if label != self._spelling[name]:
            self.respelled[label] = label = self._spelling[name]
        self._standing[path] = self._imported[path] = label
        number = self._events[path] = self._events.get(path, 0) + 1
        token = json.dumps([self._annotator, path, number, label])
        self._waiting.append(
            {
                "path": path,
                "annotator": self._annotator,
                "task": "background",
                "labels": [label],
                "token": hashlib.sha256(token.encode()).hexdigest()[:32],
            }
        )

    def write(self) -> None:
        """Record the waiting labels, after adding the new ones to the label space."""
        if not self._waiting:
            return
        self._pool.add_background_labels(self.added)
        # Another import may have added the same labels in another spelling meanwhile.
        spelling = spelling_of(self._pool.background_labels())
        for event in self._waiting:
            event["labels"] = [spelling.get(name_key(label), label) for label in event["labels"]]
        self._pool.decide_all(self._waiting)
        self.recorded += len(self._waiting)
        self._waiting = []

    def notes(self) -> tuple[str, ...]:
        """Return notes on labels: new in the label space, written as the pool does, or kept."""
        ways = [" as ".join(quoted_ways(pair)) for pair in self.respelled.items()]
        found = (
            ("New background labels in the pool", self.added),
            ("Background labels written as the pool does", ways),
        )
        notes = [f"{what}: {and_more(listed, 8)}." for what, listed in found if listed]
        if self.given and self.kept:
            photos = "1 photo keeps" if self.kept == 1 else f"{self.kept:,} photos keep"
            notes.append(
                f"{photos} the background of an earlier import, since the source gives none now: to change "
                "it, give another label."
            )
        return tuple(notes)


def _key(label: str | None) -> str | None:
    return None if label is None else name_key(label)


def _known_labels(pool: Pool, annotator: str) -> tuple[dict[str, str], dict[str, str], dict[str, int]]:
    """Return by photo: the annotator's labels in force, the last imported ones, and how many events."""
    mine = (pl.col("annotator") == annotator) & (pl.col("task") == "background") & pl.col("undoes").is_null()
    events = pool.decisions().filter(mine).sort("id")
    found = []
    # Imports record no time per photo; annotators do.
    for chosen in (~pl.col("undone"), pl.col("seconds").is_null()):
        labels = events.filter(chosen).select("path", pl.col("labels").list.first())
        found.append(dict(labels.iter_rows()))
    return found[0], found[1], dict(events.group_by("path").len().iter_rows())
