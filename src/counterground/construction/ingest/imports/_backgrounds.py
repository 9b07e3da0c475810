"""Backgrounds that come with photos become decisions, like those of any annotator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from counterground.errors import CounterGroundError
from counterground.pool import LATER

if TYPE_CHECKING:
    from counterground.pool import Pool


class Backgrounds:
    """Records labels of an import; what stands, or was imported before, is not recorded twice.

    So a label that its annotator has since changed, or taken back, is left so until the source says another.

    Attributes:
        recorded: decisions made.
        added: labels the pool did not have in its label space.
    """

    def __init__(self, pool: Pool, annotator: str) -> None:
        self._pool, self._annotator = pool, annotator
        self._standing, self._imported = _known_labels(pool, annotator)
        self._known = pool.background_labels()
        self._waiting: list[dict[str, object]] = []
        self.recorded = 0
        self.added: list[str] = []

    def note(self, path: str, label: str | None) -> None:
        """Take the label of a photo; None or an empty one says nothing.

        Raises:
            CounterGroundError: the label is the word that postpones photos.
        """
        label = (label or "").strip()
        if label == LATER:
            raise CounterGroundError(
                f"No background can be called {LATER!r} ({path}): rename it in the source."
            )
        if not label or label in (self._standing.get(path), self._imported.get(path)):
            return
        if label not in self._known and label not in self.added:
            self.added.append(label)
        self._standing[path] = self._imported[path] = label
        self._waiting.append(
            {"path": path, "annotator": self._annotator, "task": "background", "labels": [label]}
        )

    def write(self) -> None:
        """Record what waits, after the label space has its labels."""
        if not self._waiting:
            return
        known = self._pool.background_labels()
        if new := [label for label in self.added if label not in known]:
            self._pool.set_setting("background_labels", [*known, *new])
        self._pool.decide_all(self._waiting)
        self.recorded += len(self._waiting)
        self._waiting = []

    def notes(self) -> tuple[str, ...]:
        """Return what must be said of the label space."""
        if not self.added:
            return ()
        listed = ", ".join(self.added[:8]) + (
            f" and {len(self.added) - 8} more" if len(self.added) > 8 else ""
        )
        return (f"The label space of backgrounds has new labels: {listed}.",)


def _known_labels(pool: Pool, annotator: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the labels of the annotator that stand, and those that imports gave last, by photo."""
    mine = (pl.col("annotator") == annotator) & (pl.col("task") == "background") & pl.col("undoes").is_null()
    events = pool.decisions().filter(mine).sort("id")
    found = []
    # Imports keep no time; whoever looks at a photo does.
    for chosen in (~pl.col("undone"), pl.col("seconds").is_null()):
        labels = events.filter(chosen).select("path", pl.col("labels").list.first())
        found.append(dict(labels.iter_rows()))
    return found[0], found[1]
