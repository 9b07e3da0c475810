"""One sample of a shard in any format, and the sizes that are accepted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MAX_PHOTO_BYTES = 256 * 2**20  # no photograph is larger
MAX_TOTAL_BYTES = 64 * 2**30
MAX_SAMPLES = 2_000_000


@dataclass(frozen=True)
class Sample:
    """A photo as it came out of a shard.

    Attributes:
        where: shard and key, for messages.
        photo: the file's bytes.
        suffix: of the file, with the dot, lower-case.
        fields: what is said of it, by the names the shard uses.
        mask: bytes of its mask, where it has one.
        class_names: what numbered classes are called, where the shard says so.
    """

    where: str
    photo: bytes
    suffix: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    mask: bytes | None = None
    class_names: Sequence[str] | None = None
