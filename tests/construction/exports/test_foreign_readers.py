"""The libraries that the formats are made for read them, offline."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace

import polars as pl
import pytest
from PIL import Image

from counterground.construction.exports import export
from counterground.construction.settings import ExportSettings
from counterground.photos import LabelSpace, read_benchmark

FIELDS = [
    "path",
    "photo_id",
    "class_index",
    "class_name",
    "background",
    "group",
    "cluster",
    "mask",
    "licence",
    "attribution",
    "source",
]


def pixels(image):
    return image.convert("RGB").tobytes()


def lines_of_card(folder):
    """The Python that the data card shows: how to read this folder, standing in it."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    code = text.partition("```python\n")[2].partition("```")[0]
    assert len(code.strip().splitlines()) <= 5
    return code


def source_pixels(benchmark, path):
    with Image.open(benchmark.photo_path(path)) as image:
        return pixels(image)


@pytest.mark.parametrize("which", ["grouped", "flat"])
def test_webdataset_decodes_every_sample(which, request, tmp_path):
    import webdataset

    benchmark = request.getfixturevalue(which)
    export(benchmark, tmp_path / "out", ["webdataset"])
    shards = sorted(str(path) for path in (tmp_path / "out").glob("*.tar"))
    samples = list(webdataset.WebDataset(shards, shardshuffle=False).decode("pil"))
    assert [sample["json"] for sample in samples] == benchmark.photos.select(FIELDS).to_dicts()
    for sample in samples:
        image = sample.get("jpg") or sample["png"]
        assert pixels(image) == source_pixels(benchmark, sample["json"]["path"])


@pytest.fixture
def load_dataset(tmp_path, monkeypatch):
    """``datasets.load_dataset`` in a process of its own, which has never seen a network."""

    def load(folder, code):
        environment = {
            **os.environ,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_OFFLINE": "1",
        }
        program = f"{lines_of_card(folder)}\nimport hashlib, json\n{code}"
        ran = subprocess.run(
            [sys.executable, "-c", program],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        assert "Ignoring" not in ran.stderr
        return json.loads(ran.stdout.splitlines()[-1])

    return load


def test_datasets_loads_images_class_labels_and_every_field(grouped, tmp_path, load_dataset):
    export(grouped, tmp_path / "out", ["huggingface"])
    found = load_dataset(
        tmp_path / "out",
        "rows = [{**row, 'image': hashlib.sha256(row['image'].convert('RGB').tobytes()).hexdigest()}"
        " for row in photos]\n"
        "print(json.dumps([str(photos.features['image'])[:5], photos.features['label'].names, rows]))",
    )
    image, names, rows = found
    assert (image, names) == ("Image", list(grouped.classes.names))
    for row, expected in zip(rows, grouped.photos.to_dicts(), strict=True):
        assert row.pop("image") == hashlib.sha256(source_pixels(grouped, expected["path"])).hexdigest()
        assert row.pop("label") == expected["class_index"]
        expected.pop("mask")
        assert row == expected


def test_datasets_reads_masks_and_class_names_that_occur_twice_or_look_like_yaml(
    masked, tmp_path, load_dataset
):
    names = ("missile", "no photo", "missile", "spare", "- [yes]: \n#{\x85\U0001f9a2\"'\\", "null")
    classes = (0, 2, 3, 4, 5, 0)
    frame = masked.photos.with_columns(
        class_index=pl.Series(classes, dtype=pl.Int32), class_name=pl.Series([names[n] for n in classes])
    )
    odd = replace(masked, classes=LabelSpace("odd", names, (None,) * 6), photos=frame, name=names[4])
    export(odd, tmp_path / "out", ["huggingface"])
    assert read_benchmark(tmp_path / "out").version == odd.version
    found = load_dataset(
        tmp_path / "out",
        "print(json.dumps([photos.features['label'].names, photos['label'][:],"
        " [mask and mask.mode for mask in photos['mask']]]))",
    )
    unique = ["missile (0)", "missile (2)", "spare", names[4], "null"]
    assert found == [unique, [0, 1, 2, 3, 4, 0], ["L"] * 5 + [None]]


@pytest.mark.parametrize("which", ["grouped", "flat", "masked"])
def test_mlcroissant_finds_nothing_to_complain_of_and_loads_the_records(which, request, tmp_path):
    import mlcroissant

    benchmark = request.getfixturevalue(which)
    card = ExportSettings(
        creators=("Zoë",), url="https://example.org/", licence="cc-by-4.0", citation="@misc{x}"
    )
    export(benchmark, tmp_path / "out", ["croissant"], card)
    loaded = mlcroissant.Dataset(tmp_path / "out" / "croissant.json")
    issues = loaded.metadata.ctx.issues
    assert (issues.errors, issues.warnings) == (set(), set())
    records = {record["photos/path"].decode(): record for record in loaded.records("photos")}
    back = read_benchmark(tmp_path / "out").photos
    assert sorted(records) == back["path"].to_list()
    for row in back.to_dicts():
        record = records[row["path"]]
        assert pixels(record["photos/image"]) == source_pixels(benchmark, row["path"])
        for name in FIELDS[1:]:
            value = record[f"photos/{name}"]
            assert (value.decode() if isinstance(value, bytes) else value) == row[name]


@pytest.mark.parametrize("form", ["counteranimal", "parquet", "webdataset", "croissant"])
def test_the_lines_of_the_card_run(form, grouped, tmp_path, monkeypatch):
    export(grouped, tmp_path / "out", [form])
    monkeypatch.chdir(tmp_path / "out")
    names = {}
    exec(lines_of_card(tmp_path / "out"), names)
    photos = names["photos"]
    rows = photos.rows() if form == "parquet" else list(photos)
    assert len(rows) == len(grouped)
    if form == "counteranimal":
        assert photos.classes == ["100 black swan", "130 flamingo", "296 ice bear"]
