"""Read each photo once, check its hash, and copy it or hand it on in shards of bounded size."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from counterground.construction.exports._layout import Contents
from counterground.errors import CounterGroundError, UsageError
from counterground.files import open_regular
from counterground.photos import Benchmark

Tick = Callable[[], None]


def photo_bytes(contents: Contents, path: str, photo_id: str | None = None) -> bytes:
    """Return the bytes of a photo, or (without ``photo_id``) of a mask.

    Raises:
        CounterGroundError: the file cannot be read, is not the one in the manifest, or is a link that leaves
            the benchmark: files elsewhere may not be meant for sharing.
    """
    source = contents.origins[path]
    roots = (contents.benchmark.root, contents.masks_root)
    try:
        inside = any(root and source.resolve().is_relative_to(root.resolve()) for root in roots)
        with open_regular(source) as file:
            data = file.read()
    except (OSError, RuntimeError, ValueError) as error:
        raise CounterGroundError(
            f"Cannot read {source}: {error}. Restore it, or remove it from the benchmark."
        ) from error
    if not inside:
        raise CounterGroundError(
            f"{source} is behind a link that leaves the folder: copy the folder with what its links lead to "
            "(cp -rL), and export the copy."
        )
    if photo_id is not None and hashlib.sha256(data).hexdigest() != photo_id:
        raise CounterGroundError(
            f"The photo {source} has changed since the manifest was written: restore the old file, write"
            " the manifest again, or remove it (from a pool by discarding it in the review)."
        )
    return data


def copy_photos(contents: Contents, folder: Path, tick: Tick) -> None:
    """Write every photo and mask to its path below ``folder``.

    Copies, not links: a linked export would change when the source is edited.

    Raises:
        CounterGroundError: see `photo_bytes`.
        OSError: a file cannot be written.
    """
    for path, photo_id in contents.benchmark.photos.select("path", "photo_id").iter_rows():
        _write(folder / path, photo_bytes(contents, path, photo_id))
        tick()
    for path in contents.masks:
        _write(folder / path, photo_bytes(contents, path))


def _write(target: Path, data: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)


CLASS_FIELDS = ("label", "cls")  # readers of shards, ours too, take fields of these names for the class
SHARD_MEGABYTES = 100
SHARD_PHOTOS = 10_000
"""When a shard is full: before the photo that would exceed either limit."""


@dataclass(frozen=True)
class Sample:
    """One row of the manifest with its bytes; ``number`` counts over all shards, from 0."""

    number: int
    row: dict[str, Any]
    photo: bytes
    mask: bytes | None

    @property
    def size(self) -> int:
        """Bytes of photo and mask."""
        return len(self.photo) + len(self.mask or b"")


def refuse_columns(benchmark: Benchmark, taken: Collection[str], form: str) -> None:
    """Refuse attributes whose names mean something else in a format: they could not be read back.

    Raises:
        UsageError: there is one; the message names the first.
    """
    found = next((name for name in benchmark.photos.columns if name in taken), None)
    if found is not None:
        raise UsageError(
            f"{benchmark.name} has a column {found!r}, a name that the format {form} uses itself: rename it"
            " in the manifest, or choose another format."
        )


def samples(contents: Contents, tick: Tick) -> Iterator[Sample]:
    """Yield every photo in the order of the manifest, one in memory at a time."""
    for number, row in enumerate(contents.benchmark.photos.iter_rows(named=True)):
        photo = photo_bytes(contents, row["path"], row["photo_id"])
        mask = None if row["mask"] is None else photo_bytes(contents, row["mask"])
        yield Sample(number, row, photo, mask)
        tick()


def in_shards(photos: Iterator[Sample]) -> Iterator[tuple[int, Iterator[Sample]]]:
    """Yield the number of each shard with its photos, one in memory at a time."""
    for shard, group in itertools.groupby(_numbered(photos), key=lambda pair: pair[0]):
        yield shard, (photo for _, photo in group)


def _numbered(photos: Iterator[Sample]) -> Iterator[tuple[int, Sample]]:
    shard, count, total = 0, 0, 0
    for photo in photos:
        if count and (count == SHARD_PHOTOS or total + photo.size > SHARD_MEGABYTES * 10**6):
            shard, count, total = shard + 1, 0, 0
        count, total = count + 1, total + photo.size
        yield shard, photo
