"""What can be imported: photos on disk, tables of addresses, and data sets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from counterground.benchmarks import open_benchmark
from counterground.construction.imports._items import (
    CLUSTERED,
    Item,
    RejectedItem,
    assumed_details,
    checked_column,
    find_class_column,
    resolve_class_names,
    unused_note,
)
from counterground.construction.pool import PhotoKey, is_pool
from counterground.construction.settings import ImportOptions
from counterground.errors import CounterGroundError, UsageError, needs_extra
from counterground.files import is_file, is_folder
from counterground.http import check_online, without_query
from counterground.photos import (
    IMAGE_SUFFIXES,
    MANIFEST_SCHEMA,
    TABLE_SUFFIXES,
    Benchmark,
    benchmark_of_frame,
    is_saved_dataset,
    label_name,
    read_table,
    without_shared_clusters,
)
from counterground.text import counted

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


_CANDIDATE = ("licence", "attribution", "source", "observer", "observation", "taxon", "observed_on")


@dataclass(frozen=True)
class AddressRow:
    """A row that can be fetched.

    Attributes:
        item: the row in reports: its number and its address, without the query, which may be secret.
        fields: what the table says about the photo, as columns of a pool.
        assumed: what follows from that for columns that it does not give.
        background: background label.
    """

    item: str
    fields: dict[str, object]
    assumed: dict[str, object]
    background: str | None


@dataclass(frozen=True)
class AddressTable:
    """Rows that can be fetched.

    Attributes:
        candidates: rows for ``Pool.add_candidates``, each key and class once.
        rows: the rows, by key and class.
        rejected: rows that cannot be fetched.
        notes: sentences that a reader must know.
    """

    candidates: list[dict[str, object]]
    rows: dict[tuple[str, str], AddressRow]
    rejected: list[RejectedItem]
    notes: tuple[str, ...]

    @property
    def classes(self) -> frozenset[str]:
        """The class names in the pool."""
        return frozenset(name for _, name in self.rows)

    def details_of(self, candidate: Mapping[str, Any]) -> dict[str, object]:
        """Return what the table says about a candidate, which may be one of an earlier import."""
        row = self.rows[candidate["key"], candidate["class_name"]]
        stated = {name: value for name, value in row.fields.items() if value is not None}
        return row.fields | row.assumed | stated


def is_address_table(source: Path, options: ImportOptions) -> bool:
    """Return whether a file is a table of addresses; one with a column "path" and no addresses is a manifest.

    A Parquet file with both is a manifest, such as the snapshot of a pool.

    Raises:
        CounterGroundError: it is a table that cannot be read.
    """
    if source.suffix.lower() not in TABLE_SUFFIXES or not is_file(source):
        return False
    columns = read_table(source).columns
    if "path" not in columns:
        return True
    return options.url_column in columns and source.suffix.lower() != ".parquet"


def read_addresses(source: Path, options: ImportOptions) -> AddressTable:
    """Read a table with a column of addresses and one of class names.

    Other columns are imported if they have the pool's names: licence, attribution, source, observer,
    observation, taxon, observed_on, cluster, background.

    Raises:
        UsageError: a column is missing.
        CounterGroundError: the file cannot be read, has no rows, or its classes contradict each other.
    """
    frame = read_table(source)
    checked_column(
        frame.columns, options.url_column, str(source), "-X url-column, or call a column of files 'path'"
    )
    class_column = find_class_column(frame, options, source)
    background = options.background_column or "background"
    if options.background_column:
        checked_column(frame.columns, background, str(source), "--background-column")
    rows, rejected = [], []
    for number, row in enumerate(_rows(frame), start=1):
        url = row.get(options.url_column) or ""
        name = (row.get(class_column) if class_column else options.class_name) or ""
        item = f"row {number}: {without_query(url)}"
        if name and url.isprintable() and url.startswith(("http://", "https://")):
            rows.append((item, url, name, row))
        else:
            rejected.append(RejectedItem(item, name, "it has no class, or no address that begins with http"))
    if not rows:
        raise CounterGroundError(
            f"{source}: no row can be fetched; {rejected[0].item}: {rejected[0].reason}. Files on this disk "
            "need a column 'path', and no -X url-column."
        )
    classes = resolve_class_names((name for _, _, name, _ in rows), options)
    used = {options.url_column, class_column, background, "cluster", *_CANDIDATE}
    notes = unused_note(frame.columns, used)
    candidates: list[dict[str, object]] = []
    found: dict[tuple[str, str], AddressRow] = {}
    for item, url, name, row in rows:
        key = (str(PhotoKey("url", url)), classes[name])
        if key in found:
            continue
        fields: dict[str, object] = {column: row.get(column) for column in _CANDIDATE}
        place = {"key": key[0], "class_name": key[1], "url": url, "position": len(candidates)}
        candidates.append(place | fields)
        assumed = assumed_details(fields | {"url": url}, frame.columns)
        found[key] = AddressRow(item, fields | {"cluster": row.get("cluster")}, assumed, row.get(background))
    if repeated := len(rows) - len(candidates):
        notes += (f"Skipped {counted(repeated, 'row')} with the address and the class of an earlier row.",)
    if any("cluster" in row.assumed for row in found.values()):
        notes += (CLUSTERED,)
    return AddressTable(candidates, found, rejected, notes)


def _rows(frame: pl.DataFrame) -> Iterator[Mapping[str, str | None]]:
    for row in frame.iter_rows(named=True):
        texts = {name: "" if value is None else str(value).strip() for name, value in row.items()}
        yield {name: text or None for name, text in texts.items()}


_SPEC = re.compile(r"hf:(?P<name>.+?)(?:@(?P<config>[^@:/\\]+))?(?::(?P<split>[^:/\\]+))?")
_DETAILS_OF_DATA_SETS = (
    "licence",
    "attribution",
    "source",
    "url",
    "observer",
    "observation",
    "taxon",
    "observed_on",
    "cluster",
)


@dataclass(frozen=True)
class _Columns:
    image: str
    label: str | None
    background: str | None
    names: dict[str, list[str]]  # of the numbers in each ClassLabel
    notes: tuple[str, ...]


def is_data_set(source: str) -> bool:
    """Return whether a source is a data set: ``hf:...``, or a folder that ``save_to_disk`` wrote."""
    return source.startswith("hf:") or is_saved_dataset(Path(source))


def read_data_set(source: str, options: ImportOptions) -> Source:
    """Read ``hf:NAME[@CONFIG][:SPLIT]``; NAME may be a folder, and splits may be joined as ``train+test``.

    Images are copied byte for byte as stored; no code of the data set is run.

    Raises:
        UsageError: the ``datasets`` package is not installed, or a split or column must be chosen.
        CounterGroundError: the data set cannot be loaded.
    """
    match = _SPEC.fullmatch(source if source.startswith("hf:") else f"hf:{source}")
    if match is None:
        raise UsageError(f"{source!r} is not a data set: expected hf:NAME[@CONFIG][:SPLIT].")
    name, config = match["name"], match["config"]
    parts = _load(name, config, match["split"])
    columns = _columns(next(iter(parts.values())), options)
    written = {split: _texts(part, split, columns, options) for split, part in parts.items()}
    classes = resolve_class_names(
        sorted({text for texts in written.values() for text in texts if text}), options
    )
    short = Path(name).resolve().name if is_folder(Path(name)) else name
    origin = f"hf:{short}" + (f"@{config}" if config else "")
    items = (
        item
        for split, part in parts.items()
        for item in _items(part, f"{origin}/{split}", written[split], classes, columns)
    )
    rejected = tuple(
        RejectedItem(f"{split}, row {number}", "", "it has no class")
        for split, texts in written.items()
        for number, text in enumerate(texts)
        if not text
    )
    total = sum(map(len, parts.values())) - len(rejected)
    return Source(items, total, frozenset(classes.values()), columns.notes, rejected)


def _items(
    part: Any, origin: str, written: list[str], classes: dict[str, str], columns: _Columns
) -> Iterator[Item]:
    from datasets import Image

    used = {columns.image, columns.label, columns.background, *_DETAILS_OF_DATA_SETS}
    stored = part.cast_column(columns.image, Image(decode=False)).select_columns(
        [name for name in part.features if name in used]
    )
    for number, text in enumerate(written):
        if not text:
            continue
        where = f"{origin.rsplit('/', 1)[1]}, row {number}"
        row = _texts_of(stored[number], columns, where)
        image = row[columns.image] or {}
        path = image.get("path")
        file = Path(path) if path and is_file(Path(path)) else None
        background = row[columns.background] if columns.background else None
        fields: dict[str, object] = {
            name: value for name in _DETAILS_OF_DATA_SETS if (value := _stripped(row.get(name)))
        }
        yield Item(
            origin=f"{origin}/{number}",
            item=where + (f" ({path})" if path else ""),
            class_name=classes[text],
            content=image.get("bytes") or file,
            background=None if background is None else str(background),
            fields=fields,
            assumed=assumed_details(fields, row),
        )


def _texts_of(row: Mapping[str, Any], columns: _Columns, where: str) -> dict[str, Any]:
    """Return a row with names for the numbers of its background and of what is carried."""
    named = (name for name in (columns.background, *_DETAILS_OF_DATA_SETS) if name in columns.names)
    texts = {name: label_name(row[name], columns.names[name], f"{where}: its {name!r}") for name in named}
    return {**row, **texts}


def _stripped(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _load(name: str, config: str | None, wanted: str | None) -> dict[str, Any]:
    """Return the wanted splits by name."""
    with needs_extra("datasets"):
        import datasets
    if not (is_folder(Path(name)) or datasets.config.HF_HUB_OFFLINE):  # offline, it reads its cache
        check_online(f"Reading the data set {name}")
    try:
        saved = is_saved_dataset(Path(name))
        loaded = datasets.load_from_disk(name) if saved else datasets.load_dataset(name, config)
    # The library, and the readers beneath it, may raise any exception.
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise CounterGroundError(f"Cannot load the data set {name!r}: {reason}.") from error
    if isinstance(loaded, datasets.Dataset):
        loaded = {str(loaded.split or "all"): loaded}
    chosen = list(loaded) if wanted is None and len(loaded) == 1 else (wanted or "").split("+")
    if not set(chosen) <= set(loaded):
        raise UsageError(f"Choose splits of {name}, as in hf:{name}:{'+'.join(loaded)}, which are all.")
    return {split: loaded[split] for split in chosen}


def _columns(data: Any, options: ImportOptions) -> _Columns:
    from datasets import ClassLabel, Image

    features = data.features
    images = [name for name, kind in features.items() if isinstance(kind, Image)]
    labels = [name for name, kind in features.items() if isinstance(kind, ClassLabel)]
    image = _pick(features, options.image_column, images, "image", "-X image-column")
    background = options.background_column or ("background" if "background" in features else None)
    if background is not None:
        _pick(features, background, [], "background", "--background-column")
    label = None
    if options.class_name is None:
        by_name = [name for name in ("class_name",) if name in features]
        guesses = by_name or [name for name in labels if name != background]
        label = _pick(features, options.class_column, guesses, "class", "--class-column or --class")
    notes = unused_note(features, {image, label, background, *_DETAILS_OF_DATA_SETS})
    if {"observer", "observation"} & set(features) and "cluster" not in features:
        notes += (CLUSTERED,)
    names = {name: list(features[name].names) for name in labels}
    return _Columns(image, label, background, names, notes)


def _pick(features: Any, named: str | None, found: list[str], what: str, option: str) -> str:
    if named is not None:
        return checked_column(features, named, "The data set", option)
    if len(found) != 1:
        have = ", ".join(found or features)
        raise UsageError(
            f"The column of the {what} is not clear: name it with {option}; candidates are {have}."
        )
    return found[0]


def _texts(part: Any, split: str, columns: _Columns, options: ImportOptions) -> list[str]:
    """Return the class of every row as it is written; empty if a row has none."""
    if columns.label is None:
        return [options.class_name or ""] * len(part)
    values = part[columns.label][:] if len(part) else []
    if columns.label in columns.names:
        names, where = columns.names[columns.label], f"its {columns.label!r}"
        values = [
            label_name(value, names, f"{split}, row {number}: {where}") for number, value in enumerate(values)
        ]
    return [_stripped(value) for value in values]
