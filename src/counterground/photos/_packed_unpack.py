"""From samples to a folder of photos with a manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from counterground.errors import CounterGroundError
from counterground.photos._labelspace import LabelSpace
from counterground.photos._manifest import MANIFEST_SCHEMA, Benchmark, describe_gaps
from counterground.photos._packed_samples import MAX_PHOTO_BYTES, MAX_SAMPLES, MAX_TOTAL_BYTES, Sample
from counterground.photos._parquet import read_parquet_manifest

_CLASS_FIELDS = ("class_name", "class", "label", "cls")
_TEXTS = ("background", "group", "cluster", "licence", "attribution", "source")
_OTHER_SPELLING = {"license": "licence"}
_USED = {"path", "photo_id", "class_index", "mask", *_CLASS_FIELDS, *_TEXTS, *_OTHER_SPELLING}


def unpack_samples(samples: Iterable[Sample], draft: Path, space: LabelSpace | None) -> Benchmark:
    """Write the photos of all samples below ``draft/photos`` and return the benchmark they make.

    Paths are the samples' own where they say one, else ``files/0000001.jpg`` and so on. Without ``space`` the
    classes are resolved as those of a manifest are.

    Raises:
        CounterGroundError: a path that leaves the folder or occurs twice, a photo that is not what its
            ``photo_id`` says, a sample without a class, or more than 64 GiB.
    """
    into = draft / "photos"
    rows: list[dict[str, Any]] = []
    unused: set[str] = set()
    total = 0
    for number, sample in enumerate(samples, 1):
        total += len(sample.photo) + len(sample.mask or b"")
        if total > MAX_TOTAL_BYTES or len(sample.photo) > MAX_PHOTO_BYTES or number > MAX_SAMPLES:
            raise CounterGroundError(f"{sample.where}: more than 64 GiB in all, or 256 MiB in one photo.")
        rows.append(_write_sample(sample, number, into, space))
        unused |= {name for name in sample.fields if name not in _USED}
    if not rows:
        raise CounterGroundError("there is no photo in the shards.")
    notes = (f"Fields of the samples that were not used: {', '.join(sorted(unused))}.",) if unused else ()
    return _benchmark(rows, into, space, notes)


def _write_sample(sample: Sample, number: int, into: Path, space: LabelSpace | None) -> dict[str, Any]:
    fields = {_OTHER_SPELLING.get(name, name): value for name, value in sample.fields.items()}
    path = str(fields.get("path") or f"files/{number:07d}{sample.suffix}")
    digest = hashlib.sha256(sample.photo).hexdigest()
    if fields.get("photo_id") not in (None, digest):
        raise CounterGroundError(f"{sample.where} is not the photo it says it is: its bytes were changed.")
    _write(sample.where, into, path, sample.photo)
    row: dict[str, Any] = {name: _text(fields.get(name)) for name in _TEXTS}
    row |= {"path": path, "photo_id": digest, "mask": None}
    if sample.mask is not None:
        row["mask"] = str(fields.get("mask") or f"masks/{number:07d}.png")
        _write(sample.where, into, row["mask"], sample.mask, shared=True)
    return row | _class_of(sample, fields, space)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _class_of(sample: Sample, fields: Mapping[str, Any], space: LabelSpace | None) -> dict[str, Any]:
    said = next((fields[name] for name in _CLASS_FIELDS if fields.get(name) is not None), None)
    number = fields.get("class_index", said)
    index = number if isinstance(number, int) and not isinstance(number, bool) else None
    name = said if isinstance(said, str) and said.strip() else None
    if space is not None:
        if index is None and name is not None:
            index = space.index_of(name)
        if index is None or not 0 <= index < len(space):
            raise CounterGroundError(f"{sample.where} has no class of label_space.json ({number!r}).")
        return {"class_index": index, "class_name": name or space.names[index]}
    if name is not None:
        return {"class_name": name}
    if index is None:
        wanted = ", ".join(_CLASS_FIELDS)
        raise CounterGroundError(f"{sample.where} has no class: wanted is one of the fields {wanted}.")
    if sample.class_names is None:
        raise CounterGroundError(
            f"{sample.where} has class number {index}, and nothing says what that is called: put the names, "
            "one a line in the order of the numbers, into classnames.txt beside the shards."
        )
    if not 0 <= index < len(sample.class_names):
        raise CounterGroundError(
            f"{sample.where} has class number {index}, but there are {len(sample.class_names)} names."
        )
    return {"class_name": sample.class_names[index]}


def _write(where: str, into: Path, path: str, data: bytes, *, shared: bool = False) -> None:
    """Write a new file below ``into``; a shared one may be there already with the same bytes."""
    parts = path.split("/")
    if path.startswith("/") or "\\" in path or "\0" in path or ":" in parts[0] or {"..", "."} & set(parts):
        raise CounterGroundError(f"{where} is not safe to unpack: {path!r} would land outside its folder.")
    target = into / path
    odd = CounterGroundError(f"{where}: {path!r} cannot be a file's path.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise odd from error
    try:
        with target.open("xb") as file:
            file.write(data)
    except FileExistsError:
        if not (shared and target.is_file() and target.read_bytes() == data):
            raise CounterGroundError(f"{where}: {path!r} occurs twice.") from None
    except (IsADirectoryError, UnicodeEncodeError) as error:
        raise odd from error


def _benchmark(
    rows: list[dict[str, Any]], into: Path, space: LabelSpace | None, notes: tuple[str, ...]
) -> Benchmark:
    if space is not None:
        photos = pl.DataFrame(rows, schema=MANIFEST_SCHEMA)
        found = Benchmark("", into, photos, space, notes)
        gaps = describe_gaps(found.photos, space)
    else:
        schema = {name: kind for name, kind in MANIFEST_SCHEMA.items() if name != "class_index"}
        manifest = into.with_name("samples.parquet")
        pl.DataFrame(rows, schema=schema).write_parquet(manifest)
        found, gaps = read_parquet_manifest(manifest), ()
        manifest.unlink()
    return Benchmark("", into, found.photos, found.label_space, (*notes, *found.notes, *gaps))
