"""Samples of a WebDataset shard: a tar whose members ``key.jpg`` and ``key.json`` belong together."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from counterground.errors import CounterGroundError
from counterground.photos._packed_samples import MAX_PHOTO_BYTES, Sample
from counterground.photos._photo import IMAGE_SUFFIXES

_MAX_TEXT_BYTES = 16 * 2**20
_BLOCK = 512


def tar_samples(shard: Path) -> Iterator[Sample]:
    """Yield the samples of a tar in order, one in memory at a time.

    A key is a member's name up to the first dot of its last part. ``json`` members give fields, ``cls`` one
    field of that name, ``mask.*`` the mask, an image suffix the photo; other members are fields not used.

    Raises:
        CounterGroundError: the tar is damaged or cut short, a member is a link, a device, too large or named
            out of its folder, or a sample has no photo or two.
    """
    try:
        with tarfile.open(shard, "r:") as tar:
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
            if parts:
                yield _sample(shard, key, parts)
            _check_end(shard, tar)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise CounterGroundError(f"{shard.name} is damaged or cut short ({error}): get it again.") from error


def _split(shard: Path, info: tarfile.TarInfo) -> tuple[str, str]:
    parts = info.name.split("/")
    unsafe = info.name.startswith("/") or "\\" in info.name or "\0" in info.name or ".." in parts
    if unsafe or not info.isreg() or info.issparse():
        what = "would land outside its folder" if unsafe else "is no plain file"
        raise CounterGroundError(f"{shard.name} is not safe to unpack: {info.name!r} {what}.")
    folder, _, last = info.name.rpartition("/")
    stem, _, suffix = last.partition(".")
    return f"{folder}/{stem}", suffix.lower()


def _read(shard: Path, tar: tarfile.TarFile, info: tarfile.TarInfo, suffix: str) -> bytes:
    is_image = f".{suffix.rpartition('.')[2]}" in IMAGE_SUFFIXES
    if not is_image and suffix not in {"json", "cls"}:
        return b""  # captions, sounds, ...: named among the fields that were not used
    if info.size > (MAX_PHOTO_BYTES if is_image else _MAX_TEXT_BYTES):
        raise CounterGroundError(f"{shard.name}: {info.name!r} is too large ({info.size:,} bytes).")
    content = tar.extractfile(info)
    assert content is not None
    data = content.read()
    if len(data) != info.size:
        raise CounterGroundError(f"{shard.name} is cut short within {info.name!r}: get it again.")
    return data


def _check_end(shard: Path, tar: tarfile.TarFile) -> None:
    # tarfile takes a damaged header, and a file cut between two members, for the end.
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(_BLOCK) != bytes(_BLOCK):
        raise CounterGroundError(f"{shard.name} is damaged or cut short (byte {tar.offset:,}): get it again.")


def _sample(shard: Path, key: str, parts: dict[str, bytes]) -> Sample:
    where = f"{shard.name}, sample {key.removeprefix('/')!r}"
    photos = {name: data for name, data in parts.items() if f".{name}" in IMAGE_SUFFIXES}
    if len(photos) != 1:
        raise CounterGroundError(f"{where}: wanted is one photo, not {len(photos)}.")
    masks = {name: data for name, data in parts.items() if name.startswith("mask.")}
    fields = _fields(where, parts) | {
        name: None for name in parts if name not in {*photos, *masks, "json", "cls"}
    }
    ((suffix, photo),) = photos.items()
    return Sample(where, photo, f".{suffix}", fields, next(iter(masks.values()), None))


def _fields(where: str, parts: dict[str, bytes]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    try:
        if "json" in parts:
            fields = json.loads(parts["json"])
        if "cls" in parts:
            text = parts["cls"].decode().strip()
            fields = {"cls": int(text) if text.isdecimal() else text, **fields}
    except (ValueError, TypeError, RecursionError) as error:
        raise CounterGroundError(f"{where}: its fields cannot be read ({error}).") from error
    if not isinstance(fields, dict):
        raise CounterGroundError(f"{where}: its json is no object with the sample's fields.")
    return fields
