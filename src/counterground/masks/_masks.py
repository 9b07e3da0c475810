"""A folder of masks: one PNG for each photo, and what is known of each."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from counterground.errors import CounterGroundError, UsageError, error_message
from counterground.files import read_json, write_text
from counterground.masks._decisions import REDRAWN, VERDICTS, MaskDecision, standing
from counterground.masks._found import NO_OBJECT, read_mask
from counterground.masks._quality import measure
from counterground.photos import Benchmark, UnreadablePhoto, photo_id, photo_size
from counterground.text import counted, one_line

DESCRIPTION_FILE = "masks.json"
TABLE_FILE = "masks.csv"
FILES = "files"
_OUTDATED = "outdated"
TABLE_SCHEMA: dict[str, pl.DataType] = {
    "path": pl.String(),  # of the photo, as in the benchmark
    "photo_id": pl.String(),
    "class_name": pl.String(),
    "mask": pl.String(),  # relative to the folder; null if there is none
    "origin": pl.String(),
    "area": pl.Float64(),  # fraction of the photo
    "reason": pl.String(),  # keys of REASONS, joined by "; ": null if the mask is usable
    "detail": pl.String(),  # in words, if more is known
    "edges": pl.Int32(),  # sides of the photo that the object touches
    "parts": pl.Int32(),  # separate parts of the object
    "holes": pl.Float64(),  # fraction of the object with its holes filled
    "box_iou": pl.Float64(),  # intersection over union with the known box
}


@dataclass(frozen=True, eq=False)
class Masks:
    """The masks of a folder.

    Attributes:
        folder: where they are.
        table: one row per photo, in ``MASKS_SCHEMA``, sorted by path; ``reason`` is null if the mask is
            usable.
        description: the content of ``masks.json``.
        notes: sentences that every output must repeat.
    """

    folder: Path
    table: pl.DataFrame
    description: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Masks in {self.folder}: {self.summary()}"

    @property
    def usable(self) -> int:
        """How many photos have a usable mask."""
        return self.table["reason"].null_count()

    @property
    def rough(self) -> bool:
        """Whether the masks are approximations that need review."""
        return bool(self.description.get("rough"))

    def reasons(self) -> dict[str, int]:
        """Return how many photos each reason concerns, the most frequent first; a photo may have several."""
        counts = Counter(
            reason for text in self.table["reason"].drop_nulls().to_list() for reason in text.split("; ")
        )
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def summary(self) -> str:
        """Return one sentence: how many photos have a usable mask, and why others do not."""
        source = f"{self.description['source']}{', rough' if self.rough else ''}"
        why = "; ".join(f"{reason} {count:,}" for reason, count in self.reasons().items())
        return one_line(
            f"{self.usable:,} of {counted(len(self.table), 'photo')} have a usable mask ({source})"
            f"{f'; of the others: {why}' if why else ''}."
        )

    def apply(self, benchmark: Benchmark) -> Benchmark:
        """Return the benchmark with these masks; photos without a usable one have null.

        Raises:
            CounterGroundError: none of its photos has a usable mask.
        """
        usable = self.table.filter(pl.col("reason").is_null()).select("path", "photo_id", "mask")
        photos = benchmark.photos.drop("mask").join(
            usable, on=("path", "photo_id"), how="left", maintain_order="left"
        )
        found = photos["mask"].count()
        if not found:
            raise CounterGroundError(
                f"No photo of {benchmark.name} has a usable mask with its path and content in "
                f"{self.folder / TABLE_FILE}, which says why: {self.summary()}"
            )
        same = found == self.usable and len(photos) == len(self.table)
        own = "" if same else f"{found:,} of {counted(len(photos), 'photo')} have one. "
        note = f"Masks: {own}{self.summary()}"
        return replace(
            benchmark,
            photos=photos,
            masks_root=self.folder.resolve(),
            notes=(*benchmark.notes, note, *self.notes),
        )


def is_masks_folder(folder: Path) -> bool:
    """Return whether a folder holds masks as `read_masks` reads them."""
    return (folder / DESCRIPTION_FILE).is_file()


def read_masks(folder: Path | str, *, reviewed: bool = True) -> Masks:
    """Read a folder of masks as they stand after review (`counterground data label FOLDER`).

    An accepted mask is usable even if it breaks a limit, a rejected one is not, and a redrawn one replaces
    what was there. Accepting or rejecting judges one file: if another has replaced it since, the decision no
    longer counts, and a note says so.

    Args:
        folder: folder that `make_masks` wrote.
        reviewed: False ignores what people decided.

    Raises:
        UsageError: the folder has no masks.
        CounterGroundError: making them was interrupted, or a file is damaged.
    """
    folder = Path(folder)
    if not is_masks_folder(folder):
        raise UsageError(f"{folder} is not a folder of masks: it has no {DESCRIPTION_FILE}.")
    description = read_description(folder)
    if not (folder / TABLE_FILE).is_file():
        raise CounterGroundError(
            f"Making the masks in {folder} was interrupted: the same command continues from there."
        )
    try:
        table = pl.read_csv(folder / TABLE_FILE, schema=TABLE_SCHEMA, glob=False)
        notes = tuple(map(str, description["notes"]))
        str(description["source"])
    except (OSError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError) as error:
        raise CounterGroundError(
            f"The masks in {folder} cannot be read ({error_message(error)}): make them again."
        ) from error
    if reviewed:
        table, more = _after_review(folder, table, standing(folder))
        notes += more
    return Masks(folder, table, description, notes)


def read_description(folder: Path) -> dict[str, Any]:
    """Return the content of ``masks.json``.

    Raises:
        CounterGroundError: it is damaged.
    """
    try:
        return dict(read_json(folder / DESCRIPTION_FILE))
    except (OSError, ValueError, TypeError) as error:
        raise CounterGroundError(
            f"{folder / DESCRIPTION_FILE} cannot be read ({error_message(error)}): choose another folder."
        ) from error


def write_description(folder: Path, description: Mapping[str, Any]) -> None:
    """Write ``masks.json``."""
    write_text(folder / DESCRIPTION_FILE, json.dumps(description, ensure_ascii=False, indent=1))


def write_table(folder: Path, table: pl.DataFrame, description: Mapping[str, Any]) -> None:
    """Write ``masks.json`` and, last, ``masks.csv``, which makes the masks complete."""
    write_description(folder, description)
    columns = table.select(pl.col(name).cast(kind) for name, kind in TABLE_SCHEMA.items())
    write_text(folder / TABLE_FILE, columns.write_csv(float_precision=6))


def mask_id(folder: Path, mask: str | None) -> str | None:
    """Return the SHA-256 of the file of a mask, None if there is none or it cannot be read."""
    if mask is None:
        return None
    try:
        return photo_id(folder / mask)
    except UnreadablePhoto:
        return None


def _after_review(
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
        outdated = counted(counts[_OUTDATED], "decision")
        notes.append(f"{outdated} of the review left out: the masks or photos have changed since.")
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
