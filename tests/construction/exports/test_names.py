"""File names that every system keeps, and no two that one of them would take for the same."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from counterground.construction.exports import FORMATS, export

# Any text at all is tried with these; a whole export for each would take hours.
from counterground.construction.exports._layout import place, safe_name, safe_path
from counterground.photos import Benchmark, LabelSpace, photo_id, read_benchmark

RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in "0123456789¹²³")}
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.sampled_from(
    [
        "con",
        "Aux.jpg",
        "LPT1 .png",
        ".hidden",
        "trailing. ",
        "a/b\\c",
        "..",
        "x" * 400,
        "a\u202egpj.exe",
    ]
)


@given(TEXTS)
@example("é" * 100)
@example("　.　")
@example(". con")
def test_a_safe_name_is_one_and_stays_as_it_is(text):
    name = safe_name(text)
    assert name
    assert not re.search(r'[<>:"/\\|?*\x00-\x1f\x7f]', name)
    assert name == name.strip()
    assert not name.startswith(".")
    assert not name.endswith(".")
    assert name.partition(".")[0].strip().lower() not in RESERVED
    assert len(name.encode()) <= 150
    assert unicodedata.is_normalized("NFC", name)
    assert safe_name(name) == name


@given(st.text("abcXYZ0123 -_'(),éß鳥", min_size=1, max_size=60).map(str.strip).filter(bool))
def test_ordinary_names_are_kept(text):
    if len(text.encode()) <= 150:
        assert safe_name(text) == unicodedata.normalize("NFC", text)


def folded(path):
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())


@given(
    st.lists(
        st.lists(
            st.sampled_from(["a", "A", "á", "a\u0301", "b.jpg", "B.jpg", "ß", "ss"]), min_size=1, max_size=3
        )
    )
)
def test_no_two_paths_collide_on_any_system(parts):
    wanted = ["/".join(part) for part in parts]
    placed = place(wanted, ["a"])
    assert place(wanted, ["a"]) == placed
    files = [folded(path) for path in placed]
    assert len(set(files)) == len(files)
    assert "a" not in files


def test_the_first_keeps_its_name():
    placed = place(["x/1.jpg", "x/1.JPG", "X/2.jpg", "README.md"], ["README.md"])
    assert placed[0] == "x/1.jpg"
    assert re.fullmatch(r"x/1-[0-9a-f]{8}\.JPG", placed[1])
    assert placed[2] == "X/2.jpg"
    assert re.fullmatch(r"README-[0-9a-f]{8}\.md", placed[3])


def test_many_equal_names_stay_in_their_folder():
    placed = place(["hen/grass/1.jpg"] * 5000)  # in seconds: no name is tried twice
    assert len(set(placed)) == 5000
    assert {path.rpartition("/")[0] for path in placed} == {"hen/grass"}
    assert all(path.endswith(".jpg") for path in place(["1.jpg"] * 4))


@pytest.fixture(scope="module")
def one_photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("one") / "1.jpg"
    Image.new("RGB", (8, 8), "red").save(path)
    return path


NAMES = TEXTS.filter(lambda text: text.strip() != "" and "\0" not in text)


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(NAMES, min_size=1, max_size=4, unique=True),
    backgrounds=st.lists(NAMES | st.none(), min_size=4, max_size=4),
)
def test_any_class_and_background_names_survive_every_format(one_photo, names, backgrounds, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    space = LabelSpace("mine", tuple(names), (None,) * len(names))
    frame = pl.DataFrame(
        {
            "path": [f"{n}/photo.jpg" for n in range(len(names))],
            "photo_id": [photo_id(one_photo)] * len(names),
            "class_index": pl.Series(range(len(names)), dtype=pl.Int32),
            "class_name": names,
            "background": pl.Series(backgrounds[: len(names)], dtype=pl.String),
            "licence": ["cc0"] * len(names),
        }
    )
    for n in range(len(names)):
        (out / "source" / str(n)).mkdir(parents=True)
        (out / "source" / str(n) / "photo.jpg").write_bytes(one_photo.read_bytes())
    benchmark = Benchmark(names[0], out / "source", frame, space)
    forms = [form for form in FORMATS if form != "croissant"]
    export(benchmark, out / "exported", formats=forms)
    for form in forms:
        back = read_benchmark(out / "exported" / form)
        assert back.classes == space
        compared = ["class_index", "class_name", "background"]
        assert back.photos.sort("class_index").select(compared).equals(benchmark.photos.select(compared))
        for path in back.photos["path"]:
            assert safe_path(path) == path
            assert back.photo_path(path).is_file()


def test_unsafe_paths_are_renamed_which_is_said(one_photo, tmp_path):
    paths = ["a:b/1.jpg", "a_b/1.jpg", "con/.2.jpg", "benchmark.json"]
    for path in paths:
        (tmp_path / "source" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "source" / path).write_bytes(one_photo.read_bytes())
    frame = pl.DataFrame({"path": paths, "photo_id": photo_id(one_photo)}).with_columns(
        class_index=pl.lit(0, pl.Int32), class_name=pl.lit("hen"), licence=pl.lit("cc0")
    )
    benchmark = Benchmark("odd", tmp_path / "source", frame, LabelSpace("benchmark", ("hen",), (8,)))
    for form in ("parquet", "webdataset", "huggingface", "croissant"):
        report = export(benchmark, tmp_path / form, formats=[form])
        assert report.notes == (
            "Renamed 4 files to names that every system supports, so the version differs.",
        )
        back = read_benchmark(tmp_path / form)
        found = back.photos["path"].to_list()
        assert found[0] == "_con/_.2.jpg"
        assert "a_b/1.jpg" in found
        assert all(Path(back.photo_path(path)).is_file() for path in found)
        assert not {"a:b/1.jpg", "benchmark.json"} & set(found)
    kept = replace(benchmark, photos=frame.filter(pl.col("path") == "a_b/1.jpg"))
    assert export(kept, tmp_path / "kept", formats=["parquet"]).notes == ()
    assert read_benchmark(tmp_path / "kept").version == kept.version
