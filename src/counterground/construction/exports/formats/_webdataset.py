"""WebDataset shards: plain tar files, the same bytes for the same photos."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

from counterground.construction.exports._copying import (
    CLASS_FIELDS,
    Sample,
    Tick,
    in_shards,
    refuse_columns,
    samples,
)
from counterground.construction.exports._format import ExportFormat
from counterground.construction.exports._layout import Contents, keep_paths, slug
from counterground.photos import Benchmark, describe_shards, image_type


def _lay_out(benchmark: Benchmark) -> Contents:
    refuse_columns(benchmark, CLASS_FIELDS, "webdataset")
    return keep_paths(benchmark)


def _write(contents: Contents, folder: Path, tick: Tick) -> None:
    """Write ``<name>-000000.tar`` and so on: ``<key>.jpg``, ``<key>.json``, with a mask ``<key>.mask.png``.

    The JSON has every field of the manifest. Keys number the photos in manifest order; times and owners are
    zero. The classes and ``benchmark.json`` are beside the shards.
    """
    shards = []
    for number, photos in in_shards(samples(contents, tick)):
        shard = folder / f"{slug(contents.benchmark.name)}-{number:06d}.tar"
        with tarfile.open(shard, "w:", format=tarfile.USTAR_FORMAT) as tar:
            for photo in photos:
                _add_sample(tar, photo)
        shards.append(shard)
    describe_shards(contents.benchmark, folder, "webdataset", shards)


def _add_sample(tar: tarfile.TarFile, photo: Sample) -> None:
    key = f"{photo.number:07d}"
    # By content: WebDataset chooses decoders by suffix, and knows neither .JPG nor .jfif.
    _add(tar, f"{key}{_suffix(photo.photo, '.jpg')}", photo.photo)
    _add(tar, f"{key}.json", json.dumps(photo.row, ensure_ascii=False, sort_keys=True).encode())
    if photo.mask is not None:
        _add(tar, f"{key}.mask{_suffix(photo.mask, '.png')}", photo.mask)


def _suffix(data: bytes, otherwise: str) -> str:
    kind = image_type(data)
    return kind.suffix if kind else otherwise


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o644
    tar.addfile(info, io.BytesIO(data))


WEBDATASET = ExportFormat(
    name="webdataset",
    summary="WebDataset shards: `<key>.jpg` with `<key>.json`, which has every field of the manifest.",
    reader=(
        'import glob, webdataset\n\nshards = sorted(glob.glob("*.tar"))\n'
        'photos = webdataset.WebDataset(shards, shardshuffle=False).decode("pil")'
    ),
    write=_write,
    lay_out=_lay_out,
)
