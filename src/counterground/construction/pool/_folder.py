"""A pool as a folder: what makes one, where its photos are, and the refusal of paths outside it."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from counterground.errors import CounterGroundError

DATABASE_FILE = "decisions.sqlite"
FILES = "files"
_PLAIN = re.compile(r"[a-z0-9]+(?:[ -][a-z0-9]+)*")
_RESERVED = re.compile(r"con|prn|aux|nul|(com|lpt)\d")


def is_pool(path: str | Path) -> bool:
    """Return whether the folder is a pool."""
    return (Path(path) / DATABASE_FILE).is_file()


def class_folder(class_name: str) -> str:
    """Return the folder name of a class: safe on every system, and different for different classes."""
    plain = class_name.replace(" ", "_")
    if _PLAIN.fullmatch(class_name) and not _RESERVED.fullmatch(class_name) and len(plain) <= 60:
        return plain
    readable = re.sub(r"[^a-z0-9]+", "_", class_name.lower())[:50].strip("_") or "class"
    return f"{readable}-{hashlib.sha256(class_name.encode()).hexdigest()[:8]}"


def inside_files(root: Path, path: str) -> Path:
    """Return the file at a photo's path, which must be below ``files/`` of the pool and not be a link.

    Raises:
        CounterGroundError: the file is elsewhere, is a link, or is missing.
    """
    parts = path.split("/")
    file = root / path
    inside = parts[0] == FILES and len(parts) > 1 and not {"", ".", ".."} & set(parts)
    if not inside or "\\" in path or file.is_symlink() or leads_out(root, file):
        raise CounterGroundError(f"{path!r} is not a file below {FILES}/ of the pool, or is a link.")
    if not file.is_file():
        raise CounterGroundError(f"The pool has no file {path!r}.")
    return file


def leads_out(root: Path, place: Path) -> bool:
    """Return whether a link on the path to a place, including ``files/`` itself, leads out of the pool."""
    return not place.resolve().is_relative_to(root.resolve() / FILES)
