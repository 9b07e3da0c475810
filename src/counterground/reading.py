"""Files from others: each is a regular file of bounded size, and damage is an error like any other."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterground.errors import CounterGroundError

if TYPE_CHECKING:
    import polars as pl


MOST_TEXT = 2**28
"""The most bytes of a file that is read as text or settings; no list of names or prompts is larger."""

_CHUNK = 2**20
_MANY_ROWS = 10_000_000
_MOST_HEADER = 2**22  # bytes of a member's name or extended header in a tar
_MOST_SHARED = 100  # fields of a tar that hold for all its members
_LONG_HEADERS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
_KILLED = -9
# How the last line of a trial begins if it failed before it read the file.
_NOT_THE_FILE = re.compile(r"(Import|ModuleNotFound|Memory)Error\b|OSError: .*Cannot allocate memory")
# Each part is decoded once and released. Slices of rows would decode a row group again for each, and many
# shards are one row group; more than one at a time would only take memory.
_TRIAL = """
import os, sys
os.environ["POLARS_ROW_GROUP_PREFETCH_SIZE"] = "1"
import polars
lazy = polars.scan_parquet(sys.argv[1], glob=False)
lazy.map_batches(lambda rows: rows.clear(), streamable=True).collect(engine="streaming")
"""
_ARROW_TRIAL = """
import sys, pyarrow as pa
for path in sys.argv[1:]:
    with pa.memory_map(path) as file:
        pa.ipc.open_stream(file).read_all().validate(full=True)
"""


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
    """Return what a JSON text from others holds.

    Raises:
        ValueError: it is not JSON, an object has a key twice, it is nested too deeply, or a text in it is
            invalid (half a surrogate pair).
    """
    if text.startswith("\ufeff"):
        raise ValueError("it begins with a byte-order mark")
    try:
        found = _DECODER.decode(text)
        if "\\" in text and "\\ud" in text.lower():
            json.dumps(found, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except UnicodeEncodeError:
        raise ValueError("a text in it has half a surrogate pair") from None
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"an object has the key {twice[:100]!r} twice")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_once)  # `json.loads` would make one for every line of a table


class BoundedTarInfo(tarfile.TarInfo):
    """A member of a tar that others made, for `tarfile.open`: headers are bounded, damage is a `TarError`.

    Python reads a header of any size that it states, which a small compressed file can make gigabytes, and
    goes back in the file, perhaps for ever, if a size is negative.
    """

    def _proc_member(self, tar: tarfile.TarFile) -> BoundedTarInfo:
        if self.size < 0 or (self.type in _LONG_HEADERS and self.size > _MOST_HEADER):
            raise tarfile.ReadError(f"a header has {self.size:,} bytes")
        if self.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError("it has a sparse file")
        try:
            found: BoundedTarInfo = super()._proc_member(tar)  # type: ignore[misc]
        except (ValueError, RecursionError, tarfile.HeaderError) as error:
            # The reader would take most of them for the end, after what it has skipped by then.
            raise tarfile.ReadError("a header is damaged") from error
        if found.size < 0 or len(tar.pax_headers) > _MOST_SHARED:
            raise tarfile.ReadError("a header is damaged")
        found.pax_headers = {}  # applied by now; each member would keep its own
        return found

    def _proc_gnusparse_10(self, *_: object) -> None:  # the list of parts has no bound
        raise tarfile.ReadError("it has a sparse file")


def is_tar(path: Path) -> bool:
    """Return whether a file begins as a tar does, compressed or not; see `BoundedTarInfo`."""
    try:
        tarfile.open(path, tarinfo=BoundedTarInfo).close()
    except (tarfile.TarError, EOFError):  # the latter for a gzip that is cut off
        return False
    return True


def check_tar_end(tar: tarfile.TarFile) -> None:
    """Check that an archive that was read to its end ends where its reader stopped.

    The reader takes a zeroed or damaged header, a cut between two members, and the end of the first of two
    archives in one file for the end of everything.

    Raises:
        tarfile.ReadError: the end marker is missing, or something other than zeros follows.
    """
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f"there is no end marker at byte {tar.offset:,}")
    while chunk := tar.fileobj.read(_CHUNK):
        if chunk.strip(b"\0"):
            raise tarfile.ReadError(f"it goes on after the end marker at byte {tar.offset:,}")


def check_zip_start(packed: zipfile.ZipFile) -> None:
    """Check that no archive precedes a zip: of two archives in one file, its reader knows only the last.

    Anything that is not an archive may precede it, as in self-extracting ones.

    Raises:
        zipfile.BadZipFile: another archive, or a member that is not listed.
    """
    assert packed.fp is not None
    first = min((info.header_offset for info in packed.infolist()), default=packed.start_dir)
    packed.fp.seek(0)
    if first and packed.fp.read(4) == b"PK\3\4":
        raise zipfile.BadZipFile("the file begins with a member that is not in its list")


def read_parquet(path: Path, *, foreign: bool = False) -> pl.DataFrame:
    """Read a Parquet file.

    Args:
        path: the file; its name is not a pattern.
        foreign: whether somebody else may have made it, so that it is tried first (`try_parquet`).

    Raises:
        OSError: it cannot be opened, or is not a regular file.
        PolarsError: it is damaged or not Parquet.
    """
    with no_panic():
        return scan_parquet(path, foreign=foreign).collect()


def scan_parquet(path: Path, *, foreign: bool = False) -> pl.LazyFrame:
    """Return the rows of a Parquet file, for use within `no_panic`; see `read_parquet`."""
    import polars as pl

    if foreign:
        try_parquet(path)
    open_regular(path).close()
    lazy = pl.scan_parquet(path, glob=False)
    if foreign:
        rows = int(lazy.select(pl.len()).collect().item())
        # The rows of a table differ, and take some bytes each.
        if rows > max(_MANY_ROWS, path.stat().st_size):
            raise pl.exceptions.ComputeError(f"it has {rows:,} rows, more than bytes")
    return lazy


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


def try_parquet(path: Path) -> None:
    """Decode a Parquet file once, in parts, in a separate process whose output is not shown.

    Raises:
        OSError: it cannot be opened, or is not a regular file.
        PolarsError: that process failed or crashed.
        CounterGroundError: it failed for a reason unrelated to the file, such as too little memory.
    """
    with open_regular(path) as file:
        found = os.fstat(file.fileno())
    if sys.executable:  # not in a program that embeds Python
        _try_state(path, (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))


@lru_cache(maxsize=10_000)
def _try_state(path: Path, _state: tuple[int, ...]) -> None:
    """Decode a Parquet file, once while it is unchanged; after a failure, which may be temporary, again."""
    import polars as pl

    ended = _tried(_TRIAL, path)
    if ended.returncode:
        lines = [line for line in ended.stderr.splitlines() if "exceptions." in line]
        reason = lines[-1].partition(": ")[2] if lines else ""
        panicked = not lines or "PanicException" in lines[-1]
        raise pl.exceptions.ComputeError("it is damaged" if panicked or not reason else reason)


def try_arrow(folder: Path) -> None:
    """Check the Arrow files of a folder in a separate process: a damaged one crashes its reader.

    Raises:
        OSError: one is damaged, or is not a regular file.
        CounterGroundError: see `try_parquet`.
    """
    files = sorted(folder.rglob("*.arrow"))
    for path in files:
        open_regular(path).close()
    if files and sys.executable and _tried(_ARROW_TRIAL, *files).returncode:
        raise OSError(errno.EINVAL, "an .arrow file is damaged", str(folder))


def _tried(code: str, *paths: Path) -> subprocess.CompletedProcess[str]:
    """Run code on files in another process, which finds the same packages as this one.

    Raises:
        CounterGroundError: it ended for a reason unrelated to the files.
    """
    ended = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-P", "-c", code, *(os.fspath(path.absolute()) for path in paths)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    last = ended.stderr.rstrip().rpartition("\n")[2]
    if ended.returncode == _KILLED:
        last = "its reader was killed, as happens where memory is short"
    elif ended.returncode < 0 or not _NOT_THE_FILE.match(last):
        return ended
    raise CounterGroundError(f"{paths[0]} cannot be tried before it is read: {last}.")
