"""Photos that are at hand, as files or bytes, taken into a pool."""

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
from counterground.construction.ingest.imports._report import NotImported
from counterground.errors import CounterGroundError
from counterground.photos import UnreadablePhoto, is_special

if TYPE_CHECKING:
    from counterground.pool import Pool


_BATCH = 64


@dataclass(frozen=True)
class Item:
    """A photo of a source.

    Attributes:
        origin: the source's own name for it, the same whenever the source is read.
        item: what a report calls it.
        class_name: as the pool calls it.
        content: the file, or its bytes; None: the source has neither.
        photo_id: SHA-256 that the source states.
        background: its label.
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
class Taken:
    """Running counts of an import."""

    new: Counter[str] = field(default_factory=Counter)
    known: int = 0
    restored: int = 0  # of the known ones: their files were missing or changed
    masks: int = 0
    missed: list[NotImported] = field(default_factory=list)
    masks_missed: list[NotImported] = field(default_factory=list)

    def notes(self) -> tuple[str, ...]:
        """Return what must be said of files that were put back."""
        if not self.restored:
            return ()
        return (f"Put back, since missing or changed in the pool: {self.restored} of its photos.",)


@dataclass(frozen=True)
class _Held:
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


def take_in(
    pool: Pool,
    items: Iterable[Item],
    backgrounds: Backgrounds,
    *,
    jobs: int,
    progress: Callable[[int], None],
) -> Taken:
    """Copy photos into the pool that it does not have.

    A photo's key is its origin and the hash of its content: the same source read again adds nothing, a file
    that was changed since is another photo, and the one before stays. A photo whose file is gone from the
    pool, or has another size there, is put back.

    Args:
        pool: where to.
        items: the photos, in order; read as they are needed.
        backgrounds: takes the labels.
        jobs: photos read at the same time.
        progress: called with the number of photos done.
    """
    photos = pool.photos().select("key", "class_name", "path", "bytes")
    known = {key: _Held(*held) for key, *held in photos.iter_rows()}
    taken = Taken()
    rows: list[dict[str, object]] = []
    outcomes = _in_order(items, lambda item: _read(pool, item, known), jobs)
    for done, (item, outcome) in enumerate(outcomes, start=1):
        if isinstance(outcome, UnreadablePhoto):
            taken.missed.append(NotImported(item.item, item.class_name, outcome.reason))
        elif outcome.photo is None and known[outcome.key].class_name != item.class_name:
            reason = f"the pool has it as {known[outcome.key].class_name!r}"
            taken.missed.append(NotImported(item.item, item.class_name, reason))
        elif outcome.photo is None:
            taken.known += 1
            taken.restored += outcome.restored
            backgrounds.note(known[outcome.key].path, item.background)
        else:
            row = {"key": outcome.key, "class_name": item.class_name} | item.fields | vars(outcome.photo)
            rows.append(row | {"mask": outcome.mask.path if outcome.mask else None})
            taken.new[item.class_name] += 1
            taken.masks += outcome.mask is not None
            known[outcome.key] = _Held(item.class_name, outcome.photo.path, outcome.photo.bytes)
            backgrounds.note(outcome.photo.path, item.background)
            if outcome.mask_problem:
                taken.masks_missed.append(NotImported(str(item.mask), item.class_name, outcome.mask_problem))
        progress(done)
        if len(rows) >= _BATCH:
            _write(pool, rows, backgrounds)
    _write(pool, rows, backgrounds)
    return taken


def _write(pool: Pool, rows: list[dict[str, object]], backgrounds: Backgrounds) -> None:
    pool.add_photos(rows)
    rows.clear()
    backgrounds.write()


def _read(pool: Pool, item: Item, known: dict[str, _Held]) -> _Read:
    """In a thread: read, hash, and keep what is new."""
    where = item.content if isinstance(item.content, Path) else Path(item.item)
    held = known.get(_key(item.origin, item.photo_id)) if item.photo_id else None
    if item.photo_id and held and (held.class_name != item.class_name or _is_there(pool, held)):
        return _Read(_key(item.origin, item.photo_id), None)
    data = _bytes(item.content, where)
    digest = hashlib.sha256(data).hexdigest()
    if item.photo_id not in (None, digest):
        raise UnreadablePhoto(where, "content changed since the source was written")
    key = _key(item.origin, digest)
    held = known.get(key)
    if held and (held.class_name != item.class_name or _is_there(pool, held)):
        return _Read(key, None)
    folder, stem = pool.class_folder(item.class_name), file_stem(key, Path(item.origin).stem)
    photo = keep_photo(pool.root, folder, stem, data, where)
    if held:
        return _Read(key, None, restored=photo.path == held.path)
    if item.mask is None:
        return _Read(key, photo)
    try:
        mask = keep_photo(pool.root, f"{folder}/masks", stem, _bytes(item.mask, item.mask), item.mask)
    except UnreadablePhoto as error:
        return _Read(key, photo, None, f"this mask of a photo: {error.reason}")
    return _Read(key, photo, mask)


def _is_there(pool: Pool, held: _Held) -> bool:
    """Say whether the pool's file is there, as far as its size tells."""
    try:
        file = pool.photo_file(held.path)
    except CounterGroundError:
        return False
    return held.bytes is None or file.stat().st_size == held.bytes


def _key(origin: str, digest: str) -> str:
    return f"{origin}#{digest[:16]}"


def _bytes(content: Path | bytes | None, where: Path) -> bytes:
    if content is None:
        raise UnreadablePhoto(where, "the source has no bytes of it")
    if isinstance(content, bytes):
        return content
    if is_special(content):
        raise UnreadablePhoto(where, "no regular file")
    try:
        return content.read_bytes()
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
