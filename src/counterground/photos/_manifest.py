"""The manifest, one row per photo, and the benchmark made of it."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from counterground.errors import CounterGroundError, did_you_mean
from counterground.metrics import GROUPS
from counterground.photos._label_space import LabelSpace
from counterground.text import counted

MANIFEST_SCHEMA: dict[str, pl.DataType] = {
    "path": pl.String(),  # relative to the benchmark's root, with forward slashes
    "photo_id": pl.String(),  # SHA-256 of the file's bytes
    "class_index": pl.Int32(),  # indexes the label space of the benchmark
    "class_name": pl.String(),
    "background": pl.String(),
    "group": pl.String(),  # "common", "counter" or null
    "cluster": pl.String(),  # photos that are not independent share it; null: a cluster of its own
    "mask": pl.String(),  # relative to the root, as path
    "licence": pl.String(),
    "attribution": pl.String(),  # credit line to be shown with the photo
    "source": pl.String(),
}
_REQUIRED = ("path", "photo_id", "class_index", "class_name")
_VERSIONED = ("path", "photo_id", "class_index", "class_name", "background", "group", "cluster")


def validate_manifest(photos: pl.DataFrame, label_space: LabelSpace) -> pl.DataFrame:
    """Return the manifest in ``MANIFEST_SCHEMA``, sorted by path; columns that may be null may be absent.

    Raises:
        CounterGroundError: the first thing that is wrong, naming the column or the photo: a missing, unknown
            or mistyped column, an empty required value, a path twice, absolute or out of the root, a group
            other than common, counter and null, a class that the label space does not have.
    """
    photos = _in_schema(photos)
    if photos.is_empty():
        raise CounterGroundError("The manifest has no photo.")
    for column in _REQUIRED:
        empty = pl.col(column).is_null() if column == "class_index" else pl.col(column).fill_null("") == ""
        _refuse(photos, empty, f"its {column} is empty")
    _refuse(photos, pl.col("path").is_duplicated(), "its path occurs more than once")
    for column in ("path", "mask"):
        outside = pl.col(column).str.contains(r"(^|/)\.\.(/|$)|^/|^[A-Za-z]:[\\/]")
        _refuse(photos, outside, f"its {column} must be relative and stay inside the benchmark's folder")
    not_a_hash = ~pl.col("photo_id").str.contains("^[0-9a-f]{64}$")
    _refuse(photos, not_a_hash, "its photo_id is not the SHA-256 of a file (64 hex digits)")
    _refuse(photos, ~pl.col("group").is_in(GROUPS), "its group must be common, counter or null", "group")
    unknown = ~pl.col("class_index").is_between(0, len(label_space) - 1)
    _refuse(photos, unknown, f"its class_index is outside the {len(label_space)} classes", "class_index")
    names = pl.Series(label_space.names)
    wrong = pl.col("class_name") != names.gather(photos["class_index"])
    _refuse(photos, wrong, "its class_name is not what the label space calls its class_index", "class_name")
    return photos.sort("path")


def _in_schema(photos: pl.DataFrame) -> pl.DataFrame:
    for column in _REQUIRED:
        if column not in photos.columns:
            raise CounterGroundError(f"The manifest has no column {column!r}.")
    for column in photos.columns:
        if column not in MANIFEST_SCHEMA:
            hint = did_you_mean(column, MANIFEST_SCHEMA)
            raise CounterGroundError(f"The manifest has an unknown column {column!r}.{hint}")
    absent = [
        pl.lit(None, kind).alias(name) for name, kind in MANIFEST_SCHEMA.items() if name not in photos.columns
    ]
    photos = photos.with_columns(absent)
    return pl.DataFrame([cast_column(photos[name], kind) for name, kind in MANIFEST_SCHEMA.items()])


def cast_column(column: pl.Series, kind: pl.DataType) -> pl.Series:
    """Return the column of a manifest as ``kind``.

    Raises:
        CounterGroundError: it cannot be cast, or numbers that are not of an integer type would be.
    """
    found = column.dtype
    # A cast would cut 8.7 to 8 and make 1 of True.
    if kind.is_integer() and not found.is_integer() and found != pl.Null:
        raise CounterGroundError(
            f"The manifest's column {column.name!r} must be {kind}, not {found}: cast it."
        )
    try:
        return column.cast(kind)
    except pl.exceptions.PolarsError as error:
        raise CounterGroundError(
            f"The manifest's column {column.name!r} must be {kind}, not {found}."
        ) from error


def _refuse(photos: pl.DataFrame, wrong: pl.Expr, what: str, column: str = "") -> None:
    """Raise, naming the first photo for which ``wrong`` holds (null does not)."""
    found = photos.filter(wrong)
    if found.is_empty():
        return
    first = found.row(0, named=True)
    value = f", not {first[column]!r}" if column else ""
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    raise CounterGroundError(f"Photo {first['path']!r}{more}: {what}{value}.")


@dataclass(frozen=True)
class Discovered:
    """Which model chose the pairs of backgrounds of a benchmark, and how.

    Attributes:
        referee: specification of the model.
        split: ``half`` where the pairs were chosen on other photos than the benchmark holds, ``none`` where
            on the same.
        min_drop: by how many percentage points a class had to vary.
        discovered_from: name and first eight digits of the version of the benchmark that was searched,
            ``name@version``; for readers, not to be parsed.
        origin: name of the benchmark before any discovery.
        referee_as_published: the referee was loaded as the paper apparently did.
        earlier_referees: models that had chosen pairs of the benchmark that was searched, first to last.
    """

    referee: str
    split: str
    min_drop: float
    discovered_from: str
    origin: str
    referee_as_published: bool = False
    earlier_referees: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Discovered | None:
        """Read the fields among the keys of ``benchmark.json``; None where no model chose pairs.

        Raises:
            KeyError: a field is missing.
        """
        if content.get("referee") is None:
            return None
        values = {field.name: content[field.name] for field in fields(cls)}
        return cls(**{**values, "earlier_referees": tuple(values["earlier_referees"])})


@dataclass(frozen=True, eq=False)
class Benchmark:
    """Photos with class, background and group, and the label space their ``class_index`` indexes.

    Attributes:
        name: what outputs call it.
        root: folder the manifest's paths are relative to.
        photos: ``MANIFEST_SCHEMA``, sorted by path; validated and completed when the benchmark is made.
        label_space: the classes in order; a class may have no photo.
        notes: sentences that every output must repeat.
        discovery: how a model chose its pairs of backgrounds; None where none did.

    Raises:
        CounterGroundError: see ``validate_manifest``.
    """

    name: str
    root: Path
    photos: pl.DataFrame
    label_space: LabelSpace
    notes: tuple[str, ...] = ()
    discovery: Discovered | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "photos", validate_manifest(self.photos, self.label_space))

    def __len__(self) -> int:
        return len(self.photos)

    @cached_property
    def version(self) -> str:
        """SHA-256 over what scores depend on: the manifest up to ``cluster``, and the label space.

        The name, the notes, the discovery, the root and the order of the rows play no part.
        """
        digest = hashlib.sha256(self.label_space.to_json().encode())
        for row in self.photos.select(_VERSIONED).iter_rows():
            digest.update(json.dumps(row).encode() + b"\n")
        return digest.hexdigest()

    def described(
        self,
        *,
        name: str | None = None,
        notes: Iterable[str] | None = None,
        discovery: Discovered | None = None,
    ) -> Benchmark:
        """Return the same photos with another name, notes or discovery, without validating them again."""
        described = copy.copy(self)
        changes = {"name": name, "notes": None if notes is None else tuple(notes), "discovery": discovery}
        vars(described).update({field: value for field, value in changes.items() if value is not None})
        return described

    def photo_path(self, row_path: str) -> Path:
        """Return the file of a manifest path."""
        return self.root / row_path


def describe_gaps(benchmark: Benchmark) -> tuple[str, ...]:
    """Return notes on classes without a photo and, in a benchmark with groups, without one of the groups."""
    photos, label_space = benchmark.photos, benchmark.label_space
    present = set(photos["class_index"])
    notes = [_note_classes(label_space, set(range(len(label_space))) - present, "No photo of")]
    groups = {group: set(photos.filter(pl.col("group") == group)["class_index"]) for group in GROUPS}
    if any(groups.values()):
        notes += [
            _note_classes(label_space, present - have, f"No {group} photo, so no drop, for")
            for group, have in groups.items()
        ]
    return tuple(note for note in notes if note)


def _note_classes(label_space: LabelSpace, classes: set[int], lacking: str) -> str:
    if not classes:
        return ""
    named = ", ".join(label_space.names[index] for index in sorted(classes))
    return f"{lacking} {len(classes)} of {counted(len(label_space), 'class')}: {named}."
