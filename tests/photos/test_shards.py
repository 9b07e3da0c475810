"""Shards of strangers and of our own: read where they are whole, refused where they are not, never obeyed."""

from __future__ import annotations

import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tarfile
import tracemalloc
from pathlib import Path

import polars as pl
import pytest
from PIL import Image
from tars import write_tar

from counterground.errors import CounterGroundError
from counterground.photos import photo_id, read_benchmark


def jpeg(shade: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, 0, 0)).save(out, "JPEG")
    return out.getvalue()


def sample(key: str, shade: int, **fields) -> list[tuple[str, bytes]]:
    return [(f"{key}.jpg", jpeg(shade)), (f"{key}.json", json.dumps(fields).encode())]


def write_rows(path: Path, rows: list[dict], **columns) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = [{"bytes": jpeg(number), "path": f"{number}.jpg"} for number in range(len(rows))]
    schema = {"image": pl.Struct({"bytes": pl.Binary, "path": pl.String})}
    frame = pl.DataFrame({"image": image}, schema=schema)
    frame = pl.concat([frame, pl.DataFrame(rows)], how="horizontal") if rows[0] else frame
    frame.with_columns(**columns).write_parquet(path)
    return path


def unpacked(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "unpacked").iterdir())


# WebDataset


def test_a_strangers_webdataset_with_names(tmp_path):
    write_tar(
        tmp_path / "wds" / "x-0.tar",
        [
            *sample("a/1", 1, class_name="hen", background="grass", group="common", cluster=7),
            *sample(
                "a/2.x", 2, class_name="tench", license="cc-by", attribution="© Z", source="u", caption="c"
            ),
        ],
    )
    write_tar(tmp_path / "wds" / "x-1.tar", sample("3", 3, label="hen", path="deep/er/3.jpeg"))
    found = read_benchmark(tmp_path / "wds")
    assert found.name == "wds"
    assert found.classes.names == ("tench", "hen")
    assert found.classes.imagenet == (0, 8)
    assert found.photos["path"].to_list() == ["deep/er/3.jpeg", "files/0000001.jpg", "files/0000002.jpg"]
    rows = found.photos.drop("path", "photo_id", "mask").rows()
    assert rows == [
        (1, "hen", None, None, None, None, None, None, None),
        (1, "hen", "grass", "common", "7", None, None, None, None),
        (0, "tench", None, None, None, "cc-by", "© Z", "u", "c"),
    ]
    assert found.photos.columns[-1] == "caption"
    for path, expected in found.photos.select("path", "photo_id").iter_rows():
        assert photo_id(found.photo_path(path)) == expected


def test_numbered_classes_need_names(tmp_path):
    members = [("1.webp", jpeg(1)), ("1.cls", b"1"), ("2.JPG", jpeg(2)), ("2.cls", b" 0\n")]
    write_tar(tmp_path / "wds" / "0.tar", members)
    with pytest.raises(CounterGroundError, match=r"class is a number, such as 1, .*classnames"):
        read_benchmark(tmp_path / "wds")
    (tmp_path / "wds" / "classnames.txt").write_text("tench\n")
    with pytest.raises(CounterGroundError, match=r"has the class '1', and .* has 1 names"):
        read_benchmark(tmp_path / "wds")
    (tmp_path / "wds" / "classnames.txt").write_text("tench\nhen\n")
    assert read_benchmark(tmp_path / "wds").photos["class_name"].to_list() == ["hen", "tench"]


def test_the_test_photos_of_a_data_set_for_clip_benchmark_are_read(tmp_path):
    for split, numbers in (("train", "1"), ("test", "0" * 11)):
        (tmp_path / "wds" / split).mkdir(parents=True)
        for shard, label in enumerate(numbers):
            members = [(f"{shard}.webp", jpeg(shard)), (f"{shard}.cls", label.encode())]
            write_tar(tmp_path / "wds" / split / f"{shard}.tar", members)
    (tmp_path / "wds" / "classnames.txt").write_text("tench\nhen\n")
    found = read_benchmark(tmp_path / "wds")
    assert (found.name, found.photos["class_name"].to_list()) == ("wds", ["tench"] * 11)


@pytest.mark.parametrize(
    "fields",
    [{"class_index": 1}, {"class_index": 0, "label": 1}, {"label": 1}, {"label": "1"}],
)
def test_the_names_of_numbered_classes_are_those_of_the_label(tmp_path, fields):
    """Whatever class_index counts, and whether numbers are written as numbers."""
    write_tar(tmp_path / "wds" / "0.tar", sample("1", 1, **fields))
    (tmp_path / "wds" / "classnames.txt").write_text("tench\nhen\n")
    assert read_benchmark(tmp_path / "wds").photos["class_name"].to_list() == ["hen"]


def test_webdatasets_own_writer_is_read(tmp_path):
    import webdataset

    (tmp_path / "wds").mkdir()
    with webdataset.TarWriter(str(tmp_path / "wds" / "x-000000.tar")) as sink:
        for number in range(3):
            fields = {"class_name": ("hen", "tench")[number % 2]}
            sink.write({"__key__": f"k{number}", "png": Image.new("RGB", (8, 8)), "json": fields})
    assert read_benchmark(tmp_path / "wds").photos["class_name"].to_list() == ["hen", "tench", "hen"]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("../1.jpg", b"x"), ("../1.cls", b"0")], "'../1.jpg' would land outside"),
        ([("/etc/1.jpg", b"x")], "'/etc/1.jpg' would land outside"),
        (sample("1", 1, class_name="hen", path="../../x.jpg"), "'../../x.jpg' would land outside"),
        (sample("1", 1, class_name="hen", path="a\0.jpg"), "would land outside"),
        (
            sample("1", 1, class_name="hen", path="a") + sample("2", 1, class_name="hen", path="a"),
            "'a' occurs twice",
        ),
        (sample("1", 1, class_name="hen", photo_id="0" * 64), "its photo_id: they were changed"),
        ([("1.jpg", b"x"), ("1.jpg", b"x")], "'1.jpg' occurs twice"),
        (
            [("1.jpg", b"x"), ("1.mask.png", b"x"), ("1.mask.jpg", b"x")],
            "at most one mask, not 1 and 2",
        ),
        ([("1.jpg", b"x"), ("1.json", b"[" * 100_000)], "fields cannot be read"),
    ],
)
def test_an_unsafe_or_odd_tar_is_refused_in_one_line(members, message, tmp_path, cache):
    write_tar(tmp_path / "wds" / "0.tar", members)
    with pytest.raises(CounterGroundError, match=re.escape(message)) as caught:
        read_benchmark(tmp_path / "wds")
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "wds") in str(caught.value)
    assert unpacked(cache) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["wds"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(kind, tmp_path):
    info = tarfile.TarInfo("1.jpg")
    info.type, info.linkname = kind, "/etc/passwd"
    write_tar(tmp_path / "wds" / "0.tar", [info])
    with pytest.raises(CounterGroundError, match=r"not safe to unpack: '1\.jpg' is not a regular file"):
        read_benchmark(tmp_path / "wds")


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (2**33, r"'1\.jpg' is too large \(8,589,934,592 bytes\)"),
        (2**28 + 1, r"'1\.jpg' is too large \(268,435,457 bytes\)"),
        (2**28, "cut short"),
    ],
)
def test_a_size_no_photo_has_is_refused_before_it_is_read(size, message, tmp_path):
    info = tarfile.TarInfo("1.jpg")
    info.size = size
    (tmp_path / "wds").mkdir()
    (tmp_path / "wds" / "0.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
    with pytest.raises(CounterGroundError, match=message):
        read_benchmark(tmp_path / "wds")


def test_a_tar_cut_anywhere_is_found_out(tmp_path):
    whole = write_tar(
        tmp_path / "whole.tar", sample("1", 1, class_name="hen") + sample("2", 2, class_name="hen")
    )
    data = whole.read_bytes()
    end = len(data.rstrip(b"\0")) + (-len(data.rstrip(b"\0")) % 512)
    for cut in [*range(0, end + 1, 256), end - 1]:
        (tmp_path / "wds").mkdir()
        (tmp_path / "wds" / "0.tar").write_bytes(data[:cut])
        with pytest.raises(CounterGroundError, match="cut short") as caught:
            read_benchmark(tmp_path / "wds")
        assert "\n" not in str(caught.value)
        shutil.rmtree(tmp_path / "wds")


# Hugging Face


def test_a_strangers_parquet_with_names(tmp_path):
    rows = [{"class_name": name, "group": group} for name, group in (("hen", "common"), ("tench", None))]
    write_rows(tmp_path / "hf" / "data" / "train-00000-of-00001.parquet", rows, extra=pl.lit(1))
    found = read_benchmark(tmp_path / "hf")
    assert (found.name, found.classes.imagenet) == ("hf", (0, 8))
    assert found.photos["group"].to_list() == ["common", None]
    assert found.photo_path(found.photos["path"][0]).read_bytes() == jpeg(0)
    assert found.photos["extra"].to_list() == [1.0, 1.0]
    (tmp_path / "hf" / "data" / "train-00000-of-00001.parquet").rename(tmp_path / "hf" / "train.parquet")
    (tmp_path / "hf" / "data").rmdir()
    assert read_benchmark(tmp_path / "hf").version == found.version


@pytest.mark.parametrize("label", ["label", "species"])
def test_what_the_datasets_library_writes_is_read_with_its_class_names(tmp_path, label):
    code = (
        "import datasets, sys\n"
        "from PIL import Image\n"
        "names = datasets.ClassLabel(names=['hen', 'tench'])\n"
        f"features = datasets.Features(image=datasets.Image(), {label}=names)\n"
        "images = [Image.new('RGB', (8, 8), (n, 0, 0)) for n in range(3)]\n"
        f"rows = {{'image': images, {label!r}: [0, 1, 0]}}\n"
        "datasets.Dataset.from_dict(rows, features=features).to_parquet(sys.argv[1])\n"
    )
    (tmp_path / "hf" / "data").mkdir(parents=True)
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    target = str(tmp_path / "hf" / "data" / "test.parquet")
    subprocess.run([sys.executable, "-c", code, target], env=environment, check=True, capture_output=True)
    assert read_benchmark(tmp_path / "hf").photos["class_name"].to_list() == ["hen", "tench", "hen"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"image": pl.struct(bytes=pl.lit(None, pl.Binary), path=pl.lit("a.jpg"))},
            "row 1 has no photo in it",
        ),
        ({"path": pl.lit("../x.jpg")}, "would land outside"),
    ],
)
def test_odd_parquet_is_refused_in_one_line(change, message, tmp_path, cache):
    path = write_rows(tmp_path / "hf" / "x.parquet", [{"class_name": "hen"}])
    frame = pl.read_parquet(path)
    keep = {name: what for name, what in change.items() if what is not None}
    frame.with_columns(**keep).drop([name for name in change if name not in keep]).write_parquet(path)
    with pytest.raises(CounterGroundError, match=re.escape(message)) as caught:
        read_benchmark(tmp_path / "hf")
    assert "\n" not in str(caught.value)
    assert unpacked(cache) == []


def test_of_a_photo_in_many_rows_one_copy_is_in_memory(tmp_path):
    photo = jpeg(1) + bytes(2_000_000)
    frame = pl.DataFrame({"image": [photo], "class_name": ["hen"]})
    (tmp_path / "hf").mkdir()
    pl.concat([frame] * 30).write_parquet(tmp_path / "hf" / "x.parquet")
    tracemalloc.start()
    try:
        assert len(read_benchmark(tmp_path / "hf")) == 30
        assert tracemalloc.get_traced_memory()[1] < 8 * len(photo)
    finally:
        tracemalloc.stop()


def test_large_numbers_are_codes_that_stay_apart(tmp_path):
    """As numbers with a fraction, they would become equal."""
    codes = [2**53 + 2, 2**53 + 3, 2**70]
    members = [
        member
        for n, code in enumerate(codes)
        for member in sample(str(n), n, class_name="hen", site=code, zone=n)
    ]
    write_tar(tmp_path / "wds" / "x.tar", members)
    found = read_benchmark(tmp_path / "wds").photos
    assert found["site"].to_list() == list(map(str, codes))
    assert found["zone"].to_list() == [0.0, 1.0, 2.0]


def test_several_splits_are_never_thrown_together(tmp_path):
    for split in ("train", "test"):
        write_rows(tmp_path / "hf" / "data" / f"{split}-00000-of-00001.parquet", [{"class_name": "hen"}])
    with pytest.raises(CounterGroundError, match=r"several splits \(test, train\)"):
        read_benchmark(tmp_path / "hf")


def test_folders_of_photos_beside_an_archive_stay_what_they_are(tmp_path):
    for name in ("hen", "tench"):
        (tmp_path / "mine" / name).mkdir(parents=True)
        (tmp_path / "mine" / name / "1.jpg").write_bytes(jpeg(1))
    write_tar(tmp_path / "mine" / "backup.tar", sample("1", 1, class_name="hen"))
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "mine" / "numbers.parquet")
    assert read_benchmark(tmp_path / "mine").photos["path"].to_list() == ["hen/1.jpg", "tench/1.jpg"]


@pytest.mark.parametrize("form", ["webdataset", "huggingface"])
def test_damage_anywhere_loses_no_photo_or_gives_one_line(form, tmp_path, cache):
    """Without the hashes of a description, as a stranger's shard is."""
    folder = tmp_path / "strange"
    if form == "webdataset":
        members = [m for n in range(4) for m in sample(f"{n}", n, class_name="ab"[n % 2])]
        shard = write_tar(folder / "0.tar", members)
    else:
        shard = write_rows(folder / "0.parquet", [{"class_name": "ab"[n % 2]} for n in range(4)])
    data, draw, messages = shard.read_bytes(), random.Random(0), []
    for _ in range(60):
        damaged = bytearray(data)
        for _ in range(draw.choice([1, 1, 8])):
            damaged[draw.randrange(len(data))] = draw.randrange(256)
        shard.write_bytes(damaged[: draw.choice([len(data), draw.randrange(len(data))])])
        try:
            found = read_benchmark(folder)
        except CounterGroundError as error:
            messages.append(str(error))
        else:
            assert len(found) == 4
    assert not any("\n" in message for message in messages)
    assert len(messages) > 20
    assert all(re.fullmatch("[0-9a-f]{64}", name) for name in unpacked(cache))
