"""Generated answers: the rule that reads them, and an endpoint that is never paid twice."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from dataclasses import replace

import forked
import polars as pl
import pytest
from evaluated import evaluated as run_on
from PIL import Image

from counterground.errors import CounterGroundError, UsageError
from counterground.inference import evaluate_models

# The rule that reads answers and the articles of prompts have many cases, each of which would be a run.
from counterground.inference.generative._answers import Matcher, says_yes
from counterground.photos import imagenet_names, read_benchmark
from counterground.settings import Settings

SURFACE_FORMS = (
    ("ice bear", "polar bear"),
    ("bear",),
    ("black swan",),
    ("Tinca tinca, tench",),
    ("fox",),
    ("missile",),
    ("missile",),
    ("Café-au-lait dog",),
)


@pytest.mark.parametrize(
    ("answer", "index"),
    [
        ("The main object is a polar bear.", 0),
        ("An ICE-BEAR!", 0),
        ("Two black swans on a lake", 2),
        ("several foxes", 4),
        ("a bear, perhaps an ice bear", 1),
        ("tench", 3),
        ("tinca TINCA", 3),
        ("a missile", 5),
        ("cafe au lait dogs", 7),
        ("a swan", None),
        ("polar   bears", 0),
        ("a foxglove", None),
        ("", None),
        ("!!! 42", None),
    ],
)
def test_the_first_and_longest_name_wins(answer, index):
    assert Matcher(SURFACE_FORMS).match(answer, set(range(8))) == index


@pytest.mark.parametrize(
    ("names", "answer", "index"),
    [
        (("кошка", "собака"), "Это Собака.", 1),
        (("猫", "犬"), "写真には犬が写っています", 1),
        (("猫 2", "犬 2"), "犬 2", 1),
        (("고양이", "개"), "고양이가 있습니다", 0),
        (("แมว", "สุนัข"), "มีสุนัขอยู่ในภาพ", 1),
        (("बिल्ली", "बल्ला"), "यह बल्ला है", 1),
        (("ёж", "ежевика"), "Еж", 0),
        (("goose", "Hawai'i goose"), "A Hawaiʻi goose.", 1),
        (("goose", "frisbee"), "Frisbee™ ✔️", 1),
    ],
)
def test_names_of_all_scripts_are_read(names, answer, index):
    assert Matcher([[name] for name in names]).match(answer, {0, 1}) == index


@pytest.mark.parametrize(
    ("answer", "index"),
    [
        ("<think>\nAn ice bear? No, no snow.\n</think>\n\nA fox.", 4),
        ("An ice bear? No, no snow.</think> A fox.", 4),
        ("<think>An ice bear? No, no", None),
        ("A fox. <think>Or an ice bear?</think>", 4),
        ("<Thinking>bear</Thinking>fox<thinking>bear", 4),
    ],
)
def test_thoughts_are_no_answer(answer, index):
    assert Matcher(SURFACE_FORMS).match(answer, set(range(8))) == index


def test_only_candidates_are_read():
    matcher = Matcher(SURFACE_FORMS)
    assert matcher.match("a polar bear", {1, 2}) == 1
    assert matcher.match("a missile", {6}) == 6


@pytest.mark.parametrize(
    ("answer", "yes"),
    [
        *(("Yes.", True), ("YES, there is", True), ("No!", False), ("Maybe yes", False), ("", False)),
        *(("yesterday", False), ("<think>Yes, or no?</think>No.", False), ("<think>Yes", False)),
    ],
)
def test_yes_is_the_first_word(answer, yes):
    assert says_yes(answer) is yes


def test_an_endpoint_is_asked_once_a_photo(photos, serve_chat, tmp_path):
    def reply(call):
        assert Image.open(io.BytesIO(call.photo)).size == (48, 40)
        return "It is a flamingo, I think." if call.number % 2 else "Nonsense 42"

    server = serve_chat(reply)
    run = run_on(photos, server.spec, tmp_path / "run")
    assert sum(server.answered.values()) == len(server.answered) == 48
    assert set(run.predictions["protocol"]) == {"free-form"}
    named = run.predictions.filter(pl.col("predicted_index").is_not_null())
    assert set(named["predicted_name"]) == {"flamingo"}
    assert named.height == 24
    assert run.info.counts.unmatched == {server.spec: 24}
    assert (named["correct"] == (named["class_name"] == "flamingo")).all()
    assert run.info.device == "remote"
    again = run_on(photos, server.spec, tmp_path / "again")
    assert again.predictions.equals(run.predictions)
    assert sum(server.answered.values()) == 48


def test_photos_that_a_content_filter_refuses_are_counted_as_unmatched(photos, serve_chat, tmp_path):
    refused = (400, b'{"error": {"message": "filtered", "code": "content_filter"}}')
    server = serve_chat(lambda call: refused if call.number % 4 == 0 else "a flamingo")
    run = run_on(photos, server.spec, tmp_path / "run")
    assert run.predictions["predicted_index"].null_count() == 12
    assert not run.predictions.filter(pl.col("predicted_index").is_null())["correct"].any()
    assert run.info.counts.unmatched == {server.spec: 12}
    assert any("12 of 48 answers name no candidate" in text for text in run.info.model_warnings[server.spec])
    run_on(photos, server.spec, tmp_path / "again")
    assert len(server.calls) == 48


def test_a_name_that_a_wider_class_covers_is_one_of_its_names(photos, serve_chat, tmp_path):
    """In ImageNet-9 a photo of a dog is recognised by an answer that names the breed."""
    benchmark = read_benchmark(photos)
    own = benchmark.classes
    covered = [index + 300 for index in own.imagenet]
    members = tuple(zip(own.imagenet, covered, strict=True))
    wide = replace(benchmark, classes=replace(own, imagenet=(None,) * len(own), members=members))
    answer = imagenet_names("openai")[covered[own.index_of("flamingo")]]
    server = serve_chat(lambda call: f"It is a {answer}.")
    run = evaluate_models(wide, [server.spec], Settings(), tmp_path / "run")
    assert run.info.candidates.name == "imagenet"
    assert set(run.predictions["predicted_name"]) == {"flamingo"}
    assert run.predictions["correct"].mean() == pytest.approx(1 / 3)


def test_a_run_that_failed_does_not_pay_twice(photos, serve_chat, tmp_path):
    server = serve_chat(lambda call: 400 if call.number == 20 else "a black swan")
    with pytest.raises(CounterGroundError, match=r"the server answered 400.*kept"):
        run_on(photos, server.spec, tmp_path / "run")
    before = sum(server.answered.values())
    assert 0 < before < 48
    run = run_on(photos, server.spec, tmp_path / "run")
    assert set(server.answered.values()) == {1}
    assert len(server.answered) == 48
    assert run.predictions["predicted_name"].unique().to_list() == ["black swan"]


SCRIPT = """
import sys
from pathlib import Path
from counterground.inference import evaluate_models
from counterground.settings import Settings
from counterground.photos import read_benchmark
photos, model, out = sys.argv[1:]
evaluate_models(read_benchmark(photos), [model], Settings(label_space="benchmark"), Path(out))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_was_killed_pays_at_most_for_calls_under_way(photos, serve_chat, tmp_path, how):
    killed = threading.Event()

    def reply(call):
        if call.number > 10:
            killed.wait(30)
            time.sleep(0.05)
        return "a black swan"

    server = serve_chat(reply)
    given = SCRIPT, photos, f"{server.spec}?jobs=2", tmp_path / "run"
    process = forked.start(*given, output=(tmp_path / "out", tmp_path / "err"))
    while process.is_alive() and sum(server.answered.values()) < 10:
        time.sleep(0.005)
    os.kill(process.pid, how)
    killed.set()
    process.join(30)
    assert process.exitcode not in {None, 0}
    while server.at_once:
        time.sleep(0.005)
    assert sum(server.answered.values()) < 40
    assert forked.run(*given).returncode == 0
    twice = [count for count in server.answered.values() if count > 1]
    assert len(server.answered) == 48
    assert sum(twice) - len(twice) <= (2 if how == signal.SIGKILL else 0)


def test_yes_and_no_at_an_endpoint(photos, serve_chat, tmp_path):
    asked = set()

    def reply(call):
        asked.add(call.question)
        assert call.question.endswith(" Answer yes or no.")
        return "Yes." if "flamingo" in call.question else "No, there is not."

    server = serve_chat(reply)
    run = run_on(photos, server.spec, tmp_path / "run", protocol="yes-no")
    assert len(asked) == 6
    assert sum(server.answered.values()) == 48 * 6
    assert run.predictions.height == 96
    assert set(run.predictions["predicted_name"]) == {"flamingo"}
    assert run.info.counts.unmatched == {server.spec: 0}
    right = run.predictions.filter("correct")
    assert set(right["class_name"]) == {"flamingo"}
    assert set(right["true_rank"]) == {0}


def test_a_yes_to_all_is_a_tie_and_a_yes_to_none_is_unmatched(photos, serve_chat, tmp_path):
    run = run_on(photos, serve_chat(lambda *_: "Yes").spec, tmp_path / "all", protocol="yes-no")
    assert (run.predictions["top2_gap"] == 0).all()
    assert (run.predictions["predicted_index"] == 0).all()
    run = run_on(photos, serve_chat(lambda *_: "I cannot say").spec, tmp_path / "none", protocol="yes-no")
    assert run.predictions["predicted_index"].null_count() == 96
    assert not run.predictions["correct"].any()
    assert run.info.counts.unmatched == dict.fromkeys(run.info.counts.unmatched, 96)


def test_a_photo_that_the_server_rejects_is_named(photos, serve_chat, tmp_path):
    server = serve_chat(lambda call: (400, b"blocked") if call.number > 3 else "a flamingo")
    names = "|".join(path.name for path in photos.rglob("*.jpg"))
    with pytest.raises(CounterGroundError, match=rf"answered 400 \(blocked\).* asked about ({names})\."):
        run_on(photos, f"{server.spec}?jobs=1", tmp_path / "run")


def test_losses_cannot_be_asked_of_an_endpoint(photos, serve_chat, tmp_path):
    server = serve_chat(lambda *_: "a flamingo")
    with pytest.raises(UsageError, match="use -X protocol=yes-no or free-form"):
        run_on(photos, server.spec, tmp_path / "run", protocol="answer-loss")
    assert not server.answered


def test_an_endpoint_may_be_asked_freely_against_a_thousand_names(photos, serve_chat, tmp_path):
    run = run_on(photos, serve_chat(lambda *_: "a polar bear").spec, tmp_path / "run", label_space="imagenet")
    assert run.predictions["correct"].mean() == pytest.approx(1 / 3)
    assert run.info.candidates.size == 1000


def test_unreadable_photos_cost_nothing(photos, serve_chat, tmp_path):
    (photos / "flamingo/common-water/0.jpg").write_text("no photo")
    server = serve_chat(lambda *_: "a flamingo")
    run = run_on(photos, server.spec, tmp_path / "run")
    assert sum(server.answered.values()) == 47
    assert run.info.counts.unreadable == 1
