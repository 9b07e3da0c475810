"""One sample of a shard in any format, and the sizes that are accepted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from counterground.errors import CounterGroundError, error_message
from counterground.files import no_panic
from counterground.hostile import scan_shard
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
