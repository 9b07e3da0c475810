"""Multiple choice: options by letter in all rotations, or by the loss of their texts."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from evaluated import evaluated
from PIL import Image

import counterground as cg
from counterground.errors import CounterGroundError, UsageError
from counterground.inference._request import MAIN_OBJECT
from counterground.models import Generative
from counterground.photos import read_benchmark
from counterground.results import repeat_command
from counterground.settings import EvaluateSettings, Settings

pytestmark = pytest.mark.usefixtures("one_thread")

INSTRUCTION = "Answer with the option's letter from the given choices directly."


run_on = partial(evaluated, protocol="multiple-choice")


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


def written(options: list[str], question: str = MAIN_OBJECT) -> str:
    lines = [f"{letter}. {option}" for letter, option in zip("ABCDEFGH", options, strict=False)]
    return "\n".join([question, *lines, INSTRUCTION])


def softmax_of_winner(losses: dict[str, float]) -> float:
    values = -np.array(list(losses.values()))
    return float(np.exp(values.max()) / np.exp(values).sum())


def test_letters_are_scored_in_all_rotations_as_by_the_library(few, llava, tmp_path):
    run = run_on(few, f"hf:{llava}", tmp_path / "run")
    network, processor = library(llava)
    options = list(run.info.texts)
    seen: Counter[int] = Counter()
    for row in run.predictions.to_dicts():
        image = Image.open(few / row["path"]).convert("RGB")
        totals = dict.fromkeys(options, 0.0)
        order = run_order(options, row)
        for turn in range(3):
            shown = order[turn:] + order[:turn]
            losses = [library_loss(network, processor, image, written(shown), letter)[0] for letter in "ABC"]
            seen[int(np.argmin(losses))] += 1
            for option, loss in zip(shown, losses, strict=True):
                totals[option] += loss / 3
        best, right = min(totals, key=totals.__getitem__), options[row["true_index"]]
        assert options[row["predicted_index"]] == best
        assert row["correct"] == (best == right)
        assert row["loss_sum"] == pytest.approx(totals[best], abs=1e-4)
        assert row["confidence"] == pytest.approx(softmax_of_winner(totals), abs=1e-4)
        assert row["true_rank"] == sum(loss < totals[right] for loss in totals.values())
    assert set(run.predictions["protocol"]) == {"multiple-choice"}
    assert set(run.predictions["label_space"]) == {"benchmark, 3 options"}
    assert run.info.candidates.fewest == 3
    ((found,),) = run.info.positions.values()
    assert found.chosen == [seen[place] / (3 * len(run.predictions)) for place in range(3)]
    assert max(found.chosen) > 0.4, "a model without a bias would test nothing"
    assert run.info.models[0].description["asked"][0]["options"] == [3]


def run_order(options, row) -> list[str]:
    """The order that is rotated: drawn from the photo, whatever the manifest says."""
    import hashlib

    def number(text):
        return int(hashlib.sha256(f"{row['photo_id']} {text}".encode()).hexdigest()[:16], 16)

    return sorted(options, key=number)


def test_losses_of_texts_are_those_of_the_library(few, llava, tmp_path):
    run = run_on(few, f"hf:{llava}", tmp_path / "run", protocol="multiple-choice-loss")
    network, processor = library(llava)
    for row in run.predictions.to_dicts():
        image = Image.open(few / row["path"]).convert("RGB")
        losses = [library_loss(network, processor, image, MAIN_OBJECT, text) for text in run.info.texts]
        means = [loss / tokens for loss, tokens in losses]
        best = int(np.argmin(means))
        assert row["predicted_index"] == best
        assert row["loss_sum"] == pytest.approx(losses[best][0], abs=1e-4)
        assert row["loss_mean"] == pytest.approx(means[best], abs=1e-4)
    assert run.info.positions == {}
    assert set(run.predictions["answer_score"]) == {"mean"}


class Biased(Generative):
    """Would choose one option everywhere, but likes a position better; ``generate`` always says A."""

    def __init__(self, liked: str, bias: dict[str, float], fingerprint: str) -> None:
        self.spec, self.fingerprint = "biased", fingerprint
        self._liked, self._bias = liked, bias

    def losses(self, image, questions, answers):
        sums = []
        for prompt, letter in zip(questions, answers, strict=True):
            lines = dict(line.split(". ", 1) for line in prompt.splitlines()[1:-1])
            sums.append(5.0 - (lines[letter] == self._liked) + self._bias[letter])
        return np.array(sums), np.ones(len(sums), int)

    def generate(self, image, question, *, max_new_tokens):
        return "A"


def test_a_bias_for_a_position_is_averaged_out_and_recorded(few, tmp_path):
    liked = read_benchmark(few).classes.names[0]
    model = Biased(liked, {"A": 0.0, "B": -3.0, "C": 0.4}, "biased 1")
    run = run_on(few, {"biased": model}, tmp_path / "run")
    assert set(run.predictions["predicted_index"]) == {0}
    ((found,),) = run.info.positions.values()
    assert found.chosen == [0, 1, 0]
    assert found.same_option == 0
    assert any("position B" in text for text in run.info.model_warnings["biased"])
    unbiased = run_on(few, {"fair": Biased(liked, dict.fromkeys("ABC", 0.0), "biased 2")}, tmp_path / "fair")
    ((fair,),) = unbiased.info.positions.values()
    assert fair.chosen == pytest.approx([1 / 3] * 3)
    assert fair.same_option == 1
    assert not any("position" in text for text in unbiased.info.all_warnings)


def test_a_model_that_always_says_a_gains_nothing_from_where_the_answer_stands(photos, serve_chat, tmp_path):
    server = serve_chat(lambda _call: "A")
    run = run_on(photos, server.spec, tmp_path / "run")
    count = len(run.predictions)
    assert sum(server.answered.values()) == 3 * count
    assert 0.05 < run.predictions["correct"].mean() < 0.6
    (each,) = run.info.positions[server.spec]
    assert each.chosen == [1, 0, 0]
    assert run.info.counts.ties == {server.spec: count}
    assert not any("does not distinguish" in text for text in run.info.all_warnings)


def test_generated_letters_are_read_strictly(few, serve_chat, tmp_path):
    liked = read_benchmark(few).classes.names[0]

    def reply(call):
        _, *lines = call.question.splitlines()
        letter = next(line[0] for line in lines if line[3:] == liked)
        forms = (
            f"{letter}",
            f"({letter})",
            f"{letter}. {liked.upper()}.",
            f" {letter.lower()}) ",
            f"<think>\nA, B or C?</think>{letter}",
        )
        return {"A": "Z", "B": f"I think it is {letter}"}.get(letter, forms[call.number % len(forms)])

    server = serve_chat(reply)
    run = run_on(few, server.spec, tmp_path / "run")
    assert set(run.predictions["predicted_index"]) == {0}
    assert run.predictions["confidence"].null_count() == len(run.predictions)
    (found,) = run.info.positions[server.spec]
    assert found.unparsable == 2 * len(run.predictions)
    answers = pl.read_parquet(tmp_path / "run" / "answers.parquet")
    assert answers.height == 3 * len(run.predictions)
    assert answers["named"].drop_nulls().unique().to_list() == [liked]
    asked_how = run.info.models[0].description["asked"][0]
    assert "cyclic rotations" in asked_how["orders"]
    calls = sum(server.answered.values())
    run_on(few, server.spec, tmp_path / "again")
    assert sum(server.answered.values()) == calls
    lost = serve_chat(lambda _call: "I think it is A")
    unmatched = run_on(few, lost.spec, tmp_path / "lost")
    assert unmatched.predictions["predicted_index"].null_count() == len(unmatched.predictions)
    assert unmatched.info.counts.unmatched == {lost.spec: len(unmatched.predictions)}


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


def test_killed_runs_resume_to_the_same_bytes(few, killed_and_resumed):
    count = len(read_benchmark(few))
    killed_and_resumed(few, count, protocol="multiple-choice", label_space="benchmark")


def test_what_makes_no_sense_is_refused_in_one_line(few, tiny_clip, llava, tmp_path):
    for model, given, said in (
        (f"open_clip:{tiny_clip}", {}, "only generative models answer them"),
        ("http://localhost:9/v1#m", {"protocol": "multiple-choice-loss"}, "gives no losses"),
    ):
        with pytest.raises(UsageError, match=said):
            run_on(few, model, tmp_path / "run", **given)
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").iterdir())


def test_scores_of_multiple_choice_are_told_from_others(few, llava, tmp_path):
    from counterground.metrics import comparable

    letter = run_on(few, f"hf:{llava}", tmp_path / "a", protocol="multiple-choice", label_space="imagenet")
    answer = run_on(few, f"hf:{llava}", tmp_path / "b", protocol="answer-loss")
    names = ("names", "prompts", "protocol", "answer_score", "label_space")
    settings = [run.predictions.select(names).row(0) for run in (letter, answer)]
    assert not comparable(*settings)
    with pytest.raises(CounterGroundError, match="holds another run"):
        run_on(
            few, f"hf:{llava}", tmp_path / "a", protocol="multiple-choice", label_space="imagenet", options=5
        )
