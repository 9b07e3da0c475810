"""Samples of a Hugging Face shard: Parquet with the photos' bytes in a column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from counterground.errors import CounterGroundError
from counterground.files import parse_json
from counterground.photos._manifest import OPTIONAL_TEXTS
from counterground.photos.shards._tar import Sample, open_parquet, photo_suffix

# Photos in memory at a time: about so many bytes, but no fewer and no more rows than these.
_TOGETHER, _FEWEST, _MOST = 2**24, 32, 1024
_BINARY_NAMES = ("image", "img", "photo", "jpg")
_LABEL_NAMES = ("label", "class", "cls")
_NESTED = (pl.Struct, pl.List, pl.Array, pl.Binary)


@dataclass(frozen=True)
class _Columns:
    image: str
    mask: str | None
    fields: list[str]
    class_label: str | None
    class_names: Sequence[str] | None
    texts_of: Mapping[str, Sequence[str]]  # names of the numbers in further columns


def parquet_samples(shard: Path) -> Iterator[Sample]:
    """Yield the samples of a Parquet file in order, a few in memory at a time.

    The photo is the column of images (bytes and path), else a binary column called image, img, photo or jpg;
    a column of images called mask gives masks. A ``ClassLabel`` gives the names of its numbers.

    Raises:
        CounterGroundError: not Parquet, damaged, no or several columns of images, or a photo without bytes.
    """
    with open_parquet(shard) as lazy:
        columns = _columns(shard, lazy.collect_schema())
        chosen = [name for name in (columns.image, columns.mask, *columns.fields) if name]
        rows = int(lazy.select(pl.len()).collect().item())
        start, together = 0, _FEWEST
        while start < rows:
            batch = lazy.select(chosen).slice(start, together).collect()
            # A photo that many rows share is one in the batch, and a copy in each row.
            for number, row in enumerate(batch.iter_rows(named=True, buffer_size=1), start):
                yield _sample(f"{shard.name}, row {number + 1}", row, columns)
            start += together
            # Each slice is read from the head of its row group: many of small photos would take minutes.
            fitting = together * _TOGETHER // max(1, int(batch.estimated_size()))
            together = max(_FEWEST, min(_MOST, 2 * together, fitting))


def _columns(shard: Path, schema: Mapping[str, pl.DataType]) -> _Columns:
    images = [name for name, kind in schema.items() if _is_image(kind)]
    mask = "mask" if "mask" in images and len(images) > 1 else None
    images = [name for name in images if name != mask]
    if not images:
        images = [name for name in _BINARY_NAMES if schema.get(name) == pl.Binary][:1]
    if len(images) != 1:
        what = f"found {', '.join(images)}" if images else "found none"
        raise CounterGroundError(
            f"{shard.name}: expected one column of images (structs of bytes and path); {what}. "
            f"It has: {', '.join(schema)}."
        )
    options = pl.List(pl.String)  # of a question
    fields = [name for name, kind in schema.items() if not isinstance(kind, _NESTED) or kind == options]
    labels = {name: names for name, names in _class_labels(shard).items() if name in fields}
    guesses = [name for name in labels if name not in OPTIONAL_TEXTS]
    label = next((name for name in (*_LABEL_NAMES, *guesses) if name in guesses), None)
    if label is not None and len(guesses) > 1 and label not in _LABEL_NAMES:
        raise CounterGroundError(
            f"{shard.name} has several class labels: {', '.join(guesses)}. Choose one, as in "
            f"'hf:FOLDER?label={guesses[0]}'."
        )
    class_names = labels.pop(label) if label else None
    return _Columns(images[0], mask, fields, label, class_names, labels)


def _is_image(kind: pl.DataType) -> bool:
    fields = {field.name: field.dtype for field in kind.fields} if isinstance(kind, pl.Struct) else {}
    return fields.keys() == {"bytes", "path"} and fields["bytes"] in (pl.Binary, pl.Null)


def _class_labels(shard: Path) -> dict[str, list[str]]:
    """Return the names of every ``ClassLabel`` column, as the `datasets` library stores them."""
    try:
        features = parse_json(pl.read_parquet_metadata(shard)["huggingface"])["info"]["features"]
        return {
            name: list(feature["names"])
            for name, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (AttributeError, KeyError, TypeError, ValueError):
        return {}


def _sample(where: str, row: Mapping[str, Any], columns: _Columns) -> Sample:
    image = row[columns.image]
    cell = image if isinstance(image, dict) else {"bytes": image, "path": None}
    if not cell["bytes"]:
        raise CounterGroundError(f"{where} has no photo in it (its bytes are empty): embed the photos.")
    mask = row[columns.mask] if columns.mask else None
    fields = {name: row[name] for name in columns.fields} | ({"mask": mask["path"]} if mask else {})
    for name, names in columns.texts_of.items():
        fields[name] = label_name(fields[name], names, f"{where}: its {name!r}")
    if columns.class_label is not None:
        fields["label"] = fields.pop(columns.class_label)
    return Sample(
        where,
        cell["bytes"],
        photo_suffix(cell["path"]),
        fields,
        mask["bytes"] if mask else None,
        columns.class_names,
    )


def label_name(value: Any, names: Sequence[str], where: str) -> Any:
    """Return the name for a value of a ``ClassLabel`` column; None for a negative one, which means unknown.

    What is not a number is returned as it is.

    Args:
        value: the value.
        names: of the numbers, from 0 on.
        where: row and column, for messages.

    Raises:
        CounterGroundError: a number without a name.
    """
    if not isinstance(value, int):
        return value
    if value >= len(names):
        raise CounterGroundError(f"{where} is number {value}, but there are {len(names)} names.")
    return names[value] if value >= 0 else None
