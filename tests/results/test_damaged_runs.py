"""Runs and discoveries that are damaged or contradict themselves, and what killed processes left."""

import json

import polars as pl
import pytest
from noise_photos import save_animals

import counterground as cg
from counterground.cli import main
from counterground.discovery import read_discovery
from counterground.errors import CounterGroundError

BRIGHTNESS = "colour_model:brightness"


@pytest.fixture
def run(tmp_path):
    save_animals(tmp_path / "photos", per_group=4)
    cg.evaluate(
        str(tmp_path / "photos"), BRIGHTNESS, label_space="benchmark", out=tmp_path / "run", report=False
    )
    return tmp_path / "run"


@pytest.fixture
def pairs(tmp_path):
    save_animals(tmp_path / "photos", per_group=4)
    cg.discover(
        str(tmp_path / "photos"), BRIGHTNESS, out=tmp_path / "pairs", label_space="benchmark", min_drop=0,
        split="none", write_anyway=True,
    )  # fmt: skip
    return tmp_path / "pairs"


def edit_record(folder, **changes):
    file = "run.json"
    record = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(record | changes))


def change(run, name, function):
    function(pl.read_parquet(run / name)).write_parquet(run / name)


def refusal(run) -> str:
    with pytest.raises(CounterGroundError) as refused:
        cg.open_run(run)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda table: table.head(len(table) - 5), "has 19 rows, and run.json counts 24 photos"),
        (
            lambda table: pl.concat([table.head(23), table.head(1)]),
            "a photo of colour_model:brightness occurs twice",
        ),
        (lambda table: table.with_columns(correct=pl.lit(None, pl.Boolean)), "correct is null"),
        (lambda table: table.with_columns(group=pl.lit("both")), "group is neither common nor counter"),
        (lambda table: table.cast({"class_index": pl.Int64}), "class_index holds Int64, not Int32"),
    ],
)
def test_predictions_that_contradict_themselves_are_refused(run, edit, message):
    change(run, "predictions.parquet", edit)
    assert message in refusal(run)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("candidates.size", 0, "candidates.size: Input should be greater than or equal to 1"),
        ("benchmark.n_photos", 10**400, "benchmark.n_photos: Input should be less"),
        ("seconds", float("nan"), "seconds: Input should be a finite number"),
    ],
)
def test_a_number_of_a_run_that_is_none_is_named(run, place, value, said):
    record = json.loads((run / "run.json").read_text())
    part, _, key = place.rpartition(".")
    edit_record(run, **({part: record[part] | {key: value}} if part else {key: value}))
    assert said in refusal(run)


def test_a_damaged_file_of_the_cache_is_one_line_of_warning(run, cache, capsys):
    words = ["discover", str(run.parent / "photos"), "--referee", BRIGHTNESS, "--label-space", "benchmark"]
    words += ["--min-drop", "0", "--split", "none", "--write-anyway", "--quiet", "--out"]
    assert main([*words, str(run.parent / "before")]) == 0
    (shard,) = (cache / "features").glob("*/*.safetensors")
    shard.write_bytes(shard.read_bytes()[:-1])
    capsys.readouterr()
    assert main([*words, str(run.parent / "again")]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "damaged" in line]
    assert said == [f"Warning: {shard} is damaged: it is rebuilt."]
    before, again = (read_discovery(run.parent / name).cells for name in ("before", "again"))
    assert again.equals(before)
