"""Licences, credits, clusters and the like: photos that the pool has follow their source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from counterground.construction.download import cluster_of
from counterground.construction.pool import PHOTO_DETAILS
from counterground.http import without_query
from counterground.text import counted

if TYPE_CHECKING:
    from counterground.construction.pool import Pool


_MISSED = ("licence", "attribution", "source", "cluster")  # sources of every kind can give these

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
        self._missing: Counter[str] = Counter()

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
        self._missing.update(name for name in _MISSED if name not in said and stored[name] is not None)
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
        """Return notes on what was updated, and on what the source does not say."""
        notes: list[str] = []
        if self._updated:
            photos = counted(len(self._updated), "photo")
            notes.append(f"Updated {photos} of the pool from the source ({_listed(self._changed)}).")
        if self._missing:
            notes.append(
                f"The pool keeps what the source does not give ({_listed(self._missing)}): to change a "
                "value, give another, such as 'unknown' for a licence."
            )
        return tuple(notes)


def _listed(columns: Counter[str]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in columns.items())
