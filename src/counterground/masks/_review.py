"""Masks after review: what people's decisions change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from counterground.masks._decisions import REDRAWN, VERDICTS, MaskDecision
from counterground.masks._found import NO_OBJECT, read_mask
from counterground.masks._quality import measure
from counterground.photos import UnreadablePhoto, photo_id, photo_size

_OUTDATED = "outdated"


def mask_id(folder: Path, mask: str | None) -> str | None:
    """Return the SHA-256 of the file of a mask, None if there is none or it cannot be read."""
    if mask is None:
        return None
    try:
        return photo_id(folder / mask)
    except UnreadablePhoto:
        return None


def after_review(
    folder: Path, table: pl.DataFrame, decisions: Mapping[str, MaskDecision]
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Return the table of masks as it stands after review, and sentences on what was decided."""
    if not decisions:
        return table, ()
    counts: Counter[str] = Counter()
    rows = []
    for row in table.iter_rows(named=True):
        decision = decisions.get(row["path"])
        counts[verdict := _verdict(folder, row, decision)] += 1
        rows.append(row | _change(folder, row, verdict, decision))
    notes = [f"Review: {', '.join(f'{counts[name]:,} {name}' for name in VERDICTS)}."]
    if counts[_OUTDATED]:
        one, many = "decision of the review no longer counts", "decisions of the review no longer count"
        notes.append(
            f"{counts[_OUTDATED]:,} {one if counts[_OUTDATED] == 1 else many}: "
            "the masks or photos have changed since."
        )
    return pl.DataFrame(rows, schema=table.schema), tuple(notes)


def _verdict(folder: Path, row: Mapping[str, Any], decision: MaskDecision | None) -> str:
    """Return the verdict on a mask; ``_OUTDATED`` if it was on a mask other than the present one."""
    if decision is None:
        return ""
    there = None if decision.verdict == REDRAWN else mask_id(folder, row["mask"])
    unseen = decision.verdict == "accepted" and there is None
    return _OUTDATED if unseen or not decision.is_about(there, row["photo_id"]) else decision.verdict


def _change(
    folder: Path, row: Mapping[str, Any], verdict: str, decision: MaskDecision | None
) -> dict[str, Any]:
    """Return the values of a row that a decision changes."""
    if verdict == "accepted":
        # Earlier versions let people accept a mask that marks nothing or all: it has no object.
        return {} if row["reason"] in NO_OBJECT else {"reason": None, "detail": None}
    if verdict == "rejected":
        return {"reason": "rejected", "detail": None}
    if verdict != REDRAWN or decision is None or decision.mask is None:
        return {}
    file = folder / decision.mask
    try:
        found = read_mask(file, photo_size(file))
    except UnreadablePhoto as error:
        return {"reason": "unreadable", "detail": f"{file.name}: {error.reason}"}
    if found.mask is None:
        return {"reason": found.reason, "detail": found.detail}
    values = measure(found.mask)._asdict()
    return values | {"mask": decision.mask, "origin": REDRAWN, "reason": None, "detail": None}
