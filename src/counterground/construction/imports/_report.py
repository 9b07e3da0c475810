"""The result of an import, photo by photo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RejectedItem:
    """A photo, a mask or a row of the source that was not added to the pool.

    Attributes:
        item: a path in the source, "row 5", or an address.
        class_name: its class in the pool, or of a row that cannot be fetched as the table writes it; empty:
            the source has none.
        reason: why, in a few words.
    """

    item: str
    class_name: str
    reason: str


@dataclass(frozen=True)
class ImportReport:
    """The result of an import; every photo of the source is counted in exactly one of the first three.

    Attributes:
        added: photos added to the pool.
        present: photos that were in the pool already, also from another place, and repeated files.
        rejected: what was not added, each with its reason.
        by_class: added photos by class.
        backgrounds: labels recorded: of added photos, and of those whose label in the source changed.
        masks: masks added.
        masks_rejected: masks that were not added, though their photos were.
        requests: addresses requested, counting every try.
        received: bytes fetched.
        notes: sentences that a reader must know.
        list_file: CSV of what was rejected; None: nothing was.
    """

    added: int
    present: int
    rejected: tuple[RejectedItem, ...]
    by_class: Mapping[str, int]
    backgrounds: int = 0
    masks: int = 0
    masks_rejected: tuple[RejectedItem, ...] = ()
    requests: int = 0
    received: int = 0
    notes: tuple[str, ...] = ()
    list_file: Path | None = None
