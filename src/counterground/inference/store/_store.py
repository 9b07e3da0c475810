"""Features on disk, keyed by what a photo contains and by what encoded it.

One shard per block, ``<name>.safetensors``, written in one step: ``features`` ``[n, d]``, ``photo_id``
``[n, 32]`` (the bytes of the hashes), ``converted`` ``[n]``, a ``checksum`` of all of it, and in the header
why photos could not be read. Names are hashes of the block's photos: two processes that encode the same
block write the same file.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import mmap
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from counterground.files import warn_damaged, write_bytes, write_text

_LAYOUT = "2: one file per block, with a checksum"
_DTYPES = {"features": np.float32, "photo_id": np.uint8, "converted": np.bool_, "checksum": np.uint8}
# What reading a damaged header may raise.
_DAMAGED = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    OverflowError,
    RecursionError,
)
# Limit for the shards that stay in memory, all stores together, and what the objects of one take at most.
KEPT_BYTES = 32_000_000
_OBJECTS = 4_000


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


class _Recent:
    """The shards that were read last, of all stores together: a run may have dozens of stores."""

    def __init__(self) -> None:
        self._shards: OrderedDict[tuple[int, str], _Shard] = OrderedDict()
        self._bytes, self._lock = 0, threading.Lock()

    def get(self, store: int, name: str) -> _Shard | None:
        with self._lock:
            if (store, name) in self._shards:
                self._shards.move_to_end((store, name))
            return self._shards.get((store, name))

    def add(self, store: int, name: str, shard: _Shard) -> None:
        with self._lock:
            if (store, name) in self._shards:  # another thread has read it, too
                return
            self._shards[store, name] = shard
            self._bytes += shard.size
            while self._bytes > KEPT_BYTES and len(self._shards) > 1:
                _, oldest = self._shards.popitem(last=False)
                self._bytes -= oldest.size


_RECENT, _NUMBERS = _Recent(), itertools.count()


class FeatureStore:
    """Blocks of features of one model under one way of running it; threads may share it."""

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        self.folder = folder
        self._about = about
        self._index: _Index | None = None
        self._number = next(_NUMBERS)

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
        exact = self._read(_shard_name(photo_ids))
        if exact is not None and np.array_equal(exact.ids, ids):
            return exact.block
        return self._assemble(ids)

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

    def _read(self, name: str) -> _Shard | None:
        shard = _RECENT.get(self._number, name)
        if shard is None and (shard := read_shard(self.folder / f"{name}.safetensors")) is not None:
            _RECENT.add(self._number, name, shard)
        return shard

    def _assemble(self, ids: np.ndarray) -> Block | None:
        if self._index is None:
            self._index = _Index.of(self.folder)
        places = self._index.find(ids)
        if places is None:
            return None
        shards, rows = places
        features: np.ndarray | None = None
        converted = np.zeros(len(ids), dtype=bool)
        for number in np.unique(shards):
            shard, here = self._read(self._index.names[number]), shards == number
            if shard is None or not np.array_equal(shard.ids[rows[here]], ids[here]):
                return None
            if features is None:
                features = np.empty((len(ids), shard.block.features.shape[1]), dtype=np.float32)
            features[here] = shard.block.features[rows[here]]
            converted[here] = shard.block.converted[rows[here]]
        return None if features is None else Block(features, converted, (None,) * len(ids))


@dataclass(frozen=True)
class _Shard:
    """A block and the hashes of its photos, ``[n, 32]`` bytes."""

    ids: np.ndarray
    block: Block

    @property
    def size(self) -> int:
        """About as many bytes as it takes in memory."""
        return self.block.features.nbytes + self.ids.nbytes + _OBJECTS


@dataclass(frozen=True)
class _Index:
    """Where each readable photo lies: by the first 8 bytes of its hash, sorted, so 16 bytes for a photo.

    Built once, from the shards that are present. Whoever reads a row compares the whole hash.
    """

    names: list[str]
    keys: np.ndarray
    shards: np.ndarray
    rows: np.ndarray

    @classmethod
    def of(cls, folder: Path) -> _Index:
        names: list[str] = []
        keys, shards, rows = [], [], []
        for path in sorted(folder.glob("[!.]*.safetensors")):
            shard = read_shard(path)
            if shard is None:
                continue
            readable = np.flatnonzero(shard.block.status.readable)
            keys.append(_keys(shard.ids[readable]))
            shards.append(np.full(len(readable), len(names), dtype=np.int32))
            rows.append(readable.astype(np.int32))
            names.append(path.stem)
        if not names:
            nothing = np.zeros(0, dtype=np.int32)
            return cls([], nothing.astype(np.uint64), nothing, nothing)
        key = np.concatenate(keys)
        order = np.argsort(key, kind="stable")
        return cls(names, key[order], np.concatenate(shards)[order], np.concatenate(rows)[order])

    def find(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Return shard and row of each photo, None if one is not there."""
        keys = _keys(ids)
        at = np.searchsorted(self.keys, keys)
        if not len(self.keys) or (at == len(self.keys)).any() or (self.keys[at] != keys).any():
            return None
        return self.shards[at], self.rows[at]


def read_shard(path: Path) -> _Shard | None:
    """Read a shard and verify its checksum; None if it is absent or damaged.

    It is not mapped: each mapped file counts as open, and a process may have only about a thousand of them.
    """
    try:
        data = path.read_bytes()
    except OSError:
        return None
    shard = _parsed(data)
    if shard is None:
        warn_damaged(path)
    return shard


def stored_photos(folder: Path) -> int:
    """Return how many photos a store holds something for; checksums are not verified."""
    keys = [np.zeros(0, dtype=np.uint64)]
    for path in folder.glob("[!.]*.safetensors"):
        with suppress(OSError, *_DAMAGED), path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            keys.append(_keys(_tensor(data, *_header(data), "photo_id")))
    return len(np.unique(np.concatenate(keys)))


def _header(data: mmap.mmap | bytes) -> tuple[dict[str, Any], int]:
    """Return the header of a safetensors file, and where its tensors begin."""
    start = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:start]), start


def _parsed(data: mmap.mmap | bytes) -> _Shard | None:
    """Return the shard in these bytes, which are not copied; None if they are damaged."""
    try:
        header, start = _header(data)
        reasons = header["__metadata__"]["reasons"]
        found = {name: _tensor(data, header, start, name) for name in _DTYPES}
        if found["checksum"].tobytes() != _checksum(reasons, found):
            return None
        by_row = json.loads(reasons)
        n = len(found["photo_id"])
        rows = tuple(by_row.get(str(row)) for row in range(n)) if by_row else (None,) * n
        return _Shard(found["photo_id"], Block(found["features"], found["converted"], rows))
    except _DAMAGED:
        return None


def _tensor(data: mmap.mmap | bytes, header: Mapping[str, Any], start: int, name: str) -> np.ndarray:
    shape, begin = header[name]["shape"], header[name]["data_offsets"][0]
    return np.frombuffer(data, _DTYPES[name], math.prod(shape), start + begin).reshape(shape)


def _serialized(shard: _Shard) -> bytes:
    import safetensors.numpy

    block = shard.block
    reasons = json.dumps({row: reason for row, reason in enumerate(block.reasons) if reason is not None})
    tensors = {
        "features": np.ascontiguousarray(block.features, dtype=np.float32),
        "photo_id": shard.ids,
        "converted": np.asarray(block.converted, dtype=bool),
    }
    checksum = np.frombuffer(_checksum(reasons, tensors), np.uint8)
    return safetensors.numpy.save({**tensors, "checksum": checksum}, metadata={"reasons": reasons})


def _checksum(reasons: str, tensors: Mapping[str, np.ndarray]) -> bytes:
    digest = hashlib.blake2b(reasons.encode(), digest_size=16)
    for name in ("features", "photo_id", "converted"):
        digest.update(f"{name} {tensors[name].dtype} {tensors[name].shape}".encode())
        digest.update(tensors[name].data)
    return digest.digest()


def _shard_name(photo_ids: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(photo_ids).encode()).hexdigest()[:32]


def _packed(photo_ids: Sequence[str]) -> np.ndarray:
    """Return hex hashes as bytes: ``[n, 32]``."""
    return np.frombuffer(bytes.fromhex("".join(photo_ids)), dtype=np.uint8).reshape(len(photo_ids), 32)


def _keys(ids: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(ids[:, :8]).view(np.uint64)[:, 0]


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
