"""Photos behind URLs, fetched once into the cache."""

from __future__ import annotations

import hashlib
import re
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from counterground.errors import CounterGroundError, needs_extra
from counterground.files import cache_dir, write_bytes
from counterground.http import DownloadSettings, FetchError, FetchLoop, Task, without_query
from counterground.photos._photo import IMAGE_SUFFIXES, image_type, photo_missing, why_missing
from counterground.progress import progress_bar
from counterground.text import counted

_AGAIN = "; the next time it is asked for again"
_LONGEST_HOST = 253  # characters
_SHORT = 1024  # bytes: longer than any file of `photo_missing`


@dataclass(frozen=True)
class FetchedPhotos:
    """Where the photos of URLs are.

    Attributes:
        folder: folder in the cache.
        paths: path for each URL, in order, relative to ``folder``; the same on every machine.
        notes: what outputs must say of photos that could not be fetched.
    """

    folder: Path
    paths: list[str]
    notes: tuple[str, ...]


def fetch_photos(urls: Sequence[str], *, show_progress: bool) -> FetchedPhotos:
    """Fetch the photos that the cache does not have.

    If one cannot be fetched, a file says why (``photo_missing``): the row stays, and reading the photo gives
    the reason. The next call retries temporary failures only.

    Args:
        urls: http or https, each once.
        show_progress: show a bar on standard error.

    Raises:
        MissingExtraError: requests is not installed.
        CounterGroundError: no photo could be fetched, or the cache cannot be written.
    """
    folder = cache_dir() / "fetched"
    paths = [_path_of(url) for url in urls]
    why = {url: _why_missing(folder / path) for url, path in zip(urls, paths, strict=True)}
    wanted = [Task(url, folder / path) for url, path in zip(urls, paths, strict=True) if _is_wanted(why[url])]
    if wanted:
        with needs_extra("web"):
            import requests  # noqa: F401 - one clear line before anything else
        with progress_bar("Fetching", total=len(wanted), shown=show_progress) as bar:
            _PhotoLoop(wanted, DownloadSettings(), bar.advance).run()
    why |= {task.url: _why_missing(task.payload) for task in wanted}
    missing = [f"{without_query(url)}: {reason}" for url, reason in why.items() if reason is not None]
    if len(missing) == len(urls):
        raise CounterGroundError(f"None of {counted(len(urls), 'photo')} could be fetched; {missing[0]}.")
    note = (
        f"{len(missing):,} of {counted(len(urls), 'photo')} could not be fetched and count as unreadable; "
        f"the first is {missing[0] if missing else ''}."
    )
    return FetchedPhotos(folder, paths, (note,) if missing else ())


def problem_of_url(url: str) -> str:
    """Return what is wrong with a URL, empty if nothing is."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "cannot be read as a URL"
    if len(parts.hostname or "") > _LONGEST_HOST:
        return "has a host name that is too long"
    return "" if parts.scheme.lower() in ("http", "https") and parts.hostname else "is neither http nor https"


@dataclass(frozen=True)
class ReceivedBytes:
    """How many bytes of a file were received."""

    received: int | None


class FileLoop(FetchLoop[Path, ReceivedBytes]):
    """Fetch addresses into files, by ``save``, which returns the bytes received; then call ``advance``."""

    def __init__(
        self, tasks: Sequence[Task[Path]], settings: DownloadSettings, advance: Callable[[], None]
    ) -> None:
        super().__init__(tasks, settings)
        self.advance = advance

    @abstractmethod
    def save(self, task: Task[Path]) -> int: ...

    def work(self, task: Task[Path]) -> ReceivedBytes:
        return ReceivedBytes(self.save(task))

    def record(self, task: Task[Path], result: ReceivedBytes) -> None:  # noqa: ARG002
        self.advance()


class _PhotoLoop(FileLoop):
    def save(self, task: Task[Path]) -> int:
        data = self.fetch(task)
        if image_type(data[:16]) is None:  # a page in its place, perhaps a temporary error page
            raise FetchError("not an image", again=task.tries == 0, received=len(data))
        write_bytes(task.payload, data)
        return len(data)

    def give_up(self, task: Task[Path], reason: str, *, again: bool) -> None:
        if _why_missing(task.payload) is not None:  # another process may have fetched it meanwhile
            _note_missing(task.payload, task.url, f"not fetched: {reason}{_AGAIN if again else ''}")
        self.advance()


def _path_of(url: str) -> str:
    """Return where the photo of a URL lies: a folder for its host, a readable name, a hash of the URL."""
    parts = urlsplit(url)
    last = PurePosixPath(unquote(parts.path))
    readable = re.sub(r"[^A-Za-z0-9]+", "-", last.stem)[:40].strip("-") or "photo"
    suffix = last.suffix.lower() if last.suffix.lower() in IMAGE_SUFFIXES else ".jpg"
    host = re.sub(r"[^a-z0-9.]+", "-", parts.netloc.rpartition("@")[2].lower()).strip(".") or "host"
    return f"{host}/{readable}-{hashlib.sha256(url.encode()).hexdigest()[:16]}{suffix}"


def _note_missing(file: Path, url: str, reason: str) -> None:
    content = photo_missing(reason, url)
    if not file.is_file() or file.read_bytes() != content:
        write_bytes(file, content)


def _why_missing(file: Path) -> str | None:
    """Return why a cached file is not a photo, None if it is one."""
    try:
        return why_missing(file.read_bytes()) if file.stat().st_size <= _SHORT else None
    except FileNotFoundError:
        return f"not fetched{_AGAIN}"


def _is_wanted(reason: str | None) -> bool:
    return reason is not None and reason.endswith(_AGAIN)
