"""Samples of shards that others made: tars, and Parquet with the photos' bytes in a column."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import polars as pl

from counterground.errors import CounterGroundError, UsageError, error_message
from counterground.files import no_panic, open_regular, parse_json
from counterground.hostile import BoundedTarInfo, check_tar_end, is_outside, scan_shard
from counterground.photos._photo import IMAGE_SUFFIXES
from counterground.photos._rows import find_column

MAX_PHOTO_BYTES = 256 * 2**20  # no photograph is larger
CLASS_FIELDS = ("class_name", "class", "label", "cls")
"""What the class of a sample may be called; the first that there is counts."""

_MAX_TEXT_BYTES = 16 * 2**20
_NUMBER = re.compile("-?[0-9]+")  # a negative number means no class
# Photos in memory at a time: about so many bytes, but no fewer and no more rows than these.
_TOGETHER, _FEWEST, _MOST = 2**24, 32, 1024
_BINARY_NAMES = ("image", "img", "photo", "jpg")


@dataclass(frozen=True)
class Sample:
    """A photo as it came out of a shard.

    Attributes:
        where: shard and key, for messages.
        photo: the file's bytes.
        suffix: suffix of the file, with the dot, lower-case.
        fields: what the shard says of it.
        mask: bytes of its mask, if it has one.
    """

    where: str
    photo: bytes
    suffix: str
    fields: dict[str, Any]
    mask: bytes | None = None


Kind = Literal["image"] | Sequence[str] | None
"""Of a column: images, the names of a ``ClassLabel``, or plain values."""


@dataclass(frozen=True)
class SampleColumns:
    """Which column of a data set is which.

    Attributes:
        image: the photos.
        mask: the masks of their objects.
        label: the classes, if any column is.
        kinds: what each column holds.
    """

    image: str
    mask: str | None
    label: str | None
    kinds: Mapping[str, Kind]

    @classmethod
    def find(cls, kinds: Mapping[str, Kind], named: Mapping[str, str], where: str) -> SampleColumns:
        """Find the columns of photos, masks and classes, unless they are named (column of ours -> theirs).

        Raises:
            UsageError: there is no such column; or there are several candidates, or none.
        """

        def only(candidates: Sequence[str], setting: str) -> str:
            if len(candidates) != 1:
                raise UsageError(
                    f"{where}: name the column, as in 'hf:DATA?{setting}=COLUMN'; candidates are "
                    f"{', '.join(candidates or kinds)}."
                )
            return candidates[0]

        named = {ours: find_column(theirs, kinds, where) for ours, theirs in named.items()}
        images = [column for column, kind in kinds.items() if kind == "image"]
        mask = named.get("mask") or ("mask" if "mask" in images and len(images) > 1 else None)
        image = named.get("path") or only([each for each in images if each != mask], "image")
        if wrong := [each for each in (image, mask) if each and kinds[each] != "image"]:
            raise UsageError(f"{where}: the column {wrong[0]!r} holds no images.")
        label = named.get("class_name") or next((each for each in CLASS_FIELDS if each in kinds), None)
        if label is None and "class_index" not in kinds:
            labels = [column for column, kind in kinds.items() if kind and kind != "image"]
            label = only([each for each in labels if each not in named.values()], "label")
        return cls(image, mask, label, kinds)

    @property
    def class_names(self) -> Sequence[str]:
        """Names that the classes may have, if the data set lists them."""
        return (self.kinds[self.label] if self.label else None) or ()

    @property
    def used(self) -> list[str]:
        """All columns but those of further images."""
        return [
            name for name, kind in self.kinds.items() if kind != "image" or name in (self.image, self.mask)
        ]

    def sample(self, where: str, row: Mapping[str, Any], read: Callable[[str, Any], bytes]) -> Sample:
        """Return a row; ``read`` returns the bytes of an image that are not in it.

        Raises:
            CounterGroundError: from ``read``, or a number of a ``ClassLabel`` without a name.
        """

        def content(cell: Any) -> bytes:
            found = cell.get("bytes") if isinstance(cell, Mapping) else cell
            return found if isinstance(found, bytes) and found else read(where, cell)

        fields: dict[str, Any] = {}
        for column, kind in self.kinds.items():
            value = row.get(column)
            if kind == "image":
                continue
            if kind and isinstance(value, int):
                if value >= len(kind):
                    raise CounterGroundError(
                        f"{where}: its {column!r} is number {value}, but there are {len(kind)} names."
                    )
                value = kind[value] if value >= 0 else None  # a negative number means unknown
            fields[column] = value
        image, mask = row[self.image], row.get(self.mask) if self.mask else None
        if isinstance(mask, Mapping) and mask.get("path"):
            fields.setdefault("mask", mask["path"])
        suffix = PurePosixPath(str((image.get("path") if isinstance(image, Mapping) else "") or "")).suffix
        suffix = suffix.lower() if suffix.lower() in IMAGE_SUFFIXES else ".jpg"
        return Sample(where, content(image), suffix, fields, content(mask) if mask else None)


def parquet_samples(shard: Path) -> tuple[Iterator[Sample], SampleColumns]:
    """Return the samples of a Parquet file in order, and which column is which.

    The photo is the column of images (bytes and path), else a binary column called image, img, photo or jpg;
    a column of images called mask gives masks. A ``ClassLabel`` gives the names of its numbers. A few photos
    are in memory at a time.

    Raises:
        CounterGroundError: not Parquet, damaged, no or several columns of images, or a photo without bytes.
    """
    with _reading(shard):
        lazy = scan_shard(shard)
        columns = SampleColumns.find(_kinds(shard, lazy.collect_schema()), {}, shard.name)
        rows = int(lazy.select(pl.len()).collect().item())

    def samples() -> Iterator[Sample]:
        start, together = 0, _FEWEST
        while start < rows:
            with _reading(shard):
                batch = lazy.select(columns.used).slice(start, together).collect()
            # A photo that many rows share is one in the batch, and a copy in each row.
            for number, row in enumerate(batch.iter_rows(named=True, buffer_size=1), start + 1):
                yield columns.sample(f"{shard.name}, row {number}", row, _no_photo)
            start += together
            # Each slice is read from the head of its row group: many of small photos would take minutes.
            fitting = together * _TOGETHER // max(1, int(batch.estimated_size()))
            together = max(_FEWEST, min(_MOST, 2 * together, fitting))

    return samples(), columns


@contextmanager
def _reading(shard: Path) -> Iterator[None]:
    try:
        with no_panic():
            yield
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = error_message(error)
        raise CounterGroundError(f"{shard.name} is damaged or not a Parquet file ({reason}).") from error


def _no_photo(where: str, _: Any) -> bytes:
    raise CounterGroundError(f"{where} has no photo in it (its bytes are empty): embed the photos.")


def _kinds(shard: Path, schema: Mapping[str, pl.DataType]) -> dict[str, Kind]:
    images = [name for name, kind in schema.items() if _is_image(kind)]
    if not set(images) - {"mask"}:
        images += [name for name in _BINARY_NAMES if schema.get(name) == pl.Binary][:1]
    plain = [name for name, kind in schema.items() if not kind.is_nested() and kind != pl.Binary]
    labels = _class_labels(shard)
    return {
        name: "image" if name in images else labels.get(name)
        for name in schema
        if name in images or name in plain
    }


def _is_image(kind: pl.DataType) -> bool:
    fields = {field.name: field.dtype for field in kind.fields} if isinstance(kind, pl.Struct) else {}
    return fields.keys() == {"bytes", "path"} and fields["bytes"] in (pl.Binary, pl.Null)


def _class_labels(shard: Path) -> dict[str, list[str]]:
    """Return the names of every ``ClassLabel`` column, as the `datasets` library stores them."""
    try:
        features = parse_json(pl.read_parquet_metadata(shard)["huggingface"])["info"]["features"]
        return {
            name: list(feature["names"])
            for name, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (AttributeError, KeyError, TypeError, ValueError):
        return {}


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
    unsafe = is_outside(info.name)
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
    masks = [data for name, data in images.items() if name.startswith("mask.")]
    photos = [(name, data) for name, data in images.items() if not name.startswith("mask.")]
    if len(photos) != 1 or len(masks) > 1:
        raise CounterGroundError(
            f"{where}: expected one photo and at most one mask, not {len(photos)} and {len(masks)}."
        )
    fields: dict[str, Any] = {}
    try:
        for name, data in parts.items():
            if _kind(name) == ".json":
                fields |= parse_json(data.decode("utf-8-sig"))
                json.dumps(fields, ensure_ascii=False).encode()  # half a surrogate pair is no text
            elif _kind(name) == ".cls":
                text = data.decode().strip()
                fields["cls"] = int(text) if _NUMBER.fullmatch(text) else text
            elif name not in images:
                fields[name] = None
    except (ValueError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise CounterGroundError(f"{where}: its fields cannot be read ({reason}).") from error
    ((suffix, photo),) = photos
    return Sample(where, photo, _kind(suffix), fields, masks[0] if masks else None)
