"""Generative models of the user's own, through ``module:function``."""

from __future__ import annotations

import sys

import numpy as np
import polars as pl
import pytest
from evaluated import evaluated

from counterground.errors import CounterGroundError, UsageError
from counterground.models import load_model

MODULE = """
from pathlib import Path

import numpy as np
import torch

from counterground.models import Classifier, Generative

class Words(Generative):
    def generate(self, image, question, *, max_new_tokens):
        ASKED.append(question)
        return "a flamingo"

ASKED = []

class Scores(Words):
    def losses(self, image, questions, answers):
        return [float(len(answer)) for answer in answers], [len(answer.split()) for answer in answers]

class Weighs(Words):
    def __init__(self):
        self.parts = [torch.nn.Linear(2, 2)]
        torch.nn.init.constant_(self.parts[0].weight, 1)
        torch.nn.init.zeros_(self.parts[0].bias)

class Half(Words):
    def __init__(self):
        self.network = torch.nn.Linear(2, 2).to(torch.bfloat16)

class Signed(Words):
    fingerprint, device, dtype = "1", "cpu", "fp32"
    description = {"training_data": "a book", "warnings": ["Slow."]}

class AlsoSigned(Signed):
    pass

class Paid(Words):
    concurrency = 3

class Named(Words):
    head, split, dim, class_names = torch.nn.Linear(2, 2), "test", None, {0: "a"}
    fingerprint, device, dtype = "a\\nb", "cpu", "fp32"

class Halved(Words):
    def generate(self, image, question, *, max_new_tokens):
        return "a flamingo \\ud83d"

class Mute(Words):
    def generate(self, image, question, *, max_new_tokens):
        return None

class Leaves(Words):
    def generate(self, image, question, *, max_new_tokens):
        raise SystemExit(3)

class Silent(Words):
    def prompt(self, question, answer=None):
        raise KeyError("no prompt")

class Learns(Scores):
    def losses(self, image, questions, answers):
        return torch.ones(len(answers), requires_grad=True), torch.ones(len(answers))

class Endless(Scores):
    def losses(self, image, questions, answers):
        return [10**400] * len(answers), [1] * len(answers)

class Few(Scores):
    def losses(self, image, questions, answers):
        return np.zeros(2), np.ones(2)

class One(Scores):
    def losses(self, image, questions, answers):
        return 1.0, 2

class Lost(Scores):
    def losses(self, image, questions, answers):
        return [float("nan")] * len(answers), [1] * len(answers)

class Empty(Scores):
    def losses(self, image, questions, answers):
        return [1.0] * len(answers), [0] * len(answers)

class Far(Scores):
    def losses(self, image, questions, answers):
        return [2.0, 2.0, 500.0], [1, 1, 500]

class NoSuchProtocol(Words):
    protocols = {"answerloss"}

class Claims(Words):
    protocols = {"answer-loss"}

class Unwritable(Words):
    description = {"network": object()}

class Paints(Words):
    def generate(self, image, question, *, max_new_tokens):
        new = image.getpixel((0, 0)) != (1, 2, 3)
        image.putpixel((0, 0), (1, 2, 3))
        return "yes" if new else "no"

class Loses(Scores):
    def losses(self, image, questions, answers):
        ASKED.append(questions)
        if len(ASKED) == 48:  # the first question has been asked about every photo
            Path("photos/flamingo/common-water/0.jpg").unlink()
        return super().losses(image, questions, answers)

class OnlyYes(Scores):
    protocols = {"yes-no"}

class Bare(Classifier):
    device = "cpu"
    def preprocess(self, image): return image
    def encode(self, batch): return batch
"""


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    """The folder of a module with models; what was imported of it is forgotten."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_models.py").write_text(MODULE)
    yield tmp_path
    forget()


def forget() -> None:
    sys.modules.pop("own_models", None)


def load(name: str):
    forget()
    return load_model(f"own_models:{name}", device="cpu")


def test_a_model_may_use_names_that_mean_something_for_encoders():
    assert load("Named").split == "test"


def run_on(photos, name, out, **settings):
    return evaluated(photos, f"own_models:{name}", out, device="cpu", **settings)


def test_a_method_that_answers_is_enough(photos, tmp_path):
    run = run_on(photos, "Words", tmp_path / "free")
    assert set(run.predictions["protocol"]) == {"free-form"}
    assert set(run.predictions["predicted_name"]) == {"flamingo"}
    assert run.info.models[0].kind == "generative"
    assert run.info.models[0].description["warnings"] == []
    asked = sys.modules["own_models"].ASKED
    assert asked == ["What is the main object in the image?"] * 48
    signed = [run_on(photos, "Signed", tmp_path / name).predictions for name in ("signed", "again")]
    assert signed[0].equals(signed[1])
    assert len(asked) == 2 * 48, "answers that are kept are asked for again"
    both = run_on(photos, "Words", tmp_path / "yes-no", protocol="yes-no")
    assert both.predictions.height == 96
    with pytest.raises(UsageError, match=r"gives no losses.*-X protocol=yes-no or free-form"):
        run_on(photos, "Words", tmp_path / "loss", protocol="answer-loss")


def test_a_model_that_changes_the_image_gets_the_photo_for_every_question(photos, tmp_path):
    run_on(photos, "Paints", tmp_path / "run", protocol="yes-no")
    answers = pl.read_parquet(tmp_path / "run" / "answers.parquet")["answer"]
    assert len(answers) == 48 * 6
    assert set(answers) == {"yes"}


@pytest.mark.parametrize("loss", ["mean", "sum"])
def test_losses_of_ones_own_decide(photos, tmp_path, loss):
    run = run_on(photos, "Scores", tmp_path / "run", loss=loss)
    wanted = min(
        run.info.texts, key=lambda name: len(f"A {name}") / (len(f"A {name}".split()) ** (loss == "mean"))
    )
    assert set(run.predictions["protocol"]) == {"answer-loss"}
    assert set(run.predictions["answer_score"]) == {loss}
    assert set(run.predictions["predicted_name"]) == {wanted}
    assert set(run.predictions["loss_sum"]) == {float(len(f"A {wanted}"))}
    assert not sys.modules["own_models"].ASKED
    generated = run_on(photos, "Scores", tmp_path / "words", protocol="free-form")
    assert set(generated.predictions["predicted_name"]) == {"flamingo"}


@pytest.mark.parametrize("protocol", ["answer-loss", "free-form", "multiple-choice"])
def test_a_class_that_the_referee_cannot_read_is_listed(photos, tiny_clip, tmp_path, protocol):
    for number, path in enumerate((photos / "ice bear").rglob("*.jpg")):
        path.write_bytes(b"no photo %d" % number)
    asked = {"label_space": "confusable", "referee": f"open_clip:{tiny_clip}", "protocol": protocol}
    run = run_on(photos, "Scores", tmp_path / "run", **asked)
    assert run.info.counts.unreadable == 16
    assert len(run.predictions) == 32


def test_answers_of_a_model_that_states_no_fingerprint_are_not_kept():
    assert load("Words").fingerprint != load("Words").fingerprint


def test_what_the_author_said_holds():
    first, second = load("Signed"), load("AlsoSigned")
    assert first.fingerprint != second.fingerprint, "two models that both say 1"
    assert first.fingerprint == load("Signed").fingerprint
    assert first.description["training_data"] == "a book"
    assert first.description["warnings"] == ["Slow."]
    assert (load("Half").device, load("Half").dtype) == ("cpu", "bf16")
    assert any("precision is bf16, not fp32" in warning for warning in load("Half").description["warnings"])
    assert load("OnlyYes").protocols == {"yes-no"}


def test_a_protocol_that_was_left_out_is_not_asked(photos, tmp_path):
    run = run_on(photos, "OnlyYes", tmp_path / "run")
    assert set(run.predictions["protocol"]) == {"yes-no"}
    with pytest.raises(UsageError, match="cannot be asked under free-form; use -X protocol=yes-no"):
        run_on(photos, "OnlyYes", tmp_path / "other", protocol="free-form")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("NoSuchProtocol", "protocols must be a set of"),
        ("Claims", r"all others need losses\(\)"),
        ("Unwritable", "cannot be written as JSON"),
        (
            "Bare",
            "a Classifier must set fingerprint, dtype, dim, class_names, imagenet_columns",
        ),
    ],
)
def test_what_cannot_be_is_told_at_loading(name, said):
    with pytest.raises(UsageError, match=f"own_models:{name}.*{said}") as caught:
        load(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Mute", "answered NoneType, not text, about .*jpg"),
        ("Leaves", "asking about .* failed: SystemExit: 3"),
        ("Silent", r"prompt\(\) failed: KeyError: 'no prompt' \(.*own_models\.py, line \d+\)"),
        ("Learns", "scoring answers failed: RuntimeError: Can't call numpy"),
        ("Endless", "scoring answers failed: OverflowError: int too large"),
        ("Few", r"losses of shape \(2,\) and token counts of shape \(2,\) for 3 answers"),
        ("One", r"losses of shape \(\) and token counts of shape \(\) for 3 answers"),
        ("Lost", "losses that are not finite"),
        ("Empty", "returned 0 tokens for an answer"),
    ],
)
def test_answers_that_are_none_are_told_in_one_line(photos, tmp_path, name, said):
    with pytest.raises(CounterGroundError, match=f"own_models:{name}.*{said}") as caught:
        run_on(photos, name, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_thousand_answers_are_not_scored(photos, tmp_path):
    with pytest.raises(UsageError, match="--label-space confusable"):
        run_on(photos, "Scores", tmp_path / "run", label_space="imagenet")
    run = run_on(photos, "Words", tmp_path / "free", label_space="imagenet")
    assert run.info.candidates.size == 1000
    assert np.isclose(run.predictions["correct"].mean(), 1 / 3)
