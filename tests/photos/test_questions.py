"""Photos with questions and options of their own: manifests, MM-SpuBench and SpuriVerse."""

from __future__ import annotations

import io
import json

import numpy as np
import polars as pl
import pytest
from PIL import Image

from counterground.errors import CounterGroundError
from counterground.photos import Benchmark, photo_id, read_benchmark, sample_photos, write_benchmark

OPTIONS = ["sand", "snow", "a green meadow"]


def picture(seed: int, kind: str = "JPEG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def table(tmp_path) -> pl.DataFrame:
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(picture(number))
    return pl.DataFrame(
        {
            "path": ["0.jpg", "1.jpg", "2.jpg"],
            "class_name": ["where", "where", "when"],
            "question": ["What is behind it?", "What is below it?", "Is it day?"],
            "options": [OPTIONS, OPTIONS, ["yes", "no"]],
            "answer": ["snow", "a green meadow", "no"],
        }
    )


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "csv"])
def test_a_manifest_may_have_questions(table, tmp_path, suffix):
    path = tmp_path / f"manifest.{suffix}"
    if suffix == "parquet":
        table.write_parquet(path)
    elif suffix == "jsonl":
        table.write_ndjson(path)
    else:
        table.with_columns(options=pl.Series(map(json.dumps, table["options"].to_list()))).write_csv(path)
    found = read_benchmark(path)
    assert found.has_questions
    assert found.photos["options"].to_list() == [OPTIONS, OPTIONS, ["yes", "no"]]
    assert found.photos["answer"].to_list() == ["snow", "a green meadow", "no"]
    assert not any("not used" in note for note in found.notes)


def test_classes_may_be_missing_then(table, tmp_path):
    table.drop("class_name").write_parquet(tmp_path / "m.parquet")
    found = read_benchmark(tmp_path / "m.parquet")
    assert found.classes.names == ("all questions",)
    assert "names no classes" in found.notes[0]
    table.drop("class_name", "question", "options", "answer").write_parquet(tmp_path / "m.parquet")
    with pytest.raises(CounterGroundError, match="neither a column 'class_name' nor"):
        read_benchmark(tmp_path / "m.parquet")


def test_questions_are_written_kept_and_part_of_the_version(table, tmp_path):
    table.write_parquet(tmp_path / "m.parquet")
    found = read_benchmark(tmp_path / "m.parquet")
    back = read_benchmark(write_benchmark(found, tmp_path / "written"))
    assert back.photos.equals(found.photos)
    assert back.version == found.version
    assert sample_photos(found, 2).has_questions
    table.with_columns(question=pl.lit("Why?")).write_parquet(tmp_path / "m.parquet")
    assert read_benchmark(tmp_path / "m.parquet").version != found.version
    plain = table.drop("question", "options", "answer")
    plain.write_parquet(tmp_path / "m.parquet")
    without = read_benchmark(tmp_path / "m.parquet")
    assert not without.has_questions
    assert without.version not in (found.version, "")


def test_a_frame_in_memory_may_have_questions(table, tmp_path):
    for given in (table, table.to_pandas(), table.to_dict(as_series=False)):
        found = Benchmark.from_frame(given, root=tmp_path)
        assert found.photos["options"].to_list() == [OPTIONS, OPTIONS, ["yes", "no"]]


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("question", " ", r"Photo '1.jpg': its question is empty"),
        ("question", None, r"Photo '1.jpg': its question is empty"),
        ("options", ["snow"], "its question has 1 option; there must be 2 to 26"),
        ("options", None, "its question has 0 options; there must be 2 to 26"),
        ("options", [f"o{n}" for n in range(27)], "its question has 27 options; there must be 2 to 26"),
        ("options", ["snow", "sand", "snow "], "has the option 'snow' twice"),
        ("options", ["snow", ""], "option 2 of its question is empty"),
        ("answer", "B", r"its answer 'B' is not one of its options \('sand', 'snow'.*write the text"),
        ("answer", None, "its answer None is not one of its options"),
    ],
)
def test_wrong_questions_are_named(table, tmp_path, column, value, said):
    values = table[column].to_list()
    values[1] = value
    table.with_columns(pl.Series(column, values, table.schema[column])).write_parquet(tmp_path / "m.parquet")
    with pytest.raises(CounterGroundError, match=said) as caught:
        read_benchmark(tmp_path / "m.parquet")
    assert "\n" not in str(caught.value)


def test_half_a_question_and_options_that_are_no_list_are_refused(table, tmp_path):
    table.drop("answer").write_parquet(tmp_path / "m.parquet")
    with pytest.raises(CounterGroundError, match="a column 'options', but no column 'answer'"):
        read_benchmark(tmp_path / "m.parquet")
    table.with_columns(options=pl.lit("snow, sand")).write_csv(tmp_path / "m.csv")
    with pytest.raises(CounterGroundError, match="Row 1 of the manifest: options must be a list of texts in"):
        read_benchmark(tmp_path / "m.csv")


SPUBENCH = [
    {
        "core_attributes": ["branding"],
        "spurious_attributes": ["round shape", "marble-like background"],
        "spurious_correlation_type": ["Shape", "Background"],
        "question": "Which feature best indicates what the object is?",
        "choices": ["A. The branding on it", "B. The background", "C. The round shape", "D. Its surface"],
        "answer": "A",
    },
    {
        "core_attributes": ["legs"],
        "spurious_attributes": ["shadow"],
        "spurious_correlation_type": ["Lighting and Shadows"],
        "question": "What shows that it is a chair?",
        "choices": ["A. The shadow", "B. The legs", "C. The wall", "D. The floor"],
        "answer": "B",
    },
]


@pytest.fixture
def spubench(tmp_path):
    folder = tmp_path / "MM-SpuBench"
    (folder / "data/images").mkdir(parents=True)
    for number in range(2):
        (folder / f"data/images/{number:06d}.jpg").write_bytes(picture(number))
    (folder / "annotation.json").write_text(json.dumps(SPUBENCH))
    return folder


def test_mm_spubench_is_read(spubench):
    found = read_benchmark(spubench)
    assert found.name == "MM-SpuBench"
    assert found.photos["path"].to_list() == ["data/images/000000.jpg", "data/images/000001.jpg"]
    assert found.photos["photo_id"][1] == photo_id(spubench / "data/images/000001.jpg")
    assert found.photos["class_name"].to_list() == ["Shape", "Lighting and Shadows"]
    assert found.photos["options"][0].to_list() == [
        "The branding on it",
        "The background",
        "The round shape",
        "Its surface",
    ]
    assert found.photos["answer"].to_list() == ["The branding on it", "The legs"]
    assert "1 of 2 photos list several types" in found.notes[0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"answer": "E"}, "question 1: its answer 'E' is not one of its options"),
        ({"choices": ["A. One"]}, "question 1: its question has 1 option"),
        ({"choices": "A. One"}, "question 1: choices: Input should be a valid list"),
        ({"question": ""}, "question 1: its question is empty"),
        ({"spurious_correlation_type": []}, "question 1: spurious_correlation_type"),
    ],
)
def test_flaws_of_mm_spubench_are_named(spubench, changes, said):
    (spubench / "annotation.json").write_text(json.dumps([SPUBENCH[0], {**SPUBENCH[1], **changes}]))
    with pytest.raises(CounterGroundError, match=said):
        read_benchmark(spubench)


def test_photos_and_annotations_of_mm_spubench_must_match(spubench):
    (spubench / "data/images/000001.jpg").unlink()
    with pytest.raises(
        CounterGroundError, match=r"has 2 questions, so .* exactly the photos 000000 to 000001; it has 1"
    ):
        read_benchmark(spubench)
    (spubench / "annotation.json").write_text("{}")
    with pytest.raises(CounterGroundError, match="must be a list"):
        read_benchmark(spubench)


META = (
    "index,answer,question,A,B,C,D,category\n"
    "17,C,What stands there?,A hotel,A house,A cabin,A shed,Scene\n"
    "18,B,Is it day?,Yes,No,,,Scene\n"
)


@pytest.fixture
def spuriverse(tmp_path):
    """Shards and CSV files in the layout that the code of its repository reads."""
    folder = tmp_path / "SpuriVerse"
    (folder / "data").mkdir(parents=True)
    (folder / "meta").mkdir()
    (folder / "meta/seedbench_meta.csv").write_text(META)
    (folder / "meta/aokvqa_train_meta.csv").write_text(META.replace("A cabin", "A tent"))
    rows = {
        "image_id": ["17", "18", "17"],
        "benchmark": ["seedbench_img", "seedbench_img", "aokvqa"],
        "image": [{"bytes": picture(100 * row), "path": None} for row in range(3)],
    }
    for number in range(1, 11):
        photos = [{"bytes": picture(100 * row + number, "PNG"), "path": None} for row in range(3)]
        rows[f"spurious_group_{number}"] = photos
    pl.DataFrame(rows).write_parquet(folder / "data/train-00000-of-00001.parquet")
    return folder


def test_spuriverse_is_read(spuriverse):
    found = read_benchmark(spuriverse)
    assert found.photos.height == 33
    assert dict(found.photos["class_name"].value_counts().rows()) == {"anchor": 3, "spurious group": 30}
    assert found.photos.group_by("cluster").len()["len"].to_list() == [11, 11, 11]
    asked = found.photos.select("cluster", "options", "answer").unique().sort("cluster")
    assert asked.rows() == [
        ("aokvqa/17", ["A hotel", "A house", "A tent", "A shed"], "A tent"),
        ("seedbench_img/17", ["A hotel", "A house", "A cabin", "A shed"], "A cabin"),
        ("seedbench_img/18", ["Yes", "No"], "No"),
    ]
    assert found.photo_path("anchor/seedbench_img/17/image.jpg").read_bytes() == picture(0)
    again = read_benchmark(spuriverse)
    assert again.version == found.version


def test_a_changed_question_of_spuriverse_is_read_anew(spuriverse):
    before = read_benchmark(spuriverse)
    (spuriverse / "meta/seedbench_meta.csv").write_text(META.replace("17,C", "17,D"))
    after = read_benchmark(spuriverse)
    assert before.version != after.version
    assert "A shed" in after.photos["answer"].to_list()


def test_questions_in_the_shards_of_spuriverse_are_used(spuriverse):
    (shard,) = spuriverse.glob("data/*.parquet")
    more = {"question": "Which?", "A": "one", "B": "two", "C": None, "D": None, "answer": "B"}
    pl.read_parquet(shard).with_columns(
        **{name: pl.lit(text, pl.String) for name, text in more.items()}
    ).write_parquet(shard)
    found = read_benchmark(spuriverse)
    assert set(found.photos["question"]) == {"Which?"}
    assert found.photos["options"][0].to_list() == ["one", "two"]


def test_a_damaged_shard_of_spuriverse_is_named_wherever_it_stands(spuriverse):
    (shard,) = spuriverse.glob("data/*.parquet")
    (spuriverse / "data/train-00001-of-00002.parquet").write_bytes(shard.read_bytes()[:-2000] + bytes(2000))
    with pytest.raises(
        CounterGroundError, match=r"train-00001-of-00002\.parquet is damaged or not a Parquet file"
    ):
        read_benchmark(spuriverse)


def test_options_that_are_numbers_are_texts(spuriverse):
    (shard,) = spuriverse.glob("data/*.parquet")
    columns = [pl.lit(value).alias(name) for name, value in {"A": 1, "B": 2, "answer": "B"}.items()]
    pl.read_parquet(shard).with_columns(pl.lit("How many?").alias("question"), *columns).write_parquet(shard)
    assert read_benchmark(spuriverse).photos["answer"].unique().to_list() == ["2"]


def test_flaws_of_spuriverse_are_named(spuriverse):
    meta = spuriverse / "meta/seedbench_meta.csv"
    meta.write_text(META.replace("17,C", "17,E"))
    with pytest.raises(
        CounterGroundError, match=r"row 1 \(seedbench_img/17\): its answer 'E' is not the letter"
    ):
        read_benchmark(spuriverse)
    meta.write_text(META.replace("17,C", "16,C"))
    with pytest.raises(CounterGroundError, match="has no row with the index '17'"):
        read_benchmark(spuriverse)
    meta.write_text(META.replace(",answer", ",reply"))
    with pytest.raises(CounterGroundError, match=r"seedbench_meta\.csv has no column 'answer'"):
        read_benchmark(spuriverse)
    meta.unlink()
    with pytest.raises(CounterGroundError, match="put the folder meta of SpuriVerse's repository"):
        read_benchmark(spuriverse)


@pytest.mark.parametrize(
    ("column", "says"),
    [
        (pl.col("image").struct.rename_fields(["octets", "path"]), "image holds no photo"),
        (pl.lit("a text").alias("image"), "image holds no photo"),
        (pl.lit(None, pl.String).alias("image_id"), "has no row with the index 'None'"),
        (pl.lit(1e400).alias("image_id"), "has no row with the index 'inf'"),
    ],
)
def test_columns_of_spuriverse_with_other_content_are_named(spuriverse, column, says):
    (shard,) = spuriverse.glob("data/*.parquet")
    pl.read_parquet(shard).with_columns(column).write_parquet(shard)
    with pytest.raises(CounterGroundError, match=says):
        read_benchmark(spuriverse)
