"""Runs and discoveries that are damaged or contradict themselves, and what killed processes left."""

import json

import polars as pl
import pytest
from noise_photos import save_animals

import counterground as cg
from counterground.errors import CounterGroundError

BRIGHTNESS = "colour_model:brightness"


@pytest.fixture
def run(tmp_path):
    save_animals(tmp_path / "photos", per_group=4)
    cg.evaluate(
        str(tmp_path / "photos"), BRIGHTNESS, label_space="benchmark", out=tmp_path / "run", report=False
    )
    return tmp_path / "run"


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
