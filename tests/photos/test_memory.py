"""Benchmarks of tables in memory: Polars, pandas, and photos that are images."""

import subprocess
import sys
from io import BytesIO

import numpy as np
import pandas as pd
import polars as pl
import pytest
from PIL import Image

from counterground.errors import CounterGroundError
from counterground.photos import Benchmark, load_photo, photo_id, read_benchmark

ROWS = 48


@pytest.fixture
def columns(photos):
    manifest = read_benchmark(photos).photos
    renamed = {"file": "path", "animal": "class_name", "behind": "background", "side": "group"}
    return {mine: manifest[theirs].to_list() for mine, theirs in renamed.items()} | {"unused": [1] * ROWS}


USED = {"path": "file", "label": "animal", "background": "behind", "group": "side"}


@pytest.mark.parametrize("make", [dict, pl.DataFrame, pl.LazyFrame, pd.DataFrame])
def test_a_table_of_paths_is_the_benchmark_of_its_folder(make, columns, photos):
    benchmark = Benchmark.from_frame(make(columns), root=photos, **USED)
    assert benchmark.photos.equals(read_benchmark(photos).photos)
    assert (benchmark.version, benchmark.notes) == (read_benchmark(photos).version, ())
    absolute = {**columns, "file": [photos / path for path in columns["file"]]}
    for root in (None, photos):
        found = Benchmark.from_frame(
            make(absolute) if make is not pl.LazyFrame else absolute, root=root, **USED
        )
        assert (found.root, found.version) == (photos, benchmark.version)


@pytest.mark.parametrize(
    "absent", [None, float("nan"), np.float32("nan"), pd.NA, pd.NaT, np.datetime64("NaT")]
)
def test_a_missing_value_is_null_in_any_table(absent, columns, photos):
    columns["behind"][:2], columns["side"][1] = ["sea", absent], absent
    columns["cluster"] = [absent] * (ROWS - 1) + ["ann"]
    table = {name: pl.Series(values, dtype=pl.Object) for name, values in columns.items()}
    for frame in (columns, pl.DataFrame(table), pd.DataFrame(columns, dtype=object)):
        found = Benchmark.from_frame(frame, root=photos, **USED).photos
        assert found.select("background", "group", "cluster").null_count().row(0) == (1, 1, ROWS - 1)


@pytest.mark.parametrize("kind", [np.int64, int])
def test_numbers_have_names_in_their_order(kind, columns, photos):
    names = ["flamingo", "ice bear", "black swan", "not here"]
    columns["animal"] = [kind(names.index(name)) for name in columns["animal"]]
    found = Benchmark.from_frame(pd.DataFrame(columns), root=photos, names=names, **USED)
    assert found.version == read_benchmark(photos).version
    (note,) = found.notes
    assert note.startswith("No photo of 1 of the 4 classes that are named by number, so the label space")
    assert note.endswith("lacks them: not here.")
    columns["animal"] = [{0: 130, 1: 296, 2: 100}[number] for number in columns["animal"]]
    found = Benchmark.from_frame(pl.DataFrame(columns), root=photos, names="imagenet", **USED)
    assert found.classes.imagenet == (100, 130, 296)


def test_any_column_of_the_manifest_may_have_another_name(columns, photos):
    columns |= {"Location": list(range(ROWS)), "cluster": ["x"] * ROWS, "licence": ["CC0"] * ROWS}
    columns["drawn"] = [f"{number}.png" for number in range(ROWS)]
    named = {"cluster": "Location", "mask": "drawn"}
    found = Benchmark.from_frame(pd.DataFrame(columns), root=photos, **USED, **named).photos
    assert sorted(found["cluster"]) == sorted(map(str, range(ROWS)))
    assert (found["mask"].str.strip_suffix(".png") == found["cluster"]).all()
    assert found["licence"].unique().to_list() == ["CC0"]
    without = Benchmark.from_frame(columns, root=photos, **USED, cluster=None).photos
    assert without["cluster"].null_count() == ROWS


def images(photos, columns):
    return [Image.open(photos / path) for path in columns["file"]]


@pytest.mark.parametrize("make", [pl.DataFrame, pd.DataFrame])
@pytest.mark.parametrize("form", ["image", "array", "bytes", "dict"])
def test_photos_in_memory_have_ids_of_their_content(make, form, columns, photos, cache):
    given = images(photos, columns)
    if form == "array":
        arrays = list(map(np.asarray, given))
        columns["file"] = pl.Series(np.stack(arrays)) if make is pl.DataFrame else arrays
    elif form == "image":
        columns["file"] = given
    else:
        files = [(photos / path).read_bytes() for path in columns["file"]]
        columns["file"] = files if form == "bytes" else [{"bytes": each, "path": None} for each in files]
    benchmark, again = (Benchmark.from_frame(make(columns), **USED) for _ in range(2))
    assert (benchmark.version, benchmark.root) == (again.version, again.root)
    assert benchmark.root.is_relative_to(cache)
    assert sorted(benchmark.root.iterdir()) == [
        benchmark.photo_path(path) for path in benchmark.photos["path"]
    ]
    for row, path in enumerate(benchmark.photos["path"]):
        assert path.startswith(f"{row:02}.")
        file = benchmark.photo_path(path)
        assert photo_id(file) == benchmark.photos["photo_id"][row]
        assert load_photo(file).image.tobytes() == given[row].convert("RGB").tobytes()


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("in_memory", [False, True])
def test_masks_are_found_below_the_root(in_memory, absolute, columns, photos):
    (photos / "masks").mkdir()
    masks = [photos / "masks" / f"{row:02}.png" for row in range(ROWS)]
    for mask in masks:
        Image.new("L", (8, 8), 255).save(mask)
    columns["mask"] = [mask if absolute else mask.relative_to(photos) for mask in masks]
    if in_memory:
        columns["file"] = images(photos, columns)
    benchmark = Benchmark.from_frame(columns, root=photos, **USED)
    assert list(map(benchmark.mask_path, benchmark.photos["mask"])) == masks
    assert benchmark.photos["mask"].to_list() == [f"masks/{row:02}.png" for row in range(ROWS)]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "I;16"])
def test_every_mode_is_kept_as_its_file_would_be(mode, tmp_path):
    grey = Image.linear_gradient("L").resize((20, 16))
    image = (
        Image.fromarray(np.asarray(grey).astype(np.uint16 if mode == "I;16" else np.int32) * 257)
        if mode.startswith("I")
        else grey.convert(mode)
    )
    found = Benchmark.from_frame({"path": [image], "class_name": ["ox"]})
    image.save(tmp_path / "same.tif" if mode != "LA" else tmp_path / "same.png")
    (same,) = tmp_path.glob("same.*")
    assert load_photo(found.photo_path("0.png")).image.tobytes() == load_photo(same).image.tobytes()


def png():
    buffer = BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("frame", "how", "message"),
    [
        ({"path": ["a"], "class_name": ["ox"]}, {"attributes": ("plase",)}, "no column 'plase'"),
        ({"path": ["a"], "class_name": [3]}, {}, "'class_name' has numbers: say what they mean with names="),
        ({"path": [Image.new("F", (4, 4))], "class_name": ["ox"]}, {}, "Row 0 of the frame is no photo"),
        ({"path": [png(), 3], "class_name": ["ox"] * 2}, {}, "Row 1 of the frame is no photo"),
        ({"path": [np.zeros((4, 4, 3))], "class_name": ["ox"]}, {}, "Row 0 of the frame is no photo"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(frame, how, message):
    with pytest.raises(CounterGroundError, match=message) as refused:
        Benchmark.from_frame(frame, **how)
    assert "\n" not in str(refused.value)


def test_pandas_is_not_imported_for_polars(columns, photos):
    code = (
        "import sys; sys.modules['pandas'] = None\n"
        "import counterground as cg, polars as pl\n"
        f"print(len(cg.Benchmark.from_frame(pl.DataFrame({columns!r}), root={str(photos)!r}, **{USED!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(ROWS)]
