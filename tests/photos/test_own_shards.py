"""Our own shards, described by ``benchmark.json``: unpacked once, and found out where they are not whole."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from PIL import Image
from tars import write_tar

from counterground.errors import CounterGroundError
from counterground.files import temporary_name

# Limits of gigabytes are lowered, and keys of unpacked folders compared.
from counterground.photos import Benchmark, LabelSpace, _shards, photo_id, read_benchmark, write_description


def unpacked(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "unpacked").iterdir())


@pytest.fixture
def own(tmp_path):
    """A described folder of two tars, as an export has it."""
    out = tmp_path / "own"
    rows, shards = [], []
    for shard in range(2):
        members = {}
        for number in (2 * shard, 2 * shard + 1):
            row = {"path": f"files/{number}.jpg", "class_index": number % 2, "class_name": "ab"[number % 2]}
            photo = tmp_path / f"{number}.jpg"
            Image.new("RGB", (8, 8), (number, 0, 0)).save(photo)
            row["photo_id"] = photo_id(photo)
            rows.append(row)
            members[f"{number:07d}.jpg"] = photo.read_bytes()
            members[f"{number:07d}.json"] = json.dumps(row).encode()
        shards.append(write_tar(out / f"x-{shard:06d}.tar", members.items()))
    frame = pl.DataFrame(rows, schema_overrides={"class_index": pl.Int32})
    space = LabelSpace("benchmark", ("a", "b", "c"), (None,) * 3)
    benchmark = Benchmark("own", tmp_path, frame, space, ("a note",))
    write_description(benchmark, out, packed="webdataset")
    return out, benchmark


def test_it_is_unpacked_once_and_found_again_by_content(own, tmp_path, cache):
    out, benchmark = own
    found = read_benchmark(out)
    assert found.photos.equals(benchmark.photos)
    assert (found.name, found.notes, found.version) == ("own", ("a note",), benchmark.version)
    (key,) = unpacked(cache)
    inode = found.photo_path("files/0.jpg").stat().st_ino
    shutil.copytree(out, tmp_path / "copy")
    assert read_benchmark(tmp_path / "copy").photo_path("files/0.jpg").stat().st_ino == inode
    assert unpacked(cache) == [key]


def test_photos_tidied_out_of_the_cache_come_back(own):
    out, _ = own
    found = read_benchmark(out)
    found.photo_path("files/3.jpg").unlink()
    assert read_benchmark(out).photo_path("files/3.jpg").is_file()
    (found.root.parent / "benchmark.json").write_text("{")
    assert read_benchmark(out).photo_path("files/3.jpg").is_file()


def test_missing_cut_and_added_shards_are_found_out(own):
    out, _ = own
    shard = out / "x-000001.tar"
    data = shard.read_bytes()
    shard.write_bytes(data[:1500])
    with pytest.raises(CounterGroundError, match=r"x-000001\.tar is damaged or cut short"):
        read_benchmark(out)
    shard.unlink()
    with pytest.raises(CounterGroundError, match=r"are not those that benchmark\.json was written for"):
        read_benchmark(out)
    shard.write_bytes(data)
    write_tar(out / "x-000002.tar", [("9.jpg", data), ("9.json", b'{"class_index": 0, "class_name": "a"}')])
    with pytest.raises(CounterGroundError, match=r"are not those that benchmark\.json was written for"):
        read_benchmark(out)


def test_two_processes_unpack_at_once(own, cache):
    out, benchmark = own
    code = "import sys, counterground.photos as p\nprint(p.read_benchmark(sys.argv[1]).version)"
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(out)], stdout=subprocess.PIPE, text=True)
        for _ in "ab"
    ]
    assert [process.communicate()[0].strip() for process in running] == [benchmark.version] * 2
    assert len(unpacked(cache)) == 1


def test_a_killed_unpacking_is_no_benchmark_and_is_swept_away(own, cache):
    out, _ = own
    left = temporary_name(cache / "unpacked" / "a", "draft")
    left.mkdir(parents=True)
    os.utime(left, (0, 0))  # as if hours had passed
    read_benchmark(out)
    assert not left.exists()


def test_more_than_the_limit_is_refused(own, monkeypatch):
    out, _ = own
    monkeypatch.setattr(_shards, "MAX_TOTAL_BYTES", 1000)
    with pytest.raises(CounterGroundError, match="more than 64 GiB in all"):
        read_benchmark(out)


def test_names_of_classes_are_part_of_what_is_read(tmp_path, cache):
    shard = write_tar(tmp_path / "wds" / "0.tar", [("1.jpg", b"x"), ("1.cls", b"0")])
    for name in ("hen", "tench"):
        (shard.parent / "classnames.txt").write_text(name)
        (shard.parent / "README.md").write_text(name)
        assert read_benchmark(shard.parent).classes.names == (name,)
    (shard.parent / "README.md").write_text("x")
    read_benchmark(shard.parent)
    assert len(unpacked(cache)) == 2
