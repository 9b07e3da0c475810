"""Atomic writes of files and folders: a reader sees the old one or the new one, never half of either.

Guaranteed: temporary file in the target's folder, fsync, rename. Not guaranteed: the folder entry itself is
not fsynced, so after a power cut the old file may be the one that remains. Files that carry a checksum may
skip the fsync.

What a killed process left half written is removed when another one next writes to the same folder: temporary
files and drafts are locked as long as their process lives, and the system frees the locks of a killed one.
Their names carry a mark, so that no other file is taken for one, and say which machine made them: a file
system that several machines share need not show one machine the locks of another.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import re
import secrets
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterground.errors import CounterGroundError, UsageError
from counterground.reading import file_sha256, open_regular

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    import polars as pl


STALE_SECONDS = 6 * 3600
"""Longer than any download or build takes, so a draft that old was left by a killed process.

Age decides only where locks cannot: on file systems without them, and for the drafts of other machines.
"""

_NO_LOCK = -1
_LONGEST_NAME = 255  # bytes, on usual file systems
_MACHINE = hashlib.sha256(platform.node().encode()).hexdigest()[:6]
_LEFT = re.compile(r"\..+\.cg-([0-9a-f]{6})\.[\w-]{8}\.(?:tmp|draft)")
_swept: set[Path] = set()

_DIGEST = hashlib.sha256().digest_size
# The end of a record: what `write_record` adds to a JSON object.
_SEAL = re.compile(rb',\s*"sealed": \{"files": (\{[^{}]*\}), "sha256": "([0-9a-f]{64})"\}\s*\}\s*\Z')
_SEAL_END = re.compile(rb'"sha256":\s*"[^"]*"\}\s*\}\s*\Z')


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
    lock = _NO_LOCK
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.parent not in _swept:  # once, since there may be very many files in it
            _swept.add(path.parent)
            _sweep(path.parent)
        temporary, lock = _new_file(path)
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
        _unlock(lock)


@contextmanager
def draft_folder(target: Path) -> Iterator[Path]:
    """Yield a new hidden folder beside ``target``, for the caller to fill and rename; removed if left there.

    Raises:
        OSError: it cannot be made.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target.parent)
    draft, lock = _new_folder(target)
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        _unlock(lock)


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
    end = f".cg-{_MACHINE}.{secrets.token_urlsafe(6)}.{kind}"
    start = os.fsencode(path.name)[: _LONGEST_NAME - len(end) - 1].decode(errors="ignore")
    return path.with_name(f".{start}{end}")


def _new_file(path: Path) -> tuple[Path, int]:
    while True:
        made = temporary_name(path, "tmp")
        handle = os.open(made, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        if (lock := _lock(handle, made)) is not None:
            return made, lock


def _new_folder(path: Path) -> tuple[Path, int]:
    while True:
        made = temporary_name(path, "draft")
        made.mkdir()
        if fcntl is None:
            return made, _NO_LOCK
        with suppress(FileNotFoundError):
            if (lock := _lock(os.open(made, os.O_RDONLY), made)) is not None:
                return made, lock


def _lock(handle: int, path: Path) -> int | None:
    """Return the handle, which now has the lock; else close it.

    Returns ``_NO_LOCK`` if there are no locks, and None if another process has it or has removed the file.
    """
    lock: int | None = None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(handle), path.stat()):
            lock = handle
    except (BlockingIOError, FileNotFoundError):
        pass
    except (OSError, AttributeError):  # a file system, or a Windows, without them
        lock = _NO_LOCK
    if lock != handle:
        os.close(handle)
    return lock


def _unlock(lock: int) -> None:
    if lock != _NO_LOCK:
        os.close(lock)


def _sweep(folder: Path) -> None:
    """Remove what killed processes left in a folder."""
    for left in list(folder.iterdir()):
        if mark := _LEFT.fullmatch(left.name):
            with suppress(OSError):  # another process sweeps, too
                _remove_if_left(left, made_here=mark[1] == _MACHINE)


def _remove_if_left(left: Path, *, made_here: bool) -> None:
    if fcntl is None:  # an open file cannot be removed there
        lock: int | None = _NO_LOCK
    else:
        lock = _lock(os.open(left, os.O_RDONLY), left)
    if lock is None:
        return
    try:
        if (made_here and lock != _NO_LOCK) or time.time() - left.stat().st_mtime > STALE_SECONDS:
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    finally:
        _unlock(lock)


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


def write_bytes(path: Path, data: bytes, *, sync: bool = True) -> str:
    """Write ``data`` to ``path`` atomically, ``sync`` as in `atomic_path`; return its SHA-256."""
    with atomic_path(path, sync=sync) as temporary:
        temporary.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def write_checked(path: Path, data: bytes) -> None:
    """Write ``data``, followed by its SHA-256, atomically, for `read_checked`."""
    write_bytes(path, data + hashlib.sha256(data).digest(), sync=False)


def read_checked(path: Path) -> bytes | None:
    """Return what `write_checked` wrote; None if the file is absent or, with a warning, changed."""
    try:
        found = path.read_bytes()
    except OSError:
        return None
    data = found[:-_DIGEST]
    if hashlib.sha256(data).digest() == found[-_DIGEST:]:
        return data
    warn_damaged(path)
    return None


def warn_damaged(path: Path) -> None:
    """Warn in one line that a damaged file is rebuilt."""
    warnings.warn(f"{path} is damaged: it is rebuilt.", DamagedCacheWarning, stacklevel=2)


def write_record(path: Path, text: str, beside: Mapping[str, str] | None = None) -> None:
    """Write a JSON object atomically, with a seal as its last member ``sealed``, for `read_record`.

    The seal holds the SHA-256 of the object's bytes and, by name, of the files ``beside`` it. The functions
    that wrote those files return their hashes, so a file that another process replaces does not match.
    """
    body = text.rstrip().removesuffix("}").rstrip()
    files = json.dumps(dict(beside or {}))
    seal = f'"sealed": {{"files": {files}, "sha256": "{_seal(body.encode(), files.encode())}"}}'
    indented = re.match(r"\{(\n *)", body)
    write_text(path, f"{body},{indented[1]}{seal}\n}}\n" if indented else f"{body}, {seal}}}\n")


def read_record(path: Path, *, beside: bool = True) -> bytes:
    """Return the JSON object that `write_record` wrote, without its seal; an object without one as it is.

    Args:
        path: the record.
        beside: whether to check also the files that were sealed with it.

    Raises:
        OSError: it cannot be read.
        ValueError: it, or a file that was sealed with it, has changed since it was written; the message says
            which.
    """
    with open_regular(path) as file:
        found = file.read()
    seal = _SEAL.search(found)
    if seal is None:
        if b'"sealed"' in found or _SEAL_END.search(found):  # one changed byte cannot hide both
            raise ValueError(f"{path.name} is not as it was written")
        return found
    body = found[: seal.start()]
    if _seal(body, seal[1]) != seal[2].decode():
        raise ValueError(f"{path.name} is not as it was written")
    for name, digest in json.loads(seal[1]).items() if beside else ():
        if not (path.parent / name).is_file():
            raise ValueError(f"{name} is missing")
        if file_sha256(path.parent / name) != digest:
            raise ValueError(f"{name} is not as it was written")
    return body + b"}"


def sealed_files(path: Path) -> dict[str, str] | None:
    """Return the SHA-256 of the files that were sealed with a record; None if the record has no seal."""
    seal = _SEAL.search(path.read_bytes())
    files: dict[str, str] | None = json.loads(seal[1]) if seal else None
    return files


def _seal(body: bytes, files: bytes) -> str:
    return hashlib.sha256(b"%d\n%b\n%b" % (len(body), body, files)).hexdigest()


def row_digest(*values: Any) -> str:
    """Return a digest of the values of a row, as SQLite returns them: what its column ``digest`` holds."""
    return hashlib.blake2b(repr([_stored(value) for value in values]).encode(), digest_size=16).hexdigest()


def _stored(value: Any) -> Any:
    if isinstance(value, float):
        return int(value) if value.is_integer() else None if value != value else value  # noqa: PLR0124 - NaN
    return int(value) if isinstance(value, bool) else value


def database_damage(
    execute: Callable[[str], Sequence[Sequence[Any]]], tables: Mapping[str, Sequence[str]]
) -> str:
    """Say what in a SQLite database has changed since it was written; empty if nothing has.

    Args:
        execute: function that runs a query and returns its rows; the connection has `row_digest` as a
            function.
        tables: the columns that ``digest`` covers in each table.
    """
    if (found := execute("PRAGMA integrity_check(1)")[0][0]) != "ok":
        return " ".join(str(found).split())
    for table, columns in tables.items():
        values = ", ".join(f'"{name}"' for name in columns)
        changed = f'SELECT 1 FROM "{table}" WHERE digest IS NOT row_digest({values}) LIMIT 1'  # noqa: S608
        if execute(changed):
            return f"a row of its table {table!r} is not as it was written"
    return ""


def write_text(path: Path, text: str) -> str:
    """Write ``text`` to ``path`` as UTF-8, atomically; return its SHA-256."""
    return write_bytes(path, text.encode())


def write_parquet(path: Path, frame: pl.DataFrame) -> str:
    """Write ``frame`` to ``path`` as Parquet, atomically; return the file's SHA-256.

    The same frame gives the same bytes. Python writes them, because Polars does not always say why it cannot.
    """
    content = BytesIO()
    frame.write_parquet(content, compression="zstd", statistics=False)
    return write_bytes(path, content.getvalue())


def _advice(path: Path, error: OSError) -> str:
    remedy = "Free some space there" if error.errno == errno.ENOSPC else "Choose another folder"
    with suppress(CounterGroundError):
        if path.is_relative_to(cache_dir()):
            remedy += "; the cache can be moved with COUNTERGROUND_CACHE"
    return f"Cannot write {path}: {error.strerror or error}. {remedy}."
