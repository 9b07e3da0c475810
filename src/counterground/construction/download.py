"""From addresses to photos of a pool, and keeping a photo in it.

- A photo is named after its key, decoded, then renamed into place; its row follows. A killed run leaves whole
  files, and the next one writes those without a row again.
- 404, pages in place of photos and photos that arrive damaged twice are *failed*. A fault of the host (429,
  5xx, broken or slow connections, after four tries) leaves the candidate *wanted*: the next run tries again.
- Content decides the suffix, because addresses and headers lie. What cannot be decoded is not kept.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from counterground.construction.pool import CANDIDATE_SCHEMA, PHOTO_SCHEMA, leads_out
from counterground.errors import CounterGroundError
from counterground.files import atomic_path
from counterground.http import DownloadSettings, FetchError, FetchLoop, Pacer, Task
from counterground.photos import UnreadablePhoto, image_type, load_photo

if TYPE_CHECKING:
    from counterground.construction.pool import Pool

_PLAIN_KEY = re.compile(r"[a-z]{1,20}:[a-z0-9]{1,40}")


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


_SHARED = tuple(name for name in CANDIDATE_SCHEMA if name in PHOTO_SCHEMA)


def cluster_of(photo: Mapping[str, Any]) -> str | None:
    """Return the cluster of a photo of an observer, or of an observation; None: neither is known.

    Photos of one observer are alike in place, camera and habit.
    """
    if photo.get("observer"):
        return f"observer:{photo['observer']}"
    return f"observation:{photo['observation']}" if photo.get("observation") else None


@dataclass(frozen=True)
class DownloadReport:
    """The outcome of each candidate, counted once.

    Attributes:
        fetched: photos that were fetched.
        failed: key -> reason of candidates that a retry would not help; marked "failed".
        postponed: key -> reason of those whose host was busy or down; still "wanted": the next run retries.
        received: bytes received.
    """

    fetched: int
    failed: dict[str, str]
    postponed: dict[str, str]
    received: int


@dataclass(frozen=True)
class _Kept:
    """The result of a worker: a file in the pool, and the bytes received."""

    photo: KeptPhoto
    received: int | None


Candidate = dict[str, Any]
"""A row of ``CANDIDATE_SCHEMA``."""


def download_photos(
    pool: Pool,
    candidates: pl.DataFrame,
    settings: DownloadSettings | None = None,
    *,
    pacer: Pacer | None = None,
    progress: Callable[[int], None] | None = None,
) -> DownloadReport:
    """Fetch the wanted ones among a pool's candidates and add them as photos.

    A photo is decoded before it is kept; its row follows at once. Hosts take turns, each with at most
    ``per_host`` requests at a time; 429, and 503 with Retry-After, pause the whole host, other 5xx and broken
    connections only the photo.

    Args:
        pool: the candidates' pool.
        candidates: rows of ``CANDIDATE_SCHEMA``; those that are not "wanted" are left alone.
        settings: see ``DownloadSettings``.
        pacer: a rate or budget of the caller.
        progress: function called with the number of candidates done.

    Raises:
        CounterGroundError: the pool cannot be written, or the pacer ends the run; what was fetched is kept.
    """
    run = _Run(pool, candidates.filter(pl.col("status") == "wanted").to_dicts(), settings, pacer, progress)
    run.run()
    return DownloadReport(run.fetched, run.failed, run.postponed, run.received)


class _Run(FetchLoop[Candidate, _Kept]):
    """One call of ``download_photos``."""

    def __init__(
        self,
        pool: Pool,
        wanted: list[Candidate],
        settings: DownloadSettings | None,
        pacer: Pacer | None,
        progress: Callable[[int], None] | None,
    ) -> None:
        tasks = [Task(row["url"] or "", row) for row in wanted]
        super().__init__(tasks, settings or DownloadSettings(), pacer)
        self.pool, self.progress = pool, progress
        self.failed: dict[str, str] = {}
        self.postponed: dict[str, str] = {}
        self.fetched = 0

    def work(self, task: Task[Candidate]) -> _Kept:
        """Fetch a photo and keep its file; in a thread."""
        data, row = self.fetch(task), task.payload
        folder = self.pool.class_folder(row["class_name"])
        try:
            photo = keep_photo(self.pool.root, folder, file_stem(row["key"]), data)
        except UnreadablePhoto as error:
            # The transfer may have done the damage, and a page in place of a photo may be a temporary error.
            raise FetchError(error.reason, again=task.tries == 0, received=len(data)) from error
        return _Kept(photo, len(data))

    def record(self, task: Task[Candidate], result: _Kept) -> None:
        """Add the row of a photo."""
        row = {name: task.payload[name] for name in _SHARED} | vars(result.photo)
        self.pool.add_photos([row | {"cluster": cluster_of(row)}])
        self.fetched += 1
        self._report()

    def give_up(self, task: Task[Candidate], reason: str, *, again: bool) -> None:
        """Note the failure, for the report and for the next run."""
        key, name = task.payload["key"], task.payload["class_name"]
        (self.postponed if again else self.failed)[key] = reason
        self.pool.mark_candidates([(key, name, "wanted" if again else "failed", reason)])
        self._report()

    def _report(self) -> None:
        if self.progress:
            self.progress(self.fetched + len(self.failed) + len(self.postponed))
