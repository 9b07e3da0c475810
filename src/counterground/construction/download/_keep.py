"""Put one photo into the pool: decoded before it is kept, and named so that it is found again."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from counterground.construction.pool import leads_out
from counterground.errors import CounterGroundError
from counterground.files import atomic_path
from counterground.photos import UnreadablePhoto, image_type, load_photo

_PLAIN_KEY = re.compile(r"[a-z]{1,20}:[a-z0-9]{1,40}")
_SUFFIXES = (".jpg", ".png", ".webp", ".gif", ".bmp", ".tif", ".ppm", ".avif")


@dataclass(frozen=True)
class KeptPhoto:
    """A photo in the pool that can be decoded; the fields are columns of ``PHOTO_SCHEMA``."""

    path: str
    photo_id: str
    width: int
    height: int
    bytes: int


def file_stem(key: str, name: str = "") -> str:
    """Return the file name, without suffix, that a photo of this key has in every pool.

    ``inaturalist:123`` is ``inaturalist-123``; other keys are hashed, after the readable part of ``name``.
    """
    if _PLAIN_KEY.fullmatch(key):
        return key.replace(":", "-")
    readable = re.sub(r"[^a-z0-9]+", "-", name.lower())[:40].strip("-") or "photo"
    return f"{readable}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def keep_photo(root: Path, folder: str, stem: str, data: bytes, origin: Path | None = None) -> KeptPhoto:
    """Write a photo's bytes to ``files/<folder>/<stem>.<suffix of its content>`` of the pool, atomically.

    Args:
        root: the pool's folder.
        folder: the class folder.
        stem: see ``file_stem``.
        data: the file as received; it is kept byte for byte.
        origin: the photo's name in errors; None: the file in the pool.

    Raises:
        UnreadablePhoto: the bytes cannot be decoded as a photo; nothing is written.
        CounterGroundError: the pool cannot be written, or a link in it leads elsewhere.
    """
    kind = image_type(data)  # by content: addresses and headers are often wrong
    target = root / "files" / folder / f"{stem}{kind.suffix if kind else '.jpg'}"
    if leads_out(root, target.parent):
        raise CounterGroundError(f"{target.parent} is a link out of the pool: replace it with a folder.")
    with atomic_path(target) as temporary:
        temporary.write_bytes(data)
        try:
            image = load_photo(temporary, rgb=False).image
        except UnreadablePhoto as error:
            raise UnreadablePhoto(origin or target, error.reason) from error
    return KeptPhoto(
        target.relative_to(root).as_posix(), hashlib.sha256(data).hexdigest(), *image.size, len(data)
    )


def find_photo(root: Path, folder: str, stem: str) -> KeptPhoto | None:
    """Return the photo that ``keep_photo`` wrote under this name before, if it can still be decoded."""
    for suffix in _SUFFIXES:
        target = root / "files" / folder / f"{stem}{suffix}"
        if target.is_file() and not target.is_symlink():
            try:
                data = target.read_bytes()
                image = load_photo(target, rgb=False).image
            except (OSError, UnreadablePhoto):
                continue
            path = target.relative_to(root).as_posix()
            return KeptPhoto(path, hashlib.sha256(data).hexdigest(), *image.size, len(data))
    return None
