"""Photos on this disk: anything that ``open_benchmark`` opens, or a flat folder of one class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from counterground.benchmarks import open_benchmark
from counterground.construction.imports._details import CLUSTERED, assumed_details
from counterground.construction.imports._items import Item, RejectedItem
from counterground.construction.imports._options import (
    ImportOptions,
    checked_column,
    find_class_column,
    resolve_class_names,
    unused_note,
)
from counterground.construction.pool import PhotoKey, is_pool
from counterground.errors import CounterGroundError, UsageError
from counterground.files import is_file, is_folder
from counterground.photos import (
    IMAGE_SUFFIXES,
    MANIFEST_SCHEMA,
    TABLE_SUFFIXES,
    Benchmark,
    benchmark_of_frame,
    read_table,
    without_shared_clusters,
)

_CARRIED = ("cluster", "licence", "attribution", "source")
_ORIGINS = ("observer", "observation")  # further columns of a manifest


@dataclass(frozen=True)
class Source:
    """The photos of a source.

    Attributes:
        items: the photos; read once.
        total: number of photos.
        classes: their names in the pool.
        notes: sentences that a reader must know.
        rejected: photos that cannot be added, not among the items.
    """

    items: Iterator[Item]
    total: int
    classes: frozenset[str]
    notes: tuple[str, ...] = ()
    rejected: tuple[RejectedItem, ...] = ()


def read_local(source: str | Path, pool_path: Path, options: ImportOptions) -> Source:
    """Read a source on this disk.

    Raises:
        UsageError: there is no such source, or an option does not fit it.
        CounterGroundError: it cannot be read.
    """
    folder = Path(source)
    own_columns = options.class_name or options.class_column or options.background_column
    if own_columns and folder.suffix.lower() in TABLE_SUFFIXES and is_file(folder):
        return _benchmark(_manifest(folder, options), options)
    if options.class_name is not None:
        return _flat(folder, options.class_name, options)
    own = folder.parent if folder.name == "photos.parquet" else folder
    if is_pool(own) and own.resolve() == pool_path.resolve():
        raise UsageError("A pool cannot be imported into itself: name another source.")
    described = is_folder(folder) and any(folder.glob("*.json"))  # as a written benchmark
    flat = is_folder(folder) and not any(entry.is_dir() for entry in folder.iterdir())
    if flat and not described and _photos_of(folder):
        raise UsageError(f"{folder} has photos but no class folders: give their class with --class.")
    return _benchmark(open_benchmark(source, show_progress=options.show_progress), options)


def _manifest(source: Path, options: ImportOptions) -> Benchmark:
    """Read a table of files; the options name its columns of classes and backgrounds, or the class."""
    frame = read_table(source)
    classes, backgrounds = find_class_column(frame, options, source), options.background_column
    if backgrounds is not None:
        checked_column(frame.columns, backgrounds, str(source), "--background-column")
    named = {"class_name": pl.lit(options.class_name) if classes is None else pl.col(classes)}
    if backgrounds is not None:
        named["background"] = pl.col(backgrounds)
    frame = frame.with_columns(**named).drop(
        name for name in (classes, backgrounds) if name is not None and name not in named
    )
    try:
        return benchmark_of_frame(frame, source.parent, source.stem)
    except CounterGroundError as error:
        raise CounterGroundError(f"{source}: {error}") from error


def _benchmark(benchmark: Benchmark, options: ImportOptions) -> Source:
    photos, notes = without_shared_clusters(benchmark)  # a pool has the copies of a class once
    column = benchmark.design.clusters[0]
    photos = photos.with_columns(cluster=column)
    notes += unused_note(photos.columns, {*MANIFEST_SCHEMA, *_ORIGINS, column})
    classes = resolve_class_names(photos["class_name"].unique(maintain_order=True), options)
    clustered = photos["cluster"].null_count() < len(photos)
    origins = [name for name in _ORIGINS if name in photos.columns]
    if origins and not clustered:
        notes += (CLUSTERED,)
    origin = str(PhotoKey("file", f"{benchmark.name}/"))
    items = (
        Item(
            origin=f"{origin}{row['path']}",
            item=row["path"],
            class_name=classes[row["class_name"]],
            content=benchmark.photo_path(row["path"]),
            photo_id=row["photo_id"],
            background=row["background"],
            mask=benchmark.mask_path(row["mask"]) if row["mask"] else None,
            fields=fields,
            assumed=assumed_details(fields, ["cluster"] if clustered else []),
        )
        for row in photos.iter_rows(named=True)
        for fields in [{name: _text(row[name]) for name in (*_CARRIED, *origins) if row[name] is not None}]
    )
    return Source(items, len(photos), frozenset(classes.values()), notes)


def _text(value: object) -> object:
    """Return a value of a column as it was written; further columns of CSV are numbers if all can be."""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def _flat(folder: Path, class_name: str, options: ImportOptions) -> Source:
    files = _photos_of(folder) if is_folder(folder) else []
    if not files:
        raise UsageError(
            f"{folder} holds no photos: leave out --class to read <class>/*.jpg, or name their folder."
        )
    name = resolve_class_names([class_name], options)[class_name]
    origin = str(PhotoKey("file", f"{folder.resolve().name}/"))
    items = (Item(f"{origin}{file.name}", file.name, name, file) for file in files)
    return Source(items, len(files), frozenset([name]))


def _photos_of(folder: Path) -> list[Path]:
    """Return the photos directly in the folder."""
    return sorted(
        entry
        for entry in folder.iterdir()
        if entry.suffix.lower() in IMAGE_SUFFIXES and not entry.is_dir() and not entry.name.startswith(".")
    )
