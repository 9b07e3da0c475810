"""One entry point for every source."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from counterground.construction.download import download_photos
from counterground.construction.imports._items import (
    Backgrounds,
    Details,
    ImportReport,
    RejectedItem,
    add_items,
)
from counterground.construction.imports._readers import (
    AddressTable,
    Source,
    is_address_table,
    is_data_set,
    read_addresses,
    read_data_set,
    read_local,
)
from counterground.construction.pool import check_annotators, check_class_names, open_pool
from counterground.construction.settings import ImportOptions
from counterground.errors import UsageError
from counterground.files import is_file, is_folder, write_text
from counterground.http import DownloadSettings
from counterground.progress import progress_bar

if TYPE_CHECKING:
    from counterground.construction.pool import Pool


def import_photos(
    pool_path: str | Path, source: str | Path, options: ImportOptions | None = None
) -> ImportReport:
    """Add the photos of a source to a pool, which is created if it is missing.

    ``source`` is anything that ``open_benchmark`` opens (including a table of files with a column ``path``),
    a flat folder with ``class_name``, a table of addresses (``.csv``, ``.tsv``, ``.parquet``, ``.jsonl``), a
    folder from Hugging Face's ``save_to_disk``, or ``hf:NAME[@CONFIG][:SPLIT]``.

    Photos are copied, never linked, so that editing the source does not change the pool. Backgrounds are
    recorded as decisions. Photos that cannot be decoded are rejected and listed with the reason, in the
    report and in a CSV file in the pool. Repeating an import adds what is missing, and updates the
    backgrounds, licences, credits and clusters that the source has changed. A file that equals a photo of
    its class in the pool is not added again, wherever it is now; a note counts these files.

    Polars does not survive a fork: start a child process with multiprocessing's "spawn", or the call waits
    for ever.

    Raises:
        UsageError: there is no such source, its class or a column must be named, or the annotator has another
            spelling of their name in the pool.
        CounterGroundError: the source cannot be read, its classes contradict each other or the pool's, or
            the pool cannot be written.
    """
    chosen, text, path = options or ImportOptions(), str(source), Path(source)
    if is_folder(path) and path.resolve() in Path(pool_path).resolve().parents:
        raise UsageError(f"The pool {pool_path} lies in its own source {source}: choose another folder.")
    if is_data_set(text):
        read: Source | AddressTable = read_data_set(text, chosen)
    elif is_address_table(path, chosen):
        read = read_addresses(path, chosen)
    else:
        read = read_local(source, Path(pool_path), chosen)
    with open_pool(pool_path, create=True) as pool:
        check_annotators(pool, [chosen.annotator])
        check_class_names(pool, read.classes, _rename_remedy)
        label = str(path.resolve()) if is_file(path) or is_folder(path) else text
        if isinstance(read, AddressTable):
            return _fetch(pool, label, read, chosen)
        return _copy(pool, label, read, chosen)


def _rename_remedy(name: str, known: str) -> str:
    return f"Import it under that name: --rename {f'{name}={known}'!r}."


def _copy(pool: Pool, source: str, read: Source, options: ImportOptions) -> ImportReport:
    backgrounds, details = Backgrounds(pool, options.annotator), Details(pool)
    with progress_bar("Copying", total=read.total, shown=options.show_progress) as bar:
        counts = add_items(
            pool,
            read.items,
            backgrounds,
            details,
            jobs=options.jobs,
            progress=lambda done: bar.update(done, read.total),
        )
    rejected = (*read.rejected, *counts.rejected)
    pool.snapshot()
    return ImportReport(
        added=counts.added.total(),
        present=counts.present,
        rejected=rejected,
        by_class=dict(sorted(counts.added.items())),
        backgrounds=backgrounds.recorded,
        masks=counts.masks,
        masks_rejected=tuple(counts.masks_rejected),
        notes=(*read.notes, *counts.notes(), *details.notes(), *backgrounds.notes()),
        list_file=_write_rejected(pool.root, source, [*rejected, *counts.masks_rejected]),
    )


def _fetch(pool: Pool, source: str, table: AddressTable, options: ImportOptions) -> ImportReport:
    pool.add_candidates(table.candidates)
    before = _rows_of(pool, table)
    failed = before.filter(pl.col("status") == "failed").select("key", "class_name")
    pool.mark_candidates([(key, name, "wanted", None) for key, name in failed.iter_rows()])
    settings = DownloadSettings(
        jobs=options.jobs, per_host=min(2, options.jobs), first_pause=options.first_pause
    )
    with progress_bar("Fetching", shown=options.show_progress) as bar:
        report = download_photos(
            pool, _rows_of(pool, table), settings, fields=table.details_of, progress=bar.update
        )
    backgrounds, details = _label(pool, table, options)
    pool.snapshot()
    rejected = (
        *table.rejected,
        *(
            RejectedItem(table.rows[one.key, one.class_name].item, one.class_name, one.reason)
            for one in (*report.failed, *report.postponed)
        ),
    )
    got = before.filter(pl.col("status") == "got")
    new = (
        _rows_of(pool, table)
        .filter(pl.col("status") == "got")
        .join(got, on=["key", "class_name"], how="anti")
    )
    return ImportReport(
        added=len(new),
        present=len(got),
        rejected=rejected,
        by_class=dict(new.group_by("class_name").len().sort("class_name").iter_rows()),
        backgrounds=backgrounds.recorded,
        notes=(*table.notes, *details.notes(), *backgrounds.notes()),
        list_file=_write_rejected(pool.root, source, rejected),
    )


def _rows_of(pool: Pool, table: AddressTable) -> pl.DataFrame:
    """Return the pool's candidates that are rows of the table."""
    keys = pl.DataFrame(list(table.rows), schema={"key": pl.String, "class_name": pl.String}, orient="row")
    return pool.candidates().join(keys, on=["key", "class_name"], how="semi", maintain_order="left")


def _label(pool: Pool, table: AddressTable, options: ImportOptions) -> tuple[Backgrounds, Details]:
    backgrounds, details = Backgrounds(pool, options.annotator), Details(pool)
    for key, name, path in pool.photos().select("key", "class_name", "path").iter_rows():
        if row := table.rows.get((key, name)):
            backgrounds.note(path, row.background)
            details.note(path, row.fields, row.assumed)
    backgrounds.write()
    details.write()
    return backgrounds, details


def _write_rejected(root: Path, source: str, rejected: Sequence[RejectedItem]) -> Path | None:
    """Write what was rejected to the pool's ``imports/``, a file per source; an empty list removes it."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", Path(source).name)[:40].strip("-") or "source"
    file = root / "imports" / f"{readable}-{hashlib.sha256(source.encode()).hexdigest()[:8]}.csv"
    if not rejected:
        file.unlink(missing_ok=True)
        return None
    write_text(file, pl.DataFrame([vars(one) for one in rejected]).write_csv())
    return file
