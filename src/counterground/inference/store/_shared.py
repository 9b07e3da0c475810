"""Shards that machines share at any fsspec URL; each machine keeps copies of what it uses in its cache."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import Any

from counterground.errors import CounterGroundError, UsageError, error_message

VARIABLE = "COUNTERGROUND_FEATURES"
_AT_ONCE = 64
_THREADS = 8


class SharedFolder:
    """One store of features below a URL. Files are read and written whole; their readers check them.

    Raises:
        UsageError: there is no such file system, or what it needs is not installed.
    """

    def __init__(self, url: str, folder: str) -> None:
        from fsspec.core import url_to_fs

        try:
            self._files, base = url_to_fs(url)
        except Exception as error:
            raise UsageError(f"{VARIABLE}={url} cannot be opened: {error_message(error)}.") from error
        self._url = url
        self._folder = "/".join(part for part in (base.rstrip("/"), folder) if part)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="share")
        self._waiting: deque[Future[None]] = deque()

    @classmethod
    def chosen(cls, folder: str) -> SharedFolder | None:
        """Return the folder below the URL in ``$COUNTERGROUND_FEATURES``, None without one."""
        url = os.environ.get(VARIABLE)
        return cls(url, folder) if url else None

    @cached_property
    def names(self) -> set[str]:
        """Names of the files when they were listed first."""
        try:
            self._files.invalidate_cache()
            return {path.rpartition("/")[2] for path in self._files.ls(self._folder, detail=False)}
        except FileNotFoundError:
            return set()
        except Exception as error:
            raise self._failed("read", error) from error

    def read(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Yield files, many at once; what cannot be found any more is left out."""
        for start in range(0, len(names), _AT_ONCE):
            paths = {self._path(name): name for name in names[start : start + _AT_ONCE]}
            try:
                found: dict[str, Any] = self._files.cat(list(paths), on_error="return")
            except Exception as error:
                raise self._failed("read", error) from error
            for path, name in paths.items():
                data = found.get(path, FileNotFoundError())
                if isinstance(data, bytes):
                    yield name, data
                elif not isinstance(data, FileNotFoundError):
                    raise self._failed("read", data) from data

    def write(self, name: str, data: bytes) -> None:
        """Write a file in another thread; `flush` waits for it."""
        self._waiting.append(self._threads.submit(self._write, name, data))
        self.flush(but=_AT_ONCE)

    def flush(self, but: int = 0) -> None:
        """Wait until all files but the last ``but`` are written.

        Raises:
            CounterGroundError: one cannot be written.
        """
        while len(self._waiting) > but:
            self._waiting.popleft().result()

    def _write(self, name: str, data: bytes) -> None:
        try:
            self._files.makedirs(self._folder, exist_ok=True)
            self._files.pipe_file(self._path(name), data)
        except Exception as error:
            raise self._failed("write", error) from error

    def _path(self, name: str) -> str:
        return f"{self._folder}/{name}"

    def _failed(self, what: str, error: BaseException) -> CounterGroundError:
        return CounterGroundError(
            f"Cannot {what} {VARIABLE}={self._url}: {error_message(error)}. What is encoded is kept in the "
            f"cache; unset {VARIABLE} to go on without sharing it."
        )
