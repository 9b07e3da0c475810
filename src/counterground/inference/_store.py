"""Features on disk, keyed by what a photo contains and by what encoded it.

One shard per block, ``<name>.safetensors``, written in one step: ``features`` ``[n, d]``, ``photo_id``
``[n, 32]`` (the bytes of the hashes), ``converted`` ``[n]``, ``reasons`` (JSON: why photos could not be read)
and a ``checksum`` of all of it. Names are hashes of the block's photos: two processes that encode the same
block write the same file.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from counterground.files import warn_damaged, write_bytes, write_text

_LAYOUT = "3: one file per block, with a checksum"
KEPT_SHARDS = 16
"""How many shards of a store stay in memory."""


@dataclass(frozen=True)
class ReadStatus:
    """Which of ``n`` photos could be read.

    ``converted`` (to RGB) is ``[n]``; ``reasons`` says by row why a photo is unreadable.
    """

    converted: np.ndarray
    reasons: dict[int, str]

    @cached_property
    def readable(self) -> np.ndarray:
        """``[n]``: whether each could be read."""
        readable = np.ones(len(self.converted), dtype=bool)
        readable[list(self.reasons)] = False
        return readable


@dataclass(frozen=True)
class Block:
    """Features ``[n, d]`` (float32, zero if unreadable) of ``n`` photos, and why some have none."""

    features: np.ndarray
    converted: np.ndarray
    reasons: tuple[str | None, ...]

    @property
    def status(self) -> ReadStatus:
        """The same without the features; it keeps no file open."""
        reasons = {row: reason for row, reason in enumerate(self.reasons) if reason is not None}
        return ReadStatus(self.converted.copy(), reasons)


class FeatureStore:
    """Blocks of features of one model under one way of running it; threads may share it."""

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        self.folder = folder
        self._about = about
        # The shards that were read last. They are not mapped: each mapped file counts as open, and a process
        # may have only about a thousand of them.
        self._shard = lru_cache(KEPT_SHARDS)(self._found)

    @classmethod
    def open(cls, root: Path, *parts: str, about: Mapping[str, Any]) -> FeatureStore:
        """Open the store for one way of encoding.

        Args:
            root: the folder of all stores.
            parts: what identifies the store: the fingerprint, device, batch size, ...
            about: what ``meta.json`` tells people about the store.
        """
        folder = root / hashlib.sha256("\n".join([_LAYOUT, *parts]).encode()).hexdigest()[:32]
        with suppress(OSError):
            os.utime(folder / "meta.json")  # what was used last is pruned last
        return cls(folder, about)

    def get(self, photo_ids: Sequence[str]) -> Block | None:
        """Return the block of exactly these photos, else one assembled from other shards, else None.

        Each checksum is verified.
        """
        ids = _packed(photo_ids)
        with suppress(LookupError):
            exact = self._shard(_shard_name(photo_ids))
            if np.array_equal(exact.ids, ids):
                return exact.block
        with suppress(LookupError):  # another process has removed one
            return self._assemble(ids)
        return None

    def put(self, photo_ids: Sequence[str], block: Block) -> None:
        """Store a block atomically.

        Raises:
            CounterGroundError: the file cannot be written.
        """
        data = _serialized(_Shard(_packed(photo_ids), block))
        if not (self.folder / "meta.json").exists():
            self._describe()
        # A crash of the machine may damage the file: that is noticed, and the block is encoded again.
        write_bytes(self.folder / f"{_shard_name(photo_ids)}.safetensors", data, sync=False)

    def _describe(self) -> None:
        created = datetime.now(UTC).isoformat(timespec="seconds")
        text = json.dumps({**self._about, "created": created}, indent=2, ensure_ascii=False)
        write_text(self.folder / "meta.json", text + "\n")

    def _found(self, name: str) -> _Shard:
        shard = read_shard(self.folder / f"{name}.safetensors")
        if shard is None:
            raise LookupError(name)
        return shard

    @cached_property
    def _index(self) -> tuple[list[str], np.ndarray, np.ndarray]:
        """Names of the shards; keys of their readable photos, sorted; shard and row of each."""
        names: list[str] = []
        keys, places = [np.zeros(0, dtype="S32")], [np.zeros((0, 2), dtype=np.int32)]
        for path in sorted(self.folder.glob("[!.]*.safetensors")):
            if (shard := read_shard(path)) is not None:
                rows = np.flatnonzero(shard.block.status.readable).astype(np.int32)
                keys.append(_keys(shard.ids[rows]))
                places.append(np.stack([np.full_like(rows, len(names)), rows], axis=1))
                names.append(path.stem)
        every = np.concatenate(keys)
        order = np.argsort(every, kind="stable")
        return names, every[order], np.concatenate(places)[order]

    def _assemble(self, ids: np.ndarray) -> Block | None:
        (names, known, places), keys = self._index, _keys(ids)
        at = np.searchsorted(known, keys)
        if (at == len(known)).any() or (known[at] != keys).any():
            return None
        blocks = {number: self._shard(names[number]).block for number in np.unique(places[at, 0]).tolist()}
        found = [(blocks[number], row) for number, row in places[at].tolist()]
        features = np.stack([block.features[row] for block, row in found])
        converted = np.array([block.converted[row] for block, row in found])
        return Block(features, converted, (None,) * len(found))


@dataclass(frozen=True)
class _Shard:
    """A block and the hashes of its photos, ``[n, 32]`` bytes."""

    ids: np.ndarray
    block: Block


def read_shard(path: Path) -> _Shard | None:
    """Read a shard and verify its checksum; None if it is absent or damaged."""
    import safetensors.numpy

    try:
        data = path.read_bytes()
    except OSError:
        return None
    with suppress(safetensors.SafetensorError, ValueError, KeyError, TypeError):
        tensors = safetensors.numpy.load(data)
        if tensors.pop("checksum").tobytes() == _checksum(tensors):
            reasons = tuple(json.loads(tensors["reasons"].tobytes()))
            return _Shard(tensors["photo_id"], Block(tensors["features"], tensors["converted"], reasons))
    warn_damaged(path)
    return None


def stored_photos(folder: Path) -> int:
    """Return how many photos a store holds something for; checksums are not verified."""
    import safetensors

    keys = [np.zeros(0, dtype="S32")]
    for path in folder.glob("[!.]*.safetensors"):
        with suppress(OSError, safetensors.SafetensorError), safetensors.safe_open(path, "np") as file:
            keys.append(_keys(file.get_tensor("photo_id")))
    return len(np.unique(np.concatenate(keys)))


def _serialized(shard: _Shard) -> bytes:
    import safetensors.numpy

    block = shard.block
    tensors = {
        "features": np.ascontiguousarray(block.features, dtype=np.float32),
        "photo_id": shard.ids,
        "converted": np.asarray(block.converted, dtype=bool),
        "reasons": np.frombuffer(json.dumps(block.reasons).encode(), np.uint8),
    }
    checksum = np.frombuffer(_checksum(tensors), np.uint8)
    return safetensors.numpy.save({**tensors, "checksum": checksum})


def _checksum(tensors: Mapping[str, np.ndarray]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for name in ("features", "photo_id", "converted", "reasons"):
        digest.update(f"{name} {tensors[name].dtype} {tensors[name].shape}".encode())
        digest.update(np.ascontiguousarray(tensors[name]).data)
    return digest.digest()


def _shard_name(photo_ids: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(photo_ids).encode()).hexdigest()[:32]


def _packed(photo_ids: Sequence[str]) -> np.ndarray:
    """Return hex hashes as bytes: ``[n, 32]``."""
    return np.frombuffer(bytes.fromhex("".join(photo_ids)), dtype=np.uint8).reshape(len(photo_ids), 32)


def _keys(ids: np.ndarray) -> np.ndarray:
    """Return hashes ``[n, 32]`` as texts ``[n]``, which NumPy can sort."""
    return np.ascontiguousarray(ids).view("S32")[:, 0]


@dataclass(frozen=True)
class Features(ReadStatus):
    """Features of ``n`` photos in manifest order, and which of them could be read.

    Attributes:
        dim: how many features each photo has.
        block_size: contents in each block but the last.
        read_block: returns the features ``[block_size, dim]`` of a block, by its number.
        places: ``[n]``, where each photo lies among the contents of all blocks.
    """

    dim: int
    block_size: int
    read_block: Callable[[int], np.ndarray]
    places: np.ndarray

    @property
    def status(self) -> ReadStatus:
        """Which photos could be read; it does not keep the model in memory."""
        return ReadStatus(self.converted, self.reasons)

    @property
    def matrix(self) -> np.ndarray:
        """All features in memory: ``[n, dim]`` float32, zero rows for unreadable photos."""
        return self.rows(np.arange(len(self.places)))

    def rows(self, index: np.ndarray) -> np.ndarray:
        """Return the features ``[m, dim]`` of these rows of the manifest.

        Raises:
            CounterGroundError: a block was lost since, and its photos cannot be encoded again.
        """
        places = self.places[index]
        blocks = places // self.block_size
        found = np.empty((len(places), self.dim), dtype=np.float32)
        for number in np.unique(blocks).tolist():
            here = blocks == number
            found[here] = self.read_block(number)[places[here] - number * self.block_size]
        return found
