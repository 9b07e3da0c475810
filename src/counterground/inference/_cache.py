"""List the cache, and remove what was long unused. What other processes use stays correct."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from counterground.errors import CounterGroundError, UsageError, did_you_mean
from counterground.files import STALE_SECONDS, cache_dir, draft_folder
from counterground.inference._store import stored_photos

COMPUTED = ("features", "losses", "heads", "measures", "masks", "scripts")
"""Parts of the cache that are computed again when missing; the others are removed only if named."""

_STORES = ("features", "losses")

NAMED = (
    "answers",
    "benchmarks",
    "downloads",
    "fetched",
    "frames",
    "inaturalist",
    "mnist",
    "packages",
    "unpacked",
)
"""Parts that may have cost money, that count requests, or that hold photos."""


@dataclass(frozen=True)
class CacheEntry:
    """What is removed as a whole: a store of features, a text head, a benchmark.

    Attributes:
        part: the folder of the cache that it lies in.
        path: its file or folder.
        about: its ``meta.json``; empty without one.
        files: how many files it has, without those that are being written.
        size: size in bytes.
        photos: how many photos it holds features, losses or answers for; None for anything else.
        last_used: last use in seconds since 1970; without ``about`` as exact as the file system keeps it.
    """

    part: str
    path: Path
    about: dict[str, Any]
    files: int
    size: int
    photos: int | None
    last_used: float


def cache_entries(parts: Collection[str] = (), *, count_photos: bool = True) -> list[CacheEntry]:
    """Return the entries of the cache, parts in alphabetical order, most recently used first.

    Args:
        parts: folders of the cache; all by default.
        count_photos: whether to count the photos of each entry.
    """
    root, now = cache_dir(), time.time()
    entries = []
    for folder in sorted(path for path in root.glob("[!.]*") if path.is_dir()):
        if parts and folder.name not in parts:
            continue
        found = [_entry(path, count_photos) for path in folder.iterdir()]
        of_part = [entry for entry in found if entry is not None and not _in_use(entry, now)]
        entries += sorted(of_part, key=lambda entry: (-entry.last_used, entry.path.name))
    return entries


def prune_cache(
    parts: Sequence[str] = (),
    *,
    older_than: float | None = None,
    dry_run: bool = False,
) -> list[CacheEntry]:
    """Remove entries of the cache and return them. Another process that loses features encodes them again.

    Args:
        parts: folders of the cache; by default those of ``COMPUTED``.
        older_than: remove only what was not used for this many seconds.
        dry_run: remove nothing.

    Raises:
        UsageError: an unknown part.
        CounterGroundError: something cannot be removed.
    """
    known = {*COMPUTED, *NAMED, *(path.name for path in cache_dir().glob("[!.]*") if path.is_dir())}
    for part in parts:
        if part not in known:
            listed = ", ".join(sorted(known))
            raise UsageError(f"The cache has no part {part!r}; it has {listed}.{did_you_mean(part, known)}")
    entries = cache_entries(parts or COMPUTED, count_photos=dry_run)
    now = time.time()
    chosen = [entry for entry in entries if older_than is None or now - entry.last_used > older_than]
    if not dry_run:
        for entry in chosen:
            _remove(entry, now)
    return chosen


def _entry(path: Path, count_photos: bool) -> CacheEntry | None:
    """Return what is known of a file or folder, None if it has just been removed."""
    found = dict(_file_facts(path))
    facts = list(found.values())
    try:
        itself = path.stat().st_mtime
    except OSError:
        return None
    about = _about(path)  # after its files: a store that is being made had none yet
    if about:  # a store is touched when it is used
        last_used = max((fact.st_mtime for fact in facts), default=itself)
    else:
        last_used = max((max(fact.st_mtime, fact.st_atime) for fact in facts), default=itself)
    photos = _photos(path, about) if count_photos else None
    size = sum(fact.st_size for fact in facts)
    files = sum(not file.name.startswith(".") for file in found)
    return CacheEntry(path.parent.name, path, about, files, size, photos, last_used)


def _about(path: Path) -> dict[str, Any]:
    """Return what a store of features or losses says about itself."""
    if path.parent.name not in _STORES:
        return {}
    with suppress(OSError, ValueError):
        found = json.loads((path / "meta.json").read_text("utf-8"))
        return found if isinstance(found, dict) else {}
    return {}


def _in_use(entry: CacheEntry, now: float) -> bool:
    """Whether an entry is being written, or is a store about to be filled, rather than left behind."""
    passing = entry.path.name.startswith(".") or entry.files <= bool(entry.about)
    return passing and now - entry.last_used < STALE_SECONDS


def _file_facts(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    whole = path.is_dir() and not path.is_symlink()
    for file in path.rglob("*") if whole else [path]:
        with suppress(OSError):  # it has just been removed, or renamed
            if not file.is_dir():
                yield file, file.lstat()


def _photos(path: Path, about: dict[str, Any]) -> int | None:
    if about:
        return stored_photos(path)
    if path.parent.name == "answers" and path.suffix == ".sqlite":
        address = f"{path.absolute().as_uri()}?mode=ro"
        with suppress(sqlite3.Error), closing(sqlite3.connect(address, uri=True)) as answers:
            return int(answers.execute("SELECT COUNT(DISTINCT photo_id) FROM answers").fetchone()[0])
    return None


def _remove(entry: CacheEntry, now: float) -> None:
    """Remove a file, a folder in one step, or the shards of a store that may be in use: it stays writable."""
    path = entry.path
    try:
        if not path.is_dir() or path.is_symlink():
            path.unlink(missing_ok=True)
        elif entry.about and now - entry.last_used < STALE_SECONDS:
            for shard in path.glob("[!.]*.safetensors"):
                shard.unlink(missing_ok=True)
        else:
            with draft_folder(path) as aside:
                path.rename(aside / path.name)
    except FileNotFoundError:
        pass  # another process has removed it
    except OSError as error:
        raise CounterGroundError(f"Cannot remove {path}: {error.strerror or error}.") from error
