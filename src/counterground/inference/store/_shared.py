"""Shards that machines share at any fsspec URL; each machine keeps copies of what it uses in its cache."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from importlib.util import find_spec
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from counterground.errors import CounterGroundError, UsageError, error_message
from counterground.http import (
    Client,
    FetchError,
    RequestLimits,
    check_online,
    is_local,
    keep_secrets_of,
    masked,
    user_agent,
    without_query,
)

VARIABLE = "COUNTERGROUND_FEATURES"
_AT_ONCE = 64
_THREADS = 8
_LARGEST = 64 * 2**20  # bytes of one file from a web server
_PATTERN = frozenset("*?[")
_LINK = re.compile(r"""<a\s[^<>]*?href=["']([^"']+)["']""", re.IGNORECASE)


class _HttpFiles:
    """Reads from a web server with the fsspec methods used here, within limits of time and size."""

    def __init__(self) -> None:
        self._client = Client(user_agent(), RequestLimits(most_bytes=_LARGEST))

    def invalidate_cache(self) -> None:
        """Do nothing: nothing is cached."""

    def cat_file(self, path: str) -> bytes:
        """Return the content of a file."""
        found = self._get(path)
        if isinstance(found, Exception):
            raise found
        return found

    def ls(self, folder: str, *, detail: bool) -> list[str]:  # noqa: ARG002
        """Return the files in a folder that the folder's page links to, however it spells the link."""
        page = self._get(f"{folder}/")
        if isinstance(page, Exception):
            raise page
        here = unquote(urlsplit(f"{folder}/").path)
        linked = (_path(f"{folder}/", link) for link in _LINK.findall(page.decode("utf-8", "replace")))
        names = [path.removeprefix(here) for path in linked if path.startswith(here)]
        return [f"{folder}/{name}" for name in names if name and "/" not in name]

    def cat(self, paths: Sequence[str], *, on_error: str) -> dict[str, bytes | Exception]:  # noqa: ARG002
        """Return the content of each file, or why it cannot be read."""
        with ThreadPoolExecutor(_THREADS) as threads:
            return dict(zip(paths, threads.map(self._get, paths), strict=True))

    def _get(self, path: str) -> bytes | Exception:
        try:
            return self._client.fetch(path).body
        except FetchError as error:
            return FileNotFoundError(path) if error.status in (404, 410) else OSError(error.reason)


def _path(page: str, link: str) -> str:
    """Return the path that a link on a page leads to; empty if it is not an address."""
    try:
        return unquote(urlsplit(urljoin(page, link)).path)
    except ValueError:
        return ""


class SharedFolder:
    """One store of features below a URL. Files are read and written whole; their readers check them.

    Raises:
        UsageError: there is no such file system, or what it needs is not installed.
    """

    def __init__(self, url: str, folder: str) -> None:
        from fsspec.core import url_to_fs

        keep_secrets_of(url)
        local = is_local(url) or url.partition("://")[0] in ("file", "local", "memory") or "://" not in url
        if not local:
            check_online(f"{VARIABLE}={without_query(url)}")
        try:
            self._files, base = url_to_fs(url)
            if url.startswith(("http:", "https:")) and find_spec("requests"):
                self._read: Any = _HttpFiles()
            else:
                self._read = self._files
        except Exception as error:
            raise UsageError(
                masked(f"{VARIABLE}={without_query(url)} cannot be opened: {error_message(error)}.")
            ) from error
        self._url = without_query(url)
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
        """Names of the files when they were first listed."""
        try:
            self._read.invalidate_cache()
            return {path.rpartition("/")[2] for path in self._read.ls(self._folder, detail=False)}
        except FileNotFoundError:
            return set()
        except Exception as error:
            raise self._failed("read", error) from error

    def read(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Yield files, many at once; those no longer found are left out."""
        for start in range(0, len(names), _AT_ONCE):
            paths = {self._path(name): name for name in names[start : start + _AT_ONCE]}
            try:
                found = self._contents(list(paths))
            except Exception as error:
                raise self._failed("read", error) from error
            for path, name in paths.items():
                data = found.get(path, FileNotFoundError())
                if isinstance(data, bytes):
                    yield name, data
                elif not isinstance(data, FileNotFoundError):
                    raise self._failed("read", data) from data

    def _contents(self, paths: list[str]) -> dict[str, Any]:
        if _PATTERN.isdisjoint(self._folder):
            found: dict[str, Any] = self._read.cat(paths, on_error="return")
            return found
        # fsspec takes such a path for a pattern, unless it is asked for one file.
        return dict(zip(paths, self._threads.map(self._content, paths), strict=True))

    def _content(self, path: str) -> Any:
        try:
            return self._read.cat_file(path)
        except Exception as error:
            return error

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
            masked(f"Cannot {what} {VARIABLE}={self._url}: {error_message(error)}.")
            + f" What is encoded is kept in the cache; unset {VARIABLE} to go on without sharing it."
        )
