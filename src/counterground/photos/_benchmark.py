"""A benchmark: photos and the label space of their classes."""

from __future__ import annotations

import copy
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import TypeAdapter

from counterground.errors import UsageError, did_you_mean
from counterground.metrics import DESIGN, GROUPS, Design
from counterground.metrics import attributes as attributes_of
from counterground.photos._classified import classified
from counterground.photos._manifest import validate_manifest
from counterground.photos._photo import AnyPhoto, MadePhoto
from counterground.photos._rows import manifest_of_table, with_class_names
from counterground.photos.labels import LabelSpace, name_key, note_unmatched
from counterground.text import and_more, counted, one_line

_VERSIONED = ("path", "photo_id", "class_index", "class_name", "background", "group", "cluster")
_SHOWN = 8  # values of a column in a REPL
_NO_CLASS = ("blank", "empty", "unknown")
_CELL = ("class_index", "group", "background")
_MOST_BACKGROUNDS = 1000  # with many more, comparing all of them takes hours and gigabytes


@dataclass(frozen=True)
class Discovered:
    """Which model chose the pairs of backgrounds of a benchmark, and how.

    Attributes:
        referee: specification of the model; for several models, a text that names them all.
        split: ``half`` if the pairs were chosen on photos other than those of the benchmark, ``none`` if on
            the same photos, ``swap`` if each half of its photos is in pairs that the other half chose.
        min_drop: how much the accuracy of a class had to vary (a fraction).
        discovered_from: name and first eight digits of the version of the benchmark that was searched,
            ``name@version``; for readers, not to be parsed.
        origin: name of the benchmark before any discovery.
        earlier_referees: models that had chosen pairs of the benchmark that was searched, first to last.
        committee: specifications of the models that chose together; empty if one model chose.
        fingerprints: fingerprints of ``earlier_referees``, then of `referees`, each empty if not known; no
            entries if none is known. Two files may share a specification, because it names no folder.
        referee_candidates: name of the label space that competed when the pairs were chosen; empty if not
            known.

    Raises:
        ValueError: the number of fingerprints is not that of the models.
    """

    referee: str
    split: str
    min_drop: float
    discovered_from: str
    origin: str
    earlier_referees: tuple[str, ...] = ()
    committee: tuple[str, ...] = ()
    fingerprints: tuple[str, ...] = ()
    referee_candidates: str = ""

    def __post_init__(self) -> None:
        if len(self.fingerprints) not in (0, len(self.earlier_referees) + len(self.referees)):
            raise ValueError(f"it has {len(self.fingerprints)} fingerprints of its referees")

    @property
    def in_order(self) -> list[tuple[str, str]]:
        """Specification and fingerprint of all models that ever chose, first to last."""
        specs = (*self.earlier_referees, *self.referees)
        return list(zip(specs, self.fingerprints or [""] * len(specs), strict=True))

    @property
    def referees(self) -> tuple[str, ...]:
        """Specifications of all models that chose."""
        return self.committee or (self.referee,)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Discovered | None:
        """Read the fields among the keys of ``benchmark.json``; return None if no model chose pairs.

        Raises:
            ValueError: a field is missing, or see ``Discovered``.
        """
        if content.get("referee") is None:
            return None
        return TypeAdapter(cls).validate_python(content)


@dataclass(frozen=True, eq=False)
class Benchmark:
    """Photos with class, background and group, and the label space their ``class_index`` indexes.

    Attributes:
        name: what outputs call it.
        root: folder the manifest's paths are relative to.
        photos: columns of ``MANIFEST_SCHEMA`` and possibly attributes and covariates, sorted by path;
            validated and completed when the benchmark is made.
        classes: the classes in order; a class may have no photo.
        notes: sentences that every output must repeat.
        discovery: how a model chose its pairs of backgrounds; None if none did.
        design: cells, contrasts and shares of cells that its scores are about.
        masks_root: folder the manifest's masks are relative to; None if that is ``root``.
        made: photos that are made in memory when they are read, by path; all others are files.
        sampled: how many photos of a larger benchmark `sample_photos` kept; None if it chose none.
        columns: what columns were called in the table that was read -> their names here.
        left_out: rows of the table that could not be used: ``row``, ``name`` and ``reason``; None if there
            are none, or it is not known.

    Raises:
        UsageError: photos that are not a Polars frame, or a design that does not fit them (`Design.check`).
        CounterGroundError: see ``validate_manifest``.
    """

    name: str
    root: Path
    photos: pl.DataFrame
    classes: LabelSpace
    notes: tuple[str, ...] = ()
    discovery: Discovered | None = None
    design: Design = DESIGN
    masks_root: Path | None = None
    made: Mapping[str, MadePhoto] = field(default_factory=dict)
    sampled: int | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    left_out: pl.DataFrame | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.photos, pl.DataFrame):
            raise UsageError(
                f"Photos are a Polars frame, not {type(self.photos).__name__}: Benchmark.from_frame takes "
                "other tables."
            )
        if isinstance(self.root, str):
            object.__setattr__(self, "root", Path(self.root))
        object.__setattr__(self, "photos", validate_manifest(self.photos, self.classes))
        self.design.check(self.photos, values=False)

    def __repr__(self) -> str:
        classes = counted(self.photos["class_index"].n_unique(), "class")  # others may compete with these
        lines = [f"{self.name}: {counted(len(self.photos), 'photo')} of {classes}"]
        for column in ("group", "background"):
            parts = [
                f"{value} {count:,}" for value, count in Counter(self.photos[column].drop_nulls()).items()
            ]
            if parts:
                lines.append(f"{column}: {and_more(sorted(parts), _SHOWN)}")
        return "\n".join(one_line(line) for line in (*lines, f"folder: {self.root}", *self.notes))

    def __len__(self) -> int:
        return len(self.photos)

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        root: Path | str | None = None,
        path: str = "path",
        label: str = "class_name",
        background: str | None = "background",
        group: str | None = "group",
        cluster: str | None = "cluster",
        mask: str | None = "mask",
        names: Iterable[str] | Literal["imagenet"] | None = None,
        name: str = "frame",
        attributes: str | Sequence[str] = (),
    ) -> Benchmark:
        """Return the benchmark of a table in memory: a Polars or pandas frame, or a dict of columns.

        Columns of the manifest are used under their own names (also ``licence``, ``attribution`` and
        ``source``), unless another is named or None says that there is none. All others are ignored.

        Args:
            frame: one row per photo.
            root: the folder that relative paths and masks start from; the working folder by default.
            path: the column of photos: paths, or photos in memory, which are PIL images, uint8 arrays
                ``[h, w]`` or ``[h, w, 3]``, or the bytes of files. Photos in memory are written without loss
                into the cache, and their paths are their row numbers, such as ``07.png``.
            label: the column of classes: names, or numbers with ``names``.
            background: the column of backgrounds.
            group: the column of ``common`` and ``counter``.
            cluster: the column of clusters: photos that share one are not independent.
            mask: the column of masks' paths.
            names: the class name of each number, or ``imagenet`` for ImageNet-1K indices. Classes without
                photos are noted; they are not in the label space.
            name: what outputs call the benchmark.
            attributes: further columns: attributes (text, booleans) or covariates (numbers).

        Raises:
            UsageError: an unsupported kind of table, a missing column, numbers without names, or something
                that is not a photo.
            CounterGroundError: a file is missing, or ``validate_manifest`` refuses the manifest.
        """
        given = {"path": path, "class_name": label, "background": background, "group": group}
        given |= {"cluster": cluster, "mask": mask}
        if isinstance(names, str):
            given["class_index"] = given.pop("class_name")
        start = Path.cwd() if root is None else Path(root)
        further = [attributes] if isinstance(attributes, str) else attributes
        manifest, folder = manifest_of_table(frame, root, given, further)
        notes: tuple[str, ...] = ()
        if names is not None and not isinstance(names, str):
            called = dict(names) if isinstance(names, Mapping) else dict(enumerate(names))
            manifest, notes = with_class_names(manifest, called, "names=")
        elif "class_name" in manifest.columns and manifest["class_name"].dtype.is_numeric():
            raise UsageError(
                f"Column {label!r} has numbers: say what they mean with names=[...], the class names in "
                "their order, or names='imagenet' if they are ImageNet-1K indices."
            )
        found = benchmark_of_frame(manifest, folder, name, masks_root=None if folder == start else start)
        return found.described(notes=(*notes, *found.notes))

    @cached_property
    def version(self) -> str:
        """SHA-256 over what scores depend on: manifest up to ``cluster``, attributes, label space.

        The name, the notes, the discovery, the design, the root and the order of the rows do not change it.
        """
        digest = hashlib.sha256(self.classes.to_json().encode())
        further = sorted(attributes_of(self.photos.schema))
        if further:
            digest.update(json.dumps(further).encode() + b"\n")
        for row in self.photos.select(*_VERSIONED, *further).iter_rows():
            digest.update(json.dumps(row).encode() + b"\n")
        return digest.hexdigest()

    def described(
        self,
        *,
        name: str | None = None,
        notes: Iterable[str] | None = None,
        discovery: Discovered | None = None,
        design: Design | None = None,
        columns: Mapping[str, str] | None = None,
    ) -> Benchmark:
        """Return the same photos with other descriptions, without validating again.

        Raises:
            UsageError: the design does not fit the photos.
        """
        described = copy.copy(self)
        if design is not None:
            design.check(self.photos, values=False)
        changes = {
            "name": name,
            "notes": None if notes is None else tuple(notes),
            "discovery": discovery,
            "design": design,
            "columns": columns,
        }
        vars(described).update({field: value for field, value in changes.items() if value is not None})
        return described

    def photo_path(self, row_path: str) -> Path:
        """Return the file of a manifest path."""
        return self.root / row_path

    def photo_source(self, row_path: str) -> AnyPhoto:
        """Return what the photo of a manifest path is read from: its file, or how it is made."""
        return self.made.get(row_path) or self.photo_path(row_path)

    def mask_path(self, row_mask: str) -> Path:
        """Return the file of a manifest's mask."""
        return (self.masks_root or self.root) / row_mask

    def check_backgrounds(self) -> None:
        """Refuse backgrounds that are not labels but differ from photo to photo, such as captions.

        Raises:
            UsageError: there are more than 1,000.
        """
        count = self.photos["background"].drop_nulls().n_unique()
        if count > _MOST_BACKGROUNDS:
            raise UsageError(
                f"The photos of {self.name} have {count:,} backgrounds, and no more than "
                f"{_MOST_BACKGROUNDS:,} can be compared: use labels that many photos share, such as grass."
            )

    def check_files(self, verb: str) -> None:
        """Refuse photos made in memory; ``verb`` says what to do with photos that are files.

        Raises:
            UsageError: there are some.
        """
        if self.made:
            raise UsageError(
                f"The photos of {self.name} are composites made in memory: {verb} the photos themselves."
            )


def benchmark_of_frame(
    frame: pl.DataFrame,
    root: Path,
    name: str,
    masks_root: Path | None = None,
    classes: LabelSpace | None = None,
    *,
    skip_bad_rows: bool = False,
    files: bool = True,
) -> Benchmark:
    """Return the benchmark of a manifest (see `classified`); its paths are below ``root``, or absolute.

    Raises:
        CounterGroundError: see `classified`; or ``validate_manifest`` refuses the manifest.
    """
    found = classified(frame, root, masks_root, classes, skip_bad_rows=skip_bad_rows, files=files)
    benchmark = Benchmark(
        name, found.root, found.photos, found.classes, masks_root=found.masks_root, left_out=found.left_out
    )
    return benchmark.described(notes=(*found.notes, *describe_gaps(benchmark)))


def describe_gaps(benchmark: Benchmark) -> tuple[str, ...]:
    """Return notes on classes without a photo or without one of the groups, and on copies of photos."""
    photos, classes = benchmark.photos, benchmark.classes
    present = set(photos["class_index"])
    notes = [_note_classes(classes, set(range(len(classes))) - present, "No photo of")]
    contents = photos.group_by("photo_id").agg(classes=pl.col("class_index").n_unique())
    if more := len(photos) - len(contents):
        repeat = "repeats" if more == 1 else "repeat"
        notes.append(f"{counted(more, 'photo')} {repeat} another byte for byte: their clusters count as one.")
    several = contents.filter(pl.col("classes") > 1).height
    if several:
        notes.append(f"{counted(several, 'photo')} in several classes, byte for byte: at most one is right.")
    blank = [name for name in classes.names if name_key(name) in _NO_CLASS]
    notes += [f"{name!r} counts like any other class; --drop-classes {name} leaves it out." for name in blank]
    groups = {group: set(photos.filter(pl.col("group") == group)["class_index"]) for group in GROUPS}
    if any(groups.values()):
        notes += [
            _note_classes(classes, present - have, f"No {group} photo, so no drop, for")
            for group, have in groups.items()
        ]
        in_both = photos.drop_nulls("group").group_by("photo_id").agg(pl.col("group").n_unique())
        if copies := in_both.filter(pl.col("group") > 1).height:
            notes.append(
                f"{counted(copies, 'photo')} in both groups, byte for byte: no drop can come from them."
            )
    return tuple(note for note in notes if note)


def _note_classes(classes: LabelSpace, those: set[int], lacking: str) -> str:
    if not those:
        return ""
    named = ", ".join(classes.names[index] for index in sorted(those))
    return f"{lacking} {len(those)} of {counted(len(classes), 'class')}: {named}."


def without_classes(benchmark: Benchmark, names: Sequence[str]) -> Benchmark:
    """Return a benchmark without some classes and their photos; a note counts these.

    Raises:
        UsageError: there is no such class.
        CounterGroundError: no class is left.
    """
    if not names:
        return benchmark
    classes = benchmark.classes
    index = {name_key(name): number for number, name in enumerate(classes.names)}
    for name in names:
        if name_key(name) not in index:
            raise UsageError(
                f"--drop-classes: {benchmark.name} has no class {name!r}.{did_you_mean(name, classes.names)}"
            )
    gone = {index[name_key(name)] for name in names}
    kept = [number for number in range(len(classes)) if number not in gone]
    photos = benchmark.photos.filter(pl.col("class_index").is_in(kept)).with_columns(
        pl.col("class_index").replace_strict(kept, range(len(kept)), return_dtype=pl.Int32)
    )
    members = classes.members and tuple(classes.members[number] for number in kept)
    space = replace(
        classes,
        names=tuple(classes.names[number] for number in kept),
        imagenet=tuple(classes.imagenet[number] for number in kept),
        members=members,
    )
    smaller = replace(benchmark, photos=photos, classes=space)
    known = {*describe_gaps(benchmark), *note_unmatched(classes)}
    dropped = ", ".join(classes.names[number] for number in sorted(gone))
    note = f"{counted(len(benchmark) - len(smaller), 'photo')} of {dropped} left out."
    rest = (each for each in benchmark.notes if each not in known)
    return smaller.described(notes=(*rest, note, *note_unmatched(space), *describe_gaps(smaller)))


def sample_photos(benchmark: Benchmark, limit: int) -> Benchmark:
    """Return a benchmark with ``limit`` photos only: one of each class, group, background and cell first.

    The content of the photos decides which ones, and which classes if not all, so the same photos give the
    same sample. A note says that it is a sample. A benchmark with no more photos is returned as it is.

    Raises:
        UsageError: ``limit`` is below 1.
    """
    if limit < 1:
        raise UsageError(f"A trial needs at least 1 photo, not {limit}.")
    if limit >= len(benchmark.photos):
        return benchmark
    cell = tuple(dict.fromkeys((*_CELL, *benchmark.design.cells)))
    numbered = benchmark.photos.sort("photo_id", "path").with_columns(turn=pl.int_range(pl.len()).over(*cell))
    # Without this, the first classes of ImageNet would all be fish and birds.
    numbered = numbered.with_columns(drawn=pl.col("photo_id").min().over("class_index"))
    chosen = numbered.sort("turn", "drawn", *cell).head(limit).drop("turn", "drawn").sort("path")
    note = (
        f"A trial on {limit:,} of {len(benchmark.photos):,} photos (--limit): run it without --limit before "
        "you report a number."
    )
    return replace(benchmark, photos=chosen, notes=(*benchmark.notes, note), sampled=limit)
