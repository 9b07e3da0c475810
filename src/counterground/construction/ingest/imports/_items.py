"""Add photos at hand, as files or bytes, to a pool."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from counterground.construction.ingest.download import KeptPhoto, file_stem, keep_photo
from counterground.construction.ingest.imports._backgrounds import Backgrounds
from counterground.construction.ingest.imports._report import RejectedItem
from counterground.errors import CounterGroundError
from counterground.photos import UnreadablePhoto
from counterground.reading import open_regular
from counterground.text import counted

if TYPE_CHECKING:
    from counterground.pool import Pool


_BATCH = 64


@dataclass(frozen=True)
class Item:
    """A photo of a source.

    Attributes:
        origin: the source's own name for it, the same whenever the source is read.
        item: its name in reports.
        class_name: its class in the pool.
        content: the file, or its bytes; None: the source has neither.
        photo_id: SHA-256 that the source states.
        background: its background label.
        mask: file of its mask.
        fields: further columns of ``PHOTO_SCHEMA``.
    """

    origin: str
    item: str
    class_name: str
    content: Path | bytes | None
    photo_id: str | None = None
    background: str | None = None
    mask: Path | None = None
    fields: dict[str, object] = field(default_factory=dict)


@dataclass
class ImportCounts:
    """Running counts of an import."""

    added: Counter[str] = field(default_factory=Counter)
    present: int = 0
    restored: int = 0  # of those present: their files were missing or changed
    masks: int = 0
    rejected: list[RejectedItem] = field(default_factory=list)
    masks_rejected: list[RejectedItem] = field(default_factory=list)

    def notes(self) -> tuple[str, ...]:
        """Return a note on files that were restored."""
        if not self.restored:
            return ()
        return (f"Restored {counted(self.restored, 'photo')} that were missing or changed in the pool.",)


@dataclass(frozen=True)
class _Present:
    """A photo that the pool has."""

    class_name: str
    path: str
    bytes: int | None


@dataclass(frozen=True)
class _Read:
    key: str
    photo: KeptPhoto | None  # None: the pool has it
    mask: KeptPhoto | None = None
    mask_problem: str = ""
    restored: bool = False


def add_items(
    pool: Pool,
    items: Iterable[Item],
    backgrounds: Backgrounds,
    *,
    jobs: int,
    progress: Callable[[int], None],
) -> ImportCounts:
    """Copy into the pool the photos that it does not have.

    A photo's key is its origin and the hash of its content: reading the same source again adds nothing; a
    file changed since then is another photo, and the earlier one stays. A photo whose file is missing from
    the pool, or has another size there, is restored.

    Args:
        pool: the pool.
        items: the photos, in order; read as they are needed.
        backgrounds: recorder of the labels.
        jobs: photos read at the same time.
        progress: function called with the number of photos done.
    """
    photos = pool.photos().select("key", "class_name", "path", "bytes")
    present = {key: _Present(*columns) for key, *columns in photos.iter_rows()}
    counts = ImportCounts()
    rows: list[dict[str, object]] = []
    outcomes = _in_order(items, lambda item: _read(pool, item, present), jobs)
    for done, (item, outcome) in enumerate(outcomes, start=1):
        if isinstance(outcome, UnreadablePhoto):
            counts.rejected.append(RejectedItem(item.item, item.class_name, outcome.reason))
        elif outcome.photo is None and present[outcome.key].class_name != item.class_name:
            reason = f"the pool has it as {present[outcome.key].class_name!r}"
            counts.rejected.append(RejectedItem(item.item, item.class_name, reason))
        elif outcome.photo is None:
            counts.present += 1
            counts.restored += outcome.restored
            backgrounds.note(present[outcome.key].path, item.background)
        else:
            row = {"key": outcome.key, "class_name": item.class_name} | item.fields | vars(outcome.photo)
            rows.append(row | {"mask": outcome.mask.path if outcome.mask else None})
            counts.added[item.class_name] += 1
            counts.masks += outcome.mask is not None
            present[outcome.key] = _Present(item.class_name, outcome.photo.path, outcome.photo.bytes)
            backgrounds.note(outcome.photo.path, item.background)
            if outcome.mask_problem:
                counts.masks_rejected.append(
                    RejectedItem(str(item.mask), item.class_name, outcome.mask_problem)
                )
        progress(done)
        if len(rows) >= _BATCH:
            _write(pool, rows, backgrounds)
    _write(pool, rows, backgrounds)
    return counts


def _write(pool: Pool, rows: list[dict[str, object]], backgrounds: Backgrounds) -> None:
    pool.add_photos(rows)
    rows.clear()
    backgrounds.write()


def _read(pool: Pool, item: Item, present: dict[str, _Present]) -> _Read:
    """Read and hash a photo, and keep it if it is new; runs in a thread."""
    where = item.content if isinstance(item.content, Path) else Path(item.item)
    kept = present.get(_key(item.origin, item.photo_id)) if item.photo_id else None
    if item.photo_id and kept and (kept.class_name != item.class_name or _is_there(pool, kept)):
        return _Read(_key(item.origin, item.photo_id), None)
    data = _bytes(item.content, where)
    digest = hashlib.sha256(data).hexdigest()
    if item.photo_id not in (None, digest):
        raise UnreadablePhoto(where, "content changed since the source was written")
    key = _key(item.origin, digest)
    kept = present.get(key)
    if kept and (kept.class_name != item.class_name or _is_there(pool, kept)):
        return _Read(key, None)
    folder, stem = pool.class_folder(item.class_name), file_stem(key, Path(item.origin).stem)
    photo = keep_photo(pool.root, folder, stem, data, where)
    if kept:
        return _Read(key, None, restored=photo.path == kept.path)
    if item.mask is None:
        return _Read(key, photo)
    try:
        mask = keep_photo(pool.root, f"{folder}/masks", stem, _bytes(item.mask, item.mask), item.mask)
    except UnreadablePhoto as error:
        return _Read(key, photo, None, f"this mask of a photo: {error.reason}")
    return _Read(key, photo, mask)


def _is_there(pool: Pool, kept: _Present) -> bool:
    """Return whether the pool's file is there and has the right size."""
    try:
        file = pool.photo_file(kept.path)
    except CounterGroundError:
        return False
    return kept.bytes is None or file.stat().st_size == kept.bytes


def _key(origin: str, digest: str) -> str:
    return f"{origin}#{digest[:16]}"


def _bytes(content: Path | bytes | None, where: Path) -> bytes:
    if content is None:
        raise UnreadablePhoto(where, "the source has no data for it")
    if isinstance(content, bytes):
        return content
    try:
        with open_regular(content) as file:
            return file.read()
    except IsADirectoryError as error:
        raise UnreadablePhoto(where, "a folder, not a file") from error
    except OSError as error:
        missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        raise UnreadablePhoto(
            where, "missing" if missing else str(error.strerror or error).lower()
        ) from error


def _in_order(
    items: Iterable[Item], read: Callable[[Item], _Read], jobs: int
) -> Iterator[tuple[Item, _Read | UnreadablePhoto]]:
    """Read ahead in threads, a few photos at a time, and yield in the order of the items."""
    ahead: deque[tuple[Item, Future[_Read]]] = deque()
    with ThreadPoolExecutor(jobs) as workers:
        try:
            for item in items:
                ahead.append((item, workers.submit(read, item)))
                if len(ahead) > 4 * jobs:
                    yield _outcome(*ahead.popleft())
            while ahead:
                yield _outcome(*ahead.popleft())
        finally:
            for _, future in ahead:
                future.cancel()


def _outcome(item: Item, future: Future[_Read]) -> tuple[Item, _Read | UnreadablePhoto]:
    try:
        return item, future.result()
    except UnreadablePhoto as error:
        return item, error
