"""Samples in tar files."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from counterground.errors import CounterGroundError, error_message
from counterground.files import no_panic, open_regular, parse_json
from counterground.hostile import BoundedTarInfo, check_tar_end, scan_shard
from counterground.photos._photo import IMAGE_SUFFIXES

MAX_PHOTO_BYTES = 256 * 2**20  # no photograph is larger
MAX_TOTAL_BYTES = 64 * 2**30
MAX_SAMPLES = 2_000_000


@dataclass(frozen=True)
class Sample:
    """A photo as it came out of a shard.

    Attributes:
        where: shard and key, for messages.
        photo: the file's bytes.
        suffix: suffix of the file, with the dot, lower-case.
        fields: what the shard says of it, by the shard's own names.
        mask: bytes of its mask, if it has one.
        class_names: names of numbered classes, if the shard has them.
    """

    where: str
    photo: bytes
    suffix: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    mask: bytes | None = None
    class_names: Sequence[str] | None = None


def photo_suffix(path: Any) -> str:
    """Return the suffix of the file that a shard names for a photo, lower-case; ``.jpg`` without one."""
    suffix = PurePosixPath(str(path or "")).suffix.lower()
    return suffix if suffix in IMAGE_SUFFIXES else ".jpg"


@contextmanager
def open_parquet(shard: Path) -> Iterator[pl.LazyFrame]:
    """Yield the rows of a shard that somebody else made.

    Raises:
        CounterGroundError: it is damaged, or not a Parquet file.
    """
    try:
        with no_panic():
            yield scan_shard(shard)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = error_message(error)
        raise CounterGroundError(f"{shard.name} is damaged or not a Parquet file ({reason}).") from error


_MAX_TEXT_BYTES = 16 * 2**20
_NUMBER = re.compile("-?[0-9]+")  # a negative number means no class


def tar_samples(shard: Path) -> Iterator[Sample]:
    """Yield the samples of a tar in order, one in memory at a time.

    A key is a member's name up to the first dot of its last part. The last suffix decides: ``json`` members
    give fields, ``cls`` one field of that name, ``mask.*`` the mask, images the photo; others are unused
    fields.

    Raises:
        CounterGroundError: the tar is damaged or cut short, a member is a link, a device, too large or would
            land outside its folder, or a sample has no photo, two of them, or two masks.
    """
    try:
        with (
            open_regular(shard) as file,
            tarfile.open(fileobj=file, mode="r:", tarinfo=BoundedTarInfo) as tar,
        ):
            key = ""
            parts: dict[str, bytes] = {}
            for info in tar:
                if info.isdir():
                    continue
                name, suffix = _split(shard, info)
                if name != key and parts:
                    yield _sample(shard, key, parts)
                    parts = {}
                key = name
                if suffix in parts:
                    raise CounterGroundError(f"{shard.name}: {info.name!r} occurs twice.")
                parts[suffix] = _read(shard, tar, info, suffix)
            check_tar_end(tar)  # before the last sample, whose rest may be cut off
            if parts:
                yield _sample(shard, key, parts)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise CounterGroundError(f"{shard.name} is damaged or cut short ({error}): get it again.") from error


def _split(shard: Path, info: tarfile.TarInfo) -> tuple[str, str]:
    parts = info.name.split("/")
    unsafe = info.name.startswith("/") or "\\" in info.name or "\0" in info.name or ".." in parts
    if unsafe or not info.isreg() or info.issparse():
        what = "would land outside its folder" if unsafe else "is not a regular file"
        raise CounterGroundError(f"{shard.name} is not safe to unpack: {info.name!r} {what}.")
    folder, _, last = info.name.rpartition("/")
    stem, _, suffix = last.partition(".")
    return f"{folder}/{stem}", suffix.lower()


def _read(shard: Path, tar: tarfile.TarFile, info: tarfile.TarInfo, suffix: str) -> bytes:
    is_image = _kind(suffix) in IMAGE_SUFFIXES
    if not is_image and _kind(suffix) not in {".json", ".cls"}:
        return b""  # captions, sounds, ...: named among the fields that were not used
    if info.size > (MAX_PHOTO_BYTES if is_image else _MAX_TEXT_BYTES):
        raise CounterGroundError(f"{shard.name}: {info.name!r} is too large ({info.size:,} bytes).")
    content = tar.extractfile(info)
    assert content is not None
    data = content.read()
    if len(data) != info.size:
        raise CounterGroundError(f"{shard.name} is cut short within {info.name!r}: get it again.")
    return data


def _kind(suffix: str) -> str:
    return f".{suffix.rpartition('.')[2]}"


def _sample(shard: Path, key: str, parts: dict[str, bytes]) -> Sample:
    where = f"{shard.name}, sample {key.removeprefix('/')!r}"
    images = {name: data for name, data in parts.items() if _kind(name) in IMAGE_SUFFIXES}
    masks = {name: data for name, data in images.items() if name.startswith("mask.")}
    photos = {name: data for name, data in images.items() if name not in masks}
    if len(photos) != 1:
        raise CounterGroundError(f"{where}: expected one photo, not {len(photos)}.")
    if len(masks) > 1:
        raise CounterGroundError(f"{where}: expected one mask, not {len(masks)}.")
    unused = {name: None for name in parts if name not in images and _kind(name) not in {".json", ".cls"}}
    ((suffix, photo),) = photos.items()
    return Sample(
        where, photo, _kind(suffix), _fields(where, parts) | unused, next(iter(masks.values()), None)
    )


def _fields(where: str, parts: dict[str, bytes]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    try:
        for name, data in parts.items():
            if _kind(name) == ".json":
                fields |= parse_json(data.decode("utf-8-sig"))
                json.dumps(fields, ensure_ascii=False).encode()  # half a surrogate pair is no text
            elif _kind(name) == ".cls":
                text = data.decode().strip()
                fields["cls"] = int(text) if _NUMBER.fullmatch(text) else text
    except (ValueError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise CounterGroundError(f"{where}: its fields cannot be read ({reason}).") from error
    return fields
