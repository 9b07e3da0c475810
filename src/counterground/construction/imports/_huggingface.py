"""Data sets of the Hugging Face library: from the hub, or from a folder it saved or can load."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from counterground.construction.imports._details import CLUSTERED, assumed_details
from counterground.construction.imports._items import Item, RejectedItem
from counterground.construction.imports._local import Source
from counterground.construction.imports._options import (
    ImportOptions,
    checked_column,
    resolve_class_names,
    unused_note,
)
from counterground.errors import CounterGroundError, UsageError, needs_extra
from counterground.files import is_file, is_folder
from counterground.http import check_online
from counterground.photos import is_saved_dataset, label_name

_SPEC = re.compile(r"hf:(?P<name>.+?)(?:@(?P<config>[^@:/\\]+))?(?::(?P<split>[^:/\\]+))?")
_CARRIED = (
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

    used = {columns.image, columns.label, columns.background, *_CARRIED}
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
        fields: dict[str, object] = {name: value for name in _CARRIED if (value := _stripped(row.get(name)))}
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
    named = (name for name in (columns.background, *_CARRIED) if name in columns.names)
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
    image = _pick(features, options.image_column, images, "image", "--image-column")
    background = options.background_column or ("background" if "background" in features else None)
    if background is not None:
        _pick(features, background, [], "background", "--background-column")
    label = None
    if options.class_name is None:
        by_name = [name for name in ("class_name",) if name in features]
        guesses = by_name or [name for name in labels if name != background]
        label = _pick(features, options.class_column, guesses, "class", "--class-column or --class")
    notes = unused_note(features, {image, label, background, *_CARRIED})
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
