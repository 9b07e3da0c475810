"""Every kind of file that is read back, damaged byte by byte: found, made again, or without effect."""

import json
import signal
import subprocess
import sys

import polars as pl
import pytest
from damaged_files import BRIGHTNESS, cache_kinds, damage, decision_kinds, result_kinds
from noise_photos import save_animals

import counterground as cg
from counterground.cli import main
from counterground.discovery import read_discovery
from counterground.errors import CounterGroundError

FLIPS = 40


@pytest.mark.parametrize("kinds", [cache_kinds, result_kinds, decision_kinds])
def test_no_damage_changes_what_is_read(kinds, tmp_path):
    outcomes = {name: damage(kind, FLIPS) for name, kind in kinds(tmp_path).items()}
    assert not {name: found.wrong for name, found in outcomes.items() if found.wrong}
    noticed = {name: found.counts["refused"] + found.counts["rebuilt"] for name, found in outcomes.items()}
    assert min(noticed.values()) > 0, noticed


@pytest.fixture
def run(tmp_path):
    """The folder of a run, as others write it: without a seal."""
    save_animals(tmp_path / "photos", per_group=4)
    cg.evaluate(
        str(tmp_path / "photos"), BRIGHTNESS, label_space="benchmark", out=tmp_path / "run", report=False
    )
    return tmp_path / "run"


@pytest.fixture
def unsealed_pairs(tmp_path):
    """The folder of a discovery, as others may write it: without a seal."""
    save_animals(tmp_path / "photos", per_group=4)
    cg.discover(
        str(tmp_path / "photos"), BRIGHTNESS, out=tmp_path / "pairs", label_space="benchmark", min_drop=0,
        split="none", write_anyway=True,
    )  # fmt: skip
    unseal(tmp_path / "pairs", "discovery.json")
    return tmp_path / "pairs"


def unseal(folder, file="run.json", **changes):
    record = json.loads((folder / file).read_text())
    del record["sealed"]
    (folder / file).write_text(json.dumps(record | changes))


def change(run, name, function):
    function(pl.read_parquet(run / name)).write_parquet(run / name)


def refusal(run) -> str:
    with pytest.raises(CounterGroundError) as refused:
        cg.open_run(run)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("name", ["predictions.parquet", "scores.parquet"])
def test_an_edited_table_of_a_run_is_named(run, name, capsys):
    change(run, name, lambda table: table.head(len(table) - 1))
    assert main(["scores", str(run)]) == 1
    said = capsys.readouterr().err
    assert f"{name} is not as it was written" in said
    assert said.count("\n") == 1


def test_an_edited_record_of_a_run_is_named(run):
    text = (run / "run.json").read_text()
    (run / "run.json").write_text(text.replace('"seconds": ', '"seconds": 1'))
    assert "run.json is not as it was written" in refusal(run)


def test_scores_that_no_seal_vouches_for_are_computed_from_the_predictions(run):
    own = cg.open_run(run).scores
    unseal(run)
    change(
        run, "scores.parquet", lambda table: table.head(3).with_columns(value=pl.lit(7.5), high=pl.lit(-3.0))
    )
    assert cg.open_run(run).scores.equals(own)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda table: table.head(len(table) - 5), "has 19 rows, and run.json counts 24 photos"),
        (lambda table: pl.concat([table.head(23), table.head(1)]), "occurs 2 times"),
        (
            lambda table: table.with_columns(confidence=pl.lit(7.5, pl.Float32)),
            "confidence is not from 0 to 1",
        ),
        (
            lambda table: table.with_columns(top2_gap=pl.lit(float("nan"), pl.Float32)),
            "top2_gap is not finite",
        ),
        (lambda table: table.with_columns(correct=pl.lit(None, pl.Boolean)), "correct is null"),
        (lambda table: table.with_columns(group=pl.lit("both")), "group is neither common nor counter"),
        (lambda table: table.cast({"class_index": pl.Int64}), "class_index holds Int64, not Int32"),
    ],
)
def test_predictions_that_contradict_themselves_are_refused(run, edit, message):
    unseal(run)
    change(run, "predictions.parquet", edit)
    assert message in refusal(run)


@pytest.mark.parametrize("name", ["predictions.parquet", "scores.parquet"])
@pytest.mark.parametrize("model", [pl.when(pl.int_range(pl.len()) > 0).then("model"), pl.lit(7)])
def test_a_model_without_a_name_is_refused(run, name, model):
    unseal(run)
    change(run, name, lambda table: table.with_columns(model=model))
    assert f"a model of {name} has no name" in refusal(run)


def test_a_wrong_number_of_photos_is_refused(run):
    record = json.loads((run / "run.json").read_text())
    unseal(run, benchmark=record["benchmark"] | {"n_photos": 99})
    assert "the benchmark has 99 photos, and 24 counted" in refusal(run)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("label_space.size", 0, "label_space.size: Input should be greater than or equal to 1"),
        ("label_space.candidates", 0, "label_space.candidates: Input should be greater"),
        ("benchmark.n_photos", 10**400, "benchmark.n_photos: Input should be less"),
        ("counts.unreadable", -1, "counts.unreadable: Input should be greater than or equal to 0"),
        ("seconds", float("nan"), "seconds: Input should be a finite number"),
    ],
)
def test_a_number_of_a_run_that_is_none_is_named(run, place, value, said):
    record = json.loads((run / "run.json").read_text())
    part, _, key = place.rpartition(".")
    unseal(run, **({part: record[part] | {key: value}} if part else {key: value}))
    assert said in refusal(run)


def test_a_run_without_the_shares_of_its_design_is_refused(run):
    record = json.loads((run / "run.json").read_text())
    unseal(run, benchmark=record["benchmark"] | {"design": {"cells": ["class"], "contrasts": []}})
    assert "benchmark.design: Value error, not a design" in refusal(run)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("classes_by_chance", {"observed": 3, "expected": [3]}, "classes_by_chance: Input should be"),
        ("classes_by_chance", {"observed": 3, "expected": 3}, "classes_by_chance: Value error, expected"),
        ("chosen_drop", 0.5, "chosen_drop: Input should be"),
        ("min_drop", "five", "min_drop: Input should be"),
    ],
)
def test_a_figure_of_a_discovery_that_is_none_is_named(unsealed_pairs, name, value, said):
    file = unsealed_pairs / "discovery.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {name: value}))
    with pytest.raises(CounterGroundError, match=rf"is damaged \(discovery\.json: {said}"):
        read_discovery(unsealed_pairs)


@pytest.mark.parametrize(
    ("file", "edit", "said"),
    [
        ("pairs.parquet", lambda table: table.drop("common"), "the column 'common' is missing"),
        ("cells.parquet", lambda table: table.drop("low"), "the column 'low' is missing"),
        (
            "cells.parquet",
            lambda table: table.with_columns(background=pl.lit(None, pl.String)),
            "the column 'background' is missing, or has nulls",
        ),
        (
            "cells.parquet",
            lambda table: table.with_columns(n=pl.lit("many")),
            "the column 'n' is missing, or has nulls or values of another kind",
        ),
        (
            "pairs.parquet",
            lambda table: table.with_columns(half=pl.lit("third")),
            "'third' is not a half of the split 'none'",
        ),
    ],
)
def test_a_table_of_a_discovery_that_is_none_is_named(unsealed_pairs, file, edit, said):
    change(unsealed_pairs, file, edit)
    with pytest.raises(CounterGroundError, match=rf"is damaged \({file}: {said}"):
        read_discovery(unsealed_pairs)


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


PROGRAM = """
import sys, time
from pathlib import Path
from counterground.files import atomic_path
with atomic_path(Path(sys.argv[1])) as draft:
    draft.write_bytes(b"half")
    print("writing", flush=True)
    time.sleep(600)
"""


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path):
    from counterground.files import check_writable

    writers = [
        subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path / name)], stdout=subprocess.PIPE)
        for name in ("killed.parquet", "writing.parquet")
    ]
    try:
        for writer in writers:
            assert writer.stdout.readline() == b"writing\n"
        writers[0].send_signal(signal.SIGKILL)
        writers[0].wait()
        assert len(list(tmp_path.iterdir())) == 2
        check_writable(tmp_path)
        (left,) = tmp_path.iterdir()
        assert left.name.startswith(".writing.parquet.")
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
