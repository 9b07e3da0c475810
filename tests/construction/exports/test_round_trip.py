"""What is exported comes back through ``read_benchmark`` as it was."""

from __future__ import annotations

import shutil
from dataclasses import replace

import polars as pl
import pytest

from counterground.construction.exports import FORMATS, _layout, export
from counterground.errors import CounterGroundError, UsageError
from counterground.photos import photo_id, read_benchmark

KEPT_PATHS = [form for form in FORMATS if form != "counteranimal"]


def assert_photos_are_there(benchmark):
    for path, expected in benchmark.photos.select("path", "photo_id").iter_rows():
        assert photo_id(benchmark.photo_path(path)) == expected


def assert_same(back, benchmark):
    assert back.photos.equals(benchmark.photos)
    assert back.classes == benchmark.classes
    assert (back.name, back.notes, back.version) == (benchmark.name, benchmark.notes, benchmark.version)
    assert back.discovery == benchmark.discovery


@pytest.mark.parametrize("form", KEPT_PATHS)
@pytest.mark.parametrize("which", ["grouped", "flat"])
def test_everything_survives(form, which, request, tmp_path):
    benchmark = request.getfixturevalue(which)
    report = export(benchmark, tmp_path / "out", [form])
    assert (report.photos, len(report.left_out)) == (len(benchmark), 0)
    assert report.folders == {form: tmp_path / "out"}
    shutil.rmtree(benchmark.root)  # the export stands alone
    shutil.move(tmp_path / "out", tmp_path / "moved")
    back = read_benchmark(tmp_path / "moved")
    assert_same(back, benchmark)
    assert_photos_are_there(back)


@pytest.mark.parametrize("which", ["grouped", "flat"])
def test_the_counteranimal_layout_keeps_all_but_the_paths(which, request, tmp_path):
    benchmark = request.getfixturevalue(which)
    export(benchmark, tmp_path / "out", ["counteranimal"])
    back = read_benchmark(tmp_path / "out")
    assert_photos_are_there(back)
    assert back.classes == benchmark.classes
    columns = [name for name in benchmark.photos.columns if name not in {"path", "mask"}]
    assert (
        back.photos.select(columns).sort("photo_id").equals(benchmark.photos.select(columns).sort("photo_id"))
    )


def test_the_folders_alone_are_the_layout_of_counteranimal(grouped, tmp_path):
    export(grouped, tmp_path / "out", ["counteranimal"])
    assert (tmp_path / "out" / "296 ice bear" / "common-snow" / "0.jpg").is_file()
    names = (tmp_path / "out" / "imagenet_names.txt").read_text().splitlines()
    assert (len(names), names[100]) == (1000, "100\tblack swan, Cygnus atratus")
    for ours in ("photos.parquet", "benchmark.json", "label_space.json", "export.json"):
        (tmp_path / "out" / ours).unlink()
    back = read_benchmark(tmp_path / "out")
    columns = ["photo_id", "class_index", "class_name", "background", "group"]
    assert (
        back.photos.select(columns).sort("photo_id").equals(grouped.photos.select(columns).sort("photo_id"))
    )
    assert back.classes.imagenet == grouped.classes.imagenet == (100, 130, 296)


def test_names_the_layout_would_not_match_give_way_to_imagenets(grouped, tmp_path):
    space = replace(grouped.classes, names=("Schwan", "crane", "Eisbär"))
    names = dict(zip(grouped.classes.names, space.names, strict=True))
    foreign = replace(
        grouped, classes=space, photos=grouped.photos.with_columns(pl.col("class_name").replace(names))
    )
    export(foreign, tmp_path / "out", ["counteranimal"])
    folders = {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()}
    assert folders == {"100 black swan", "130 flamingo", "296 polar bear"}
    assert read_benchmark(tmp_path / "out").classes == space


def test_photos_with_and_without_group_are_refused_by_the_layout_alone(grouped, tmp_path):
    mixed = grouped.photos.with_columns(
        group=pl.when(pl.col("background") == "snow").then(None).otherwise(pl.col("group"))
    )
    mixed = replace(grouped, photos=mixed)
    with pytest.raises(CounterGroundError, match=r"8 of 48 photos of .* have no group"):
        export(mixed, tmp_path / "out", ["counteranimal"])
    assert not (tmp_path / "out").exists()
    export(mixed, tmp_path / "out", ["webdataset"])
    assert_same(read_benchmark(tmp_path / "out"), mixed)


@pytest.mark.parametrize("form", KEPT_PATHS)
def test_masks_survive_in_folders_of_their_own(masked, form, tmp_path):
    export(masked, tmp_path / "out", [form])
    back = read_benchmark(tmp_path / "out")
    assert back.version == masked.version
    for (old,), (new,) in zip(
        masked.photos.select("mask").iter_rows(), back.photos.select("mask").iter_rows(), strict=True
    ):
        assert (old is None) == (new is None)
        if new is not None:
            assert new == f"masks/{old}"
            assert back.photo_path(new).read_bytes() == masked.photo_path(old).read_bytes()


def test_several_formats_get_a_folder_each(grouped, tmp_path):
    report = export(grouped, tmp_path / "out", FORMATS)
    assert report.folders == {form: tmp_path / "out" / form for form in FORMATS}
    versions = {form: read_benchmark(folder).version for form, folder in report.folders.items()}
    assert {versions[form] for form in KEPT_PATHS} == {grouped.version}
    with pytest.raises(UsageError, match="is an export: name the folder of one of its formats"):
        read_benchmark(tmp_path / "out")


@pytest.mark.parametrize("form", ["webdataset", "huggingface"])
def test_shards_keep_to_their_size_and_order(grouped, form, tmp_path, monkeypatch):
    sizes = [grouped.photo_path(path).stat().st_size for path in grouped.photos["path"]]
    monkeypatch.setattr(_layout, "SHARD_BYTES", sum(sizes[:20]))
    export(grouped, tmp_path / "out", [form])
    shards = [path.name for path in sorted((tmp_path / "out").glob("*/*[0-9].*"))]
    expected = {
        "webdataset": [f"{n}.tar" for n in range(3)],
        "huggingface": [f"test-0000{n}.parquet" for n in range(3)],
    }
    assert shards == expected[form]
    assert_same(read_benchmark(tmp_path / "out"), grouped)


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_photos_give_the_same_bytes(grouped, form, tmp_path, tree):
    export(grouped, tmp_path / "one", [form])
    export(grouped, tmp_path / "two", [form])
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
