"""A folder of masks: one PNG for each photo, and what is known of each."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from counterground.errors import CounterGroundError, UsageError, error_message
from counterground.files import read_json, write_text
from counterground.masks._decisions import REDRAWN, VERDICTS, MaskDecision, standing
from counterground.masks._sources import NO_OBJECT, OBJECT, Box, Found, Mask, read_mask
from counterground.photos import Benchmark, UnreadablePhoto, photo_id, photo_size
from counterground.settings import MaskSettings
from counterground.text import counted, one_line

_SPECK = 0.02  # parts below this share of the object are noise of its edge


class Quality(NamedTuple):
    """The measures of a mask.

    Attributes:
        area: area of the object, as a fraction of the photo.
        edges: sides of the photo that it touches.
        parts: its separate parts, without specks.
        holes: area of its holes, as a fraction of the object with its holes filled.
        box_iou: agreement of its bounding box with the known box; None if none is known.
    """

    area: float
    edges: int
    parts: int
    holes: float
    box_iou: float | None


def measure(mask: Mask, boxes: Sequence[Box] = ()) -> Quality:
    """Measure a mask ``[h, w]``; ``boxes`` are those of the objects it should show."""
    from scipy import ndimage

    inside = mask >= OBJECT
    pixels = int(inside.sum())
    if not pixels:
        return Quality(0.0, 0, 0, 0.0, 0.0 if boxes else None)
    sides = (inside[0], inside[-1], inside[:, 0], inside[:, -1])
    labels, _ = ndimage.label(inside, structure=np.ones((3, 3)))
    sizes = np.bincount(labels.ravel())[1:]
    filled = int(ndimage.binary_fill_holes(inside).sum())
    return Quality(
        area=pixels / inside.size,
        edges=sum(bool(side.any()) for side in sides),
        parts=int((sizes >= _SPECK * pixels).sum()),
        holes=1 - pixels / filled,
        box_iou=_box_iou(inside, boxes) if boxes else None,
    )


def broken_limits(quality: Quality, limits: MaskSettings) -> list[str]:
    """Return the reasons (keys of ``REASONS``) for which a mask is not usable, none if it is."""
    if not quality.area:
        return ["empty"]
    if quality.area == 1:
        return ["full"]
    broken = {
        "too small": quality.area < limits.min_area,
        "too large": quality.area > limits.max_area,
        "touches edges": quality.edges > limits.max_edges,
        "many parts": quality.parts > limits.max_parts,
        "holes": quality.holes > limits.max_holes,
        "box disagrees": quality.box_iou is not None and quality.box_iou < limits.min_box_iou,
    }
    return [reason for reason, is_broken in broken.items() if is_broken]


def _box_iou(inside: npt.NDArray[np.bool_], boxes: Sequence[Box]) -> float:
    """Return the intersection over union of the mask's bounding box and the one around all ``boxes``."""
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    first, side = np.hsplit(np.array(boxes), 2)
    starts = np.array([(columns[0], rows[0]), np.maximum(0, first.min(axis=0))])
    ends = np.array(
        [(columns[-1] + 1, rows[-1] + 1), np.minimum(inside.shape[::-1], (first + side).max(axis=0))]
    )
    common = np.maximum(0, ends.min(axis=0) - starts.max(axis=0)).prod()
    union = (ends - starts).prod(axis=1).sum() - common
    return float(common / union) if union > 0 else 0.0


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
        verdict, changes = _reviewed(folder, row, decisions.get(row["path"]))
        counts[verdict] += 1
        rows.append(row | changes)
    notes = [f"Review: {', '.join(f'{counts[name]:,} {name}' for name in VERDICTS)}."]
    if counts[_OUTDATED]:
        outdated = counted(counts[_OUTDATED], "decision")
        notes.append(f"{outdated} of the review left out: the masks or photos have changed since.")
    return pl.DataFrame(rows, schema=table.schema), tuple(notes)


def _reviewed(
    folder: Path, row: Mapping[str, Any], decision: MaskDecision | None
) -> tuple[str, dict[str, Any]]:
    """Return the verdict on a mask, and the values of its row that change.

    The verdict is ``_OUTDATED`` if it was on a mask other than the present one.
    """
    if decision is None:
        return "", {}
    there = None if decision.mask else mask_id(folder, row["mask"])
    unseen = decision.verdict == "accepted" and there is None
    if unseen or not decision.is_about(there, row["photo_id"]):
        return _OUTDATED, {}
    if decision.mask is not None:
        return decision.verdict, _redrawn(folder, decision.mask)
    reason = "rejected" if decision.verdict == "rejected" else None
    kept = reason is None and row["reason"] in NO_OBJECT
    return decision.verdict, {} if kept else {"reason": reason, "detail": None}


def _redrawn(folder: Path, mask: str) -> dict[str, Any]:
    try:
        found = read_mask(folder / mask, photo_size(folder / mask))
    except UnreadablePhoto as error:
        found = Found(None, "unreadable", f"{mask}: {error.reason}")
    if found.mask is None:
        return {"reason": found.reason, "detail": found.detail}
    values = measure(found.mask)._asdict()
    return values | {"mask": mask, "origin": REDRAWN, "reason": None, "detail": None}
