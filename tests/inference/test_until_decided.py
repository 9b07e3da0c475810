"""Runs that stop when the drop is decided, with models that run."""

import json

import polars as pl
import pytest
from coloured_photos import save_coloured
from PIL import Image

import counterground as cg
from counterground.decision import Until
from counterground.errors import CounterGroundError, UsageError
from counterground.inference import choose_runtime
from counterground.metrics import Confidence, drop_interval
from counterground.photos import read_benchmark
from counterground.results import open_run, repeat_command

MODEL = "colour_model:brightness"


@pytest.fixture(scope="module")
def coloured(tmp_path_factory):
    """Three classes with 60 photos in each group; the model loses 60 points."""
    return save_coloured(tmp_path_factory.mktemp("coloured") / "photos", 60, common=0.95, counter=0.35)


def evaluate(benchmark, out, *, models=MODEL, until="decided", **given):
    options = {"label_space": "benchmark", "report": False, "batch_size": 8, **given}
    return cg.evaluate(benchmark, models, out=out, until=until, **options)


def test_a_clear_drop_needs_few_photos_and_run_json_says_how_many(coloured, tmp_path):
    run = evaluate(coloured, tmp_path / "run")
    stopping = open_run(tmp_path / "run").info.stopping
    assert stopping.photos == run.info.counts.photos == len(run.predictions)
    assert stopping.of == 360
    assert stopping.photos * 3 < 360
    (decision,) = stopping.decisions
    assert (decision.model, decision.verdict, decision.photos) == (MODEL, "above", stopping.photos)
    drop = run.scores.filter(pl.col("metric") == "drop", pl.col("class_index").is_null())
    assert (drop["low"][0], drop["high"][0]) == (decision.low, decision.high)
    columns = [run.predictions[name] for name in ("correct", "class_index", "group", "cluster")]
    assert decision.low == drop_interval(*columns, confidence=Confidence(anytime=True)).low > 0


def test_every_output_says_that_it_could_stop(coloured, tmp_path):
    run = evaluate(coloured, tmp_path / "run", report=True, photos=False)
    said = f"The drop of {MODEL} is above 0 points, after {run.info.stopping.photos} of 360 photos"
    assert any(said in note for note in run.info.benchmark.notes)
    assert said in (tmp_path / "run/report.html").read_text()
    assert said in run._repr_html_()
    assert run.scores["anytime"].all()
    for style in ("markdown", "latex"):
        assert "confidence sequences" in cg.format_scores(run, style)
    assert "confidence sequences" in " ".join(repr(run).split())
    assert "--until decided --max-drop 0" in repeat_command(run)


def test_the_photos_are_those_of_the_looks(coloured, tmp_path):
    run = evaluate(coloured, tmp_path / "run")
    photos = read_benchmark(coloured).photos
    looks = Until().looks(photos)[: run.info.stopping.looks]
    chosen = sorted(row for rows in looks for row in rows.tolist())
    assert run.predictions["path"].to_list() == photos[chosen]["path"].to_list()


def test_a_drop_below_the_limit_is_decided_too(tmp_path):
    photos = save_coloured(tmp_path / "photos", 60, common=1, counter=1)
    (decision,) = evaluate(photos, tmp_path / "run", max_drop=30).info.stopping.decisions
    assert decision.verdict == "below"
    assert decision.photos < 360


def test_what_is_not_decided_ends_with_all_photos(tmp_path):
    photos = save_coloured(tmp_path / "photos", 8, common=0.75, counter=0.75)
    run = evaluate(photos, tmp_path / "run")
    (decision,) = run.info.stopping.decisions
    assert decision.verdict is None
    assert len(run.predictions) == run.info.stopping.photos == run.info.stopping.of == 48
    assert "is not decided" in run.info.benchmark.notes[-2]
    assert decision.low <= 0 <= decision.high


def test_models_share_the_photos_of_the_slowest(coloured, tmp_path):
    alone = evaluate(coloured, tmp_path / "alone")
    run = evaluate(coloured, tmp_path / "run", models=[MODEL, "same=colour_model:thousand"], max_drop=45)
    first, second = run.info.stopping.decisions
    assert run.predictions.group_by("model").len()["len"].to_list() == [run.info.stopping.photos] * 2
    assert run.info.stopping.photos >= max(first.photos, second.photos) > alone.info.stopping.photos
    command = repeat_command(run, MODEL)
    assert f"-m {MODEL} -m same=colour_model:thousand" in command, "alone it would see fewer photos"


def test_models_share_the_error_as_they_do_in_a_check(coloured, tmp_path):
    run = evaluate(coloured, tmp_path / "run", models=[MODEL, "same=colour_model:thousand"], max_drop=20)
    (slowest,) = [each for each in run.info.stopping.decisions if each.photos == run.info.stopping.photos][:1]
    (found,) = [each for each in cg.check(run, max_drop=20).findings if each.model == slowest.model]
    assert (found.low, found.high) == pytest.approx((slowest.low, slowest.high), abs=1e-12)


def test_a_run_that_was_ended_continues_to_the_same_bytes(coloured, tmp_path, monkeypatch):
    whole = evaluate(coloured, tmp_path / "whole", max_drop=40)
    monkeypatch.setenv("COUNTERGROUND_CACHE", str(tmp_path / "cache"))
    read = []

    def resize(image, size):  # what the model's own preprocessing calls
        read.append(image)
        if len(read) == 60:
            raise ValueError("the power fails")
        return usual(image, size)

    usual = Image.Image.resize
    monkeypatch.setattr(Image.Image, "resize", resize)
    with pytest.raises(CounterGroundError, match="the power fails"):
        evaluate(coloured, tmp_path / "run", max_drop=40)
    assert not (tmp_path / "run/run.json").exists()
    evaluate(coloured, tmp_path / "run", max_drop=40)
    assert 60 < len(whole.predictions) < len(read) < len(whole.predictions) + 60
    first, second = ((tmp_path / name / "predictions.parquet").read_bytes() for name in ("whole", "run"))
    assert first == second


def test_what_was_decided_and_what_is_scored_come_from_one_runtime(coloured, tmp_path, monkeypatch):
    # A smaller run may have kept another choice for as few photos as are needed.
    chosen_for = []

    def choose(model, benchmark, *more):
        chosen_for.append(len(benchmark))
        return choose_runtime(model, benchmark, *more)

    monkeypatch.setattr("counterground.inference._ready.choose_runtime", choose)
    run = evaluate(coloured, tmp_path / "run")
    assert len(run.predictions) < 360
    assert chosen_for == [360, 360]


def test_an_endpoint_is_not_asked_about_the_others(serve_chat, coloured, tmp_path, capsys):
    server = serve_chat(lambda call: "flamingo")
    run = evaluate(coloured, tmp_path / "run", models=server.spec, max_drop=50, show_progress=True)
    assert "at most 360 calls to make" in " ".join(capsys.readouterr().err.split())
    assert len(server.calls) == run.info.stopping.photos < 360
    assert run.info.stopping.decisions[0].verdict == "below"


def test_photos_that_cannot_be_read_are_listed(tmp_path):
    photos = save_coloured(tmp_path / "photos", 20, common=1, counter=0.1)
    for path in photos.rglob("1*.png"):
        path.write_bytes(b"no photo")
    run = evaluate(photos, tmp_path / "run")
    assert run.info.counts.unreadable > 0
    assert run.info.stopping.decisions[0].photos == len(run.predictions)


def test_the_folder_is_only_for_the_same_question(coloured, tmp_path):
    evaluate(coloured, tmp_path / "run")
    again = evaluate(coloured, tmp_path / "run")
    assert again.info.stopping.photos < 360
    for given in ({"max_drop": 10}, {"until": None}):
        with pytest.raises(CounterGroundError, match="holds another run"):
            evaluate(coloured, tmp_path / "run", **given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"until": "bored"}, "not until 'bored'"),
        ({"until": None, "max_drop": 5}, "add it, or use check"),
        ({"limit": 5}, "leave out --limit"),
        ({"max_drop": 120}, "--max-drop cannot be 120"),
    ],
)
def test_questions_that_make_no_sense_are_refused(given, said, coloured, tmp_path):
    with pytest.raises(UsageError, match=said):
        evaluate(coloured, tmp_path / "run", **given)


def test_photos_without_groups_cannot_be_decided(tmp_path):
    save_coloured(tmp_path / "photos", 2, common=1, counter=1)
    for folder in (tmp_path / "photos").glob("*/*"):
        folder.rename(folder.with_name(folder.name.partition("-")[2]))
    with pytest.raises(UsageError, match="no drop to decide on"):
        evaluate(tmp_path / "photos", tmp_path / "run")


def test_run_json_of_an_ordinary_run_says_nothing_of_stopping(coloured, tmp_path):
    evaluate(coloured, tmp_path / "run", until=None)
    assert json.loads((tmp_path / "run/run.json").read_text())["stopping"] is None


@pytest.mark.parametrize("endpoint", [False, True])
def test_a_look_may_have_no_photo_that_can_be_read(tmp_path, serve_chat, endpoint):
    """The looks after the first add one photo each, and some of these are damaged."""
    photos = save_coloured(tmp_path / "photos", 10, common=0.75, counter=0.75)
    for path in photos.rglob("*.png"):
        if int(path.stem) > 3 and "ice bear/common" not in path.as_posix():
            path.unlink()
    for number in range(5):
        (photos / f"ice bear/common-snow/{number}.png").write_bytes(b"no photo %d" % number)
    models = serve_chat(lambda call: "flamingo").spec if endpoint else MODEL
    run = evaluate(photos, tmp_path / "run", models=models)
    assert run.info.counts.unreadable == 5
    assert run.info.stopping.decisions[0].photos == len(run.predictions) == 25


def test_no_readable_photo_is_an_error(tmp_path):
    photos = save_coloured(tmp_path / "photos", 5, common=1, counter=0)
    for number, path in enumerate(photos.rglob("*.png")):
        path.write_bytes(b"no photo %d" % number)
    with pytest.raises(CounterGroundError, match="0 of 30 photos can be read"):
        evaluate(photos, tmp_path / "run")
