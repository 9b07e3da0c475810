"""The pool's file: what is none, what was changed, full disks, threads and kills."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap

import pytest

from counterground.construction.pool import is_pool, open_pool
from counterground.errors import CounterGroundError, UsageError


def test_other_folders_are_no_pools(tmp_path):
    with pytest.raises(UsageError, match="no pool"):
        open_pool(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(CounterGroundError, match=r"not empty .*notes\.txt"):
        open_pool(tmp_path, create=True)
    (tmp_path / "decisions.sqlite").write_bytes(b"no database" * 1000)
    assert is_pool(tmp_path)
    with pytest.raises(CounterGroundError, match="damaged"):
        open_pool(tmp_path)


def test_another_programs_database_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / "decisions.sqlite") as raw:
        raw.execute("CREATE TABLE bookmarks (url)")
    with pytest.raises(CounterGroundError, match="not the database of a pool"):
        open_pool(tmp_path)
    with pytest.raises(CounterGroundError, match="not the database of a pool"):
        open_pool(tmp_path, create=True)

    with sqlite3.connect(tmp_path / "decisions.sqlite") as raw:
        assert raw.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_a_newer_pool_is_not_touched(pool):
    with sqlite3.connect(pool.root / "decisions.sqlite") as raw:
        raw.execute("PRAGMA user_version = 99")
    with pytest.raises(CounterGroundError, match="upgrade"):
        open_pool(pool.root)


def test_a_full_disk_is_one_line_and_loses_nothing(pool):
    pool.decide(pool.photos()["path"][0], annotator="ann", task="background", labels=["snow"])
    with pool.connect() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
    pool.close()
    full = open_pool(pool.root)
    with full.connect() as connection:
        connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(CounterGroundError, match="disk is full"):
        full.set_setting("big", "x" * 9_999_999)
    assert len(open_pool(pool.root).decisions()) == 1


WORKER = """
    import sys
    from counterground.construction.pool import open_pool
    pool = open_pool(sys.argv[1])
    path = pool.photos()["path"][0]
    for number in range(100000):
        who = sys.argv[2]
        pool.decide(path, annotator=who, task="background", labels=["snow"], token=f"{who}-{number}")
        print(number, flush=True)
"""


def test_kill_loses_no_decision_that_was_confirmed(pool):
    """Two processes write at once; one is killed, the other goes on."""
    command = [sys.executable, "-c", textwrap.dedent(WORKER), str(pool.root)]
    workers = {
        name: subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True) for name in ("ann", "ben")
    }
    confirmed = {}
    for name, goal in (("ann", 30), ("ben", 60)):
        for line in workers[name].stdout:
            if int(line) >= goal:
                break
        os.kill(workers[name].pid, signal.SIGKILL)
        rest = workers[name].stdout.read().split()
        confirmed[name] = int(rest[-1]) if rest else goal
        workers[name].wait()
    counts = dict(pool.decisions().group_by("annotator").len().iter_rows())
    for name, last in confirmed.items():
        assert last + 1 <= counts[name] <= last + 2  # the one in flight may be in, too
    with sqlite3.connect(pool.root / "decisions.sqlite") as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_link_in_place_of_the_photos_folder_is_refused(pool, tmp_path):
    pool.files.rename(tmp_path / "elsewhere")
    pool.files.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CounterGroundError, match="or is a link"):
        pool.photo_file(pool.photos()["path"][0])
