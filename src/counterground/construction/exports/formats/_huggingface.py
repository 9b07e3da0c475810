"""A folder that ``datasets.load_dataset`` reads: Parquet shards with the photos in them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from counterground.construction.exports._copying import (
    CLASS_FIELDS,
    Sample,
    Tick,
    in_shards,
    refuse_columns,
    samples,
)
from counterground.construction.exports._format import ExportFormat, Statement
from counterground.construction.exports._layout import Contents, keep_paths
from counterground.photos import Benchmark, describe_shards

# Types that `datasets` does not call by Polars' name in lower case.
_DTYPES: dict[pl.DataType, str] = {pl.Boolean(): "bool"}
_IMAGE = pl.Struct({"bytes": pl.Binary(), "path": pl.String()})
_GROUP_MEGABYTES = 16  # a row group is what a reader loads at once


def _lay_out(benchmark: Benchmark) -> Contents:
    refuse_columns(benchmark, ("image", *CLASS_FIELDS), "huggingface")
    return keep_paths(benchmark)


def _write(contents: Contents, folder: Path, tick: Tick) -> None:
    """Write ``data/test-00000-of-00003.parquet`` and so on; the card's front matter says what they hold.

    ``label`` is the class (a ``ClassLabel`` of the classes that have photos), ``class_index`` its number in
    the classes; ``image`` and ``mask`` are images. A shard's photos are in memory while it is
    written.
    """
    labels = {index: label for label, index in enumerate(present_classes(contents.benchmark))}
    (folder / "data").mkdir()
    drafts = []
    schema: dict[str, pl.DataType] = {"image": _IMAGE, "label": pl.Int64(), **_columns(contents.benchmark)}
    if contents.masks:
        schema["mask"] = _IMAGE
    for number, photos in in_shards(samples(contents, tick)):
        drafts.append(folder / "data" / f"{number}.draft")
        _write_shard(drafts[-1], list(photos), labels, schema)
    shards = [
        draft.rename(draft.with_name(f"test-{number:05d}-of-{len(drafts):05d}.parquet"))
        for number, draft in enumerate(drafts)
    ]
    describe_shards(contents.benchmark, folder, "huggingface", shards)


def present_classes(benchmark: Benchmark) -> list[int]:
    """Return the classes that have photos; others may only compete for them."""
    return benchmark.photos["class_index"].unique().sort().to_list()


def _columns(benchmark: Benchmark) -> dict[str, pl.DataType]:
    """Return the columns of the manifest as they are written, ``class_index`` first; masks are images."""
    schema = benchmark.photos.schema
    others = {name: kind for name, kind in schema.items() if name not in ("class_index", "mask")}
    return {"class_index": schema["class_index"], **others}


def _write_shard(
    path: Path, photos: Sequence[Sample], labels: Mapping[int, int], schema: Mapping[str, pl.DataType]
) -> None:
    rows: list[dict[str, Any]] = []
    for photo in photos:
        row = {name: value for name, value in photo.row.items() if name in schema}
        row |= {"image": {"bytes": photo.photo, "path": photo.row["path"]}}
        row["label"] = labels[photo.row["class_index"]]
        if "mask" in schema:
            row["mask"] = photo.mask and {"bytes": photo.mask, "path": photo.row["mask"]}
        rows.append(row)
    mean = sum(photo.size for photo in photos) / len(photos)
    pl.DataFrame(rows, schema=schema).write_parquet(
        path,
        compression="uncompressed",  # photos are compressed already
        statistics=False,
        row_group_size=max(1, int(_GROUP_MEGABYTES * 10**6 / mean)),
    )


def unique_names(benchmark: Benchmark) -> list[str]:
    """Return the names of the classes with photos; shared names get the class number appended.

    A ``ClassLabel`` needs unique names.
    """
    names = {index: benchmark.classes.names[index] for index in present_classes(benchmark)}
    count = Counter(names.values())
    return [name if count[name] == 1 else f"{name} ({index})" for index, name in names.items()]


def front_matter(benchmark: Benchmark, statement: Statement, folder: Path) -> str:
    """Return the YAML at the head of the card: configurations, features, licence and tags.

    Texts are in YAML's double quotes, so nothing in a class name is ever read as YAML.
    """
    count, size = len(benchmark), sum(shard.stat().st_size for shard in (folder / "data").iterdir())
    lines = [
        "---",
        f"pretty_name: {quote(statement.title(benchmark))}",
        *_licence_lines(statement.facts.licence),
    ]
    lines += ["task_categories:", "- image-classification", "- zero-shot-image-classification"]
    lines += ["tags:", "- counterground", "- robustness", "- spurious-correlations"]
    lines += ["configs:", "- config_name: default", "  data_files:", "  - split: test"]
    lines += ["    path: data/test-*.parquet", "dataset_info:", "  features:"]
    lines += ["  - name: image", "    dtype: image", "  - name: label", "    dtype:"]
    lines += ["      class_label:", "        names:"]
    lines += [f"          '{index}': {quote(name)}" for index, name in enumerate(unique_names(benchmark))]
    for name, kind in _columns(benchmark).items():
        lines += [f"  - name: {quote(name)}", f"    dtype: {_DTYPES.get(kind, str(kind).lower())}"]
    if benchmark.photos["mask"].is_not_null().any():
        lines += ["  - name: mask", "    dtype: image"]
    lines += ["  splits:", "  - name: test", f"    num_bytes: {size}"]
    lines += [f"    num_examples: {count}", f"  download_size: {size}", f"  dataset_size: {size}", "---", ""]
    return "\n".join(lines) + "\n"


def _licence_lines(licence: str) -> list[str]:
    lines = ["license: other", "license_name: per-photo", "license_link: ATTRIBUTION.csv"]
    details = f"Selection and labels: {licence}. Each photo: its own licence, in ATTRIBUTION.csv."
    return [*lines, f"license_details: {quote(details)}"] if licence else lines


def quote(text: str) -> str:
    """Return ``text`` in double quotes, so that YAML reads it back whatever it holds."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in quoted)


HUGGINGFACE = ExportFormat(
    name="huggingface",
    summary="Parquet shards with the photos in them, for the `datasets` library.",
    reader=(
        'import os, datasets\n\n# Not ".": load_dataset needs the name of the folder.\n'
        'photos = datasets.load_dataset(os.getcwd(), split="test")'
    ),
    write=_write,
    lay_out=_lay_out,
    card_head=front_matter,
)
