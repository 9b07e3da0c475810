"""Files: atomic writes, of which a reader sees the old one or the new one, and reads of regular files only.

Guaranteed: temporary file in the target's folder, fsync, rename. Not guaranteed: the folder entry itself is
not fsynced, so after a power cut the old file may be the one that remains. Files that carry a checksum may
skip the fsync.

What a killed process left half written is removed when another one writes to the same folder `STALE_SECONDS`
later. Its names carry a mark, so that no other file is taken for one.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import tempfile
import time
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from counterground.errors import CounterGroundError, UsageError

if TYPE_CHECKING:
    import polars as pl

T = TypeVar("T")

MOST_TEXT = 2**28
"""The most bytes of a file that is read as text or settings; no list of names or prompts is larger."""

STALE_SECONDS = 6 * 3600
"""Longer than any download or build takes, so a draft that old was left by a killed process."""

_LONGEST_NAME = 255  # bytes, on usual file systems
_LEFT = re.compile(r"\..+\.cg-[\w-]{8}\.(?:tmp|draft)")
_swept: set[Path] = set()


class DamagedCacheWarning(UserWarning):
    """A damaged file of the cache, or another file that can be rebuilt, is rebuilt."""


def cache_dir() -> Path:
    """Return the folder for what can be rebuilt, by default ``~/.cache/counterground``.

    ``$COUNTERGROUND_CACHE`` names another one, ``$XDG_CACHE_HOME`` another location for all caches.

    Raises:
        CounterGroundError: none is named, and there is no home folder.
    """
    if chosen := os.environ.get("COUNTERGROUND_CACHE"):
        return Path(chosen)
    caches = Path(os.environ.get("XDG_CACHE_HOME", ""))  # an XDG path must be absolute, or is ignored
    if caches.is_absolute():
        return caches / "counterground"
    try:
        return Path.home() / ".cache" / "counterground"
    except RuntimeError as error:  # as for a user of a container whom the system does not know
        raise CounterGroundError(
            "There is no home folder for what can be rebuilt: name another one with COUNTERGROUND_CACHE."
        ) from error


def relative_way(start: Path, end: Path) -> str:
    """Return the relative path from one folder to another, so that the two may move together."""
    start, end = start.resolve(), end.resolve()
    try:
        return Path(os.path.relpath(end, start)).as_posix()
    except ValueError:  # two drives of Windows
        return end.as_posix()


def check_apart(out: Path, folder: Path, what: str) -> None:
    """Refuse an output that is one of the user's folders, lies in it, or holds it.

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

    Without ``sync``, a power cut may leave a damaged file: use it only for files whose readers notice that.

    The file is created with the permissions of any new file: the kernel applies the umask, which belongs to
    the whole process and cannot be read without changing it for all threads.

    Raises:
        CounterGroundError: the folder cannot be made or written (read-only, disk full, not a folder), or the
            path names no file.
    """
    if not path.name:
        raise CounterGroundError(f"{str(path)!r} is a folder: name a file in it.")
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.parent not in _swept:  # once, since there may be very many files in it
            _swept.add(path.parent)
            _sweep(path.parent)
        temporary = temporary_name(path, "tmp")
        temporary.touch(exist_ok=False)
        yield temporary
        if sync:
            with temporary.open("rb+") as written:  # Windows refuses to flush what is open for reading only
                os.fsync(written.fileno())
        temporary.replace(path)
        temporary = None
    except OSError as error:
        raise CounterGroundError(_advice(path, error)) from error
    finally:
        if temporary is not None:
            with suppress(OSError):  # the error that led here says more
                temporary.unlink(missing_ok=True)


@contextmanager
def draft_folder(target: Path) -> Iterator[Path]:
    """Yield a new hidden folder beside ``target``, for the caller to fill and rename; removed if left there.

    Raises:
        OSError: it cannot be made.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target.parent)
    draft = temporary_name(target, "draft")
    draft.mkdir()
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def place_once(draft: Path, folder: Path) -> None:
    """Rename a finished draft to ``folder``, unless another process has already put the same content there.

    Raises:
        OSError: it cannot be renamed.
    """
    try:
        draft.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


def temporary_name(path: Path, kind: str) -> Path:
    """Return a new hidden name beside ``path``, which is swept away if its process is killed."""
    end = f".cg-{secrets.token_urlsafe(6)}.{kind}"
    start = os.fsencode(path.name)[: _LONGEST_NAME - len(end) - 1].decode(errors="ignore")
    return path.with_name(f".{start}{end}")


def _sweep(folder: Path) -> None:
    """Remove what killed processes left in a folder."""
    for left in list(folder.iterdir()):
        if _LEFT.fullmatch(left.name):
            with suppress(OSError):  # another process sweeps, too
                if time.time() - left.stat().st_mtime > STALE_SECONDS:
                    shutil.rmtree(left) if left.is_dir() else left.unlink()


@contextmanager
def file_lock(file: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Wait until no other process holds the lock ``file``; the system frees that of a killed process.

    Args:
        file: it stays when the lock is given back.
        waiting: called once, if another process has the lock.

    Raises:
        CounterGroundError: the lock cannot be opened, or is a link, which is not followed.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(file)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            waiting()
            lock.acquire(poll_interval=0.2)
    except OSError as error:
        what = "is a link: remove it" if file.is_symlink() else f"cannot be opened ({error.strerror})"
        raise CounterGroundError(f"The lock {file} {what}, and try again.") from error
    try:
        yield
    finally:
        lock.release()


def check_writable(folder: Path) -> None:
    """Make ``folder`` and check that a file can be written in it, before hours of work depend on it.

    Files in it that killed processes left half written are removed.

    Raises:
        CounterGroundError: it cannot be made or written, or it is a file.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(4096))
        _sweep(folder)
    except OSError as error:
        raise CounterGroundError(_advice(folder, error)) from error


def write_bytes(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Write ``data`` to ``path`` atomically, ``sync`` as in `atomic_path`."""
    with atomic_path(path, sync=sync) as temporary:
        temporary.write_bytes(data)


def read_rebuildable(path: Path, read: Callable[[bytes], T]) -> T | None:
    """Return what ``read`` makes of a file; None if it is absent or, with a warning, cannot be read."""
    try:
        return read(path.read_bytes())
    except FileNotFoundError:
        return None
    except Exception:  # each format has errors of its own
        warn_damaged(path)
        return None


def warn_damaged(path: Path) -> None:
    """Warn in one line that a damaged file is rebuilt."""
    warnings.warn(f"{path} is damaged: it is rebuilt.", DamagedCacheWarning, stacklevel=2)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` as UTF-8, atomically."""
    write_bytes(path, text.encode())


def write_parquet(path: Path, frame: pl.DataFrame, metadata: dict[str, str] | None = None) -> None:
    """Write ``frame`` to ``path`` as Parquet with metadata of the file, atomically.

    The same frame gives the same bytes. Python writes them, because Polars does not always say why it cannot.
    """
    content = BytesIO()
    frame.write_parquet(content, compression="zstd", statistics=False, metadata=metadata)
    write_bytes(path, content.getvalue())


def _advice(path: Path, error: OSError) -> str:
    remedy = "Free some space there" if error.errno == errno.ENOSPC else "Choose another folder"
    with suppress(CounterGroundError):
        if path.is_relative_to(cache_dir()):
            remedy += "; the cache can be moved with COUNTERGROUND_CACHE"
    return f"Cannot write {path}: {error.strerror or error}. {remedy}."


def given_path(text: str) -> Path:
    """Return a path as the user wrote it, with ``~`` replaced if there is such a home."""
    try:
        return Path(text).expanduser()
    except (RuntimeError, ValueError):  # a home that is unknown, or that no system has
        return Path(text)


def is_file(path: Path) -> bool:
    """Return whether it is a file; `Path.is_file` raises on an impossible name, such as one too long."""
    return os.path.isfile(path)  # noqa: PTH113 - it does not raise


def is_folder(path: Path) -> bool:
    """Return whether it is a folder; see `is_file`."""
    return os.path.isdir(path)  # noqa: PTH112 - it does not raise


def open_regular(path: str | Path, most: int | None = None) -> BufferedReader:
    """Open a file that others wrote: never a pipe, a socket or a device, which might be read forever.

    Args:
        path: the file; links are followed.
        most: cap on its bytes; None: any number.

    Raises:
        OSError: it cannot be opened, is not a regular file, has more bytes, or no file can have that name.
    """
    try:
        # A pipe would wait for its other end.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
    except ValueError as error:  # a null byte, or half a surrogate pair
        raise OSError(errno.EINVAL, "no file can have that name", repr(path)[:200]) from error
    found = os.fstat(handle)
    problem = None
    if stat.S_ISDIR(found.st_mode):
        problem = errno.EISDIR, os.strerror(errno.EISDIR)
    elif not stat.S_ISREG(found.st_mode):
        problem = errno.EINVAL, "not a regular file"
    elif most is not None and found.st_size > most:
        problem = errno.EFBIG, f"it has {found.st_size:,} bytes, and no more than {most:,} are read"
    if problem is not None:
        os.close(handle)
        raise OSError(*problem, str(path))
    return os.fdopen(handle, "rb")


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes in hex.

    Raises:
        OSError: see `open_regular`.
    """
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_text(path: str | Path, most: int | None = MOST_TEXT) -> str:
    """Return the text of a file in UTF-8, with or without a byte-order mark.

    Raises:
        OSError: see `open_regular`.
        UnicodeDecodeError: it is not UTF-8.
    """
    with open_regular(path, most) as file:
        return file.read().decode("utf-8-sig")


def read_json(path: str | Path, most: int | None = MOST_TEXT) -> Any:
    """Return what a JSON file holds.

    Raises:
        OSError: see `open_regular`.
        ValueError: see `parse_json`; or it is not UTF-8.
    """
    return parse_json(read_text(path, most))


def parse_json(text: str) -> Any:
    """Return what a JSON text holds.

    Raises:
        ValueError: it is not JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_parquet(path: Path) -> pl.DataFrame:
    """Read a Parquet file; its name is not a pattern.

    Raises:
        OSError: it cannot be opened, or is not a regular file.
        PolarsError: it is damaged or not Parquet.
    """
    with no_panic():
        return scan_parquet(path).collect()


def scan_parquet(path: Path) -> pl.LazyFrame:
    """Return the rows of a Parquet file, for use within `no_panic`; see `read_parquet`."""
    import polars as pl

    open_regular(path).close()
    return pl.scan_parquet(path, glob=False)


@contextmanager
def no_panic() -> Iterator[None]:
    """Turn a panic of Polars into an error of Polars.

    Raises:
        PolarsError: there was one.
    """
    import polars as pl

    try:
        yield
    except pl.exceptions.PanicException as error:
        raise pl.exceptions.ComputeError("it is damaged") from error
