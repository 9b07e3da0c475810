"""Whoever opens a pool closes it: no command and no function of the API leaves its database open."""

import gc
import sqlite3
from pathlib import Path

import pytest

from counterground import open_benchmark
from counterground.cli import main
from counterground.construction import export
from counterground.construction.curation import curate
from counterground.construction.pool import open_pool
from counterground.errors import CounterGroundError

FILES = Path("/proc/self/fd")


@pytest.fixture(autouse=True)
def no_collector():
    """The garbage collector would close what was forgotten, sometimes."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def left_open(folder):
    """Files below a folder that this process has open."""
    found = []
    for link in FILES.iterdir():
        try:
            target = link.readlink()
        except FileNotFoundError:
            continue
        if target.is_relative_to(folder.resolve()):
            found.append(target.name)
    return found


@pytest.fixture
def root(tmp_path, photos):
    assert main(["data", "import", str(photos), "-o", str(tmp_path / "pool")]) == 0
    return tmp_path / "pool"


def test_a_pool_is_open_as_long_as_it_is_used(root):
    assert left_open(root) == []
    with open_pool(root) as pool:
        assert len(pool.photos()) == 48
        assert "decisions.sqlite" in left_open(root)
    assert left_open(root) == []
    assert len(pool.photos()) == 48  # it opens again when it is used
    pool.close()
    assert left_open(root) == []


def test_a_file_that_is_not_a_pool_is_closed_too(tmp_path):
    with sqlite3.connect(tmp_path / "decisions.sqlite") as raw:
        raw.execute("CREATE TABLE bookmarks (url)")
    raw.close()
    with pytest.raises(CounterGroundError, match="not the database of a pool"):
        open_pool(tmp_path)
    assert left_open(tmp_path) == []


def test_functions_close_what_they_open(root, tmp_path):
    assert len(open_benchmark(root)) == 48
    curate(root)
    export(root, out=tmp_path / "shared", formats="parquet", all_licences=True)
    assert left_open(root) == []


def test_commands_close_what_they_open(root, tmp_path, capsys):
    assert main(["data", "pool", str(root), "--out", str(tmp_path / "pool.html")]) == 0
    assert main(["data", "curate", str(root)]) == 0
    words = ["--format", "parquet", "--all-licences", "--out", str(tmp_path / "out")]
    assert main(["data", "export", str(root), *words]) == 0
    assert main(["data", "label", str(root), "--annotator", "ann", "-X", f"labels={tmp_path / 'none'}"]) == 2
    assert "Cannot read the labels" in capsys.readouterr().err
    assert left_open(root) == []
