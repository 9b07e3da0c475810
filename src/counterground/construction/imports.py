"""Import photos that you have, as files or URLs, into a pool: whatever ``open_benchmark`` reads.

- **Copied, never linked.** A hard link would let an edit of the source change a photo under the hash it has.
- **A class has a photo once**, by content: importing the same source again, moved or not, adds nothing, and a
  discarded photo stays discarded. An edited file is another photo.
- **Labels are decisions.** One that its annotator has since changed or undone stays that way: only a label
  that the source did not have before is recorded.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from counterground.benchmarks import open_benchmark
from counterground.construction.pool import (
    PHOTO_DETAILS,
    check_annotators,
    check_class_names,
    class_folder,
    file_stem,
    keep_photo,
    open_pool,
    spelling_of,
)
from counterground.construction.settings import ImportOptions
from counterground.errors import UsageError, did_you_mean
from counterground.files import check_apart, is_folder, open_regular, write_text
from counterground.photos import (
    IMAGE_SUFFIXES,
    MANIFEST_SCHEMA,
    MOST_PHOTO_BYTES,
    Benchmark,
    UnreadablePhoto,
    assign_classes,
    benchmark_of_frame,
    name_key,
)
from counterground.progress import progress_bar
from counterground.text import and_more, counted

if TYPE_CHECKING:
    from counterground.construction.pool import Pool

_ORIGINS = ("observer", "observation")
_FURTHER = (*_ORIGINS, "taxon", "observed_on")  # columns beside those of a manifest
_CLUSTERED = (
    "Photos of one observer (or else one observation) share a cluster: the source has no column 'cluster'."
)
_BATCH = 64


@dataclass(frozen=True)
class RejectedItem:
    """A photo or mask of the source that was not added to the pool: path, class, and why in a few words."""

    item: str
    class_name: str
    reason: str


@dataclass(frozen=True)
class ImportReport:
    """The result of an import; every photo of the source is counted in exactly one of the first three.

    Attributes:
        added: photos added to the pool.
        present: photos that were in the pool already, also from another place, and repeated files.
        rejected: photos that cannot be read, each with its reason, and masks, whose photos are counted.
        by_class: added photos by class.
        backgrounds: labels recorded: of added photos, and of those whose label in the source changed.
        masks: masks added.
        notes: sentences that a reader must know.
        list_file: CSV of what was rejected; None: nothing was.
    """

    added: int
    present: int
    rejected: tuple[RejectedItem, ...]
    by_class: Mapping[str, int]
    backgrounds: int = 0
    masks: int = 0
    notes: tuple[str, ...] = ()
    list_file: Path | None = None


def import_photos(
    pool_path: str | Path, source: str | Path, options: ImportOptions | None = None
) -> ImportReport:
    """Add the photos of a source to a pool, which is created if it is missing.

    ``source`` is anything that ``open_benchmark`` opens: a folder, a table with a column ``path`` or ``url``,
    shards, another pool, ``hf:NAME``; or, with ``class_name``, a folder of photos. Repeating an import adds
    what is missing, and takes over the backgrounds, licences, credits and clusters that the source changed.

    Polars does not survive a fork: start a child process with multiprocessing's "spawn", or the call waits
    for ever.

    Raises:
        UsageError: there is no such source, it holds or is the pool, or the annotator has another spelling of
            their name in the pool.
        CounterGroundError: the source cannot be read, its classes contradict each other or the pool's, or
            the pool cannot be written.
    """
    chosen = options or ImportOptions()
    if is_folder(Path(source)):
        check_apart(Path(pool_path), Path(source), "the source")
    benchmark = _open(source, chosen)
    photos, notes = _photos(benchmark, chosen)
    with open_pool(pool_path, create=True) as pool:
        check_annotators(pool, [chosen.annotator])
        check_class_names(
            pool, photos["class_name"].unique(), "Import it under that name: --rename {0!r}={1!r}."
        )
        stored = _stored(pool)
        added, rejected = _copy(pool, benchmark, photos, stored, chosen)
        updated = _update(pool, photos, stored)
        backgrounds, new = _label(pool, photos, chosen.annotator)
        pool.snapshot()
        unread = sum(one.item in set(photos["path"]) for one in rejected)
        if updated:
            notes += (f"Updated {counted(updated, 'photo')} of the pool from the source.",)
        if new:
            notes += (f"New background labels in the pool: {and_more(new, 8)}.",)
        return ImportReport(
            len(added),
            len(photos) - len(added) - unread,
            tuple(rejected),
            dict(sorted(Counter(row["class_name"] for row in added).items())),
            backgrounds,
            sum(row["mask"] is not None for row in added),
            notes,
            _write_rejected(pool.root, str(source), rejected),
        )


def _open(source: str | Path, options: ImportOptions) -> Benchmark:
    if options.class_name is None:
        return open_benchmark(source, show_progress=options.show_progress)
    folder = Path(source)
    entries = folder.glob("[!.]*") if is_folder(folder) else ()
    files = sorted(entry.name for entry in entries if entry.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise UsageError(
            f"{folder} is no folder with photos: leave out --class to read <class>/*.jpg, or a table."
        )
    frame = pl.DataFrame({"path": files}).with_columns(class_name=pl.lit(options.class_name))
    return benchmark_of_frame(frame, folder, folder.resolve().name)


def _photos(benchmark: Benchmark, options: ImportOptions) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Return the photos with the pool's classes, keys and further columns, and notes."""
    photos, notes = benchmark.photos, benchmark.notes
    column, names = benchmark.design.clusters[0], photos["class_name"].unique(maintain_order=True).to_list()
    unused = [name for name in photos.columns if name not in {*MANIFEST_SCHEMA, *_FURTHER, column}]
    if unused:
        notes += (f"Unused columns of the source: {', '.join(unused)}.",)
    photos = photos.with_columns(
        _texts(photos, (*_FURTHER, column)),
        class_name=pl.col("class_name").replace_strict(_class_names(names, options)),
        key=pl.format("file:{}/{}#{}", pl.lit(benchmark.name), "path", pl.col("photo_id").str.head(16)),
    ).with_columns(cluster=column)
    origins = [name for name in _ORIGINS if name in photos.columns]
    if origins and photos["cluster"].is_null().all():
        photos = photos.with_columns(
            cluster=pl.coalesce(pl.format("{}:{}", pl.lit(name), name) for name in origins)
        )
        notes += (_CLUSTERED,)
    return photos, notes


def _texts(photos: pl.DataFrame, names: Iterable[str]) -> list[pl.Expr]:
    """Return columns as they were written; those of a CSV are numbers if all their cells can be."""
    present = [name for name in names if name in photos.columns]
    whole = [
        pl.col(name).cast(pl.Int64) if photos[name].dtype.is_float() else pl.col(name) for name in present
    ]
    return [column.cast(pl.String) for column in whole]


def _class_names(names: list[str], options: ImportOptions) -> dict[str, str]:
    """Return the pool's class name for each name of the source: renamed, then read as in a benchmark."""
    for name in options.rename:
        if name not in names:
            raise UsageError(
                f"--rename names {name!r}, which is not a class of the source.{did_you_mean(name, names)}"
            )
    renamed = {name: options.rename.get(name, name) for name in names}
    classes = assign_classes(list(dict.fromkeys(renamed.values())))
    return {name: classes.classes.names[classes.index[new]] for name, new in renamed.items()}


Stored = dict[tuple[str, str], dict[str, Any]]
"""The pool's photos by class and content."""


def _stored(pool: Pool) -> Stored:
    return {(row["class_name"], row["photo_id"]): row for row in pool.photos().iter_rows(named=True)}


def _copy(
    pool: Pool, benchmark: Benchmark, photos: pl.DataFrame, stored: Stored, options: ImportOptions
) -> tuple[list[dict[str, Any]], list[RejectedItem]]:
    """Copy the photos that the pool does not have, in threads and batches; return rows and what was not."""
    rows = [
        row
        for row in photos.unique(["class_name", "photo_id"], keep="first", maintain_order=True).to_dicts()
        if (row["class_name"], row["photo_id"]) not in stored
    ]
    added: list[dict[str, Any]] = []
    rejected: list[RejectedItem] = []
    with (
        progress_bar("Copying", total=len(rows), shown=options.show_progress) as bar,
        ThreadPoolExecutor(options.jobs) as workers,
    ):
        for start in range(0, len(rows), _BATCH):
            before = len(added)
            for new, failed in workers.map(partial(_keep, pool, benchmark), rows[start : start + _BATCH]):
                added += new
                rejected += failed
                bar.advance()
            pool.add_photos(added[before:])
    return added, rejected


def _keep(
    pool: Pool, benchmark: Benchmark, row: dict[str, Any]
) -> tuple[list[dict[str, Any]], list[RejectedItem]]:
    """Copy a photo and its mask; return the row of the pool, if any, and what was rejected; in a thread."""
    folder = class_folder(row["class_name"])
    stem = file_stem(row["key"], Path(row["path"]).stem)
    try:
        photo = keep_photo(pool.root, folder, stem, _read(benchmark.photo_path(row["path"]), row["photo_id"]))
    except UnreadablePhoto as error:
        return [], [RejectedItem(row["path"], row["class_name"], error.reason)]
    mask, rejected = None, []
    if row["mask"] is not None:
        try:
            data = _read(benchmark.mask_path(row["mask"]))
            mask = keep_photo(pool.root, f"{folder}/masks", stem, data).path
        except UnreadablePhoto as error:
            rejected.append(RejectedItem(row["mask"], row["class_name"], error.reason))
    details = {name: row.get(name) for name in ("key", "class_name", *PHOTO_DETAILS)}
    return [details | vars(photo) | {"mask": mask}], rejected


def _read(file: Path, photo_id: str | None = None) -> bytes:
    try:
        with open_regular(file, MOST_PHOTO_BYTES) as opened:
            data = opened.read()
    except OSError as error:
        raise UnreadablePhoto(file, (error.strerror or str(error)).lower()) from error
    if photo_id not in (None, hashlib.sha256(data).hexdigest()):
        raise UnreadablePhoto(file, "content changed since the source was written")
    return data


def _update(pool: Pool, photos: pl.DataFrame, stored: Stored) -> int:
    """Take over what the source says now about photos that the pool had; return how many changed."""
    changes = {}
    for row in photos.iter_rows(named=True):
        if known := stored.get((row["class_name"], row["photo_id"])):
            said = {name: row.get(name) for name in PHOTO_DETAILS}
            if new := {n: value for n, value in said.items() if value not in (None, "", known[n])}:
                changes[known["path"]] = new
    pool.update_photos(changes)
    return len(changes)


def _label(pool: Pool, photos: pl.DataFrame, annotator: str) -> tuple[int, list[str]]:
    """Record the backgrounds that the source gives and did not give before; return how many, and new labels.

    A label that the pool has in another spelling (``name_key``) is the pool's: annotators who chose it agree
    with the source. Two imports at the same time write the same token, of which the pool keeps one.
    """
    before = pool.background_labels()
    labelled = photos.with_columns(pl.col("background").str.strip_chars()).filter(pl.col("background") != "")
    pool.add_background_labels(labelled["background"].unique(maintain_order=True))
    spelling, stored = spelling_of(pool.background_labels()), _stored(pool)
    # Imports record no time per photo; annotators do.
    mine = pl.col("seconds").is_null() & pl.col("undoes").is_null() & (pl.col("task") == "background")
    events = pool.decisions().filter(mine, annotator=annotator)
    last = dict(events.select("path", pl.col("labels").list.first()).iter_rows())
    number = Counter(events["path"])
    decisions = []
    for row in labelled.unique(["class_name", "photo_id"], keep="first", maintain_order=True).to_dicts():
        known, label = stored.get((row["class_name"], row["photo_id"])), spelling[name_key(row["background"])]
        if known is None or last.get(known["path"]) == label:
            continue
        token = json.dumps([annotator, known["path"], number[known["path"]], label])
        decision: dict[str, Any] = {"path": known["path"], "annotator": annotator, "task": "background"}
        decision |= {"labels": [label], "token": hashlib.sha256(token.encode()).hexdigest()[:32]}
        decisions.append(decision)
    pool.decide_all(decisions)
    return len(decisions), [label for label in pool.background_labels() if label not in before]


def _write_rejected(root: Path, source: str, rejected: Sequence[RejectedItem]) -> Path | None:
    """Write what was rejected to the pool's ``imports/``, a file per source; an empty list removes it."""
    source = str(Path(source).resolve()) if Path(source).exists() else source
    readable = re.sub(r"[^A-Za-z0-9]+", "-", Path(source).name)[:40].strip("-") or "source"
    file = root / "imports" / f"{readable}-{hashlib.sha256(source.encode()).hexdigest()[:8]}.csv"
    if not rejected:
        file.unlink(missing_ok=True)
        return None
    write_text(file, pl.DataFrame([vars(one) for one in rejected]).write_csv())
    return file
