"""Features on disk, keyed by what a photo contains and by what encoded it.

One shard per block: ``<name>.safetensors`` (the matrix) and ``<name>.parquet`` (its index: photo, row,
reason where it could not be read). The index is written last, so a shard with an index is complete. Names are
hashes of the block's photos: two processes that encode the same block write the same file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import safetensors.numpy
from safetensors import SafetensorError

from counterground.files import write_bytes, write_parquet


@dataclass(frozen=True)
class Block:
    """Features ``[n, d]`` (float32, zero where unreadable) of ``n`` photos, and why some have none."""

    features: np.ndarray
    converted: np.ndarray
    reasons: tuple[str | None, ...]


class FeatureStore:
    """Blocks of features of one model under one way of running it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._rows: dict[str, tuple[str, int]] | None = None
        self._shards: dict[str, Block | None] = {}

    @classmethod
    def open(cls, root: Path, *parts: str) -> FeatureStore:
        """Open the store for one way of encoding: ``parts`` are the fingerprint, device, batch size, ..."""
        return cls(root / hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32])

    def get(self, photo_ids: Sequence[str]) -> Block | None:
        """Return the block of exactly these photos, else one assembled from other shards, else None."""
        exact = self._read(_shard_name(photo_ids))
        return exact if exact is not None else self._assemble(photo_ids)

    def put(self, photo_ids: Sequence[str], block: Block) -> None:
        """Store a block; the index is written after the matrix, each atomically."""
        name = _shard_name(photo_ids)
        matrix = {"features": np.ascontiguousarray(block.features)}
        write_bytes(self.folder / f"{name}.safetensors", safetensors.numpy.save(matrix))
        index = {"photo_id": list(photo_ids), "converted": block.converted, "reason": list(block.reasons)}
        write_parquet(
            self.folder / f"{name}.parquet",
            pl.DataFrame(index, schema={"photo_id": pl.String, "converted": pl.Boolean, "reason": pl.String}),
        )

    def _read(self, name: str) -> Block | None:
        index = _read_index(self.folder / f"{name}.parquet")
        if index is None:
            return None
        try:
            features = safetensors.numpy.load_file(self.folder / f"{name}.safetensors")["features"]
        except (OSError, SafetensorError, KeyError):
            return None  # damaged: it is encoded again and overwritten
        if len(features) != len(index):
            return None
        return Block(features, index["converted"].to_numpy(), tuple(index["reason"]))

    def _assemble(self, photo_ids: Sequence[str]) -> Block | None:
        rows = self._index()
        if any(photo not in rows for photo in photo_ids):
            return None
        for shard_name in sorted({rows[photo][0] for photo in photo_ids} - set(self._shards)):
            self._shards[shard_name] = self._read(shard_name)
        features, converted = [], []
        for photo in photo_ids:
            name, row = rows[photo]
            shard = self._shards[name]
            if shard is None:
                return None
            features.append(shard.features[row])
            converted.append(shard.converted[row])
        return Block(np.stack(features), np.array(converted, dtype=bool), (None,) * len(photo_ids))

    def _index(self) -> dict[str, tuple[str, int]]:
        """Where each readable photo lies; made once, from the shards present when the store was opened."""
        if self._rows is None:
            self._rows = {}
            for path in sorted(self.folder.glob("[!.]*.parquet")):
                index = _read_index(path)
                if index is None:
                    continue
                for row, (photo, reason) in enumerate(index.select("photo_id", "reason").iter_rows()):
                    if reason is None:
                        self._rows.setdefault(photo, (path.stem, row))
        return self._rows


def _shard_name(photo_ids: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(photo_ids).encode()).hexdigest()[:32]


def _read_index(path: Path) -> pl.DataFrame | None:
    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError):
        return None
