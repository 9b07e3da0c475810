"""Benchmarks whose photos are packed in shards (WebDataset, Hugging Face), unpacked once into the cache.

Shards are untrusted: every name and size is checked before anything is written, and nothing in them is run.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import polars as pl

from counterground.errors import CounterGroundError
from counterground.files import cache_dir, draft_folder, file_sha256, place_once, read_json
from counterground.hostile import is_outside
from counterground.photos._benchmark import Benchmark, benchmark_of_frame, describe_gaps
from counterground.photos._classified import as_attributes
from counterground.photos._manifest import (
    FOREIGN_ID,
    HASH,
    MANIFEST_SCHEMA,
    OPTIONAL_TEXTS,
    QUESTION_SCHEMA,
    question_problem,
)
from counterground.photos._native import (
    BENCHMARK_FILE,
    LABEL_SPACE_FILE,
    MANIFEST_FILE,
    as_described,
    read_native,
    write_benchmark,
)
from counterground.photos._rows import note_absent_classes, refuse_shared_names
from counterground.photos.labels import LabelSpace, read_class_names
from counterground.photos.shards._samples import (
    CLASS_FIELDS,
    MAX_PHOTO_BYTES,
    Sample,
    parquet_samples,
    tar_samples,
)

ShardFormat = Literal["huggingface", "webdataset"]

EXPORT_FILE = "export.json"  # at the top of every export, even one of several formats
CLASS_NAMES_FILE = "classnames.txt"  # beside other people's tars with numbered classes
MAX_TOTAL_BYTES = 64 * 2**30
_MAX_SAMPLES = 2_000_000
_SHARDS: dict[ShardFormat, tuple[str, ...]] = {
    "webdataset": ("*.tar",),
    "huggingface": ("data/*.parquet", "*.parquet"),
}
_SPLIT = re.compile(r"(?:^|[-_.])(train|validation|valid|val|dev|test)(?=[-_.]|$)")
_LAYOUT = 6  # of the unpacked folders: a new number gives a new folder
_USED = {"path", "photo_id", "class_index", "mask", *CLASS_FIELDS, *OPTIONAL_TEXTS, *QUESTION_SCHEMA}


def unpack_samples(samples: Iterable[Sample], draft: Path, space: LabelSpace | None) -> Benchmark:
    """Write the photos of all samples below ``draft/photos`` and return the benchmark they make.

    Paths are the samples' own if they have one, else ``files/0000001.jpg`` and so on. Without ``space``,
    classes are resolved as for a manifest.

    Raises:
        CounterGroundError: a path that leaves the folder or occurs twice, a photo that does not match its
            ``photo_id``, a sample without a class, or more than 64 GiB.
    """
    into = draft / "photos"
    rows: list[dict[str, Any]] = []
    numbered: dict[tuple[str, int], None] = {}  # names and numbers of classes
    listed: Sequence[str] = ()
    total = 0
    for number, sample in enumerate(samples, 1):
        total += len(sample.photo) + len(sample.mask or b"")
        if total > MAX_TOTAL_BYTES or len(sample.photo) > MAX_PHOTO_BYTES or number > _MAX_SAMPLES:
            raise CounterGroundError(f"{sample.where}: more than 64 GiB in all, or 256 MiB in one photo.")
        name, index = class_of(sample, space)
        rows.append(_written(sample, number, into) | {"class_name": name, "class_index": index})
        if index is not None and space is None:
            numbered[name, index] = None
            listed = sample.class_names or ()
    if not rows:
        raise CounterGroundError("the shards hold no photos.")
    refuse_shared_names(numbered)
    found = _benchmark(rows, into, space)
    absent = note_absent_classes(listed, [name for name, _ in numbered])
    return found.described(notes=(*absent, *found.notes))


def _written(sample: Sample, number: int, into: Path) -> dict[str, Any]:
    """Write a photo and its mask; return its row of the manifest, without the class."""
    fields = dict(sample.fields)
    if "license" in fields:
        fields.setdefault("licence", fields.pop("license"))
    if isinstance(sample.photo, str):
        raise CounterGroundError(
            f"{sample.where} has no photo in the data set, only the path {sample.photo[:200]!r}."
        )
    digest = hashlib.sha256(sample.photo).hexdigest()
    if (stated := fields.get("photo_id")) not in (None, digest):
        changed = isinstance(stated, str) and re.search(HASH, stated)
        what = "its bytes are not those of its photo_id: they were changed" if changed else FOREIGN_ID
        raise CounterGroundError(f"{sample.where}: {what}.")
    path = str(fields.get("path") or f"files/{number:07d}{sample.suffix}")
    _write(sample.where, into, path, sample.photo)
    row = {name: None if fields.get(name) is None else str(fields[name]) for name in OPTIONAL_TEXTS}
    row |= {"path": path, "photo_id": digest, "mask": None}
    if "options" in fields:
        question = {name: fields.get(name) for name in QUESTION_SCHEMA}
        if problem := question_problem(**question):
            raise CounterGroundError(f"{sample.where}: {problem}.")
        row |= question
    if sample.mask is not None:
        mask = row["mask"] = str(fields.get("mask") or f"masks/{number:07d}.png")
        _write(sample.where, into, mask, sample.mask, shared=True)
    return row | {name: value for name, value in fields.items() if name not in _USED}


def class_of(sample: Sample, space: LabelSpace | None) -> tuple[str, int | None]:
    """Return the name of a sample's class, and its number if that decided.

    Numbers are those of ``Sample.class_names``; with a label space, ``class_index`` comes first.

    Raises:
        CounterGroundError: there is no class, or its number has no name.
    """
    fields = sample.fields
    label: Any = next((fields[name] for name in CLASS_FIELDS if fields.get(name) is not None), None)
    if isinstance(label, float):  # pandas turns whole numbers into floats if some are missing
        label = int(label) if label.is_integer() else None if label != label else label  # noqa: PLR0124
    names = sample.class_names if space is None else space.names
    if names is not None and isinstance(label, str) and re.fullmatch("[0-9]{1,9}", label.strip()):
        label = int(label)  # written as text
    numbers = (label, fields.get("class_index")) if space is None else (fields.get("class_index"), label)
    found = next((each for each in numbers if each is not None and each != ""), None)
    if isinstance(found, str) and found.strip():
        return found, None if space is None else space.index_of(found)
    if not isinstance(found, int) or isinstance(found, bool):
        if found is None or isinstance(found, str):
            raise CounterGroundError(f"{sample.where} has no class.")
        return str(found), None
    if names is None:
        raise CounterGroundError(
            f"{sample.where} has class number {found}, and its name is unknown: put the names, "
            "one per line in the order of the numbers, into classnames.txt beside the shards."
        )
    if not 0 <= found < len(names):
        raise CounterGroundError(
            f"{sample.where} has class number {found}, but there are {len(names)} names."
        )
    return names[found], found


def _write(where: str, into: Path, path: str, data: bytes, *, shared: bool = False) -> None:
    """Write a new file below ``into``; a shared one may already exist with the same bytes."""
    if is_outside(path):
        raise CounterGroundError(f"{where} is not safe to unpack: {path!r} would land outside its folder.")
    target = into / path
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with target.open("xb") as file:
            file.write(data)
    except FileExistsError:
        if not (shared and target.is_file() and target.read_bytes() == data):
            raise CounterGroundError(f"{where}: {path!r} occurs twice.") from None


def _benchmark(rows: list[dict[str, Any]], into: Path, space: LabelSpace | None) -> Benchmark:
    schema = MANIFEST_SCHEMA | (QUESTION_SCHEMA if any("options" in row for row in rows) else {})
    further = sorted({name for row in rows for name in row} - set(schema))
    frame = pl.DataFrame(
        [
            *(pl.Series(name, [row.get(name) for row in rows], kind) for name, kind in schema.items()),
            *(_further(name, [row.get(name) for row in rows]) for name in further),
        ]
    )
    if space is None:
        return benchmark_of_frame(frame.drop("class_index"), into, "")
    frame, notes = as_attributes(frame)
    found = Benchmark("", into, frame, space)
    return found.described(notes=(*notes, *describe_gaps(found)))


def _further(name: str, values: list[Any]) -> pl.Series:
    """Return the values of a field that is not a manifest column: numbers, booleans or texts."""
    try:
        return pl.Series(name, values, strict=False)
    except (TypeError, OverflowError):  # as of a number that no column holds
        return pl.Series(name, values, pl.Object)


def shard_format(folder: Path) -> ShardFormat | None:
    """Return the format of the shards in a folder, or None if its photos are files.

    Our own exports state it. Of other folders, one with tar files and no folders is a WebDataset; one with
    ``data/*.parquet``, or with Parquet files and no folders, is a Hugging Face data set.
    """
    if (folder / BENCHMARK_FILE).is_file():
        try:
            kind = read_json(folder / BENCHMARK_FILE).get("packed")
        except (AttributeError, OSError, ValueError):
            return None  # read_native says what is wrong with it
        return next((known for known in _SHARDS if known == kind), None)
    if (folder / MANIFEST_FILE).is_file():
        return None
    if any((folder / "data").glob("*.parquet")):
        return "huggingface"
    if any(entry.is_dir() for entry in folder.glob("[!.]*")):
        return None
    return next((kind for kind, patterns in _SHARDS.items() if any(folder.glob(patterns[-1]))), None)


def read_shards(folder: Path, kind: ShardFormat) -> Benchmark:
    """Read a folder of shards; its photos are unpacked into the cache the first time.

    The unpacked folder is found again by the content of the shards. Classes come from a label space if
    there is one, else from the samples (``class_name``, ``class``, ``label`` or ``cls``); numbered classes
    need ``classnames.txt`` or the names of a ``ClassLabel``.

    Raises:
        CounterGroundError: a shard is missing, damaged or unsafe; a sample has no photo or no class; or the
            cache cannot be written.
    """
    shards = sorted({path for pattern in _SHARDS[kind] for path in folder.glob(pattern)})
    splits = {match[1] for shard in shards if (match := _SPLIT.search(shard.stem))}
    ours = (folder / BENCHMARK_FILE).is_file()
    if len(splits) > 1 and not ours:
        raise CounterGroundError(
            f"{folder} holds several splits ({', '.join(sorted(splits))}): put the shards of one alone into a"
            " folder, and read that."
        )
    found = read_some(folder, shards, kind)
    # A folder that we did not write has its name here, wherever its content was first read.
    return found if ours else found.described(name=folder.resolve().name)


def read_some(
    folder: Path, shards: Sequence[Path], kind: ShardFormat, class_names: Path | None = None
) -> Benchmark:
    """Read some shards of a folder, as ``read_shards`` reads all of them.

    Args:
        folder: where they are, and what describes them.
        shards: the files, in order.
        kind: their format.
        class_names: a file with the names of numbered classes; None: ``classnames.txt`` in the folder.

    Raises:
        CounterGroundError: see ``read_shards``.
    """
    named = class_names or folder / CLASS_NAMES_FILE
    names = read_class_names(named) if class_names or named.is_file() else None
    beside = [folder / name for name in (BENCHMARK_FILE, LABEL_SPACE_FILE) if (folder / name).is_file()]
    try:
        contents = [file_sha256(file) for file in (*shards, *beside)]
    except OSError as error:
        raise CounterGroundError(f"Cannot read {error.filename}: {error.strerror or error}.") from error
    key = json.dumps([_LAYOUT, kind, contents, [file.name for file in beside], names])

    def fill(draft: Path) -> None:
        space_file = folder / LABEL_SPACE_FILE
        space = LabelSpace.load(space_file) if space_file in beside else None
        read = tar_samples if kind == "webdataset" else parquet_samples
        samples = (
            sample if sample.class_names is not None else replace(sample, class_names=names)
            for shard in shards
            for sample in read(shard)
        )
        try:
            found = unpack_samples(samples, draft, space)
        except CounterGroundError as error:
            raise type(error)(f"{folder}: {error}") from error
        write_benchmark(as_described(found, folder) if folder / BENCHMARK_FILE in beside else found, draft)

    return unpack_once(hashlib.sha256(key.encode()).hexdigest(), fill, str(folder))


def unpack_once(key: str, fill: Callable[[Path], None], what: str) -> Benchmark:
    """Return what was unpacked under a key, or let ``fill`` write it into an empty folder.

    Raises:
        CounterGroundError: from ``fill``, or the cache cannot be written.
    """
    target = cache_dir() / "unpacked" / key
    if (found := _unpacked(target)) is not None:
        return found
    try:
        with draft_folder(target) as draft:
            fill(draft)
            if _unpacked(target) is None:
                shutil.rmtree(target, ignore_errors=True)
            place_once(draft, target)
    except OSError as error:
        raise CounterGroundError(
            f"Cannot unpack {what} into {target.parent}: {error.strerror or error}. Free some space"
            " there; the cache can be moved with COUNTERGROUND_CACHE."
        ) from error
    return read_native(target)


def _unpacked(target: Path) -> Benchmark | None:
    """Return what was unpacked before; None if nothing was, or photos were deleted."""
    try:
        found = read_native(target)
    except CounterGroundError:
        return None
    return found if all(found.photo_path(path).is_file() for path in found.photos["path"]) else None
