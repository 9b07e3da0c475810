"""Benchmarks that come packed: tar shards and Parquet files with the photos inside."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from tars import write_tar

from counterground.construction.imports import import_photos


def pack_tar(folder: Path, labelled: Path) -> None:
    members = []
    for number, path in enumerate(sorted(labelled.rglob("*.jpg"))):
        described = {"class_name": path.parts[-3], "background": path.parts[-2]}
        members.append((f"{number:05}.jpg", path.read_bytes()))
        members.append((f"{number:05}.json", json.dumps(described).encode()))
    write_tar(folder / "00000.tar", members)


def pack_parquet(folder: Path, labelled: Path) -> None:
    paths = sorted(labelled.rglob("*.jpg"))
    rows = {
        "image": [{"bytes": path.read_bytes(), "path": path.name} for path in paths],
        "class_name": [path.parts[-3] for path in paths],
        "background": [path.parts[-2] for path in paths],
    }
    pl.DataFrame(rows).write_parquet(folder / "train-00000-of-00001.parquet")


@pytest.mark.parametrize("pack", [pack_tar, pack_parquet])
def test_packed_benchmarks(tmp_path, labelled, pack):
    (tmp_path / "packed").mkdir()
    pack(tmp_path / "packed", labelled)
    report = import_photos(tmp_path / "pool", tmp_path / "packed")
    assert (report.by_class, report.backgrounds, report.rejected) == ({"flamingo": 3, "zebra": 6}, 9, ())
    again = import_photos(tmp_path / "pool", tmp_path / "packed")
    assert (again.added, again.present) == (0, 9)
