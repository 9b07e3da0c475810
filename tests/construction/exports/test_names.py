"""File names that every system keeps, and no two that one of them would take for the same."""

from __future__ import annotations

import re
import unicodedata

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from counterground.construction.exports import FORMATS, export

# Any text at all is tried with these; a whole export for each would take hours.
from counterground.construction.exports._layout import apart, safe_name
from counterground.photos import Benchmark, LabelSpace, photo_id, read_benchmark

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.sampled_from(
    [
        "con",
        "Aux.jpg",
        "LPT1 .png",
        ".hidden",
        "trailing. ",
        "a/b\\c",
        "..",
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
    assert unicodedata.is_normalized("NFC", name)
    assert safe_name(name) == name


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
    placed = apart(wanted, ["a"])
    assert apart(wanted, ["a"]) == placed
    files = [folded(path) for path in placed]
    assert len(set(files)) == len(files)
    assert "a" not in files


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
    export(benchmark, out / "exported", forms)
    for form in forms:
        back = read_benchmark(out / "exported" / form)
        assert back.classes == space
        compared = ["class_index", "class_name", "background"]
        assert back.photos.sort("class_index").select(compared).equals(benchmark.photos.select(compared))
        for path in back.photos["path"]:
            assert back.photo_path(path).is_file()
