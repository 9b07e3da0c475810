"""Attributes, covariates and the design of a benchmark survive every format that CounterGround reads."""

import json
from dataclasses import replace

import polars as pl
import pytest
from PIL import Image

from counterground import construction
from counterground.construction.exports import FORMATS
from counterground.errors import UsageError
from counterground.metrics import Contrast, Design
from counterground.photos import Benchmark, LabelSpace, photo_id, read_benchmark


@pytest.fixture
def designed(tmp_path):
    rows = []
    for number in range(6):
        path = tmp_path / "photos" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (40 * number, 0, 0)).save(path)
        rows.append({"path": path.name, "photo_id": photo_id(path), "class_index": number % 2})
    photos = pl.DataFrame(rows).with_columns(
        class_name=pl.Series(["ox", "hen"] * 3),
        licence=pl.lit("CC0"),
        place=pl.Series(["sea", "wood", None] * 2),
        object=pl.Series(["1", "2", "3"] * 2),
        size=pl.Series([0.5, None, 1.0] * 2),
    )
    design = Design(
        ("class_name", "place"),
        (Contrast("sea", "place=sea", "average(t)"),),
        {"t": {("ox", "sea"): 2, ("hen", "wood"): 1}},
    )
    space = LabelSpace("benchmark", ("ox", "hen"), (None, None))
    return Benchmark("mine", tmp_path / "photos", photos, space, design=design)


@pytest.mark.parametrize("kind", ["parquet", "webdataset", "huggingface", "croissant", "inspect"])
def test_an_export_reads_back_with_attributes_and_design(designed, tmp_path, kind):
    construction.export(designed, tmp_path / "out", kind)
    back = read_benchmark(tmp_path / "out")
    assert back.version == designed.version
    assert back.design == designed.design
    assert back.photos["object"].dtype == pl.String
    if kind == "croissant":
        fields = json.loads((tmp_path / "out" / "croissant.json").read_text())["recordSet"][0]["field"]
        assert {"place": "sc:Text", "size": "sc:Float"}.items() <= {
            f["name"]: f["dataType"] for f in fields
        }.items()


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("column", ["label", "cls", "image"])
def test_a_column_that_a_format_uses_itself_is_refused_or_reads_back(designed, tmp_path, kind, column):
    values = pl.Series(["5", "6", "5", "6", "7", "7"])
    benchmark = replace(designed, photos=designed.photos.with_columns(values.alias(column)))
    taken = {
        "croissant": {"image"},
        "huggingface": {"label", "cls", "image"},
        "webdataset": {"label", "cls"},
    }
    if column in taken.get(kind, ()):
        with pytest.raises(UsageError, match=rf"column '{column}'.*{kind} .*rename it"):
            construction.export(benchmark, tmp_path / "out", kind)
        assert not (tmp_path / "out").exists()
        return
    construction.export(benchmark, tmp_path / "out", kind)
    back = read_benchmark(tmp_path / "out").photos
    assert back.sort("photo_id")[column].to_list() == benchmark.photos.sort("photo_id")[column].to_list()
