"""Crops on disk, in 8 bits, so that another model or another run does not decode the same photos again.

One file per block of photos and geometry, with a checksum; a damaged one is rebuilt. Together they stay
below a limit: crops of earlier runs are removed, the oldest first.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from counterground.errors import CounterGroundError, UsageError
from counterground.files import cache_dir, warn_damaged, write_bytes

if TYPE_CHECKING:
    import torch

LIMIT_VARIABLE = "COUNTERGROUND_CROPS_GB"
_DEFAULT_GB = 4.0
# Crops take at most one part in this many of the free disk space.
_SHARE_OF_FREE = 4


@dataclass(frozen=True)
class Decoded:
    """A photo ready to be encoded, or why it is unreadable; ``permanent`` if its content is the reason."""

    prepared: Any = None
    converted: bool = False
    reason: str | None = None
    permanent: bool = True


class CropStore:
    """Crops ``[3, h, w]`` uint8 of blocks of photos, by geometry and by the content of the photos.

    Args:
        limit: bytes that all crops may take; 0 keeps and reads none.
    """

    def __init__(self, limit: int) -> None:
        self._root, self._limit = cache_dir() / "crops", limit
        self._earlier: list[tuple[float, int, Path]] | None = None
        self._size, self._full = 0, False

    @classmethod
    def open(cls) -> CropStore:
        """Open the crops in the cache; ``$COUNTERGROUND_CROPS_GB`` is their limit (10^9 bytes), by default 4.

        Raises:
            UsageError: the variable is not a number.
        """
        given = os.environ.get(LIMIT_VARIABLE, "")
        try:
            limit = int(float(given or _DEFAULT_GB) * 1e9)
        except (ValueError, OverflowError) as error:
            raise UsageError(f"{LIMIT_VARIABLE} must be a number of gigabytes, not {given!r}.") from error
        return cls(max(0, limit))

    def get(self, geometry: str, photo_ids: Sequence[str]) -> list[Decoded] | None:
        """Return the crops of exactly these photos, None if they are not stored or are damaged."""
        from safetensors import safe_open

        if not self._limit:
            return None
        path = self._path(geometry, photo_ids)
        try:
            with safe_open(path, "pt") as file:
                about, crops = json.loads(file.metadata()["about"]), file.get_tensor("crops")
            if about["checksum"] == _checksum(crops, about["photos"]):
                pairs = zip(crops, about["photos"], strict=True)
                found = [Decoded(crop if note["reason"] is None else None, **note) for crop, note in pairs]
                if len(found) == len(photo_ids):
                    return found
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, ValueError, KeyError, TypeError):
            pass
        warn_damaged(path)
        return None

    def put(self, geometry: str, photo_ids: Sequence[str], photos: Sequence[Decoded]) -> None:
        """Keep the crops of a block, unless there is no room or a photo may be readable the next time."""
        import torch
        from safetensors.torch import save

        given = [photo.prepared for photo in photos if photo.reason is None]
        if self._full or not (self._limit and given and all(photo.permanent for photo in photos)):
            return
        blank = torch.zeros_like(given[0])
        crops = torch.stack([blank if photo.reason is not None else photo.prepared for photo in photos])
        notes = [{"converted": photo.converted, "reason": photo.reason} for photo in photos]
        about = json.dumps({"checksum": _checksum(crops, notes), "photos": notes})
        data = save({"crops": crops}, {"about": about})
        try:
            if self._make_room(len(data)):
                write_bytes(self._path(geometry, photo_ids), data)
        except (OSError, CounterGroundError):  # a cache that cannot be written only costs time
            self._full = True

    def _path(self, geometry: str, photo_ids: Sequence[str]) -> Path:
        name = hashlib.sha256("\n".join(photo_ids).encode()).hexdigest()[:32]
        return self._root / hashlib.sha256(geometry.encode()).hexdigest()[:32] / f"{name}.safetensors"

    def _make_room(self, size: int) -> bool:
        """Remove crops of earlier runs, the oldest first, until ``size`` more bytes fit below the limit."""
        if self._earlier is None:
            self._root.mkdir(parents=True, exist_ok=True)
            self._limit = min(self._limit, shutil.disk_usage(self._root).free // _SHARE_OF_FREE)
            found = []
            for path in self._root.glob("*/*.safetensors"):
                with suppress(FileNotFoundError):  # another process has removed it
                    fact = path.stat()
                    found.append((fact.st_mtime, fact.st_size, path))
            self._earlier = sorted(found, reverse=True)
            self._size = sum(each[1] for each in self._earlier)
        while self._size + size > self._limit and self._earlier:
            _, freed, path = self._earlier.pop()
            path.unlink(missing_ok=True)
            self._size -= freed
        if self._size + size > self._limit:
            return False
        self._size += size
        return True


def _checksum(crops: torch.Tensor, notes: list[dict[str, Any]]) -> int:
    return zlib.crc32(json.dumps(notes).encode(), zlib.crc32(crops.numpy().data))
