"""From addresses to photos of a pool, for both collecting and importing.

- The files are the progress. A photo is named after its key, decoded, then renamed into place; rows of the
  database follow in batches. A killed run leaves whole files, and the next one finds them before it requests
  anything.
- 404, pages in place of photos and photos that arrive damaged twice are *failed*. A fault of the host (429,
  5xx, broken or slow connections, after four tries) leaves the candidate *wanted*: the next run tries again.
- Content decides the suffix, because addresses and headers lie. What cannot be decoded is not kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from counterground.construction.pool import CANDIDATE_SCHEMA, PHOTO_SCHEMA
from counterground.http import DownloadSettings, FetchError, FetchLoop, Pacer, Task
from counterground.photos import UnreadablePhoto

if TYPE_CHECKING:
    from counterground.construction.pool import Pool


import hashlib
import re
from pathlib import Path

from counterground.construction.pool import leads_out
from counterground.errors import CounterGroundError
from counterground.files import atomic_path
from counterground.photos import image_type, load_photo

_PLAIN_KEY = re.compile(r"[a-z]{1,20}:[a-z0-9]{1,40}")
_SUFFIXES = (".jpg", ".png", ".webp", ".gif", ".bmp", ".tif", ".ppm", ".avif")


@dataclass(frozen=True)
class KeptPhoto:
    """A photo in the pool that can be decoded; the fields are columns of ``PHOTO_SCHEMA``."""

    path: str
    photo_id: str
    width: int
    height: int
    bytes: int


def file_stem(key: str, name: str = "") -> str:
    """Return the file name, without suffix, that a photo of this key has in every pool.

    ``inaturalist:123`` is ``inaturalist-123``; other keys are hashed, after the readable part of ``name``.
    """
    if _PLAIN_KEY.fullmatch(key):
        return key.replace(":", "-")
    readable = re.sub(r"[^a-z0-9]+", "-", name.lower())[:40].strip("-") or "photo"
    return f"{readable}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def keep_photo(root: Path, folder: str, stem: str, data: bytes, origin: Path | None = None) -> KeptPhoto:
    """Write a photo's bytes to ``files/<folder>/<stem>.<suffix of its content>`` of the pool, atomically.

    Args:
        root: the pool's folder.
        folder: the class folder.
        stem: see ``file_stem``.
        data: the file as received; it is kept byte for byte.
        origin: the photo's name in errors; None: the file in the pool.

    Raises:
        UnreadablePhoto: the bytes cannot be decoded as a photo; nothing is written.
        CounterGroundError: the pool cannot be written, or a link in it leads elsewhere.
    """
    kind = image_type(data)  # by content: addresses and headers are often wrong
    target = root / "files" / folder / f"{stem}{kind.suffix if kind else '.jpg'}"
    if leads_out(root, target.parent):
        raise CounterGroundError(f"{target.parent} is a link out of the pool: replace it with a folder.")
    with atomic_path(target) as temporary:
        temporary.write_bytes(data)
        try:
            image = load_photo(temporary, rgb=False).image
        except UnreadablePhoto as error:
            raise UnreadablePhoto(origin or target, error.reason) from error
    return KeptPhoto(
        target.relative_to(root).as_posix(), hashlib.sha256(data).hexdigest(), *image.size, len(data)
    )


def find_photo(root: Path, folder: str, stem: str) -> KeptPhoto | None:
    """Return the photo that ``keep_photo`` wrote under this name before, if it can still be decoded."""
    for suffix in _SUFFIXES:
        target = root / "files" / folder / f"{stem}{suffix}"
        if target.is_file() and not target.is_symlink():
            try:
                data = target.read_bytes()
                image = load_photo(target, rgb=False).image
            except (OSError, UnreadablePhoto):
                continue
            path = target.relative_to(root).as_posix()
            return KeptPhoto(path, hashlib.sha256(data).hexdigest(), *image.size, len(data))
    return None


def discarded_paths(pool: Pool) -> set[str]:
    """Return the photos that annotators discarded."""
    return set(pool.verdicts("review").filter(~pl.col("stands") & (pl.col("status") != "disagreed"))["path"])


_SHARED = tuple(name for name in CANDIDATE_SCHEMA if name in PHOTO_SCHEMA)
_BATCH = 32
_GONE = (404, 410)
_SECONDS_BETWEEN_WRITES = 2.0


PhotoFields = Callable[[Mapping[str, Any]], Mapping[str, object]]
"""Maps a candidate to further columns of its photo, such as ``cluster``."""


def cluster_of(photo: Mapping[str, Any]) -> str | None:
    """Return the cluster of a photo of an observer, or of an observation; None: neither is known.

    Photos of one observer are alike in place, camera and habit.
    """
    if photo.get("observer"):
        return f"observer:{photo['observer']}"
    return f"observation:{photo['observation']}" if photo.get("observation") else None


@dataclass(frozen=True)
class FailedDownload:
    """A candidate that did not become a photo; ``gone``: its host says that there is no such photo."""

    key: str
    class_name: str
    url: str
    reason: str
    gone: bool = False


@dataclass(frozen=True)
class DownloadReport:
    """The outcome of each candidate, counted once.

    Attributes:
        fetched: photos that were fetched now.
        found: photos whose file was already in the pool: from an interrupted run, or for another class.
        failed: candidates that a retry would not help; marked "failed".
        postponed: candidates whose host was busy or down; still "wanted", so the next run retries them.
        requests: photos requested, counting every try.
        received: bytes received.
    """

    fetched: int
    found: int
    failed: tuple[FailedDownload, ...]
    postponed: tuple[FailedDownload, ...]
    requests: int
    received: int


@dataclass(frozen=True)
class _Kept:
    """The result of a worker: files in the pool by row, and the bytes received."""

    photos: list[tuple[dict[str, Any], KeptPhoto]]
    received: int | None  # None: nothing was requested


@dataclass
class _Candidates:
    """The candidates (rows of ``CANDIDATE_SCHEMA``) that wait for the photo of one address."""

    rows: list[dict[str, Any]]
    damaged: bool = False  # it arrived once, and could not be decoded
    gone: bool = False


_Task = Task[_Candidates]


def download_photos(
    pool: Pool,
    candidates: pl.DataFrame,
    settings: DownloadSettings | None = None,
    *,
    fields: PhotoFields | None = None,
    pacer: Pacer | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DownloadReport:
    """Fetch the wanted ones among a pool's candidates and add them as photos.

    A photo is decoded before it is kept. Its file is named after its key (``file_stem``) and appears in one
    rename: after kill -9, the next call finds it and requests only the missing ones. A key that several
    classes want is fetched once. Hosts take turns, each with at most ``per_host`` requests at a time; 429,
    and 503 with Retry-After, pause the whole host, other 5xx and broken connections only the photo.

    Args:
        pool: the candidates' pool.
        candidates: rows of ``CANDIDATE_SCHEMA``; those that are not "wanted" are left alone.
        settings: see ``DownloadSettings``.
        fields: function that returns further columns of a photo.
        pacer: a rate or budget of the caller.
        progress: function called with (candidates done, candidates in all).

    Raises:
        CounterGroundError: the pool cannot be written, or the pacer ends the run; what was fetched is kept.
    """
    wanted = candidates.filter(pl.col("status") == "wanted")
    run = _Run(pool, wanted, settings or DownloadSettings(), fields=fields, pacer=pacer, progress=progress)
    try:
        run.run()
    finally:
        run.write()
    return DownloadReport(
        run.fetched, run.found, tuple(run.failed), tuple(run.postponed), run.requests, run.received
    )


class _Run(FetchLoop[_Candidates, _Kept]):
    """One call of ``download_photos``."""

    def __init__(
        self,
        pool: Pool,
        wanted: pl.DataFrame,
        settings: DownloadSettings,
        *,
        fields: PhotoFields | None,
        pacer: Pacer | None,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        super().__init__(_tasks(wanted), settings, pacer)
        self.pool, self.fields = pool, fields
        self.progress, self.total, self.done = progress, len(wanted), 0
        self.rows: list[dict[str, object]] = []
        self.marks: list[tuple[str, str, str, str | None]] = []
        self.written_at = time.monotonic()
        self.failed: list[FailedDownload] = []
        self.postponed: list[FailedDownload] = []
        self.fetched = self.found = 0

    def work(self, task: _Task) -> _Kept:
        """Find the photo in the pool or fetch it, and keep it for each class that wants it; in a thread."""
        places = [
            (row, self.pool.class_folder(row["class_name"]), file_stem(row["key"], _last_part(task.url)))
            for row in task.payload.rows
        ]
        there = [(row, find_photo(self.pool.root, folder, stem)) for row, folder, stem in places]
        kept = [(row, photo) for row, photo in there if photo is not None]
        if len(kept) == len(places):
            return _Kept(kept, None)
        if kept:
            data, received = (self.pool.root / kept[0][1].path).read_bytes(), None
        else:
            data = self._photo(task)
            received = len(data)
        have = {id(row) for row, _ in kept}
        try:
            kept += [
                (row, keep_photo(self.pool.root, folder, stem, data))
                for row, folder, stem in places
                if id(row) not in have
            ]
        except UnreadablePhoto as error:
            # The transfer may have done the damage, and a page in place of a photo may be a temporary error.
            again, task.payload.damaged = not task.payload.damaged, True
            raise FetchError(error.reason, again=again, received=len(data)) from error
        return _Kept(kept, received)

    def _photo(self, task: _Task) -> bytes:
        try:
            return self.fetch(task)
        except FetchError as error:
            task.payload.gone = error.status in _GONE
            raise

    def record(self, task: _Task, result: _Kept) -> None:  # noqa: ARG002
        """Note the photos of a task."""
        asked = result.received is not None
        self.fetched += asked
        self.found += len(result.photos) - asked
        for row, photo in result.photos:
            further = self.fields(row) if self.fields else {}
            self.rows.append({name: row[name] for name in _SHARED} | vars(photo) | dict(further))
            self.marks.append((row["key"], row["class_name"], "got", None))
        self.report_done(len(result.photos))

    def give_up(self, task: _Task, reason: str, *, again: bool) -> None:
        """Note the failure, for the report and for the next run."""
        rows = task.payload.rows
        gone = task.payload.gone
        given_up = [FailedDownload(row["key"], row["class_name"], task.url, reason, gone) for row in rows]
        (self.postponed if again else self.failed).extend(given_up)
        status = "wanted" if again else "failed"
        self.marks += [(one.key, one.class_name, status, reason) for one in given_up]
        self.report_done(len(given_up))

    def report_done(self, number: int) -> None:
        """Report progress."""
        self.done += number
        if self.progress:
            self.progress(self.done, self.total)

    def pause(self) -> None:
        """Write in batches."""
        if len(self.marks) >= _BATCH or time.monotonic() - self.written_at > _SECONDS_BETWEEN_WRITES:
            self.write()

    def write(self) -> None:
        """Write to the pool: photos first, so that a candidate marked "got" has its photo."""
        rows, marks = self.rows, self.marks
        self.rows, self.marks, self.written_at = [], [], time.monotonic()
        self.pool.add_photos(rows)
        self.pool.mark_candidates(marks)


def _tasks(wanted: pl.DataFrame) -> list[_Task]:
    by_key: dict[tuple[str, str], _Task] = {}
    for row in wanted.iter_rows(named=True):
        url = row["url"] or ""
        by_key.setdefault((row["key"], url), Task(url, _Candidates([]))).payload.rows.append(row)
    return list(by_key.values())


def _last_part(url: str) -> str:
    path = url.split("?", 1)[0].split("#", 1)[0].rstrip("/")
    return path.rsplit("/", 1)[-1].rsplit(".", 1)[0]
