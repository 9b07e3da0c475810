"""Archives and shards from others."""

import gzip

import polars as pl
import pytest
from tars import tar

from counterground import hostile
from counterground.hostile import is_tar, scan_shard


def test_a_shard_of_more_rows_than_bytes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(hostile, "_MANY_ROWS", 10_000)
    rows = pl.DataFrame({"path": ["a.png"], "class_name": ["ox"]})
    pl.concat([rows] * 50_000, rechunk=True).write_parquet(tmp_path / "photos.parquet")
    with pytest.raises(pl.exceptions.ComputeError, match="it has 50,000 rows, more than bytes"):
        scan_shard(tmp_path / "photos.parquet")


def test_a_tar_that_is_cut_off_within_its_first_header_is_none(tmp_path):
    whole = gzip.compress(tar([("a", b"")]))
    for size in range(len(whole) - 8):
        (tmp_path / "a.tar.gz").write_bytes(whole[:size])
        assert is_tar(tmp_path / "a.tar.gz") in ({False} if size < 40 else {True, False})
    (tmp_path / "a.tar.gz").write_bytes(whole)
    assert is_tar(tmp_path / "a.tar.gz")
