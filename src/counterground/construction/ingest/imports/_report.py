"""What became of a source, photo by photo."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from counterground.files import write_text


@dataclass(frozen=True)
class NotImported:
    """Something of the source that the pool did not take in.

    Attributes:
        item: which: a path in the source, "row 5", or an address.
        class_name: what the source calls its class; empty where it does not say.
        reason: why, in a few words.
    """

    item: str
    class_name: str
    reason: str


@dataclass(frozen=True)
class ImportReport:
    """What an import did; every photo of the source is in exactly one of the first three.

    Attributes:
        new: photos taken in.
        known: photos that were in the pool already.
        missed: what was not taken in, each with its reason.
        by_class: new photos by class.
        backgrounds: labels recorded, of the photos that are new and of those that had none or another.
        masks: masks taken in.
        masks_missed: masks that were not, though their photos were.
        requests: addresses asked for, tries included.
        received: bytes fetched.
        notes: sentences that a reader must know.
        list_file: CSV of what was missed; None where there is nothing.
    """

    new: int
    known: int
    missed: tuple[NotImported, ...]
    by_class: Mapping[str, int]
    backgrounds: int = 0
    masks: int = 0
    masks_missed: tuple[NotImported, ...] = ()
    requests: int = 0
    received: int = 0
    notes: tuple[str, ...] = ()
    list_file: Path | None = None


def write_missed(root: Path, source: str, missed: Sequence[NotImported]) -> Path | None:
    """Write what was missed to ``imports/`` of the pool, a file per source; without any, the file goes."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", Path(source).name)[:40].strip("-") or "source"
    file = root / "imports" / f"{readable}-{hashlib.sha256(source.encode()).hexdigest()[:8]}.csv"
    if not missed:
        file.unlink(missing_ok=True)
        return None
    frame = pl.DataFrame([vars(one) for one in missed])
    write_text(file, frame.write_csv())
    return file
