"""The key of a photo: where it came from. Candidates, photos and file names share it."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl


class PhotoKey(NamedTuple):
    """A key in its parts: ``source`` ("inaturalist", "url", "file", "hf") and the photo's ``name`` there.

    As text it is ``source:name``, as in the column ``key``.
    """

    source: str
    name: str

    def __str__(self) -> str:
        return f"{self.source}:{self.name}"

    @classmethod
    def parse(cls, key: str) -> PhotoKey:
        """Read a value of the column ``key``; the name may contain colons."""
        source, _, name = key.partition(":")
        return cls(source, name)


def is_from(source: str) -> pl.Expr:
    """Return the expression that is true for rows whose ``key`` has this source."""
    return pl.col("key").str.starts_with(str(PhotoKey(source, "")))
