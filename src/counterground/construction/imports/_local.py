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
    find_class_column,
    no_column,
    resolve_class_names,
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
from counterground.text import and_more, counted

_CARRIED = ("cluster", "licence", "attribution", "source")
_ORIGINS = ("observer", "observation")  # further columns of a manifest


@dataclass(frozen=True)
class Source:
    """The photos of a source.

    Attributes:
        items: the photos; read once.
        total: number of photos.
        classes: their names in the pool.
        origins: with what the origins of its items begin, whenever it is read; at least one.
        notes: sentences that a reader must know.
        rejected: photos that cannot be added, not among the items.
    """

    items: Iterator[Item]
    total: int
    classes: frozenset[str]
    origins: tuple[str, ...]
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
        return _flat(folder, options)
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
    if backgrounds is not None and backgrounds not in frame.columns:
        raise no_column(source, backgrounds, frame)
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
    column, *crossed = benchmark.design.clusters
    photos = photos.with_columns(cluster=column)
    if column != "cluster":
        notes += (f"Clusters are those of the column {column!r}, as the benchmark's design says.",)
    if crossed:
        notes += (
            f"The design also has clusters in the column {crossed[0]!r}: a pool keeps one column of them.",
        )
    kept = {*MANIFEST_SCHEMA, *_ORIGINS, column}
    if unused := [name for name in photos.columns if name not in kept]:
        notes += (f"Unused columns of the benchmark: {', '.join(unused)}.",)
    classes = resolve_class_names(photos["class_name"].unique(maintain_order=True), options)
    if photos["group"].null_count() < len(photos):
        notes += ("The groups common and counter were not imported: in a pool, they come from discovery.",)
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
    return Source(items, len(photos), frozenset(classes.values()), (origin,), notes)


def _text(value: object) -> object:
    """Return a value of a column as it was written; further columns of CSV are numbers if all can be."""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def _flat(folder: Path, options: ImportOptions) -> Source:
    assert options.class_name is not None
    if not is_folder(folder):
        raise UsageError(f"--class needs a folder of photos of one class, and {folder} is not a folder.")
    classes = resolve_class_names([options.class_name], options)
    deeper = [
        entry for entry in sorted(folder.iterdir()) if entry.is_dir() and not entry.name.startswith(".")
    ]
    for entry in deeper:
        if any(path.suffix.lower() in IMAGE_SUFFIXES for path in entry.rglob("*")):
            raise UsageError(
                f"{folder} has a folder {entry.name!r} with photos: leave out --class to read "
                "<class>/*.jpg, or name that folder."
            )
    files = _photos_of(folder)
    if not files:
        raise CounterGroundError(f"There is no photo in {folder}.")
    photos = set(files)
    others = [
        entry.name
        for entry in sorted(folder.iterdir())
        if entry.is_file() and entry not in photos and not entry.name.startswith(".")
    ]
    notes: tuple[str, ...] = ()
    if others:
        notes = (f"Skipped {counted(len(others), 'file')} of unknown type: {and_more(others, 3)}.",)
    name, known_as = classes[options.class_name], folder.resolve().name
    origin = str(PhotoKey("file", f"{known_as}/"))
    items = (Item(f"{origin}{file.name}", file.name, name, file) for file in files)
    return Source(items, len(files), frozenset([name]), (origin,), notes)


def _photos_of(folder: Path) -> list[Path]:
    """Return the photos directly in the folder."""
    return sorted(
        entry
        for entry in folder.iterdir()
        if entry.suffix.lower() in IMAGE_SUFFIXES and not entry.is_dir() and not entry.name.startswith(".")
    )
