"""Benchmarks whose photos are packed in shards (WebDataset, Hugging Face), unpacked once into the cache.

Shards are untrusted: every name and size is checked before anything is written, and nothing in them is run.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import polars as pl

from counterground.errors import CounterGroundError
from counterground.files import cache_dir, draft_folder, file_sha256, read_json, write_text
from counterground.metrics import DESIGN, Design
from counterground.photos._benchmark import (
    Benchmark,
    Discovered,
    benchmark_of_frame,
    describe_gaps,
)
from counterground.photos._classified import as_attributes
from counterground.photos._manifest import (
    FOREIGN_ID,
    HASH,
    MANIFEST_SCHEMA,
    OPTIONAL_TEXTS,
    QUESTION_SCHEMA,
    question_problem,
)
from counterground.photos._memory import note_absent_classes, refuse_shared_names
from counterground.photos._native import (
    BENCHMARK_FILE,
    LABEL_SPACE_FILE,
    MANIFEST_FILE,
    read_native,
    write_benchmark,
)
from counterground.photos.labels import LabelSpace, read_class_names
from counterground.photos.shards._parquet import parquet_samples
from counterground.photos.shards._spuriverse import META, is_spuriverse, spuriverse_samples
from counterground.photos.shards._tar import (
    MAX_PHOTO_BYTES,
    MAX_SAMPLES,
    MAX_TOTAL_BYTES,
    Sample,
    tar_samples,
)

ShardFormat = Literal["huggingface", "webdataset"]

EXPORT_FILE = "export.json"  # at the top of every export, even one of several formats
CLASS_NAMES_FILE = "classnames.txt"  # beside other people's tars with numbered classes
_SHARDS: dict[ShardFormat, tuple[str, ...]] = {
    "webdataset": ("*.tar",),
    "huggingface": ("data/*.parquet", "*.parquet"),
}
_SPLIT = re.compile(r"(?:^|[-_.])(train|validation|valid|val|dev|test)(?=[-_.]|$)")
_LAYOUT = 4  # of the unpacked folders: a new number gives a new folder
_CLASS_FIELDS = ("class_name", "class", "label", "cls")
_OTHER_SPELLING = {"license": "licence"}
_USED = {
    "path",
    "photo_id",
    "class_index",
    "mask",
    *_CLASS_FIELDS,
    *OPTIONAL_TEXTS,
    *_OTHER_SPELLING,
    *QUESTION_SCHEMA,
}


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
        if total > MAX_TOTAL_BYTES or len(sample.photo) > MAX_PHOTO_BYTES or number > MAX_SAMPLES:
            raise CounterGroundError(f"{sample.where}: more than 64 GiB in all, or 256 MiB in one photo.")
        row, index = _write_sample(sample, number, into, space)
        rows.append(row)
        if index is not None and sample.class_names is not None:
            numbered[row["class_name"], index] = None
            listed = sample.class_names
    if not rows:
        raise CounterGroundError("the shards hold no photos.")
    refuse_shared_names(numbered)
    found = _benchmark(rows, into, space)
    absent = note_absent_classes(listed, [name for name, _ in numbered])
    return found.described(notes=(*absent, *found.notes))


def _write_sample(
    sample: Sample, number: int, into: Path, space: LabelSpace | None
) -> tuple[dict[str, Any], int | None]:
    """Write a photo and its mask; return its row of the manifest, and the number that named its class."""
    fields = {_OTHER_SPELLING.get(name, name): value for name, value in sample.fields.items()}
    path = str(fields.get("path") or f"files/{number:07d}{sample.suffix}")
    digest = hashlib.sha256(sample.photo).hexdigest()
    stated = fields.get("photo_id")
    if stated not in (None, digest):
        changed = isinstance(stated, str) and re.search(HASH, stated)
        what = "its bytes are not those of its photo_id: they were changed" if changed else FOREIGN_ID
        raise CounterGroundError(f"{sample.where}: {what}.")
    _write(sample.where, into, path, sample.photo)
    row: dict[str, Any] = {name: _text(fields.get(name)) for name in OPTIONAL_TEXTS}
    row |= {"path": path, "photo_id": digest, "mask": None}
    if "options" in fields:
        row |= {name: fields.get(name) for name in QUESTION_SCHEMA}
        if problem := question_problem(*(row[name] for name in QUESTION_SCHEMA)):
            raise CounterGroundError(f"{sample.where}: {problem}.")
    if sample.mask is not None:
        row["mask"] = str(fields.get("mask") or f"masks/{number:07d}.png")
        _write(sample.where, into, row["mask"], sample.mask, shared=True)
    row |= {name: value for name, value in fields.items() if name not in _USED}
    named, index = _class_of(sample, fields, space)
    return row | named, index


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _class_of(
    sample: Sample, fields: Mapping[str, Any], space: LabelSpace | None
) -> tuple[dict[str, Any], int | None]:
    """Return the class of a sample, and its number if ``Sample.class_names`` gave it its name."""
    label: Any = next((fields[name] for name in _CLASS_FIELDS if fields.get(name) is not None), None)
    if sample.class_names is not None and fields.get("class_name") is None and _is_number(label):
        label = int(label)  # written as text
    # Names that come with a sample are those of its label. In our exports, class_index decides.
    numbers = (fields.get("class_index"), label) if space is not None else (label, fields.get("class_index"))
    number = next((each for each in numbers if each is not None), None)
    index = number if isinstance(number, int) and not isinstance(number, bool) else None
    name = label if isinstance(label, str) and label.strip() else None
    if space is not None:
        if index is None and name is not None:
            index = space.index_of(name)
        if index is None or not 0 <= index < len(space):
            raise CounterGroundError(f"{sample.where} has no class of {LABEL_SPACE_FILE} ({number!r}).")
        return {"class_index": index, "class_name": name or space.names[index]}, None
    if name is not None:
        return {"class_name": name}, None
    if index is None:
        expected = ", ".join(_CLASS_FIELDS)
        raise CounterGroundError(f"{sample.where} has no class: expected one of the fields {expected}.")
    if sample.class_names is None:
        raise CounterGroundError(
            f"{sample.where} has class number {index}, and its name is unknown: put the names, "
            "one per line in the order of the numbers, into classnames.txt beside the shards."
        )
    if not 0 <= index < len(sample.class_names):
        raise CounterGroundError(
            f"{sample.where} has class number {index}, but there are {len(sample.class_names)} names."
        )
    return {"class_name": sample.class_names[index]}, index


def _is_number(label: Any) -> bool:
    return isinstance(label, str) and re.fullmatch("[0-9]{1,9}", label.strip()) is not None


def _write(where: str, into: Path, path: str, data: bytes, *, shared: bool = False) -> None:
    """Write a new file below ``into``; a shared one may already exist with the same bytes."""
    parts = path.split("/")
    if path.startswith("/") or "\\" in path or "\0" in path or ":" in parts[0] or {"..", "."} & set(parts):
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
    if space is None:
        del schema["class_index"]
    names = {name for row in rows for name in row}
    further = sorted(names - {*schema, *MANIFEST_SCHEMA})
    frame = pl.DataFrame(
        [
            *(pl.Series(name, [row.get(name) for row in rows], kind) for name, kind in schema.items()),
            *(_further(name, [row.get(name) for row in rows]) for name in further),
        ]
    )
    if space is None:
        return benchmark_of_frame(frame, into, "")
    frame, notes = as_attributes(frame)
    found = Benchmark("", into, frame, space)
    return found.described(notes=(*notes, *describe_gaps(found)))


def _further(name: str, values: list[Any]) -> pl.Series:
    """Return the values of a field that is not a manifest column: numbers, booleans or texts."""
    try:
        return pl.Series(name, values, strict=False)
    except (TypeError, OverflowError):  # as of a number that no column holds
        return pl.Series(name, values, pl.Object)


@dataclass(frozen=True)
class _ShardFolder:
    """A folder of shards and its description; folders that we did not write have none."""

    folder: Path
    kind: ShardFormat
    hashes: dict[str, str]
    description: dict[str, Any] | None
    class_names: Sequence[str] | None  # of numbered classes

    @property
    def shards(self) -> list[Path]:
        return [self.folder / name for name in self.hashes]

    @property
    def is_spuriverse(self) -> bool:
        """Whether these are the shards of SpuriVerse, whose questions may lie beside them."""
        return self.kind == "huggingface" and bool(self.hashes) and is_spuriverse(self.shards[0])

    def key(self) -> str:
        """Return a hash of all that the unpacked benchmark depends on, wherever the folder is."""
        digest = hashlib.sha256(json.dumps([_LAYOUT, self.kind, self.hashes]).encode())
        questions = (f"meta/{name}" for name in META.values()) if self.is_spuriverse else ()
        files = (self.folder / name for name in (BENCHMARK_FILE, LABEL_SPACE_FILE, *questions))
        for beside in files:
            digest.update(beside.read_bytes() if beside.is_file() else b"\0")
        digest.update(json.dumps(self.class_names).encode())
        return digest.hexdigest()


def shard_format(folder: Path) -> ShardFormat | None:
    """Return the format of the shards in a folder, or None if its photos are files.

    Our own exports state it. Of other folders, one with tar files and no folders is a WebDataset; one with
    ``data/*.parquet``, or with Parquet files and no folders, is a Hugging Face data set.
    """
    if (folder / BENCHMARK_FILE).is_file():
        kind = _describe(folder).get("packed")
        return next((known for known in _SHARDS if known == kind), None)
    if (folder / MANIFEST_FILE).is_file():
        return None
    if any((folder / "data").glob("*.parquet")):
        return "huggingface"
    if any(entry.is_dir() for entry in folder.glob("[!.]*")):
        return None
    return next((kind for kind, patterns in _SHARDS.items() if any(folder.glob(patterns[-1]))), None)


def describe_shards(benchmark: Benchmark, out: Path, kind: ShardFormat, shards: Sequence[Path]) -> Path:
    """Describe a benchmark whose photos are packed in ``shards`` under ``out``; return ``out``.

    Written are the label space and, in ``benchmark.json``, name, notes, version and the hash of every shard.
    The hashes reveal a missing, cut or changed shard before unpacking.

    Raises:
        CounterGroundError: the folder cannot be written.
    """
    benchmark.classes.save(out / LABEL_SPACE_FILE)
    description = {
        "name": benchmark.name,
        "notes": benchmark.notes,
        "packed": kind,
        "shards": {shard.relative_to(out).as_posix(): _sha256(shard) for shard in sorted(shards)},
        "version": benchmark.version,
        **(asdict(benchmark.discovery) if benchmark.discovery else {}),
        **({"design": benchmark.design.to_json()} if benchmark.design != DESIGN else {}),
    }
    write_text(out / BENCHMARK_FILE, json.dumps(description, ensure_ascii=False, indent=1) + "\n")
    return out


def read_shards(folder: Path, kind: ShardFormat) -> Benchmark:
    """Read a folder of shards; its photos are unpacked into the cache the first time.

    The unpacked folder is found again by the content of the shards. Classes come from a label space if
    there is one, else from the samples (``class_name``, ``class``, ``label`` or ``cls``); numbered classes
    need ``classnames.txt`` or the names of a ``ClassLabel``.

    Raises:
        CounterGroundError: a shard is missing, damaged or unsafe; a sample has no photo or no class; or the
            cache cannot be written.
    """
    source = _open_folder(folder, kind)
    found = unpack_once(source.key(), partial(_fill, source), str(folder))
    # A folder that we did not write has its name here, wherever its content was first read.
    name = found.name if source.description else folder.resolve().name
    return found.described(name=name)


def read_tars(folder: Path, names: Sequence[str], class_names: Path | None) -> Benchmark:
    """Read some tars of a folder, as ``read_shards`` reads all of them.

    Args:
        folder: where they are.
        names: names of the tars, in order.
        class_names: a file with the names of numbered classes; None: ``classnames.txt`` in the folder.

    Raises:
        CounterGroundError: see ``read_shards``.
    """
    hashes = {name: _sha256(folder / name) for name in names}
    called = read_class_names(class_names) if class_names else _class_names(folder)
    source = _ShardFolder(folder, "webdataset", hashes, None, called)
    return unpack_once(source.key(), partial(_fill, source), str(folder))


def unpack_once(key: str, fill: Callable[[Path], None], what: str) -> Benchmark:
    """Return what was unpacked under a key, or let ``fill`` write it into an empty folder.

    Raises:
        CounterGroundError: from ``fill``, or the cache cannot be written.
    """
    target = cache_dir() / "unpacked" / key
    found = _open_unpacked(target)
    if found is None:
        _unpack(fill, target, what)
        found = read_native(target)
    return found


def _open_folder(folder: Path, kind: ShardFormat) -> _ShardFolder:
    shards = sorted({path for pattern in _SHARDS[kind] for path in folder.glob(pattern)})
    hashes = {shard.relative_to(folder).as_posix(): _sha256(shard) for shard in shards}
    if not (folder / BENCHMARK_FILE).is_file():
        _refuse_splits(folder, hashes)
        return _ShardFolder(folder, kind, hashes, None, _class_names(folder))
    description = _describe(folder)
    try:
        expected = {str(name): digest for name, digest in dict(description["shards"]).items()}
        _ = [description[key] for key in ("name", "notes", "version")], Discovered.from_json(description)
        Design.from_json(description.get("design"))
    except (AttributeError, CounterGroundError, KeyError, TypeError, ValueError) as error:
        raise CounterGroundError(f"{folder / BENCHMARK_FILE} is damaged: export again.") from error
    for name, digest in expected.items():
        if name not in hashes:
            raise CounterGroundError(f"The shard {folder / name} is missing: bring it back, or export again.")
        if hashes[name] != digest:
            raise CounterGroundError(
                f"The shard {folder / name} is not as it was exported (cut short or changed): copy it again."
            )
    if extra := sorted(set(hashes) - set(expected)):
        raise CounterGroundError(f"{folder / extra[0]} is not a shard of this benchmark: move it elsewhere.")
    return _ShardFolder(folder, kind, hashes, description, _class_names(folder))


def _refuse_splits(folder: Path, names: Iterable[str]) -> None:
    found = {match[1] for name in names if (match := _SPLIT.search(Path(name).stem))}
    if len(found) > 1:
        raise CounterGroundError(
            f"{folder} holds several splits ({', '.join(sorted(found))}): put the shards of one alone into a"
            " folder, and read that."
        )


def _describe(folder: Path) -> dict[str, Any]:
    try:
        content = read_json(folder / BENCHMARK_FILE)
    except (OSError, ValueError):
        return {}  # read_native says what is wrong with it
    return content if isinstance(content, dict) else {}


def _sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise CounterGroundError(f"Cannot read {path}: {error.strerror or error}.") from error


def _open_unpacked(target: Path) -> Benchmark | None:
    """Return what was unpacked before; None if nothing was, or photos were deleted."""
    if not (target / BENCHMARK_FILE).is_file():
        return None
    try:
        found = read_native(target)
    except CounterGroundError:
        return None
    return found if all(found.photo_path(path).is_file() for path in found.photos["path"]) else None


def _unpack(fill: Callable[[Path], None], target: Path, what: str) -> None:
    """Unpack beside ``target`` and rename: a killed unpacking leaves a draft that a later one removes."""
    try:
        with draft_folder(target) as draft:
            fill(draft)
            _put_in_place(draft, target)
    except OSError as error:
        raise CounterGroundError(
            f"Cannot unpack {what} into {target.parent}: {error.strerror or error}. Free some space"
            " there; the cache can be moved with COUNTERGROUND_CACHE."
        ) from error


def _fill(source: _ShardFolder, draft: Path) -> None:
    space_file = source.folder / LABEL_SPACE_FILE
    space = LabelSpace.load(space_file) if space_file.is_file() else None
    try:
        found = unpack_samples(_samples(source), draft, space)
    except CounterGroundError as error:
        raise CounterGroundError(f"{source.folder}: {error}") from error
    if source.description is not None:
        name, notes = str(source.description["name"]), tuple(map(str, source.description["notes"]))
        discovery = Discovered.from_json(source.description)
        design = Design.from_json(source.description.get("design"))
        found = found.described(name=name, notes=notes, discovery=discovery, design=design)
        if found.version != str(source.description["version"]):
            raise CounterGroundError(
                f"The photos in {source.folder} are not those that {BENCHMARK_FILE} was written for:"
                " export the benchmark again."
            )
    write_benchmark(found, draft)


def _samples(source: _ShardFolder) -> Iterable[Sample]:
    if source.is_spuriverse:
        for shard in source.shards:
            yield from spuriverse_samples(shard, source.folder / "meta")
        return
    reader = tar_samples if source.kind == "webdataset" else parquet_samples
    for shard in source.shards:
        yield from _with_names(reader(shard), source.class_names)


def _with_names(samples: Iterator[Sample], names: Sequence[str] | None) -> Iterator[Sample]:
    for sample in samples:
        yield sample if sample.class_names is not None else replace(sample, class_names=names)


def _class_names(folder: Path) -> Sequence[str] | None:
    file = folder / CLASS_NAMES_FILE
    return read_class_names(file) if file.is_file() else None


def _put_in_place(draft: Path, target: Path) -> None:
    try:
        draft.rename(target)
    except OSError:
        if _open_unpacked(target) is not None:  # another process unpacked the same content meanwhile
            return
        shutil.rmtree(target, ignore_errors=True)
        draft.rename(target)
