"""Files of others are tried in a process of their own, which says nothing of a file that it could not try."""

import gzip
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import polars as pl
import pytest

from counterground.errors import CounterGroundError
from counterground.reading import is_tar, read_parquet, try_arrow, try_parquet

READ = """
import sys
from pathlib import Path
from counterground.reading import read_parquet
print(len(read_parquet(Path(sys.argv[1]), foreign=True)))
"""
PEAK = """
import resource, sys
from pathlib import Path
from counterground.reading import try_parquet
try_parquet(Path(sys.argv[1]))
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
"""


@pytest.fixture(autouse=True)
def quick_trials():
    """None of them: tables are tried here as users try them."""


@pytest.fixture
def table(tmp_path) -> Path:
    path = tmp_path / "table.parquet"
    pl.DataFrame({"a": range(100)}).write_parquet(path)
    return path


def test_packages_are_found_where_this_process_found_them(table):
    """The Python below the virtual environment has none of them, and is told where they are."""
    found = subprocess.run(
        [sys._base_executable, "-c", READ, str(table)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout.strip() == "100", found.stderr


@pytest.mark.parametrize(
    ("happens", "said"),
    [
        ("import os; os.kill(os.getpid(), 9)", "its reader was killed, as happens where memory is short"),
        ("raise ImportError('no libfoo.so')", "ImportError: no libfoo.so"),
        (
            "raise OSError('Cannot allocate memory (os error 12)')",  # as Polars says it under `ulimit -v`
            r"OSError: Cannot allocate memory \(os error 12\)",
        ),
    ],
)
def test_what_could_not_be_tried_is_not_called_damaged(happens, said, table, site, tmp_path):
    for package in ("polars", "pyarrow"):
        (site / f"{package}.py").write_text(f"{happens}\n")
    with pytest.raises(CounterGroundError, match=rf"table\.parquet cannot be tried .*: {said}\."):
        read_parquet(table, foreign=True)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "data.arrow").write_bytes(b"whatever")
    with pytest.raises(CounterGroundError, match=rf"data\.arrow cannot be tried .*: {said}\."):
        try_arrow(tmp_path / "set")


def test_a_table_is_tried_again_where_it_has_changed(table):
    try_parquet(table)
    sound = table.read_bytes()
    table.write_bytes(sound[:-100] + bytes(100))
    for _ in range(2):
        with pytest.raises(pl.exceptions.ComputeError):
            try_parquet(table)
    table.write_bytes(sound)
    try_parquet(table)


def test_a_sound_table_is_tried_once_and_what_failed_is_tried_again(table, site):
    """As a reader that was interrupted; after that, whoever reads a sound one needs no second trial."""
    (site / "polars.py").write_text("import os; os.kill(os.getpid(), 15)\n")
    with pytest.raises(pl.exceptions.ComputeError, match="it is damaged"):
        try_parquet(table)
    (site / "polars.py").unlink()
    try_parquet(table)
    (site / "polars.py").write_text("raise ImportError('no libfoo.so')\n")
    try_parquet(table)


@pytest.mark.skipif(sys.platform != "linux", reason="what counts as memory differs")
def test_few_photos_of_a_shard_are_in_memory_at_a_time(tmp_path):
    path = tmp_path / "shard.parquet"
    table = pl.DataFrame({"image": [os.urandom(1_000_000) for _ in range(300)]})
    table.write_parquet(path, row_group_size=20)
    found = subprocess.run(
        [sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True
    )
    assert path.stat().st_size > 280e6
    assert int(found.stdout) < 250  # MiB


def test_a_tar_that_is_cut_off_within_its_first_header_is_none(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("a"))
    whole = gzip.compress((tmp_path / "a.tar").read_bytes())
    for size in range(len(whole) - 8):
        (tmp_path / "a.tar.gz").write_bytes(whole[:size])
        assert is_tar(tmp_path / "a.tar.gz") in ({False} if size < 40 else {True, False})
    (tmp_path / "a.tar.gz").write_bytes(whole)
    assert is_tar(tmp_path / "a.tar.gz")
