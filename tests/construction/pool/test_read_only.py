"""Pools on a disk that cannot be written can be read, with all that was decided; they cannot be changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from made_pools import fill_pool

from counterground.files import write_text

READ = """
import sys
from counterground.cli import main
from counterground.errors import CounterGroundError
from counterground.construction.pool import open_pool

folder, out = sys.argv[1:]
with open_pool(folder) as pool:
    print(len(pool.photos()), len(pool.decisions()), pool.verdicts("review")["label"].to_list())
    try:
        pool.decide(pool.photos()["path"][0], annotator="ann", task="review", labels=["keep"])
    except CounterGroundError as error:
        print(error)
print(main(["data", "pool", folder, "--out", f"{out}/pool.html"]))
print(main(["data", "export", folder, "--format", "parquet", "--private", "--out", f"{out}/exported"]))
"""


def _read_only(folder: Path, *command: object) -> subprocess.CompletedProcess[str]:
    """Run a command for which a folder is read-only by its permissions, which root obeys here, too."""
    obeys = ["setpriv", "--bounding-set", "-dac_override"] if os.geteuid() == 0 else []
    folder.chmod(0o555)
    try:
        return subprocess.run([*obeys, *map(str, command)], capture_output=True, text=True, check=False)
    finally:
        folder.chmod(0o755)


def test_a_pool_that_cannot_be_written_is_read(tmp_path):
    pool = fill_pool(tmp_path / "pool", {"flamingo": 2, "ice bear": 2})
    paths = pool.photos()["path"].to_list()
    for path in paths[:2]:
        pool.decide(path, annotator="ann", task="review", labels=["keep"])
    folder = pool.root
    pool.close()
    (tmp_path / "out").mkdir()
    before = sorted(file.name for file in folder.iterdir())
    ran = _read_only(folder, sys.executable, "-c", READ, folder, tmp_path / "out")
    lines = ran.stdout.splitlines()
    assert ran.stderr == ""
    assert lines[0] == "4 2 ['keep', 'keep', None, None]"
    assert "it cannot be written. Make the folder writable, or copy it." in lines[1]
    assert lines.count("0") == 2
    assert (tmp_path / "out" / "pool.html").is_file()
    assert (tmp_path / "out" / "exported").is_dir()
    assert sorted(file.name for file in folder.iterdir()) == before


def test_what_is_no_database_is_refused_there_as_elsewhere(tmp_path):
    pool = fill_pool(tmp_path / "pool", {"flamingo": 1})
    pool.close()
    write_text(pool.root / "decisions.sqlite", "no database " * 1000)
    ran = _read_only(pool.root, sys.executable, "-m", "counterground", "data", "pool", pool.root)
    assert ran.returncode == 1
    assert "decisions.sqlite: it is damaged. Restore the file from a backup." in ran.stderr
