"""Atomic writes of files and folders: a reader sees the old one or the new one, never half of either.

Guaranteed: temporary file in the target's folder, fsync, rename. Given up: the folder entry itself is
not fsynced, so after a power cut the old file may be the one that remains. Files that carry a checksum may
do without the fsync.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from counterground.errors import CounterGroundError, UsageError

if TYPE_CHECKING:
    import polars as pl


STALE_SECONDS = 6 * 3600
"""Longer than any download or build takes: a draft that old was left by a process that was killed."""

_DIGEST = hashlib.sha256().digest_size


def cache_dir() -> Path:
    """Folder for what can be made again, by default ``~/.cache/counterground``.

    ``$COUNTERGROUND_CACHE`` names another one, ``$XDG_CACHE_HOME`` another place for all caches.
    """
    if chosen := os.environ.get("COUNTERGROUND_CACHE"):
        return Path(chosen)
    caches = Path(os.environ.get("XDG_CACHE_HOME", ""))  # an XDG path must be absolute, or is ignored
    return (caches if caches.is_absolute() else Path.home() / ".cache") / "counterground"


def relative_way(start: Path, end: Path) -> str:
    """Return the way from one folder to another, so that the two may move together."""
    start, end = start.resolve(), end.resolve()
    try:
        return Path(os.path.relpath(end, start)).as_posix()
    except ValueError:  # two drives of Windows
        return end.as_posix()


def check_apart(out: Path, folder: Path, what: str) -> None:
    """Refuse an output that is a folder of one's own, lies in it, or holds it.

    Args:
        out: the file or folder that will be written.
        folder: what must not be written into.
        what: what ``folder`` is, as in "the benchmark".

    Raises:
        UsageError: it is, lies in, or holds ``folder``.
    """
    target, kept = out.resolve(), folder.resolve()
    if target == kept or target in kept.parents or kept in target.parents:
        how = "is" if target == kept else "holds" if target in kept.parents else "lies in"
        raise UsageError(f"--out {out} {how} {what} ({folder}): choose another folder.")


def check_only(folder: Path, expected: Collection[str], what: str) -> None:
    """Refuse a folder that holds other files than ``expected``; hidden ones do not count.

    Raises:
        UsageError: it is a file, or holds something else.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: choose a folder.")
    others = sorted(entry.name for entry in folder.glob("[!.]*") if entry.name not in expected)
    if others:
        raise UsageError(
            f"{folder} holds files that are not {what} ({others[0]!r}): choose an empty or a new folder."
        )


@contextmanager
def atomic_path(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; renamed to ``path`` on success, removed on failure.

    Without ``sync``, a power cut may leave a damaged file: only for files whose readers notice that.

    The file is made with the permissions of any new file: the kernel applies the umask, which belongs to the
    whole process and cannot be read without changing it for all threads.

    Raises:
        CounterGroundError: the folder cannot be made or written (read-only, disk full, not a folder).
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unused = path.with_name(f".{path.name}.{secrets.token_urlsafe(6)}.tmp")
        os.close(os.open(unused, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666))
        temporary = unused
        yield temporary
        if sync:
            with temporary.open("rb+") as written:  # Windows refuses to flush what is open for reading only
                os.fsync(written.fileno())
        temporary.replace(path)
    except OSError as error:
        raise CounterGroundError(_advice(path, error)) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextmanager
def draft_folder(target: Path) -> Iterator[Path]:
    """Yield a new hidden folder beside ``target``, for the caller to fill and rename; removed if it is left.

    Drafts there that killed processes left hours ago are removed, too.

    Raises:
        OSError: it cannot be made.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(".*.draft"):
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
    draft = target.with_name(f".{target.name}.{secrets.token_urlsafe(6)}.draft")
    draft.mkdir()
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def check_writable(folder: Path) -> None:
    """Make ``folder`` and check that a file can be written in it, before hours of work depend on it.

    Raises:
        CounterGroundError: it cannot be made or written, or it is a file.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(4096))
    except OSError as error:
        raise CounterGroundError(_advice(folder, error)) from error


def write_bytes(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Write ``data`` to ``path`` atomically; ``sync`` as in `atomic_path`."""
    with atomic_path(path, sync=sync) as temporary:
        temporary.write_bytes(data)


def write_checked(path: Path, data: bytes) -> None:
    """Write ``data`` and its SHA-256 after it, atomically, for `read_checked`."""
    write_bytes(path, data + hashlib.sha256(data).digest(), sync=False)


def read_checked(path: Path) -> bytes | None:
    """Return what `write_checked` wrote; None where the file is absent or a byte of it has changed."""
    try:
        found = path.read_bytes()
    except OSError:
        return None
    data = found[:-_DIGEST]
    return data if hashlib.sha256(data).digest() == found[-_DIGEST:] else None


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` as UTF-8, atomically."""
    write_bytes(path, text.encode())


def write_parquet(path: Path, frame: pl.DataFrame) -> None:
    """Write ``frame`` to ``path`` as Parquet, atomically; the same frame gives the same bytes."""
    with atomic_path(path) as temporary:
        frame.write_parquet(temporary, compression="zstd", statistics=False)


def _advice(path: Path, error: OSError) -> str:
    remedy = "Free some space there" if error.errno == errno.ENOSPC else "Choose another folder"
    if path.is_relative_to(cache_dir()):
        remedy += "; the cache can be moved with COUNTERGROUND_CACHE"
    return f"Cannot write {path}: {error.strerror or error}. {remedy}."
