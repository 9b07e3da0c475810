"""Background labels of imported photos become decisions, like those of any annotator."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import polars as pl

from counterground.errors import CounterGroundError
from counterground.pool import LATER

if TYPE_CHECKING:
    from counterground.pool import Pool


class Backgrounds:
    """Records the labels of an import; a label in force, or imported before, is not recorded twice.

    So a label that its annotator has since changed or undone stays that way until the source changes it. Two
    imports at the same time write the same token, of which the pool keeps one.

    Attributes:
        recorded: number of decisions recorded.
        added: labels that are new in the pool's label space.
    """

    def __init__(self, pool: Pool, annotator: str) -> None:
        self._pool, self._annotator = pool, annotator
        self._standing, self._imported, self._events = _known_labels(pool, annotator)
        self._known = pool.background_labels()
        self._waiting: list[dict[str, object]] = []
        self.recorded = 0
        self.added: list[str] = []

    def note(self, path: str, label: str | None) -> None:
        """Note the label of a photo; None and an empty label are ignored.

        Raises:
            CounterGroundError: the label is the reserved word that postpones photos.
        """
        label = (label or "").strip()
        if label == LATER:
            raise CounterGroundError(
                f"{LATER!r} is reserved and cannot be a background ({path}): rename it in the source."
            )
        if not label or label in (self._standing.get(path), self._imported.get(path)):
            return
        if label not in self._known and label not in self.added:
            self.added.append(label)
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
        self._pool.decide_all(self._waiting)
        self.recorded += len(self._waiting)
        self._waiting = []

    def notes(self) -> tuple[str, ...]:
        """Return a note on labels that are new in the label space."""
        if not self.added:
            return ()
        listed = ", ".join(self.added[:8]) + (
            f" and {len(self.added) - 8} more" if len(self.added) > 8 else ""
        )
        return (f"New background labels in the pool: {listed}.",)


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
