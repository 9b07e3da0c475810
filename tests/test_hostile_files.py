"""Files of others: no files at all, written by no writer of ours, or counting photos twice or never."""

from __future__ import annotations

import gzip
import io
import os
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from no_hang import no_hang
from PIL import Image
from tars import tar

from counterground.benchmarks._fetch import unpack  # hostile archives need no benchmark in them
from counterground.construction.imports import import_photos
from counterground.errors import CounterGroundError, UsageError
from counterground.models._weights import read_json as read_configuration  # without a whole model beside it
from counterground.paper.study import check_out  # without a study that runs for minutes
from counterground.photos import (
    LabelSpace,
    UnreadablePhoto,
    benchmark_of_frame,
    load_photo,
    photo_id,
    photo_size,
    prompt_templates,
    read_benchmark,
    read_class_names,
    read_table,
)

BLOCK = 512


def png(number: int = 0) -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (9, 7), (20 * number, 90, 10)).save(written, "PNG")
    return written.getvalue()


def save_photos(root: Path, *paths: str) -> Path:
    for number, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(png(number))
    return root


def one_line(error: pytest.ExceptionInfo[CounterGroundError]) -> str:
    said = str(error.value)
    assert "\n" not in said
    assert len(said) < 4100
    return said


def shard(*numbers: int) -> bytes:
    described = ("json", b'{"class_name": "ox"}')
    return tar((f"{n}.{end}", data) for n in numbers for end, data in (("png", png(n)), described))


# Archives whose rest would be left out


def without_a_header() -> bytes:
    """A tar of which the header of the third photo is zeros."""
    whole = shard(1, 2, 3, 4)
    at = whole.index(b"3.png")
    return whole[:at] + bytes(BLOCK) + whole[at + BLOCK :]


@pytest.mark.parametrize(
    "data", [without_a_header(), shard(1, 2) + shard(3, 4)], ids=["a zeroed block", "two tars"]
)
def test_a_tar_of_shards_is_read_to_its_end_or_refused(data, tmp_path):
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards/x.tar").write_bytes(data)
    with pytest.raises(CounterGroundError, match="damaged or cut short") as error:
        read_benchmark(tmp_path / "shards")
    one_line(error)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["tar", "tar.gz"])
@pytest.mark.parametrize(
    "data", [without_a_header(), shard(1, 2) + shard(3, 4)], ids=["a zeroed block", "two tars"]
)
def test_an_archive_is_unpacked_to_its_end_or_refused(data, pack, tmp_path):
    (tmp_path / "archive").write_bytes(pack(data))
    with pytest.raises(CounterGroundError, match="cut short or corrupt") as error:
        unpack([tmp_path / "archive"], tmp_path / "out")
    one_line(error)
    assert not (tmp_path / "out").exists()


def test_zeros_after_the_end_of_a_tar_are_no_damage(tmp_path):
    (tmp_path / "archive").write_bytes(shard(1, 2) + bytes(20 * BLOCK))
    unpack([tmp_path / "archive"], tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_of_two_zips_in_one_file_none_is_left_out(tmp_path):
    parts = []
    for number in range(2):
        written = io.BytesIO()
        with zipfile.ZipFile(written, "w") as file:
            file.writestr(f"{number}.png", png(number))
        parts.append(written.getvalue())
    (tmp_path / "archive").write_bytes(b"".join(parts))
    with pytest.raises(CounterGroundError, match="not in its list"):
        unpack([tmp_path / "archive"], tmp_path / "out")
    (tmp_path / "archive").write_bytes(b"#!/bin/sh\n" + parts[1])  # one that unpacks itself
    unpack([tmp_path / "archive"], tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["1.png"]


# Pipes and devices


def pipe(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)
    return path


READERS = {
    "manifest.csv": read_benchmark,
    "manifest.tsv": read_benchmark,
    "manifest.jsonl": read_benchmark,
    "manifest.parquet": read_benchmark,
    "instances.json": read_benchmark,
    "shards/x.tar": lambda path: read_benchmark(path.parent),
    "set/data/train.parquet": lambda path: read_benchmark(path.parents[1]),
    "prompts.txt": prompt_templates,
    "names.txt": read_class_names,
    "space.json": LabelSpace.load,
    "photo.png": lambda path: (load_photo(path), photo_size(path), photo_id(path)),
}


@pytest.mark.parametrize("name", READERS)
def test_a_pipe_in_the_place_of_a_file_is_refused_at_once(name, tmp_path):
    with pytest.raises(CounterGroundError, match="not a regular file") as error:
        READERS[name](pipe(tmp_path / name))
    one_line(error)


def test_a_file_that_no_text_is_as_large_as_is_refused(tmp_path):
    with (tmp_path / "prompts.txt").open("wb") as file:
        file.truncate(2**40)  # takes no room
    with pytest.raises(CounterGroundError, match="no more than 268,435,456 are read"):
        prompt_templates(tmp_path / "prompts.txt")


# One file under two spellings


@pytest.mark.parametrize("spelling", ["./ox/p0.png", "ox//p0.png", "ox/./p0.png", ".//ox/././p0.png"])
def test_a_file_under_two_spellings_is_one_file(spelling, tmp_path):
    save_photos(tmp_path, "ox/p0.png", "hen/p1.png")
    rows = [("ox/p0.png", "ox"), ("hen/p1.png", "hen"), (spelling, "ox")]
    text = "".join(f"{path},{name}\n" for path, name in [("path", "class_name"), *rows])
    (tmp_path / "photos.csv").write_text(text)
    with pytest.raises(CounterGroundError, match="has the path of row 1, 'ox/p0"):
        read_benchmark(tmp_path / "photos.csv")
    (tmp_path / "photos.csv").write_text(text.replace("ox/p0.png,ox\n", "", 1))
    assert read_benchmark(tmp_path / "photos.csv").photos["path"].to_list() == ["hen/p1.png", "ox/p0.png"]


# Texts that no writer of ours writes


def test_json_that_is_nested_without_end_is_one_line(tmp_path):
    deep = "[" * 100_000 + "]" * 100_000
    (tmp_path / "deep.json").write_text(deep)
    with pytest.raises(CounterGroundError, match="is not a label space") as error:
        LabelSpace.load(tmp_path / "deep.json")
    one_line(error)
    save_photos(tmp_path, "own/ox/p0.png")
    (tmp_path / "own/benchmark.json").write_text(f'{{"name": {deep}}}')
    with pytest.raises(CounterGroundError, match="nested too deeply"):
        read_benchmark(tmp_path / "own")


@pytest.mark.parametrize(
    "text",
    [
        'path,class_name,note\na.png,ox,"5" nail\nb.png,hen,2\n',
        'path,class_name\n""a.png"\n"\n',
        'path,class_name\na.png,"ox\nb.png,hen\n',
    ],
)
def test_a_quote_out_of_place_leaves_out_no_row(tmp_path, text):
    (tmp_path / "photos.csv").write_text(text)
    with pytest.raises(CounterGroundError, match="or before is out of place") as error:
        read_table(tmp_path / "photos.csv")
    one_line(error)


@pytest.mark.parametrize("name", ["*", "^p.*$"])
def test_a_column_called_as_a_pattern_is_refused(tmp_path, name):
    save_photos(tmp_path, "ox/p0.png")
    (tmp_path / "photos.csv").write_text(f"path,class_name,{name}\nox/p0.png,ox,1\n")
    with pytest.raises(CounterGroundError, match="No column can be called") as error:
        read_benchmark(tmp_path / "photos.csv")
    one_line(error)
    with pytest.raises(CounterGroundError, match="No column can be called"):
        benchmark_of_frame(pl.DataFrame({"path": "ox/p0.png", "class_name": "ox", name: 1}), tmp_path, "")


def test_a_record_of_a_study_and_a_configuration_of_weights_are_read_as_all_json_of_others(tmp_path):
    (tmp_path / "run.json").write_text("[" * 100_000)
    with pytest.raises(CounterGroundError, match="holds other files, not the study theory"):
        check_out(tmp_path, "theory")
    (tmp_path / "config.json").write_text('{"model": 1')
    with pytest.raises(CounterGroundError, match="is not readable JSON"):
        read_configuration(tmp_path / "config.json", "hf:mine")


# Label spaces, columns, cells


def test_a_cell_may_have_several_lines(tmp_path):
    save_photos(tmp_path, "a.png", "b.png")
    (tmp_path / "photos.csv").write_text('path,class_name,attribution\na.png,ox,"by A\nand B"\nb.png,ox,\n')
    assert read_benchmark(tmp_path / "photos.csv").photos["attribution"].to_list() == ["by A\nand B", None]


def test_many_cells_of_several_lines_are_looked_through_in_time(tmp_path):
    rows = "".join(f'"t{number} , a\nb",{number}.png\n' for number in range(60_000))
    (tmp_path / "photos.csv").write_text(f"note,path\n{rows}")
    with no_hang():
        assert len(read_table(tmp_path / "photos.csv")) == 60_000


def test_folders_without_end_are_walked(tmp_path, monkeypatch):
    save_photos(tmp_path, "ox/p0.png")
    depth = 1500
    monkeypatch.chdir(tmp_path / "ox")
    for _ in range(depth):
        Path("a").mkdir()
        os.chdir("a")
    try:
        with no_hang():
            found = read_benchmark(tmp_path)
        assert found.photos["path"].to_list() == ["ox/p0.png"]
    finally:
        for _ in range(depth):  # pytest could not remove them
            os.chdir("..")
            Path("a").rmdir()


def test_a_file_larger_than_any_photo_is_not_read(tmp_path):
    with (tmp_path / "a.png").open("wb") as file:
        file.write(png())
        file.truncate(2**31)
    with pytest.raises(UnreadablePhoto, match="it has 2,147,483,648 bytes, and no more than"):
        load_photo(tmp_path / "a.png")


def test_16_bits_are_scaled_in_parts(tmp_path):
    Image.fromarray(np.full((2000, 1500), 60_000, np.uint16)).save(tmp_path / "a.png")
    tracemalloc.start()
    try:
        assert load_photo(tmp_path / "a.png").image.getpixel((7, 7)) == (233, 233, 233)
        assert tracemalloc.get_traced_memory()[1] < 6 * 2000 * 1500
    finally:
        tracemalloc.stop()


# Pools


@pytest.mark.parametrize("where", ["pool", "ox/pool"])
def test_a_pool_is_never_made_inside_its_own_source(where, tmp_path):
    save_photos(tmp_path, "ox/p0.png", "hen/p1.png")
    with pytest.raises(UsageError, match="lies in the source"):
        import_photos(tmp_path / where, tmp_path)
    assert not (tmp_path / where).exists()
