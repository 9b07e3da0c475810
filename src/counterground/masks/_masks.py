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
from counterground.masks._decisions import standing
from counterground.masks._review import after_review
from counterground.photos import Benchmark
from counterground.text import counted, one_line

DESCRIPTION_FILE = "masks.json"
TABLE_FILE = "masks.csv"
FILES = "files"
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
        if not found and self.usable:
            raise CounterGroundError(
                f"The masks in {self.folder} fit no photo of {benchmark.name}: they are of photos with other "
                "paths or content. Make masks of this benchmark: a pool and an export change the paths."
            )
        if not found:
            raise CounterGroundError(
                f"No photo of {benchmark.name} has a usable mask. {self.summary()} "
                f"{self.folder / TABLE_FILE} says why for each."
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
    key = table.select("path", "photo_id", "class_name")
    if any(key.null_count().row(0)) or key["path"].is_duplicated().any():
        raise CounterGroundError(
            f"{folder / TABLE_FILE} has a row without path, photo_id or class_name, or a path twice: "
            "make the masks again."
        )
    if reviewed:
        table, more = after_review(folder, table, standing(folder))
        notes += more
    return Masks(folder, table, description, notes)


def read_description(folder: Path) -> dict[str, Any]:
    """Return the content of ``masks.json``.

    Raises:
        CounterGroundError: it is damaged.
    """
    try:
        content = read_json(folder / DESCRIPTION_FILE)
    except (OSError, ValueError) as error:
        raise CounterGroundError(
            f"{folder / DESCRIPTION_FILE} cannot be read ({error_message(error)}): choose another folder."
        ) from error
    if not isinstance(content, dict):
        raise CounterGroundError(f"{folder / DESCRIPTION_FILE} is damaged: choose another folder.")
    return content


def write_description(folder: Path, description: Mapping[str, Any]) -> None:
    """Write ``masks.json``."""
    write_text(folder / DESCRIPTION_FILE, json.dumps(description, ensure_ascii=False, indent=1))


def write_table(folder: Path, table: pl.DataFrame, description: Mapping[str, Any]) -> None:
    """Write ``masks.json`` and, last, ``masks.csv``, which makes the masks complete."""
    write_description(folder, description)
    columns = table.select(pl.col(name).cast(kind) for name, kind in TABLE_SCHEMA.items())
    write_text(folder / TABLE_FILE, columns.write_csv(float_precision=6))
