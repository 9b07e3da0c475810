"""Add photos at hand, as files or bytes, to a pool."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from counterground.construction.download import KeptPhoto, discarded_paths, file_stem, keep_photo
from counterground.construction.imports._backgrounds import Backgrounds
from counterground.construction.imports._details import Details
from counterground.errors import CounterGroundError
from counterground.files import open_regular
from counterground.photos import MOST_PHOTO_BYTES, UnreadablePhoto
from counterground.text import counted

if TYPE_CHECKING:
    from counterground.construction.pool import Pool


from collections.abc import Mapping


@dataclass(frozen=True)
class RejectedItem:
    """A photo, a mask or a row of the source that was not added to the pool.

    Attributes:
        item: a path in the source, "row 5", or an address.
        class_name: its class in the pool, or of a row that cannot be fetched as the table writes it; empty:
            the source has none.
        reason: why, in a few words.
    """

    item: str
    class_name: str
    reason: str


@dataclass(frozen=True)
class ImportReport:
    """The result of an import; every photo of the source is counted in exactly one of the first three.

    Attributes:
        added: photos added to the pool.
        present: photos that were in the pool already, also from another place, and repeated files.
        rejected: what was not added, each with its reason.
        by_class: added photos by class.
        backgrounds: labels recorded: of added photos, and of those whose label in the source changed.
        masks: masks added.
        masks_rejected: masks that were not added, though their photos were.
        requests: addresses requested, counting every try.
        received: bytes fetched.
        notes: sentences that a reader must know.
        list_file: CSV of what was rejected; None: nothing was.
    """

    added: int
    present: int
    rejected: tuple[RejectedItem, ...]
    by_class: Mapping[str, int]
    backgrounds: int = 0
    masks: int = 0
    masks_rejected: tuple[RejectedItem, ...] = ()
    requests: int = 0
    received: int = 0
    notes: tuple[str, ...] = ()
    list_file: Path | None = None


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
        assumed: columns derived from ``fields``, where the source does not give them (`assumed_details`).
    """

    origin: str
    item: str
    class_name: str
    content: Path | bytes | None
    photo_id: str | None = None
    background: str | None = None
    mask: Path | None = None
    fields: dict[str, object] = field(default_factory=dict)
    assumed: dict[str, object] = field(default_factory=dict)


@dataclass
class ImportCounts:
    """Running counts of an import."""

    added: Counter[str] = field(default_factory=Counter)
    present: int = 0
    restored: int = 0  # of those present: their files were missing or changed
    moved: list[str] = field(default_factory=list)  # of those present: paths of photos with another key
    discarded: int = 0  # of those moved
    copies: list[str] = field(default_factory=list)  # of those present: items that repeat another one
    masks: int = 0
    unmasked: int = 0  # of those present: without a mask in the pool, though the source has one
    remasked: int = 0  # of those present: with another mask in the pool than in the source
    rejected: list[RejectedItem] = field(default_factory=list)
    masks_rejected: list[RejectedItem] = field(default_factory=list)
    claimed: set[str] = field(default_factory=set)  # paths of photos whose item is known
    contents: set[str] = field(default_factory=set)  # photo_ids of the items

    def notes(self) -> tuple[str, ...]:
        """Return notes on photos that were restored, and on files and masks that were not added."""
        notes: list[str] = []
        if self.restored:
            photos = counted(self.restored, "photo")
            notes.append(f"Restored {photos} that were missing or changed in the pool.")
        if number := len(self.moved):
            files = (
                "1 file is identical to a photo"
                if number == 1
                else f"{number:,} files are identical to photos"
            )
            discarded = f", {self.discarded:,} of them discarded" if self.discarded else ""
            notes.append(f"{files} that the pool has from another place: not added again{discarded}.")
        if number := len(self.copies):
            files = "1 file repeats a photo" if number == 1 else f"{number:,} files repeat photos"
            more = f" and {number - 1:,} more" if number > 1 else ""
            notes.append(
                f"{files} of the same class in the source: not added again, whatever the labels "
                f"({self.copies[0]}{more})."
            )
        if self.unmasked:
            many = f"{self.unmasked:,} masks were not added, because the pool has their photos without any"
            one = "1 mask was not added, because the pool has its photo without one"
            what = one if self.unmasked == 1 else many
            notes.append(
                f"{what}: masks come with their photos. Import those that no earlier import rejected into a "
                "new pool."
            )
        if self.remasked:
            many = f"{self.remasked:,} masks differ from those that the pool has"
            one = "1 mask differs from the one that the pool has"
            what = one if self.remasked == 1 else many
            notes.append(f"{what}, which it keeps: to use masks that were edited, import into a new pool.")
        return tuple(notes)


@dataclass(frozen=True)
class _Present:
    """A photo that the pool has."""

    key: str | None
    class_name: str
    path: str
    bytes: int | None
    mask: str | None = None
    discarded: bool = False


@dataclass(frozen=True)
class _Read:
    key: str
    photo_id: str
    photo: KeptPhoto | None  # None: the pool has it
    mask: KeptPhoto | None = None
    mask_problem: str = ""
    restored: int = 0


_Keyed = dict[str, tuple[_Present, ...]]  # the pool's photos by key; a discarded one may have another class
_Equal = dict[tuple[str, str], tuple[_Present, ...]]  # the pool's photos by class and photo_id


def add_items(
    pool: Pool,
    items: Iterable[Item],
    backgrounds: Backgrounds,
    details: Details,
    *,
    jobs: int,
    progress: Callable[[int], None],
) -> ImportCounts:
    """Copy into the pool the photos that it does not have.

    A photo's key is its origin and the hash of its content: reading the same source again adds nothing; a
    file changed since then is another photo, and the earlier one stays. A file that equals a photo of its
    class under another key is that photo: it, or its source, was moved or renamed. A photo whose file is
    missing from the pool, or has another size there, is restored.

    Args:
        pool: the pool.
        items: the photos, in order; read as they are needed.
        backgrounds: recorder of the labels.
        details: recorder of what else the source says about photos that the pool has.
        jobs: photos read at the same time.
        progress: function called with the number of photos done.
    """
    present, equal = _photos_of(pool)
    counts = ImportCounts()
    elsewhere: list[tuple[Item, str]] = []  # items that equal a photo under another key; their photo_id
    rows: list[dict[str, object]] = []
    outcomes = _in_order(items, lambda item: _read(pool, item, present, equal), jobs)
    for done, (item, outcome) in enumerate(outcomes, start=1):
        if isinstance(outcome, _Read):
            counts.contents.add(outcome.photo_id)
        if isinstance(outcome, UnreadablePhoto):
            counts.rejected.append(RejectedItem(item.item, item.class_name, outcome.reason))
        elif (kept := _kept(present, outcome.key, item.class_name)) and kept.class_name != item.class_name:
            reason = f"the pool has it as {kept.class_name!r}: discard it there first"
            counts.rejected.append(RejectedItem(item.item, item.class_name, reason))
        elif kept:
            counts.present += 1
            counts.restored += outcome.restored
            counts.claimed.add(kept.path)
            _follow_source(pool, kept, item, counts, backgrounds=backgrounds, details=details)
        elif outcome.photo is None or (item.class_name, outcome.photo_id) in equal:
            _remove(pool, outcome)
            counts.present += 1
            counts.restored += outcome.restored
            elsewhere.append((replace(item, content=None), outcome.photo_id))
        else:
            row: dict[str, object] = {"key": outcome.key, "class_name": item.class_name}
            row |= item.assumed | item.fields | vars(outcome.photo)
            mask = outcome.mask.path if outcome.mask else None
            rows.append(row | {"mask": mask})
            counts.added[item.class_name] += 1
            counts.masks += outcome.mask is not None
            new = _Present(outcome.key, item.class_name, outcome.photo.path, outcome.photo.bytes, mask)
            present[outcome.key] = (*present.get(outcome.key, ()), new)
            equal[item.class_name, outcome.photo_id] = (new,)
            counts.claimed.add(new.path)
            backgrounds.note(outcome.photo.path, item.background)
            if outcome.mask_problem:
                counts.masks_rejected.append(
                    RejectedItem(str(item.mask), item.class_name, outcome.mask_problem)
                )
        progress(done)
        if len(rows) >= _BATCH:
            _write(pool, rows, backgrounds, details)
    # Only now is it known which photos have an item of their own.
    for item, photo_id in elsewhere:
        photo = _unclaimed(item, photo_id, equal, counts.claimed)
        if photo is None:
            counts.copies.append(item.item)
            continue
        counts.claimed.add(photo.path)
        counts.moved.append(photo.path)
        _follow_source(pool, photo, item, counts, backgrounds=backgrounds, details=details)
    _write(pool, rows, backgrounds, details)
    if counts.moved:
        counts.discarded = len(discarded_paths(pool).intersection(counts.moved))
    return counts


def _photos_of(pool: Pool) -> tuple[_Keyed, _Equal]:
    """Return the pool's photos by key, and by class and content."""
    present: _Keyed = {}
    equal: _Equal = {}
    discarded = discarded_paths(pool)
    columns = ("photo_id", "key", "class_name", "path", "bytes", "mask")
    for photo_id, *others in pool.photos().select(columns).iter_rows():
        photo = _Present(*others)
        photo = replace(photo, discarded=photo.path in discarded)
        if photo.key is not None:
            present[photo.key] = (*present.get(photo.key, ()), photo)
        equal[photo.class_name, photo_id] = (*equal.get((photo.class_name, photo_id), ()), photo)
    return present, equal


def _kept(present: _Keyed, key: str, class_name: str) -> _Present | None:
    """Return the pool's photo of a key in a class; else one in another class, unless it was discarded."""
    photos = present.get(key, ())
    standing = (photo for photo in photos if not photo.discarded)
    return next((photo for photo in photos if photo.class_name == class_name), next(standing, None))


def _follow_source(
    pool: Pool,
    photo: _Present,
    item: Item,
    counts: ImportCounts,
    *,
    backgrounds: Backgrounds,
    details: Details,
) -> None:
    """Note what the source says about a photo that the pool has."""
    if item.mask is not None:
        counts.unmasked += photo.mask is None
        counts.remasked += photo.mask is not None and _differs(pool, photo.mask, item.mask)
    backgrounds.note(photo.path, item.background)
    details.note(photo.path, item.fields, item.assumed)


def _differs(pool: Pool, kept: str, mask: Path) -> bool:
    """Return whether a mask of the source can be read and is not the one that the pool has."""
    try:
        data = _bytes(mask, mask)
    except UnreadablePhoto:
        return False
    try:
        return pool.photo_file(kept).read_bytes() != data
    except (CounterGroundError, OSError):
        return True


def _unclaimed(item: Item, photo_id: str, equal: _Equal, claimed: set[str]) -> _Present | None:
    """Return the photo that an item is: that of the same place in a renamed source, or any equal one."""
    free = [photo for photo in equal[item.class_name, photo_id] if photo.path not in claimed]
    place = _place(_key(item.origin, photo_id))
    return min(free, key=lambda photo: _place(photo.key) != place, default=None)


def _place(key: str | None) -> str:
    return (key or "").partition("/")[2]


def _write(pool: Pool, rows: list[dict[str, object]], backgrounds: Backgrounds, details: Details) -> None:
    pool.add_photos(rows)
    rows.clear()
    backgrounds.write()
    details.write()


def _remove(pool: Pool, read: _Read) -> None:
    """Remove the files of an item that was read ahead, before an equal one was added."""
    for file in (read.photo, read.mask):
        if file is not None:
            (pool.root / file.path).unlink(missing_ok=True)


def _read(pool: Pool, item: Item, present: _Keyed, equal: _Equal) -> _Read:
    """Read and hash a photo, and keep it if it is new; runs in a thread."""
    where = item.content if isinstance(item.content, Path) else Path(item.item)
    if item.photo_id:
        key = _key(item.origin, item.photo_id)
        kept = _kept(present, key, item.class_name)
        if kept and (kept.class_name != item.class_name or _is_there(pool, kept)):
            return _Read(key, item.photo_id, None)
    data = _bytes(item.content, where)
    digest = hashlib.sha256(data).hexdigest()
    if item.photo_id not in (None, digest):
        raise UnreadablePhoto(where, "content changed since the source was written")
    key = _key(item.origin, digest)
    kept = _kept(present, key, item.class_name)
    if kept and kept.class_name != item.class_name:
        return _Read(key, digest, None)
    if same := (kept,) if kept else equal.get((item.class_name, digest)):
        return _Read(key, digest, None, restored=_restore(pool, same, data, where))
    folder, stem = pool.class_folder(item.class_name), file_stem(key, Path(item.origin).stem)
    photo = keep_photo(pool.root, folder, stem, data, where)
    if item.mask is None:
        return _Read(key, digest, photo)
    try:
        mask = keep_photo(pool.root, f"{folder}/masks", stem, _bytes(item.mask, item.mask), item.mask)
    except UnreadablePhoto as error:
        return _Read(key, digest, photo, None, f"this is the mask of a photo: {error.reason}")
    return _Read(key, digest, photo, mask)


def _restore(pool: Pool, photos: tuple[_Present, ...], data: bytes, where: Path) -> int:
    """Put back those photos of this content whose files are missing or changed; return how many."""
    lost = [photo for photo in photos if not _is_there(pool, photo)]
    places = [(pool.class_folder(photo.class_name), PurePosixPath(photo.path).stem) for photo in lost]
    found = {keep_photo(pool.root, *place, data, where).path for place in places}
    return len(found.intersection(photo.path for photo in lost))


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
        with open_regular(content, MOST_PHOTO_BYTES) as file:
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
