"""Atomic writes: whole files with ordinary permissions, whatever other threads do; and where they may go."""

from __future__ import annotations

import fcntl
import os
import resource
import stat
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest

from counterground.errors import CounterGroundError, UsageError
from counterground.files import (
    STALE_SECONDS,
    atomic_path,
    cache_dir,
    check_apart,
    check_only,
    check_writable,
    draft_folder,
    place_once,
    write_bytes,
    write_parquet,
    write_text,
)


@pytest.fixture
def narrow_umask():
    """A umask under which files are 0640, and threads that change places as often as they can."""
    before, interval = os.umask(0o027), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield 0o027
    sys.setswitchinterval(interval)
    os.umask(before)


def test_many_threads_leave_permissions_and_umask_alone(tmp_path, narrow_umask):
    def write(number: int) -> int:
        path = tmp_path / f"{number}.bin"
        write_bytes(path, bytes(number % 7))
        return stat.S_IMODE(path.stat().st_mode)

    with ThreadPoolExecutor(16) as threads:
        modes = set(threads.map(write, range(1000)))
    after = os.umask(narrow_umask)
    assert modes == {0o640}
    assert after == narrow_umask


def test_a_write_never_touches_the_umask_of_the_process(tmp_path, monkeypatch):
    changes = []
    monkeypatch.setattr(os, "umask", lambda mask: changes.append(mask) or 0o022)
    write_text(tmp_path / "a.txt", "a")
    write_parquet(tmp_path / "a.parquet", pl.DataFrame({"a": [1]}))
    assert not changes


def test_what_is_flushed_to_disk_is_open_for_writing(tmp_path, monkeypatch):
    """Windows refuses to flush a handle that is open for reading only."""
    flush, modes = os.fsync, []

    def watched(handle: int) -> None:
        modes.append(fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE)
        flush(handle)

    monkeypatch.setattr(os, "fsync", watched)
    write_bytes(tmp_path / "a", b"a")
    assert modes == [os.O_RDWR]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.txt"
    write_text(target, "old")

    def fail() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise InterruptedError

    with pytest.raises(CounterGroundError):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


_AT_WORK = """
import sys, time
from pathlib import Path
from counterground.files import atomic_path, draft_folder
out = Path(sys.argv[1])
with draft_folder(out / "folder") as folder, atomic_path(out / "file") as file:
    (folder / "photo").write_bytes(b"1")
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def largest_file():
    """Function: no file may grow beyond this many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_wherever_a_table_ends_on_a_full_disk_the_reason_is_given(tmp_path, largest_file):
    """The table's last bytes, too: there Polars says "Invalid thrift: transport error"."""
    path, table = tmp_path / "t.parquet", pl.DataFrame({f"column {number}": [1, 2] for number in range(100)})
    write_parquet(path, table)
    size = path.stat().st_size
    for room in (*range(0, size, 500), size - 1):
        largest_file(room)
        with pytest.raises(CounterGroundError, match=r"Cannot write .*t\.parquet: File too large\."):
            write_parquet(path, table.reverse())
    largest_file(size)
    write_parquet(path, table.reverse())
    assert pl.read_parquet(path).equals(table.reverse())


def test_temporary_files_of_other_programs_and_folders_of_the_user_stay(tmp_path):
    (tmp_path / ".notes.personal.draft").mkdir()
    (tmp_path / ".notes.personal.draft" / "poem").write_text("roses")
    with tempfile.NamedTemporaryFile(prefix=".thesis.tex.", suffix=".tmp", dir=tmp_path) as others:
        assert others.name.count(".") == 4
        check_writable(tmp_path)
        write_text(tmp_path / "report.html", "1")
        assert Path(others.name).exists()
    assert (tmp_path / ".notes.personal.draft" / "poem").read_text() == "roses"


def test_what_a_killed_process_left_is_removed_once_it_is_old(tmp_path):
    killed = subprocess.Popen([sys.executable, "-c", _AT_WORK, str(tmp_path)], stdout=subprocess.PIPE)
    killed.stdout.readline()
    killed.kill()
    killed.communicate()
    left = set(tmp_path.iterdir())
    assert len(left) == 2
    check_writable(tmp_path)
    assert set(tmp_path.iterdir()) == left
    for path in left:
        os.utime(path, (0, time.time() - STALE_SECONDS - 60))
    check_writable(tmp_path)
    assert not list(tmp_path.iterdir())


def test_of_two_processes_that_fill_one_folder_the_first_places_it(tmp_path):
    target = tmp_path / "made"
    for content in ("first", "second"):
        with draft_folder(target) as draft:
            (draft / "photo").write_text(content)
            place_once(draft, target)
    assert (target / "photo").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError), draft_folder(target) as draft:
        place_once(draft, tmp_path / "file")


def test_a_draft_is_renamed_or_removed(tmp_path):
    target = tmp_path / "benchmark"
    with draft_folder(target) as draft:
        (draft / "photo").write_bytes(b"1")
        draft.rename(target)
    with pytest.raises(FileNotFoundError), draft_folder(target) as draft:
        (draft / "no" / "such" / "folder").touch()
    assert (target / "photo").read_bytes() == b"1"
    assert list(tmp_path.iterdir()) == [target]


def test_the_cache_is_where_the_user_says(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("COUNTERGROUND_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_dir() == tmp_path / ".cache" / "counterground"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_dir() == tmp_path / ".cache" / "counterground"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg" / "counterground"
    monkeypatch.setenv("COUNTERGROUND_CACHE", "mine")
    assert cache_dir() == Path("mine")


def test_an_output_is_apart_from_what_is_read(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    (tmp_path / "link").symlink_to(photos)
    for out, how in (
        (photos, "is"),
        (tmp_path / "link", "is"),
        (photos / "run", "lies in"),
        (tmp_path, "holds"),
    ):
        with pytest.raises(UsageError, match=f"--out {out} {how} the benchmark .* choose another folder"):
            check_apart(out, photos, "the benchmark")
    check_apart(tmp_path / "photos-run", photos, "the benchmark")


def test_a_folder_with_other_files_is_refused_by_the_first_of_them(tmp_path):
    check_only(tmp_path / "new", (), "a run")
    (tmp_path / "run.json").touch()
    (tmp_path / ".hidden").touch()
    check_only(tmp_path, ("run.json",), "a run")
    (tmp_path / "a.txt").touch()
    with pytest.raises(UsageError, match=r"holds files that are not a run \('a.txt'\)"):
        check_only(tmp_path, ("run.json",), "a run")
    with pytest.raises(UsageError, match="is a file: choose a folder"):
        check_only(tmp_path / "a.txt", (), "a run")
