"""What an import adds to a pool: its options, the details of photos, and each photo once."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from counterground.construction.download import KeptPhoto, cluster_of, discarded_paths, file_stem, keep_photo
from counterground.construction.pool import PHOTO_DETAILS, spelling_of
from counterground.construction.settings import ImportOptions
from counterground.errors import UsageError, did_you_mean
from counterground.files import open_regular
from counterground.http import without_query
from counterground.photos import (
    MOST_PHOTO_BYTES,
    UnreadablePhoto,
    assign_classes,
    name_key,
)
from counterground.text import and_more, counted

if TYPE_CHECKING:
    from counterground.construction.pool import Pool


def resolve_class_names(written: Iterable[str], options: ImportOptions) -> dict[str, str]:
    """Return the pool's class name for each name of the source: renamed, then read as in a benchmark.

    Raises:
        UsageError: ``rename`` has a name that the source does not have.
        CounterGroundError: two names mean one class, or one is ambiguous alongside ImageNet classes.
    """
    names = list(dict.fromkeys(written))
    for name in options.rename:
        if name not in names:
            raise UsageError(
                f"--rename names {name!r}, which is not a class of the source.{did_you_mean(name, names)}"
            )
    renamed = {name: options.rename.get(name, name) for name in names}
    classes = assign_classes(list(dict.fromkeys(renamed.values())))
    return {name: classes.classes.names[classes.index[new]] for name, new in renamed.items()}


def find_class_column(frame: pl.DataFrame, options: ImportOptions, source: Path) -> str | None:
    """Return the column of a table that has the classes; None if all rows are of ``options.class_name``.

    Raises:
        UsageError: there is neither a column nor a class of all rows.
    """
    if options.class_name is not None:
        return None
    column = options.class_column or "class_name"
    return checked_column(frame.columns, column, str(source), "--class-column, or the class with --class")


def checked_column(columns: Collection[str], column: str, source: str, option: str) -> str:
    """Return a column of a table or data set that must be there.

    Raises:
        UsageError: it is not; the message has the option that names another one.
    """
    if column not in columns:
        raise UsageError(
            f"{source} has no column {column!r}; it has {', '.join(columns)}."
            f"{did_you_mean(column, columns)} Name the column with {option}."
        )
    return column


def unused_note(columns: Iterable[str], used: Collection[str | None]) -> tuple[str, ...]:
    """Return a note on columns of a source that are not used: they may be misspelt."""
    unused = [column for column in columns if column not in used]
    return (f"Unused columns of the source: {', '.join(unused)}.",) if unused else ()


CLUSTERED = (
    "Photos of one observer (or else one observation) share a cluster: the source has no column 'cluster'."
)


def assumed_details(given: Mapping[str, object], columns: Iterable[str]) -> dict[str, object]:
    """Return what follows from what a source says about a photo, for what it does not say.

    Args:
        given: columns of a pool.
        columns: columns that the source has. An empty cell of a column of clusters is a cluster of its own.
    """
    cluster = None if "cluster" in columns else cluster_of(given)
    page = without_query(str(given["url"])) if given.get("url") and not given.get("source") else None
    found: dict[str, object] = {"cluster": cluster, "source": page}
    return {name: value for name, value in found.items() if value is not None}


class Details:
    """Updates the columns ``PHOTO_DETAILS`` of photos that the pool has, and counts what changed.

    A value that the source does not give leaves the pool's in place, as with backgrounds: the source may not
    know it, while another source of the same photo does.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._stored = pool.photos().select("path", *PHOTO_DETAILS)
        self._rows = {path: row for row, path in enumerate(self._stored["path"])}
        self._waiting: dict[str, dict[str, object]] = {}
        self._updated: set[str] = set()
        self._changed: Counter[str] = Counter()

    def note(
        self, path: str, given: Mapping[str, object], assumed: Mapping[str, object] | None = None
    ) -> None:
        """Note what the source says about a photo that the pool had before, and what follows from that.

        What is assumed replaces what was assumed before, and nothing that another source gave.
        """
        if path not in self._rows:  # this import has added it
            return
        stored = self._stored.row(self._rows[path], named=True)
        said = {name: given.get(name) for name in PHOTO_DETAILS if given.get(name) not in (None, "")}
        before = assumed_details(stored, ()) if assumed else {}
        said |= {
            name: value
            for name, value in (assumed or {}).items()
            if name not in said and stored[name] in (None, value, before.get(name))
        }
        if new := {name: value for name, value in said.items() if value != stored[name]}:
            self._waiting[path] = new
            self._updated.add(path)
            self._changed.update(list(new))

    def write(self) -> None:
        """Write the waiting changes."""
        if self._waiting:
            self._pool.update_photos(self._waiting)
            self._waiting = {}

    def notes(self) -> tuple[str, ...]:
        """Return a note on what was updated."""
        if not self._updated:
            return ()
        photos = counted(len(self._updated), "photo")
        changed = ", ".join(f"{name} {number:,}" for name, number in self._changed.items())
        return (f"Updated {photos} of the pool from the source ({changed}).",)


class Backgrounds:
    """Records the labels of an import; a label in force, or imported before, is not recorded twice.

    So a label that its annotator has since changed or undone stays that way until the source changes it. Two
    imports at the same time write the same token, of which the pool keeps one. A label that the pool has in
    another spelling (``name_key``) is the pool's: annotators who chose it agree with the source.

    Attributes:
        recorded: number of decisions recorded.
        added: labels that are new in the pool's label space.
    """

    def __init__(self, pool: Pool, annotator: str) -> None:
        self._pool, self._annotator = pool, annotator
        self._standing, self._imported, self._events = _known_labels(pool, annotator)
        self._spelling = spelling_of(pool.background_labels())
        self._waiting: list[dict[str, Any]] = []
        self.recorded = 0
        self.added: list[str] = []

    def note(self, path: str, label: str | None) -> None:
        """Note the label of a photo; None and an empty label change nothing."""
        label = (label or "").strip()
        name = name_key(label)
        if not label or name in (_label_key(self._standing.get(path)), _label_key(self._imported.get(path))):
            return
        if name not in self._spelling:
            self._spelling[name] = label
            self.added.append(label)
        label = self._spelling[name]
        self._standing[path] = self._imported[path] = label
        number = self._events[path] = self._events.get(path, 0) + 1
        token = json.dumps([self._annotator, path, number, label])
        self._waiting.append(
            {
                "path": path,
                "annotator": self._annotator,
                "task": "background",
                "labels": [label],
                "token": hashlib.sha256(token.encode()).hexdigest()[:32],
            }
        )

    def write(self) -> None:
        """Record the waiting labels, after adding the new ones to the label space."""
        if not self._waiting:
            return
        self._pool.add_background_labels(self.added)
        # Another import may have added the same labels in another spelling meanwhile.
        spelling = spelling_of(self._pool.background_labels())
        for event in self._waiting:
            event["labels"] = [spelling.get(name_key(label), label) for label in event["labels"]]
        self._pool.decide_all(self._waiting)
        self.recorded += len(self._waiting)
        self._waiting = []

    def notes(self) -> tuple[str, ...]:
        """Return a note on new labels."""
        return (f"New background labels in the pool: {and_more(self.added, 8)}.",) if self.added else ()


def _label_key(label: str | None) -> str | None:
    return None if label is None else name_key(label)


def _known_labels(pool: Pool, annotator: str) -> tuple[dict[str, str], dict[str, str], dict[str, int]]:
    """Return by photo: the annotator's labels in force, the last imported ones, and how many events."""
    mine = (pl.col("annotator") == annotator) & (pl.col("task") == "background") & pl.col("undoes").is_null()
    events = pool.decisions().filter(mine).sort("id")
    found = []
    # Imports record no time per photo; annotators do.
    for chosen in (~pl.col("undone"), pl.col("seconds").is_null()):
        labels = events.filter(chosen).select("path", pl.col("labels").list.first())
        found.append(dict(labels.iter_rows()))
    return found[0], found[1], dict(events.group_by("path").len().iter_rows())


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
    equal: int = 0  # of those present: with the content of a photo from another place
    masks: int = 0
    rejected: list[RejectedItem] = field(default_factory=list)
    masks_rejected: list[RejectedItem] = field(default_factory=list)

    def notes(self) -> tuple[str, ...]:
        """Return a note on files that were not added."""
        if not self.equal:
            return ()
        return (f"{self.equal:,} of the files equal photos of their class from another place: not added.",)


@dataclass(frozen=True)
class _Present:
    """A photo that the pool has."""

    key: str | None
    class_name: str
    path: str
    discarded: bool = False


@dataclass(frozen=True)
class _Read:
    key: str
    photo_id: str
    photo: KeptPhoto | None  # None: the pool has it
    mask: KeptPhoto | None = None
    mask_problem: str = ""


_Keyed = dict[str, tuple[_Present, ...]]  # the pool's photos by key; a discarded one may have another class
_Equal = dict[tuple[str, str], str]  # paths of the pool's photos by class and photo_id


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
    class under another key is that photo: it, or its source, was moved or renamed.

    Args:
        pool: the pool.
        items: the photos, in order; read as they are needed.
        backgrounds: recorder of the labels.
        details: recorder of what else the source says about photos that the pool has.
        jobs: photos read at the same time.
        progress: function called with the number of photos done.
    """
    present, equal = _photos_in(pool)
    counts = ImportCounts()
    claimed: set[str] = set()  # paths of photos whose item is known
    elsewhere: list[tuple[Item, str]] = []  # items that equal a photo under another key, and its path
    rows: list[dict[str, object]] = []
    outcomes = _in_order(items, lambda item: _read(pool, item, present, equal), jobs)
    for done, (item, outcome) in enumerate(outcomes, start=1):
        if isinstance(outcome, UnreadablePhoto):
            counts.rejected.append(RejectedItem(item.item, item.class_name, outcome.reason))
        elif (kept := _kept(present, outcome.key, item.class_name)) and kept.class_name != item.class_name:
            reason = f"the pool has it as {kept.class_name!r}: discard it there first"
            counts.rejected.append(RejectedItem(item.item, item.class_name, reason))
        elif kept:
            counts.present += 1
            claimed.add(kept.path)
            backgrounds.note(kept.path, item.background)
            details.note(kept.path, item.fields, item.assumed)
        elif same := equal.get((item.class_name, outcome.photo_id)):
            _remove(pool, outcome)
            counts.present += 1
            counts.equal += 1
            elsewhere.append((replace(item, content=None), same))
        else:
            assert outcome.photo is not None
            path = _add(item, outcome, outcome.photo, counts, rows)
            new = _Present(outcome.key, item.class_name, path)
            present[outcome.key] = (*present.get(outcome.key, ()), new)
            equal[item.class_name, outcome.photo_id] = path
            claimed.add(path)
            backgrounds.note(path, item.background)
        progress(done)
        if len(rows) >= _BATCH:
            _write(pool, rows, backgrounds, details)
    for item, path in elsewhere:  # only now is it known which photos have an item of their own
        if path not in claimed:
            claimed.add(path)
            backgrounds.note(path, item.background)
            details.note(path, item.fields, item.assumed)
    _write(pool, rows, backgrounds, details)
    return counts


def _add(
    item: Item, read: _Read, photo: KeptPhoto, counts: ImportCounts, rows: list[dict[str, object]]
) -> str:
    """Note the row of a new photo, and return the photo's path."""
    mask = read.mask and read.mask.path
    known: dict[str, object] = {"key": read.key, "class_name": item.class_name, "mask": mask}
    rows.append(known | item.assumed | item.fields | vars(photo))
    counts.added[item.class_name] += 1
    counts.masks += mask is not None
    if read.mask_problem:
        counts.masks_rejected.append(RejectedItem(str(item.mask), item.class_name, read.mask_problem))
    return photo.path


def _photos_in(pool: Pool) -> tuple[_Keyed, _Equal]:
    """Return the pool's photos by key, and their paths by class and content."""
    present: _Keyed = {}
    equal: _Equal = {}
    discarded = discarded_paths(pool)
    for photo_id, key, name, path in (
        pool.photos().select("photo_id", "key", "class_name", "path").iter_rows()
    ):
        present[key] = (*present.get(key, ()), _Present(key, name, path, path in discarded))
        equal[name, photo_id] = path
    return present, equal


def _kept(present: _Keyed, key: str, class_name: str) -> _Present | None:
    """Return the pool's photo of a key in a class; else one in another class, unless it was discarded."""
    photos = present.get(key, ())
    standing = (photo for photo in photos if not photo.discarded)
    return next((photo for photo in photos if photo.class_name == class_name), next(standing, None))


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
    if item.photo_id and _kept(present, _key(item.origin, item.photo_id), item.class_name):
        return _Read(_key(item.origin, item.photo_id), item.photo_id, None)
    data = _bytes(item.content, where)
    digest = hashlib.sha256(data).hexdigest()
    if item.photo_id not in (None, digest):
        raise UnreadablePhoto(where, "content changed since the source was written")
    key = _key(item.origin, digest)
    if _kept(present, key, item.class_name) or (item.class_name, digest) in equal:
        return _Read(key, digest, None)
    folder, stem = pool.class_folder(item.class_name), file_stem(key, Path(item.origin).stem)
    photo = keep_photo(pool.root, folder, stem, data, where)
    if item.mask is None:
        return _Read(key, digest, photo)
    try:
        mask = keep_photo(pool.root, f"{folder}/masks", stem, _bytes(item.mask, item.mask), item.mask)
    except UnreadablePhoto as error:
        return _Read(key, digest, photo, None, f"this is the mask of a photo: {error.reason}")
    return _Read(key, digest, photo, mask)


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
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise UnreadablePhoto(where, "missing" if missing else str(error.strerror).lower()) from error


def _in_order(
    items: Iterable[Item], read: Callable[[Item], _Read], jobs: int
) -> Iterator[tuple[Item, _Read | UnreadablePhoto]]:
    """Read ahead in threads, a few photos at a time, and yield in the order of the items."""

    def outcome(item: Item) -> tuple[Item, _Read | UnreadablePhoto]:
        try:
            return item, read(item)
        except UnreadablePhoto as error:
            return item, error

    ahead: deque[Future[tuple[Item, _Read | UnreadablePhoto]]] = deque()
    with ThreadPoolExecutor(jobs) as workers:
        try:
            for item in items:
                ahead.append(workers.submit(outcome, item))
                if len(ahead) > 4 * jobs:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()
