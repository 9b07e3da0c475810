"""`counterground scores` on one run and on several."""

import csv
import io
import json

import pytest
from made_runs import write_run

from counterground.cli import main
from counterground.metrics import SCORES_SCHEMA

LEVELS = {"m": (0.8, 0.5)}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Function: (run) -> its path, after writing it as the folder of this path under an empty directory."""
    monkeypatch.chdir(tmp_path)

    def write(run):
        write_run(run, tmp_path / run.path)
        return str(run.path)

    return write


@pytest.fixture
def two_benchmarks(make_run, write):
    """One model in one setting on two benchmarks."""
    first = make_run(LEVELS, path="runs/first")
    second = make_run({"m": (0.6, 0.1)}, path="runs/second", name="other", version="cd34" * 16)
    return write(first), write(second)


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_of_several_runs_names_the_run_if_only_one_has_the_model(make_run, write, shown):
    folders = [write(make_run({name: (0.8, 0.5)}, path=name)) for name in "ab"]
    assert {row["run"] for row in rows(shown(*folders, "-m", "b", "--format", "csv"))} == {"b"}
    assert "Run" not in shown(*folders, "-m", "b").splitlines()[0]


def test_csv_and_json_of_several_runs_begin_with_the_folder_as_given(two_benchmarks, shown):
    table = rows(shown(*two_benchmarks, "--format", "csv"))
    assert list(table[0]) == ["run", *SCORES_SCHEMA]
    drops = {row["run"]: row["value"] for row in table if row["metric"] == "drop"}
    assert list(drops) == ["runs/first", "runs/second"]
    records = json.loads(shown(*two_benchmarks, "--format", "json", "--by", "class"))["rows"]
    assert next(iter(records[0])) == "run"
    assert {record["run"] for record in records} == set(two_benchmarks)
    assert {record["class_name"] for record in records if record["class_index"] == 2} == {"flamingo"}


def test_an_empty_run_says_so_and_how_to_mend_it(make_run, write, capsys):
    run = make_run(LEVELS)
    folder = write(type(run)(run.path, run.info, run.predictions.clear()))
    for words in ([], ["--by", "class"], ["--format", "csv"]):
        assert main(["scores", folder, *words]) == 1
        said = capsys.readouterr().err
        assert "is empty (predictions.parquet has no rows). Delete the folder and evaluate again" in said
