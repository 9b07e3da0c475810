"""How files are opened and read: each is a regular file, and damage is an error like any other."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl


MOST_TEXT = 2**28
"""The most bytes of a file that is read as text or settings; no list of names or prompts is larger."""


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
