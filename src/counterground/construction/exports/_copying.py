"""Read each photo once, and check its hash."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from counterground.construction.exports._layout import Contents
from counterground.errors import CounterGroundError
from counterground.files import open_regular

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
