"""Photos that the pool has follow their source: licences, credits, clusters; backgrounds, as decisions."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from counterground.construction.download import cluster_of
from counterground.construction.pool import PHOTO_DETAILS, spelling_of
from counterground.http import without_query
from counterground.photos import name_key
from counterground.text import and_more, counted

if TYPE_CHECKING:
    from counterground.construction.pool import Pool


CLUSTERED = (
    "Photos of one observer (or else one observation) share a cluster: the source has no column 'cluster'."
)


def assumed_details(given: Mapping[str, object], columns: Iterable[str]) -> dict[str, object]:
    """Return what follows from what a source says about a photo, for what it does not say.

    Args:
        given: columns of a pool.
        columns: columns that the source has. An empty cell of a column of clusters is a cluster of its own.
    """
    cluster = None if "cluster" in columns else cluster_of(given)
    page = without_query(str(given["url"])) if given.get("url") and not given.get("source") else None
    found: dict[str, object] = {"cluster": cluster, "source": page}
    return {name: value for name, value in found.items() if value is not None}


class Details:
    """Updates the columns ``PHOTO_DETAILS`` of photos that the pool has, and counts what changed.

    A value that the source does not give leaves the pool's in place, as with backgrounds: the source may not
    know it, while another source of the same photo does.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._stored = pool.photos().select("path", *PHOTO_DETAILS)
        self._rows = {path: row for row, path in enumerate(self._stored["path"])}
        self._waiting: dict[str, dict[str, object]] = {}
        self._updated: set[str] = set()
        self._changed: Counter[str] = Counter()

    def note(
        self, path: str, given: Mapping[str, object], assumed: Mapping[str, object] | None = None
    ) -> None:
        """Note what the source says about a photo that the pool had before, and what follows from that.

        What is assumed replaces what was assumed before, and nothing that another source gave.
        """
        if path not in self._rows:  # this import has added it
            return
        stored = self._stored.row(self._rows[path], named=True)
        said = {name: given.get(name) for name in PHOTO_DETAILS if given.get(name) not in (None, "")}
        before = assumed_details(stored, ()) if assumed else {}
        said |= {
            name: value
            for name, value in (assumed or {}).items()
            if name not in said and stored[name] in (None, value, before.get(name))
        }
        if new := {name: value for name, value in said.items() if value != stored[name]}:
            self._waiting[path] = new
            self._updated.add(path)
            self._changed.update(list(new))

    def write(self) -> None:
        """Write the waiting changes."""
        if self._waiting:
            self._pool.update_photos(self._waiting)
            self._waiting = {}

    def notes(self) -> tuple[str, ...]:
        """Return a note on what was updated."""
        if not self._updated:
            return ()
        photos = counted(len(self._updated), "photo")
        changed = ", ".join(f"{name} {number:,}" for name, number in self._changed.items())
        return (f"Updated {photos} of the pool from the source ({changed}).",)


class Backgrounds:
    """Records the labels of an import; a label in force, or imported before, is not recorded twice.

    So a label that its annotator has since changed or undone stays that way until the source changes it. Two
    imports at the same time write the same token, of which the pool keeps one. A label that the pool has in
    another spelling (``name_key``) is the pool's: annotators who chose it agree with the source.

    Attributes:
        recorded: number of decisions recorded.
        added: labels that are new in the pool's label space.
    """

    def __init__(self, pool: Pool, annotator: str) -> None:
        self._pool, self._annotator = pool, annotator
        self._standing, self._imported, self._events = _known_labels(pool, annotator)
        self._spelling = spelling_of(pool.background_labels())
        self._waiting: list[dict[str, Any]] = []
        self.recorded = 0
        self.added: list[str] = []

    def note(self, path: str, label: str | None) -> None:
        """Note the label of a photo; None and an empty label change nothing."""
        label = (label or "").strip()
        name = name_key(label)
        if not label or name in (_key(self._standing.get(path)), _key(self._imported.get(path))):
            return
        if name not in self._spelling:
            self._spelling[name] = label
            self.added.append(label)
        label = self._spelling[name]
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
        """Return a note on new labels."""
        return (f"New background labels in the pool: {and_more(self.added, 8)}.",) if self.added else ()


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
