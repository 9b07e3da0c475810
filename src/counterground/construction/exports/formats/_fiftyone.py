"""A folder that FiftyOne reads: photos below ``data/``, their classes and attributes in ``labels.json``."""

from __future__ import annotations

import json
from collections.abc import Container
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from counterground.construction.exports._copying import Tick, copy_photos
from counterground.construction.exports._format import ExportFormat
from counterground.construction.exports._layout import Contents, keep_paths, place
from counterground.construction.exports.formats._huggingface import present_classes, unique_names
from counterground.files import write_text
from counterground.photos import Benchmark, write_benchmark
from counterground.text import counted

_DATA = "data"
_LABELS = "labels.json"
_TAKEN = frozenset({"confidence", "id", "label", "logits", "tags"})  # fields that every label of FiftyOne has


def _lay_out(benchmark: Benchmark) -> Contents:
    """Keep every path unless two are the same without suffixes: FiftyOne identifies photos by that name."""
    contents = keep_paths(benchmark)
    old = [*contents.benchmark.photos["path"], *contents.masks]
    files = [PurePosixPath(path) for path in old]
    names = place([file.with_suffix("").as_posix() for file in files])
    new = {path: f"{name}{file.suffix}" for path, name, file in zip(old, names, files, strict=True)}
    renamed = sum(before != after for before, after in new.items())
    if not renamed:
        return contents
    note = (
        f"Renamed {counted(renamed, 'file')}, since FiftyOne identifies photos by their names without the"
        " suffix, so the version differs."
    )
    return Contents(
        replace(
            contents.benchmark,
            photos=contents.benchmark.photos.with_columns(pl.col("path", "mask").replace(new)),
        ),
        {new[path]: origin for path, origin in contents.origins.items()},
        (*contents.notes, note),
        contents.masks_root,
    )


def _write(contents: Contents, folder: Path, tick: Tick) -> None:
    """Write the photos, ``labels.json`` and our manifest, whose paths are relative to ``data/``."""
    benchmark = contents.benchmark
    copy_photos(contents, folder / _DATA, tick)
    number = {index: at for at, index in enumerate(present_classes(benchmark))}
    labels = {
        PurePosixPath(row["path"]).with_suffix("").as_posix(): {
            "label": number[row["class_index"]],
            "attributes": _attributes(row),
        }
        for row in benchmark.photos.iter_rows(named=True)
    }
    content = {"classes": unique_names(benchmark), "labels": labels}
    write_text(folder / _LABELS, json.dumps(content, ensure_ascii=False, indent=1) + "\n")
    write_benchmark(replace(benchmark, root=folder / _DATA), folder)


def _attributes(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row's values besides the name of its class; names that FiftyOne reserves end in ``_``."""
    values = {name: value for name, value in row.items() if name != "class_name" and value is not None}
    return {_free(name, row): value for name, value in values.items()}


def _free(name: str, names: Container[str]) -> str:
    """Return the name of a column, with ``_`` until neither FiftyOne nor another column has it."""
    free = name
    while free in _TAKEN or (free != name and free in names):
        free += "_"
    return free


FIFTYONE = ExportFormat(
    name="fiftyone",
    summary=(
        "Photos below `data/`, and `labels.json` (FiftyOneImageClassificationDataset) with the class of each,"
        " and the other fields of the manifest as its attributes."
    ),
    reader=(
        "import os, fiftyone\n\nphotos = fiftyone.Dataset.from_dir(\n"
        "    os.getcwd(), fiftyone.types.FiftyOneImageClassificationDataset\n)"
    ),
    write=_write,
    lay_out=_lay_out,
)
