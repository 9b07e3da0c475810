"""Validation, one clear line each; the version; writing and reading back."""

import json
import os
import re
import shutil
from dataclasses import replace

import polars as pl
import pytest
from PIL import Image

from counterground.errors import CounterGroundError
from counterground.metrics import DROP, Contrast, Design
from counterground.photos import (
    MANIFEST_SCHEMA,
    Benchmark,
    Discovered,
    LabelSpace,
    photo_id,
    read_benchmark,
    validate_manifest,
    write_benchmark,
)

SPACE = LabelSpace("benchmark", ("tench", "goldfish", "crème"), (0, 1, None))
HASH = "0123456789abcdef" * 4
HASHES = [HASH, HASH[1:] + HASH[0], HASH[2:] + HASH[:2]]


def manifest(**changes):
    columns = {
        "path": ["b/2.jpg", "a/1.jpg", "a/é.jpg"],
        "photo_id": HASHES,
        "class_index": [1, 0, 2],
        "class_name": ["goldfish", "tench", "crème"],
        "background": ["water", None, "ground"],
        "group": ["common", None, "counter"],
        "cluster": [None, "o1", "o1"],
        **changes,
    }
    return pl.DataFrame({name: values for name, values in columns.items() if values is not None})


def test_a_manifest_is_completed_cast_and_sorted():
    photos = validate_manifest(manifest(), SPACE)
    assert photos.schema == MANIFEST_SCHEMA
    assert photos["path"].to_list() == ["a/1.jpg", "a/é.jpg", "b/2.jpg"]
    assert photos["class_index"].to_list() == [0, 2, 1]
    assert photos["mask"].null_count() == 3
    least = manifest(background=None, group=None, cluster=None)
    assert validate_manifest(least, SPACE)["group"].null_count() == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grup": ["common"] * 3}, "a column 'grup': did you mean 'group'? If not, rename it"),
        ({"path": ["a", "a", "b"]}, "Photo 'a' (and 1 more): its path occurs more than once."),
        ({"path": ["a", "b/../../c", "c"]}, "Photo 'b/../../c': its path must stay inside"),
        ({"mask": [None, "../../etc/passwd", None]}, "its mask must stay inside"),
        ({"class_index": [1, 3, 2]}, "Photo 'a/1.jpg': its class_index is outside the 3 classes, not 3."),
        ({"group": ["common", "Counter", None]}, "its group must be common, counter or null, not 'Counter'."),
    ],
)
def test_what_is_wrong_is_said_in_one_line(changes, message):
    with pytest.raises(CounterGroundError, match=re.escape(message)) as caught:
        Benchmark("x", None, manifest(**changes), SPACE)
    assert "\n" not in str(caught.value)


def test_version_hashes_all_that_scores_depend_on_and_nothing_else(tmp_path):
    benchmark = Benchmark("x", tmp_path, manifest(), SPACE)
    same = [
        Benchmark("y", tmp_path / "elsewhere", manifest().reverse(), SPACE, ("a note",)),
        Benchmark("x", tmp_path, manifest(licence=["CC0", "", None], mask=["m.png", None, None]), SPACE),
        Benchmark(
            "x", tmp_path, manifest(attribution=["(c) A", None, None], source=["u", None, None]), SPACE
        ),
        Benchmark(
            "x",
            tmp_path,
            manifest(
                background=["water ", "", "ground"],
                group=[" common", " ", "counter"],
                cluster=["", "o1", "o1"],
            ),
            SPACE,
        ),
    ]
    assert {other.version for other in same} == {benchmark.version}
    other_space = LabelSpace("benchmark", SPACE.names, (0, 1, 2))
    different = [
        Benchmark("x", tmp_path, manifest(**{column: values}), SPACE).version
        for column, values in {
            "path": ["b/3.jpg", "a/1.jpg", "a/é.jpg"],
            "photo_id": [*HASHES[:2], HASH[::-1]],
            "background": ["water", "sky", "ground"],
            "group": ["common", "common", "counter"],
            "cluster": [None, "o1", "o2"],
        }.items()
    ]
    different.append(Benchmark("x", tmp_path, manifest(), other_space).version)
    assert len({benchmark.version, *different}) == 7
    assert re.fullmatch("[0-9a-f]{64}", benchmark.version)


def test_an_empty_text_is_unknown_in_every_optional_column_and_spaces_do_not_count():
    optional = ("background", "cluster", "licence", "attribution", "source")
    texts = {name: ["a ", " ", ""] for name in optional} | {"group": ["counter ", "\t", ""]}
    photos = validate_manifest(manifest(path=["a", "b", "c"], **texts), SPACE)
    assert photos.select(*optional, "group").rows() == [(*"aaaaa", "counter"), (None,) * 6, (None,) * 6]


def test_further_columns_are_attributes_and_covariates():
    frame = manifest(wet=[True, None, False], size=[1, 2, 3], place=["sea", "", None]).with_columns(
        nan=pl.Series([float("nan"), 0.5, 1.0]), kind=pl.Series(["a", "b", "a"], dtype=pl.Categorical)
    )
    photos = validate_manifest(frame, SPACE)
    assert photos.columns[len(MANIFEST_SCHEMA) :] == ["kind", "nan", "place", "size", "wet"]
    assert photos.select("kind", "nan", "place", "size", "wet").rows() == [
        ("b", 0.5, "", 2.0, None),
        ("a", 1.0, None, 3.0, "no"),
        ("a", None, "sea", 1.0, "yes"),
    ]
    assert validate_manifest(photos, SPACE).equals(photos)


def test_attributes_take_part_in_the_version_where_there_are_any_and_the_design_does_not(tmp_path):
    plain = Benchmark("x", tmp_path, manifest(), SPACE)
    assert plain.version == "8f041c0faa51eb6124cd20c4c1d01d0276e8dfc0016a42778efecbf615faa568"
    frames = [
        manifest(place=["a", "b", None]),
        manifest(place=["a", "b", "b"]),
        manifest(site=["a", "b", None]),
        manifest(place=[1, 2, None]),
    ]
    versions = {Benchmark("x", tmp_path, frame, SPACE).version for frame in frames}
    assert len(versions | {plain.version}) == 5
    design = Design(("class_name", "place"), (Contrast("sea", "place=a", "place=b"),))
    assert Benchmark("x", tmp_path, frames[0], SPACE, design=design).version in versions


def test_the_design_is_written_and_read_back_where_it_is_not_the_default(benchmark, tmp_path):
    assert "design" not in json.loads(
        (write_benchmark(benchmark, tmp_path / "a") / "benchmark.json").read_text()
    )
    photos = benchmark.photos.with_columns(place=pl.Series(["sea", "land", None]), size=pl.Series([1, 2, 3]))
    design = Design(
        ("class_name", "place"),
        (Contrast("sea", "place=sea", "average(training)"), DROP, Contrast("s", "size<2", "all", ())),
        {"training": {("tench", "sea"): 3, ("goldfish", "land"): 1}},
    )
    rich = Benchmark("rich", benchmark.root, photos, benchmark.classes, design=design)
    back = read_benchmark(write_benchmark(rich, tmp_path / "b"))
    assert_same(back, rich)
    assert back.design == design
    assert back.described(name="other").design == design
    assert "background: ground 1, water 1" in repr(back)
    content = json.loads((tmp_path / "b" / "benchmark.json").read_text())
    content["design"]["contrasts"] = ["sea: place=sea"]
    (tmp_path / "b" / "benchmark.json").write_text(json.dumps(content))
    with pytest.raises(CounterGroundError, match=r"cannot be read .*is not one"):
        read_benchmark(tmp_path / "b")


@pytest.fixture
def benchmark(tmp_path):
    root = tmp_path / "pair" / "photos"
    for path in ("a/1.jpg", "a/é.jpg", "b/2.jpg"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), len(path) * 3).save(root / path)
    ids = [photo_id(root / path) for path in manifest()["path"]]
    space = LabelSpace("benchmark", SPACE.names, SPACE.imagenet, {0: (0, 2)})
    return Benchmark("Fische – 魚", root, manifest(photo_id=ids), space, ("Conditional on two fish.",))


def assert_same(one, other):
    assert one.photos.equals(other.photos)
    assert (one.name, one.classes, one.notes, one.version) == (
        other.name,
        other.classes,
        other.notes,
        other.version,
    )


def test_a_written_benchmark_reads_back_also_after_a_move_of_the_pair(benchmark, tmp_path, monkeypatch):
    out = write_benchmark(benchmark, tmp_path / "pair" / "deep" / "out")
    assert json.loads((out / "benchmark.json").read_text())["root"] == "../../photos"
    assert sorted(path.name for path in out.iterdir()) == [
        "benchmark.json",
        "label_space.json",
        "photos.parquet",
    ]
    back = read_benchmark(out)
    assert_same(back, benchmark)
    assert back.root == benchmark.root
    assert_same(read_benchmark(out / "photos.parquet"), benchmark)
    shutil.move(tmp_path / "pair", tmp_path / "moved")
    monkeypatch.chdir(tmp_path / "moved")
    moved = read_benchmark("deep/out")
    assert_same(moved, benchmark)
    assert all(photo_id(moved.photo_path(path)) == hash_ for path, hash_ in moved.photos[:, :2].iter_rows())


def test_who_chose_the_pairs_is_written_with_a_fingerprint_of_each(benchmark, tmp_path):
    found = Discovered("b", "half", 5.0, "mine@0", "mine", earlier_referees=("a",), fingerprints=("f", "g"))
    assert found.in_order == [("a", "f"), ("b", "g")]
    out = write_benchmark(replace(benchmark, discovery=found), tmp_path / "out")
    assert read_benchmark(out).discovery == found
    assert replace(found, fingerprints=()).in_order == [("a", ""), ("b", "")]
    content = json.loads((out / "benchmark.json").read_text())
    (out / "benchmark.json").write_text(json.dumps(content | {"fingerprints": ["f"]}))
    with pytest.raises(CounterGroundError, match=r"cannot be read .* 1 fingerprints of its"):
        read_benchmark(out)


def test_writing_into_the_photos_own_folder_and_through_a_relative_path(benchmark, monkeypatch):
    monkeypatch.chdir(benchmark.root.parent)
    assert_same(read_benchmark(write_benchmark(benchmark, os.path.relpath(benchmark.root))), benchmark)
    assert read_benchmark("photos").root == benchmark.root


def test_writing_twice_gives_the_same_bytes(benchmark, tmp_path):
    first = {path.name: path.read_bytes() for path in write_benchmark(benchmark, tmp_path / "o").iterdir()}
    reordered = Benchmark(
        benchmark.name, benchmark.root, benchmark.photos.reverse(), benchmark.classes, benchmark.notes
    )
    second = {path.name: path.read_bytes() for path in write_benchmark(reordered, tmp_path / "o").iterdir()}
    assert first == second


def test_files_of_two_writings_are_found_out(benchmark, tmp_path):
    out = write_benchmark(benchmark, tmp_path / "out")
    other = benchmark.photos.with_columns(pl.lit(None, pl.String).alias("group"))
    other.write_parquet(out / "photos.parquet")
    with pytest.raises(CounterGroundError, match="write the benchmark again"):
        read_benchmark(out)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"name": "x", "root": ".", "version": "v", "notes": null}',
        '{"name": "x", "root": ".", "version": "v", "notes": [], "referee": "m"}',
    ],
)
def test_a_damaged_description(benchmark, tmp_path, text):
    out = write_benchmark(benchmark, tmp_path / "out")
    (out / "benchmark.json").write_text(text)
    with pytest.raises(CounterGroundError, match=r"cannot be read") as caught:
        read_benchmark(out)
    assert "\n" not in str(caught.value)


def test_photos_that_stayed_behind(benchmark, tmp_path):
    out = write_benchmark(benchmark, tmp_path / "out")
    benchmark.root.rename(tmp_path / "gone")
    with pytest.raises(CounterGroundError, match=r"not at .*photos any more"):
        read_benchmark(out)
