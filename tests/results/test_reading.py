"""A run is read model by model, and gives what a run in memory gives."""

import polars as pl
import pytest
from made_runs import write_run

import counterground as cg
from counterground.cli import main
from counterground.errors import CounterGroundError
from counterground.files import write_parquet, write_text
from counterground.metrics import KEYS, in_setting, score_predictions


@pytest.fixture
def made(make_run, tmp_path):
    """A run in memory, of two models by turns under two settings, and its folder."""
    levels = {"b": (0.9, 0.6), "a": (0.8, 0.7)}
    parts = [
        make_run(levels, per_group=30).predictions.with_columns(prompts=pl.lit(prompts))
        for prompts in ("simple", "openai")
    ]
    predictions = pl.concat(parts).sample(fraction=1, shuffle=True, seed=0)
    run = make_run(levels, per_group=30)
    run = type(run)(tmp_path, run.info, predictions)
    predictions.write_parquet(tmp_path / "predictions.parquet", row_group_size=17)
    write_parquet(tmp_path / "scores.parquet", run.estimates())
    write_text(tmp_path / "run.json", run.info.model_dump_json())
    return run


def test_a_file_gives_the_scores_of_the_rows_in_memory(made, tmp_path):
    lazy = pl.scan_parquet(tmp_path / "predictions.parquet")
    assert score_predictions(lazy).equals(made.estimates())
    opened = cg.open_run(tmp_path)
    assert opened.by(("background",)).equals(made.by(("background",)))
    mine, theirs = (cg.compare(run, published=False) for run in (made, opened))
    assert theirs.tests.equals(mine.tests)
    assert theirs.agreement.equals(mine.agreement)


def test_a_table_of_predictions_alone_is_a_run(make_run, tmp_path, capsys):
    run = make_run({"a": (0.9, 0.5)}, notes=["A note."])
    table = write_run(run, tmp_path / "run").rename(tmp_path / "away") / "predictions.parquet"
    alone = cg.open_run(table.rename(tmp_path / "new.parquet"))
    assert alone.estimates().equals(run.estimates())
    same = run.info.model_copy(update={"created": "", "seconds": 0.0})
    assert (alone.info, alone.info.recorded) == (same, True)
    for command in (["scores"], ["check", "--max-drop", "90%"], ["compare"]):
        assert main([command[0], str(alone.path), *command[1:]]) == 0, capsys.readouterr().err


def test_a_table_of_predictions_without_a_record_does_not_say_who_chose(make_run, tmp_path):
    run = make_run({"a": (0.9, 0.5), "b": (0.8, 0.8)})
    run.predictions.write_parquet(tmp_path / "theirs.parquet")
    theirs = cg.open_run(tmp_path / "theirs.parquet")
    assert not theirs.info.recorded
    assert theirs.estimates().equals(run.estimates())
    assert [model.name for model in theirs.info.models] == ["a", "b"]
    assert theirs.info.benchmark.discovery is None
    run.predictions.drop("correct").write_parquet(tmp_path / "other.parquet")
    with pytest.raises(CounterGroundError, match=r"other.parquet .* lacks correct"):
        cg.open_run(tmp_path / "other.parquet")


def test_models_are_read_one_after_the_other(made, tmp_path):
    opened = cg.open_run(tmp_path)
    keys = []
    for key, rows in opened.by_setting(["correct"]):
        keys.append(key)
        own = made.predictions.filter(in_setting(dict(zip(KEYS, key, strict=True)))).sort("path")
        assert rows.height < made.predictions.height
        assert rows.select("path", "correct").equals(own.select("path", "correct"))
        assert opened.answers[key].correct.tolist() == own["correct"].to_list()
    assert keys == made.predictions.select(KEYS).unique(maintain_order=True).rows()
    assert opened.photos.equals(made.photos)
    assert opened.photos["path"].to_list() == sorted(set(made.predictions["path"]))
    assert opened.predictions.equals(made.predictions)


def test_a_file_damaged_in_the_middle_is_one_line(made, tmp_path):
    path = tmp_path / "predictions.parquet"
    data = bytearray(path.read_bytes())
    data[4 : len(data) // 2] = bytes(len(data) // 2 - 4)
    path.write_bytes(data)
    for read in (
        lambda: cg.open_run(tmp_path),
        lambda: cg.compare(cg.open_run(tmp_path)),
        lambda: cg.open_run(tmp_path).predictions,
    ):
        with pytest.raises(CounterGroundError, match=r"is damaged \(.*Delete the folder and evaluate again"):
            read()


def test_an_opened_run_is_read_from_any_folder(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path.parent)
    opened = cg.open_run(tmp_path.name)
    monkeypatch.chdir("/")
    assert opened.predictions.equals(made.predictions)
