"""Photos with questions and options of their own: manifests, MM-SpuBench and SpuriVerse."""

from __future__ import annotations

import io
import json

import numpy as np
import polars as pl
import pytest
from PIL import Image

from counterground.errors import CounterGroundError
from counterground.photos import read_benchmark, sample_photos, write_benchmark

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
    with pytest.raises(CounterGroundError, match="no column 'class_name'"):
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
