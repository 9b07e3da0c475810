"""One entrance for every source."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from counterground.construction.ingest.download import DownloadSettings, download_photos
from counterground.construction.ingest.imports._backgrounds import Backgrounds
from counterground.construction.ingest.imports._huggingface import is_data_set, read_data_set
from counterground.construction.ingest.imports._items import take_in
from counterground.construction.ingest.imports._local import Source, read_local
from counterground.construction.ingest.imports._options import ImportOptions, check_against_pool
from counterground.construction.ingest.imports._report import ImportReport, NotImported, write_missed
from counterground.construction.ingest.imports._table import AddressTable, is_address_table, read_addresses
from counterground.pool import open_pool
from counterground.progress import progress_bar

if TYPE_CHECKING:
    from counterground.pool import Pool


def import_photos(
    pool_path: str | Path, source: str | Path, options: ImportOptions | None = None
) -> ImportReport:
    """Take the photos of a source into a pool, which is made where there is none.

    ``source`` is whatever ``open_benchmark`` opens, a flat folder with ``class_name``, a table of
    addresses (``.csv``, ``.tsv``, ``.parquet``), a folder of Hugging Face's ``save_to_disk``, or
    ``hf:NAME[@CONFIG][:SPLIT]``.

    Photos are copied, never linked, so that editing the source does not change the pool. Backgrounds are
    recorded as decisions. What cannot be decoded is not taken in and is listed with the reason, in the
    report and in a CSV file in the pool. The same import again adds what is missing and nothing else.

    Raises:
        UsageError: there is no such source, or it does not say which class or column is meant.
        CounterGroundError: the source cannot be read, its classes contradict each other or the pool's, or
            the pool cannot be written.
    """
    chosen, text, path = options or ImportOptions(), str(source), Path(source)
    if is_data_set(text):
        read: Source | AddressTable = read_data_set(text, chosen)
    elif is_address_table(path, chosen):
        read = read_addresses(path, chosen)
    else:
        read = read_local(source, Path(pool_path), chosen)
    pool = open_pool(pool_path, create=True)
    try:
        check_against_pool(pool, read.classes)
        label = str(path.resolve()) if path.exists() else text
        if isinstance(read, AddressTable):
            return _fetch(pool, label, read, chosen)
        return _copy(pool, label, read, chosen)
    finally:
        pool.close()


def _copy(pool: Pool, source: str, read: Source, options: ImportOptions) -> ImportReport:
    backgrounds = Backgrounds(pool, options.annotator)
    with progress_bar("Copying", "photos", shown=options.show_progress) as bar:
        taken = take_in(
            pool,
            read.items,
            backgrounds,
            jobs=options.jobs,
            progress=lambda done: bar.update(done, read.total),
        )
    missed = (*read.missed, *taken.missed)
    pool.snapshot()
    return ImportReport(
        new=taken.new.total(),
        known=taken.known,
        missed=missed,
        by_class=dict(sorted(taken.new.items())),
        backgrounds=backgrounds.recorded,
        masks=taken.masks,
        masks_missed=tuple(taken.masks_missed),
        notes=(*read.notes, *taken.notes(), *backgrounds.notes(), *_note_shared(pool, read.classes)),
        list_file=write_missed(pool.root, source, [*missed, *taken.masks_missed]),
    )


def _fetch(pool: Pool, source: str, table: AddressTable, options: ImportOptions) -> ImportReport:
    pool.add_candidates(table.candidates)
    before = _rows_of(pool, table)
    failed = before.filter(pl.col("status") == "failed")
    if options.retry_failed:
        again = failed.select("key", "class_name").iter_rows()
        pool.mark_candidates([(key, name, "wanted", None) for key, name in again])
        failed = failed.clear()
    settings = DownloadSettings(
        jobs=options.jobs, per_host=min(2, options.jobs), first_pause=options.first_pause
    )
    with progress_bar("Fetching", "photos", shown=options.show_progress) as bar:
        report = download_photos(
            pool, _rows_of(pool, table), settings, fields=table.cluster_of, progress=bar.update
        )
    backgrounds = _label(pool, table, options)
    pool.snapshot()
    missed = (
        *table.missed,
        *(NotImported(one.url, one.class_name, one.reason) for one in report.failed),
        *(NotImported(one.url, one.class_name, f"{one.reason}; not given up") for one in report.postponed),
        *(
            NotImported(row["url"], row["class_name"], f"{row['reason']} (in an earlier import)")
            for row in failed.iter_rows(named=True)
        ),
    )
    got = before.filter(pl.col("status") == "got")
    new = (
        _rows_of(pool, table)
        .filter(pl.col("status") == "got")
        .join(got, on=["key", "class_name"], how="anti")
    )
    return ImportReport(
        new=len(new),
        known=len(got),
        missed=missed,
        by_class=dict(new.group_by("class_name").len().sort("class_name").iter_rows()),
        backgrounds=backgrounds.recorded,
        requests=report.requests,
        received=report.received,
        notes=(*table.notes, *backgrounds.notes(), *_note_shared(pool, table.classes)),
        list_file=write_missed(pool.root, source, missed),
    )


def _rows_of(pool: Pool, table: AddressTable) -> pl.DataFrame:
    """Return the pool's candidates that are rows of the table."""
    keys = pl.DataFrame(list(table.extras), schema={"key": pl.String, "class_name": pl.String}, orient="row")
    return pool.candidates().join(keys, on=["key", "class_name"], how="semi", maintain_order="left")


def _label(pool: Pool, table: AddressTable, options: ImportOptions) -> Backgrounds:
    backgrounds = Backgrounds(pool, options.annotator)
    for key, name, path in pool.photos().select("key", "class_name", "path").iter_rows():
        if (key, name) in table.extras:
            backgrounds.note(path, table.extras[key, name]["background"])
    backgrounds.write()
    return backgrounds


def _note_shared(pool: Pool, classes: frozenset[str]) -> tuple[str, ...]:
    """Tell of files that are in the pool under several classes, one of them of this source."""
    shared = (
        pool.photos()
        .group_by("photo_id")
        .agg(pl.col("class_name").unique().sort())
        .filter(pl.col("class_name").list.len() > 1)
        .filter(pl.col("class_name").list.eval(pl.element().is_in(list(classes))).list.any())
        .sort("photo_id")
    )
    if shared.is_empty():
        return ()
    first = shared["class_name"][0]
    more = f" and {len(first) - 2} more" if len(first) > 2 else ""
    example = f"{' and '.join(first[:2])}{more}"
    counted = "1 photo is" if len(shared) == 1 else f"{len(shared)} photos are"
    return (f"{counted} in the pool under several classes (one as {example}).",)
