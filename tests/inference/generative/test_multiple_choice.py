"""Multiple choice: options of the photos' own or drawn ones, by letter in all rotations, or by loss."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tiny_lvlm
import torch
from PIL import Image

import counterground as cg
from counterground.errors import CounterGroundError, UsageError
from counterground.inference import evaluate_models
from counterground.models import Generative, load_model
from counterground.photos import read_benchmark
from counterground.results import repeat_command
from counterground.settings import EvaluateSettings, Settings

pytestmark = pytest.mark.usefixtures("one_thread")

ASKED = (
    ("What is behind the animal?", ["sand", "snow", "a green meadow"], "snow"),
    ("Is it day?", ["yes", "no"], "no"),
    ("How does the animal look, with its long neck?", ["big", "small", "very tall"], "big"),
    ("What covers it?", ["fur", "feathers", "scales", "nothing at all"], "feathers"),
)
INSTRUCTION = "Answer with the option's letter from the given choices directly."


@pytest.fixture
def asked(few) -> Path:
    """A manifest of the same photos with questions of their own, with two, three or four options."""
    paths = sorted(path.relative_to(few).as_posix() for path in few.glob("*/*/*.jpg"))
    questions = [ASKED[row % len(ASKED)] for row in range(len(paths))]
    pl.DataFrame(
        {
            "path": paths,
            "class_name": [f"type {row % 2}" for row in range(len(paths))],
            "question": [question for question, _, _ in questions],
            "options": [options for _, options, _ in questions],
            "answer": [answer for _, _, answer in questions],
        }
    ).write_parquet(few / "manifest.parquet")
    return few / "manifest.parquet"


def run_on(source, model, out, **settings):
    models = [model] if isinstance(model, str | Generative) else model
    return evaluate_models(read_benchmark(source), models, Settings(**settings), out)


def library(folder: Path):
    from transformers import AutoModelForImageTextToText, AutoProcessor

    return AutoModelForImageTextToText.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)


def library_loss(network, processor, image, question, answer) -> tuple[float, int]:
    """Loss of an answer and its tokens, by transformers alone, in the form of LLaVA's model card."""
    before = f"USER: <image>\n{question} ASSISTANT: "
    inputs = processor(images=[image], text=[before + answer], return_tensors="pt")
    given = processor.tokenizer(before + answer, return_offsets_mapping=True)
    count = sum(end > len(before) for _, end in given["offset_mapping"])
    with torch.inference_mode():
        logits = network(**inputs).logits[0, -count - 1 : -1].log_softmax(dim=-1)
    targets = inputs["input_ids"][0, -count:]
    return -float(logits.gather(1, targets[:, None]).sum()), count


def written(question: str, options: list[str]) -> str:
    lines = [f"{letter}. {option}" for letter, option in zip("ABCDEFGH", options, strict=False)]
    return "\n".join([question, *lines, INSTRUCTION])


def softmax_of_winner(losses: dict[str, float]) -> float:
    values = -np.array(list(losses.values()))
    return float(np.exp(values.max()) / np.exp(values).sum())


def test_letters_are_scored_in_all_rotations_as_by_the_library(asked, llava, tmp_path):
    run = run_on(asked, f"hf:{llava}", tmp_path / "run")
    network, processor = library(llava)
    manifest = pl.read_parquet(asked)
    seen = Counter()
    for row, known in zip(run.predictions.to_dicts(), manifest.sort("path").to_dicts(), strict=True):
        image, options = Image.open(asked.parent / row["path"]).convert("RGB"), known["options"]
        totals = dict.fromkeys(options, 0.0)
        order = run_order(run, options, row)
        for turn in range(len(options)):
            shown = order[turn:] + order[:turn]
            losses = [
                library_loss(network, processor, image, written(known["question"], shown), letter)[0]
                for letter in "ABCD"[: len(options)]
            ]
            seen[len(options), int(np.argmin(losses))] += 1
            for option, loss in zip(shown, losses, strict=True):
                totals[option] += loss / len(options)
        best = min(totals, key=totals.__getitem__)
        assert row["predicted_name"] == best
        assert row["correct"] == (best == known["answer"])
        assert row["loss_sum"] == pytest.approx(totals[best], abs=1e-4)
        assert row["confidence"] == pytest.approx(softmax_of_winner(totals), abs=1e-4)
        assert row["true_rank"] == sum(loss < totals[known["answer"]] for loss in totals.values())
        assert run.info.texts[row["true_index"]] == known["answer"]
    assert set(run.predictions["protocol"]) == {"multiple-choice"}
    assert set(run.predictions["label_space"]) == {run.info.candidates.name} == {"options"}
    assert run.info.candidates.fewest == 2
    (found,) = run.info.positions.values()
    assert [each.options for each in found] == [2, 3, 4]
    for each in found:
        answers = each.options * each.asked
        assert each.chosen == [seen[each.options, place] / answers for place in range(each.options)]
    assert max(max(each.chosen) for each in found) > 0.5, "a model without a bias would test nothing"
    assert "--label-space" not in repeat_command(run)


def run_order(run, options, row) -> list[str]:
    """The order that is rotated: drawn from the photo, whatever the manifest says."""
    import hashlib

    def number(text):
        return int(hashlib.sha256(f"{row['photo_id']} {text}".encode()).hexdigest()[:16], 16)

    return sorted(options, key=number)


def test_losses_of_texts_are_those_of_the_library(asked, llava, tmp_path):
    run = run_on(asked, f"hf:{llava}", tmp_path / "run", protocol="multiple-choice-loss")
    network, processor = library(llava)
    manifest = pl.read_parquet(asked).sort("path")
    for row, known in zip(run.predictions.to_dicts(), manifest.to_dicts(), strict=True):
        image = Image.open(asked.parent / row["path"]).convert("RGB")
        losses = [
            library_loss(network, processor, image, known["question"], option) for option in known["options"]
        ]
        means = [loss / tokens for loss, tokens in losses]
        best = int(np.argmin(means))
        assert row["predicted_name"] == known["options"][best]
        assert row["loss_sum"] == pytest.approx(losses[best][0], abs=1e-4)
        assert row["loss_mean"] == pytest.approx(means[best], abs=1e-4)
    assert run.info.positions == {}
    assert set(run.predictions["answer_score"]) == {"mean"}


@pytest.mark.parametrize("family", tiny_lvlm.FAMILIES)
def test_several_photos_get_the_losses_they_get_alone(tmp_path, family):
    model = load_model(f"hf:{tiny_lvlm.build(family, tmp_path / family)}", device="cpu")
    assert model.batches, model.description["batching"]
    sizes = ((64, 48), (40, 120), (200, 50), (31, 77))
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)) for size in sizes]
    questions, answers = [], []
    for number in range(len(images)):
        orders = [["snow", "sand", "fur"][turn:] + ["snow", "sand", "fur"][:turn] for turn in range(3)]
        prompts = [written("What is it? " * (number + 1), order) for order in orders]
        questions.append([prompt for prompt in prompts for _ in "ABC"])
        answers.append(list("ABC") * 3)
    together = model.batch_losses(images, questions, answers)
    alone = [model.losses(*about) for about in zip(images, questions, answers, strict=True)]
    assert max(np.abs(a - b).max() for (a, _), (b, _) in zip(together, alone, strict=True)) < 1e-4
    assert all((a == b).all() for (_, a), (_, b) in zip(together, alone, strict=True))
    model.shares = model.batches = False
    full = model.batch_losses(images, questions, answers)
    assert max(np.abs(a - b).max() for (a, _), (b, _) in zip(together, full, strict=True)) < 1e-4
    assert min(np.ptp(sums) for sums, _ in together) > 1e-3
    assert np.abs(together[0][0] - together[1][0]).max() > 1e-3


def test_a_batch_that_mixes_photos_up_is_found_by_the_probe(llava, monkeypatch):
    from counterground.models.huggingface import _losses  # a step of it goes wrong

    real = _losses.batched

    def blind(each, padding):
        given = real(each, padding)
        if len(each) > 1:
            given["pixel_values"] = given["pixel_values"].flip(0)
        return given

    monkeypatch.setattr(_losses, "batched", blind)
    model = load_model(f"hf:{llava}", device="cpu")
    assert model.shares
    assert not model.batches


@pytest.mark.parametrize("protocol", ["multiple-choice", "multiple-choice-loss"])
def test_one_by_one_and_together_give_the_same_predictions(asked, llava, tmp_path, monkeypatch, protocol):
    tables = []
    for size in (1, 5):
        monkeypatch.setenv("COUNTERGROUND_CACHE", str(tmp_path / f"cache{size}"))
        run = run_on(asked, f"hf:{llava}", tmp_path / f"run{size}", batch_size=size, protocol=protocol)
        tables.append(run.predictions)
    numbers = ("loss_sum", "loss_mean", "confidence", "top2_gap")
    assert tables[0].drop(numbers).equals(tables[1].drop(numbers))
    for name in numbers:
        assert np.abs(tables[0][name].to_numpy() - tables[1][name].to_numpy()).max() < 1e-4


class Biased(Generative):
    """Knows the answers, but likes a position better than any answer; ``generate`` always says A."""

    def __init__(self, answers: dict[str, str], bias: dict[str, float], fingerprint: str) -> None:
        self.spec, self.fingerprint = "biased", fingerprint
        self._answers, self._bias = answers, bias

    def losses(self, image, questions, answers):
        sums = []
        for prompt, letter in zip(questions, answers, strict=True):
            lines = dict(line.split(". ", 1) for line in prompt.splitlines()[1:-1])
            right = lines[letter] == self._answers[prompt.splitlines()[0]]
            sums.append(5.0 - right + self._bias[letter])
        return np.array(sums), np.ones(len(sums), int)

    def generate(self, image, question, *, max_new_tokens):
        return "A"


def test_a_bias_for_a_position_is_averaged_out_and_recorded(asked, tmp_path):
    right = {question: answer for question, _, answer in ASKED}
    model = Biased(right, {"A": 0.0, "B": -3.0, "C": 0.4, "D": 0.0}, "biased 1")
    run = run_on(asked, {"biased": model}, tmp_path / "run")
    assert run.predictions["correct"].all()
    (found,) = run.info.positions.values()
    for each in found:
        assert each.chosen == [float(place == 1) for place in range(each.options)]
        assert each.same_option == 0
    (warnings,) = run.info.model_warnings.values()
    assert any("position B was chosen in 100 % of the orders (33 % without" in text for text in warnings)
    fair = Biased(right, dict.fromkeys("ABCD", 0.0), "biased 2")
    unbiased = run_on(asked, {"fair": fair}, tmp_path / "fair")
    assert unbiased.predictions["correct"].all()
    for each in unbiased.info.positions["fair"]:
        assert each.chosen == pytest.approx([1 / each.options] * each.options)
        assert each.same_option == 1
    assert unbiased.info.model_warnings.get("fair", []) == []


def test_a_model_that_always_says_a_gains_nothing_from_where_the_answer_stands(photos, serve_chat, tmp_path):
    paths = sorted(path.relative_to(photos).as_posix() for path in photos.glob("*/*/*.jpg"))
    table = {"path": paths, "question": "Which?", "options": [["right", "w1", "w2", "w3"]] * len(paths)}
    pl.DataFrame({**table, "answer": "right"}).write_parquet(photos / "m.parquet")
    server = serve_chat(lambda _call: "A")
    run = run_on(photos / "m.parquet", server.spec, tmp_path / "run")
    assert sum(server.answered.values()) == 4 * len(paths)
    assert 0.05 < run.predictions["correct"].mean() < 0.5
    (each,) = run.info.positions[server.spec]
    assert each.chosen == [1, 0, 0, 0]
    assert run.info.counts.ties == {server.spec: len(paths)}
    assert not any("does not distinguish" in text for text in run.info.all_warnings)


def test_generated_letters_are_read_strictly(asked, serve_chat, tmp_path):
    right = {question: answer for question, _, answer in ASKED}

    def reply(call):
        question, *lines = call.question.splitlines()
        letter = next(line[0] for line in lines if line[3:] == right[question])
        forms = (
            f"{letter}",
            f"({letter})",
            f"{letter}. {right[question].upper()}.",
            f" {letter.lower()}) ",
            f"<think>\nA, B or C?</think>{letter}",
        )
        if question == "Is it day?":
            return f"I think it is {letter}"
        if question == "What covers it?" and letter == "A":
            return "Z"
        return forms[call.number % len(forms)]

    server = serve_chat(reply)
    run = run_on(asked, server.spec, tmp_path / "run")
    known = pl.read_parquet(asked).sort("path")
    lost = known["question"] == "Is it day?"
    assert run.predictions["correct"].to_list() == (~lost).to_list()
    assert run.predictions["predicted_index"].is_null().to_list() == lost.to_list()
    assert run.predictions["confidence"].null_count() == len(lost)
    assert run.info.counts.unmatched == {server.spec: int(lost.sum())}
    found = {each.options: each for each in run.info.positions[server.spec]}
    assert found[2].unparsable == 2 * int(lost.sum())
    assert found[4].unparsable == int((known["question"] == "What covers it?").sum())
    assert found[3].unparsable == 0
    assert found[3].same_option == 1
    answers = pl.read_parquet(tmp_path / "run" / "answers.parquet")
    assert answers.height == known["options"].list.len().sum()
    assert answers.filter(pl.col("named").is_null())["answer"].str.contains("^(Z|I think)").all()
    asked_how = run.info.models[0].description["asked"][0]
    assert "cyclic rotations" in asked_how["orders"]
    assert "unparsable" in asked_how["rule"]
    calls = sum(server.answered.values())
    run_on(asked, server.spec, tmp_path / "again")
    assert sum(server.answered.values()) == calls


def test_options_are_drawn_from_the_label_space_by_photo(few, llava, tmp_path):
    run = run_on(few, f"hf:{llava}", tmp_path / "run", protocol="multiple-choice", label_space="imagenet")
    again = run_on(few, f"hf:{llava}", tmp_path / "b", protocol="multiple-choice", label_space="imagenet")
    assert run.predictions.equals(again.predictions)
    assert set(run.predictions["label_space"]) == {"imagenet, 4 options"}
    assert run.info.candidates.fewest == 4
    assert run.info.candidates.chance == 0.25
    assert run.predictions["predicted_index"].n_unique() > 4, "options differ by photo"
    true = run.predictions.group_by("class_name").agg(pl.col("true_index").unique())
    assert all(len(indices) == 1 for indices in true["true_index"])
    right = run.predictions["predicted_index"] == run.predictions["true_index"]
    assert right.equals(run.predictions["correct"], check_names=False)
    two = run_on(
        few,
        f"hf:{llava}",
        tmp_path / "two",
        protocol="multiple-choice-loss",
        label_space="imagenet",
        options=2,
    )
    assert set(two.predictions["label_space"]) == {"imagenet, 2 options"}
    assert two.predictions["true_rank"].max() == 1
    assert run.predictions["true_rank"].max() <= 3
    with pytest.raises(UsageError, match=r"^options must be .*, not 27"):
        Settings(options=27)
    command = repeat_command(run)
    assert "--label-space imagenet" in command
    assert "-X protocol=multiple-choice" in command


def test_the_nearest_names_are_options_where_a_referee_chose_them(few, tiny_clip, llava, tmp_path):
    run = cg.evaluate(
        few,
        f"hf:{llava}",
        out=tmp_path / "run",
        settings=EvaluateSettings(protocol="multiple-choice", options=3),
        label_space="confusable",
        referee=f"open_clip:{tiny_clip}",
    )
    space = json.loads((tmp_path / "run" / "label_space.json").read_text())
    for row in run.predictions.to_dicts():
        nearest = [
            other for other in space["candidates"][str(row["true_index"])] if other != row["true_index"]
        ]
        assert row["predicted_index"] in (row["true_index"], *nearest[:2])
    assert set(run.predictions["label_space"]) == {"confusable, 3 options"}


def test_a_label_space_smaller_than_the_options_is_used_whole(few, llava, tmp_path):
    run = run_on(few, f"hf:{llava}", tmp_path / "run", protocol="multiple-choice", label_space="benchmark")
    assert run.info.candidates.fewest == 3
    assert set(run.predictions["label_space"]) == {"benchmark, 3 options"}
    assert run.info.models[0].description["asked"][0]["options"] == [3]


def test_killed_runs_resume_to_the_same_bytes(asked, killed_and_resumed):
    killed_and_resumed(asked, 10)


def test_a_changed_question_is_asked_and_an_unreadable_photo_is_listed(asked, llava, tmp_path, cache):
    run_on(asked, f"hf:{llava}", tmp_path / "run")
    before = {path.name for path in cache.glob("losses/*/[!.]*.safetensors")}
    table = pl.read_parquet(asked)
    changed = pl.when(pl.int_range(pl.len()) == 0).then(pl.lit("Really?")).otherwise("question")
    table.with_columns(question=changed).write_parquet(asked)
    (asked.parent / table["path"][5]).write_text("not a photograph")
    run = run_on(asked, f"hf:{llava}", tmp_path / "changed")
    assert len({path.name for path in cache.glob("losses/*/[!.]*.safetensors")} - before) in (1, 2)
    assert run.info.counts.unreadable == 1
    assert run.predictions.height == table.height - 1


def test_what_makes_no_sense_is_refused_in_one_line(asked, few, tiny_clip, llava, tmp_path):
    model = f"hf:{llava}"
    for given, said in (
        ({"label_space": "imagenet"}, "questions with their own options: leave out --label-space"),
        ({"names": "no such file"}, "leave out --label-space and --names"),
        ({"aliases": "a.json"}, "leave out -X aliases"),
    ):
        with pytest.raises(UsageError, match=said):
            run_on(asked, model, tmp_path / "run", **given)
    with pytest.raises(UsageError, match="the benchmark has questions, and only generative models"):
        run_on(asked, [model, f"open_clip:{tiny_clip}"], tmp_path / "run")
    with pytest.raises(UsageError, match="-X protocol asks questions, and only generative models"):
        run_on(few, f"open_clip:{tiny_clip}", tmp_path / "run", protocol="multiple-choice")
    with pytest.raises(UsageError, match="gives no losses, which multiple-choice-loss needs"):
        run_on(asked, "http://localhost:9/v1#m", tmp_path / "run", protocol="multiple-choice-loss")
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").iterdir())


def test_scores_of_multiple_choice_are_told_from_others(asked, few, llava, tmp_path):
    from counterground.metrics import comparable

    letter = run_on(few, f"hf:{llava}", tmp_path / "a", protocol="multiple-choice", label_space="imagenet")
    answer = run_on(few, f"hf:{llava}", tmp_path / "b", label_space="benchmark")
    names = ("names", "prompts", "protocol", "answer_score", "label_space")
    settings = [run.predictions.select(names).row(0) for run in (letter, answer)]
    assert not comparable(*settings)
    with pytest.raises(CounterGroundError, match="holds another run"):
        run_on(
            few, f"hf:{llava}", tmp_path / "a", protocol="multiple-choice", label_space="imagenet", options=5
        )
