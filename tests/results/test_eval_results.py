"""Evaluation results for the Hugging Face hub, read back by its own library."""

from __future__ import annotations

import polars as pl
import pytest
import yaml
from huggingface_hub import parse_eval_result_entries
from made_runs import write_run

from counterground.cli import main
from counterground.errors import UsageError
from counterground.results import eval_results, eval_yaml

LEVELS = {"efficientnet-lite0": (0.8, 0.5), "counterground:stamps-biased": (0.7, 0.2)}
TASKS = ["accuracy_common", "accuracy_counter", "accuracy_drop"]


def figures(run, model):
    overall = run.scores.filter(pl.col("class_index").is_null(), model=model)
    where = [("accuracy", "common"), ("accuracy", "counter"), ("drop", None)]
    return [
        overall.filter(pl.col("metric") == metric, pl.col("group").eq_missing(pl.lit(group, pl.String))).row(
            0, named=True
        )
        for metric, group in where
    ]


def test_the_hubs_library_reads_each_figure(make_run):
    run = make_run(LEVELS)
    files = eval_results([run], "owner/barnyard")
    assert list(files) == list(LEVELS)
    for model, text in files.items():
        entries = parse_eval_result_entries(yaml.safe_load(text))
        assert [entry.task_id for entry in entries] == TASKS
        for entry, figure in zip(entries, figures(run, model), strict=True):
            assert entry.dataset_id == "owner/barnyard"
            assert entry.value == pytest.approx(figure["value"], abs=5e-5)
            assert entry.date == run.info.created
            assert (entry.dataset_revision, entry.verify_token, entry.source_url) == (None, None, None)
            low, high = (f"{100 * figure[name]:.1f}".replace("-", "−") for name in ("low", "high"))
            assert f"95 % interval [{low}, {high}] %" in entry.notes
            assert f"photos version {run.info.benchmark.version[:12]}" in entry.notes
            assert "names openai" in entry.notes


def test_keys_are_those_the_hub_documents(make_run):
    """https://huggingface.co/docs/hub/eval-results: dataset (id, task_id), value, date, notes."""
    (text,) = eval_results([make_run({"m": (0.8, 0.5)})], "owner/barnyard").values()
    for entry in yaml.safe_load(text):
        assert set(entry) == {"dataset", "value", "date", "notes"}
        assert set(entry["dataset"]) == {"id", "task_id"}


def test_without_groups_the_accuracy_is_the_only_task(make_run):
    run = make_run({"m": (0.8, 0.5)})
    scores = run.scores.filter(pl.col("metric") == "accuracy", pl.col("group").is_null())
    flat = type(run)(run.path, run.info, run.predictions.with_columns(group=pl.lit(None, pl.String)), scores)
    (text,) = eval_results([flat], "owner/barnyard").values()
    assert [entry["dataset"]["task_id"] for entry in yaml.safe_load(text)] == ["accuracy"]


@pytest.mark.parametrize("grouped", [True, False])
def test_every_result_is_a_task_of_eval_yaml(grouped):
    content = yaml.safe_load(eval_yaml("Barn: yard\n", "What cows stand on.", grouped=grouped))
    assert list(content) == ["name", "description", "evaluation_framework", "tasks"]
    assert content["name"] == "Barn: yard"
    assert content["description"].startswith("What cows stand on. Values are fractions")
    expected = TASKS if grouped else ["accuracy"]
    assert content["tasks"] == [{"id": task, "config": "default", "split": "test"} for task in expected]


def test_runs_on_several_benchmarks_are_not_results_of_one(make_run):
    runs = [make_run({"m": (0.8, 0.5)}, path=path, version=2 * path * 32) for path in "ab"]
    with pytest.raises(
        UsageError, match=r"owner/barnyard is one benchmark, .* on 2: stamps \(version aaaaaaaa"
    ):
        eval_results(runs, "owner/barnyard")


@pytest.mark.parametrize("name", ["barnyard", "owner/barn yard", "a/b/c", "owner/"])
def test_what_is_no_data_set_of_the_hub_is_refused(name, make_run):
    with pytest.raises(UsageError, match="is not a data set of the hub"):
        eval_results([make_run({"m": (0.8, 0.5)})], name)


def test_the_command_writes_one_models_file(make_run, tmp_path, capsys):
    write_run(make_run(LEVELS), tmp_path / "run")
    words = ["scores", str(tmp_path / "run"), "--format", "eval-results"]
    assert main(words) == 2
    assert "--format eval-results and --dataset OWNER/NAME go together" in capsys.readouterr().err
    words += ["--dataset", "owner/barnyard"]
    out = tmp_path / ".eval_results" / "barnyard.yaml"
    assert main([*words, "--out", str(out)]) == 2
    assert "A file of evaluation results describes one model: add -m MODEL" in capsys.readouterr().err
    assert main([*words, "-m", "efficientnet-lite0", "--out", str(out)]) == 0
    assert [entry["dataset"]["task_id"] for entry in yaml.safe_load(out.read_text())] == TASKS
    capsys.readouterr()
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert len(yaml.safe_load(printed)) == 6
    assert [line for line in printed.splitlines() if line.startswith("#")] == [f"# {name}" for name in LEVELS]


def test_a_figure_without_an_interval_says_so(make_run):
    run = make_run({"m": (0.8, 0.5)})
    lacking = run.scores.with_columns(low=pl.lit(None, pl.Float64), high=pl.lit(None, pl.Float64))
    (text,) = eval_results(
        [type(run)(run.path, run.info, run.predictions, lacking)], "owner/barnyard"
    ).values()
    assert all(entry["notes"].startswith("no interval; ") for entry in yaml.safe_load(text))
