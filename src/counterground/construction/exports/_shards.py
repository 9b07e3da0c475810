"""Photos in order, split into shards of bounded size."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from counterground.construction.exports._copying import Tick, photo_bytes
from counterground.construction.exports._layout import Contents
from counterground.errors import UsageError
from counterground.photos import Benchmark

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
