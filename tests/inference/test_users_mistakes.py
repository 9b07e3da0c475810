"""Mistakes in a user's own model: found on the first photo, and never called a fault of CounterGround."""

from __future__ import annotations

import sys

import pytest
from evaluated import evaluated

import counterground as cg
from counterground.errors import CounterGroundError, UsageError

MODULE = """
import types

import numpy as np
import torch
from torchvision import transforms as T

from counterground.models import Classifier, DualEncoder

NAMES = ["black swan", "flamingo", "ice bear"]
SMALL = T.Compose([T.Resize((8, 8)), T.ToTensor()])

class Net(torch.nn.Linear):
    def __init__(self, give=lambda logits: logits, outputs=3):
        torch.manual_seed(0)
        super().__init__(192, outputs)
        self.give = give
    def forward(self, batch):
        return self.give(super().forward(batch.flatten(1)))

class Clip(Net):
    def encode_image(self, batch):
        return self(batch)
    def encode_text(self, tokens):
        return tokens.float()

def plain(): return Net(), SMALL, NAMES
def in_dict(): return Net(lambda logits: {"loss": None, "logits": logits}), SMALL, NAMES
def in_object(): return Net(lambda logits: types.SimpleNamespace(logits=logits)), SMALL, NAMES
def keyed(): return Net(lambda logits: {"scores": logits}), SMALL, NAMES
def listed(): return Net(lambda logits: [logits]), SMALL, NAMES
def flat(): return Net(lambda logits: logits.flatten()), SMALL, NAMES
def array(): return Net(), lambda image: np.asarray(image.resize((8, 8))), NAMES
def picture(): return Net(), lambda image: image.resize((8, 8)), NAMES
def whole(): return Net(), T.Compose([T.ToTensor(), sized]), NAMES
def sized(pixels): return pixels[:, : SIZES.setdefault(float(pixels.sum()), 8 + len(SIZES) % 2), :8]
SIZES = {}
def bytes_(): return Net(), T.Compose([T.Resize((8, 8)), T.PILToTensor()]), NAMES
def few(): return Net(outputs=4), SMALL, NAMES
def broken(): return Net(lambda logits: logits.lost), SMALL, NAMES
def training(): return Net(), T.Compose([T.RandomResizedCrop(8, scale=(0.1, 0.9)), T.ToTensor()]), NAMES
def noisy(): return Net(), T.Compose([SMALL, lambda pixels: pixels + 1e-6 * torch.randn(3, 8, 8)]), NAMES
def seldom(): return Net(), T.Compose([SMALL, flipped]), NAMES
def flipped(pixels): return pixels.flip(1) if DRAWN.append(torch.rand(1)) or len(DRAWN) % 10 == 9 else pixels
DRAWN = []
def dropping(): return Net(dropped), SMALL, NAMES
def dropped(logits): return torch.nn.functional.dropout(logits.repeat(1, 99)).unflatten(1, (99, 3)).mean(1)
def centred(): return Net(lambda logits: logits - logits.mean(0)), SMALL, NAMES
def constant(): return Net(lambda logits: logits * 0 + torch.tensor([0.0, 2.0, 1.0])), SMALL, NAMES
def tied(): return Net(lambda logits: logits * 0), SMALL, NAMES
def endless(): return Clip(), SMALL, lambda texts: torch.ones(len(texts), 3)

def keyed_tokens(): return Clip(), SMALL, lambda texts: {"input_ids": torch.ones(len(texts), 3)}
def nothing(): return Clip(), SMALL, lambda texts: torch.tensor([["swan" not in t, 0.0, 0] for t in texts])
def lazy(): return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(3)), SMALL, NAMES
def empty(): return Net().to("meta"), SMALL, NAMES
def numbered(): return Net(), SMALL, {None: "black swan", 1: "flamingo", 2: "ice bear"}
def scaled(factor):
    clip = Clip()
    clip.logit_scale = factor
    return clip, SMALL, lambda texts: torch.eye(3)[torch.arange(len(texts)) % 3]
def steep(): return scaled(torch.tensor(1000.0))
def wordy(): return scaled("high")

class Ready(Classifier):
    fingerprint, device, dtype, dim = "ready", "cpu", "fp32", 3
    class_names, imagenet_columns, description = tuple(NAMES), (100, 130, 296), {}
    def preprocess(self, image): return SMALL(image)
    def encode(self, batch): return batch.flatten(1)[:, :3].numpy()

class Light(Ready):
    def encode(self, batch): return batch.mean((2, 3))

class Dark(Ready):
    def encode(self, batch): return -batch.mean((2, 3))

class Complex(Ready):
    def encode(self, batch): return batch.flatten(1)[:, :3] * 1j

class Short(Ready):
    class_names = ("black swan", "flamingo")

class Mute(DualEncoder):
    fingerprint = "mute"
    device, dtype, dim, logit_scale, description = "cpu", "fp32", 3, 1.0, {}
    def preprocess(self, image): return SMALL(image)
    def encode(self, batch): return torch.eye(3)[:1].expand(len(batch), 3)
    def encode_texts(self, texts): return np.full((len(texts), 3), np.nan)

class LightClip(Mute):
    def encode(self, batch): return torch.nn.functional.normalize(batch.mean((2, 3)))
    def encode_texts(self, texts): return np.eye(3)[: len(texts)]

class DarkClip(LightClip):
    def encode_texts(self, texts): return -np.eye(3)[: len(texts)]

class Objects(Mute):
    def encode_texts(self, texts): return np.full((len(texts), 3), None)

class Long(Mute):
    def encode(self, batch): return 20 * super().encode(batch)

class LongTexts(Mute):
    def encode_texts(self, texts): return np.eye(3, dtype=np.float16)[: len(texts)] / 4
"""


@pytest.fixture(autouse=True)
def own(own_modules, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MODULE)


def run_on(photos, function, out, **settings):
    return evaluated(photos, f"mine.py:{function}", out, **{"batch_size": 5, "device": "cpu", **settings})


@pytest.mark.parametrize("function", ["in_dict", "in_object"])
def test_logits_may_be_in_a_dict_or_an_object(function, photos, tmp_path):
    plain = run_on(photos, "plain", tmp_path / "plain").predictions
    wrapped = run_on(photos, function, tmp_path / "wrapped").predictions
    assert wrapped.drop("model").equals(plain.drop("model"))


MISTAKES = {
    "keyed": "the network returned dict with scores; expected a tensor of logits, or a dict or object with",
    "listed": "the network returned list; expected a tensor of logits",
    "flat": r"the network returned \(3,\), not logits \(1, 3\)",
    "array": r"preprocessing returned numpy.ndarray \(8, 8, 3\) uint8 for 1 photo",
    "picture": "preprocessing returned PIL.Image.Image for 1 photo",
    "whole": r"preprocessing returned .*\(3, 8, 8\) .* and .*\(3, 9, 8\)|\(3, 9, 8\) .* and .*\(3, 8, 8\)",
    "bytes_": r"encoding photos failed: RuntimeError: .* given torch.Tensor \(1, 3, 8, 8\) uint8",
    "training": r"preprocessing the same photo again gave other pixels.* \(random crop or flip\)\. Use",
    "noisy": "preprocessing the same photo again gave other pixels",
    "seldom": "preprocessing the same photo again gave other pixels",
    "dropping": r"encoding the same photo again gave other features, by .* Turn it off: .* model\.eval\(\)",
    "centred": r"features of a photo depend on the other photos of its batch, by .*, or -X batch-size=1\.",
    "few": r"returned \(1, 4\), not logits \(1, 3\)",
    "broken": r"AttributeError: 'Tensor' object has no attribute 'lost' \(mine\.py, line \d+\); the network",
    "Ready": r"returned numpy.ndarray \(1, 3\) float32 for 1 photo; expected a torch.Tensor \(1, 3\)",
    "Complex": r"returned torch.Tensor \(1, 3\) complex64 for 1 photo; expected .* of real numbers",
    "keyed_tokens": "AttributeError: .* a tokenizer turns n texts into",
    "nothing": "the features of 'black swan' have no direction: they are all 0",
    "lazy": "uninitialized parameter",
    "empty": "meta tensor",
    "numbered": "the keys of its class names are not numbers",
    "steep": "the weights hold a logit scale of inf",
    "wordy": "invalid data type 'str'",
    "Objects": r"encode_texts\(\) returned ndarray \(3, 3\) for 3 texts; expected a finite numpy array",
    "Long": r"encode\(\) returned an embedding of length 20; those of a dual encoder have length 1: divide",
    "LongTexts": r"encode_texts\(\) returned an embedding of length 0\.25; those of a dual encoder",
    "Mute": r"encode_texts\(\) returned ndarray \(3, 3\) for 3 texts; expected a finite numpy array \(3, 3\)",
}


@pytest.mark.parametrize("function", MISTAKES)
def test_what_a_model_returns_is_checked(function, photos, tmp_path):
    with pytest.raises(CounterGroundError, match=MISTAKES[function]) as caught:
        run_on(photos, function, tmp_path / "run")
    assert str(caught.value).startswith(f"mine.py:{function}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["", "Clip"])
def test_two_classes_with_one_fingerprint_do_not_share_what_is_stored(kind, photos, tmp_path):
    light, dark = (run_on(photos, f"{name}{kind}", tmp_path / name).predictions for name in ("Light", "Dark"))
    assert not light["predicted_index"].equals(dark["predicted_index"])


def test_alone_in_its_batch_a_photo_depends_on_no_other(photos, tmp_path):
    assert len(run_on(photos, "centred", tmp_path / "run", batch_size=1).predictions) == 48


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_rounding_is_not_taken_for_another_photo(precision, photos, tmp_path):
    assert len(run_on(photos, "plain", tmp_path / "run", precision=precision).predictions) == 48


def test_a_ready_classifier_has_a_name_and_a_column_for_each_output(photos, tmp_path):
    with pytest.raises(UsageError, match="2 class_names and 3 imagenet_columns for 3 outputs"):
        run_on(photos, "Short", tmp_path / "run")


def test_one_mistake_costs_one_photo(photos, tmp_path):
    text = MODULE.replace("def broken(): return Net(", "SEEN = []\ndef broken(): return Net(")
    text = text.replace("lambda logits: logits.lost), SMALL", "lambda logits: logits.lost), counting")
    text += "\ndef counting(image):\n    SEEN.append(1)\n    return SMALL(image)\n"
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(CounterGroundError, match="lost"):
        run_on(photos, "broken", tmp_path / "run")
    assert len(sys.modules["mine"].SEEN) == 1 + 1, (
        "the probe fails at its first image, the run at its first photo"
    )


def test_one_warning_says_that_a_model_confuses_classes(photos, tmp_path):
    assert not run_on(photos, "plain", tmp_path / "plain").info.model_warnings
    for function, name in (("constant", "flamingo"), ("tied", "black swan"), ("endless", "black swan")):
        warnings = run_on(photos, function, tmp_path / function).info.all_warnings
        assert f"all 48 answers are '{name}'" in " ".join(warnings)


@pytest.mark.parametrize(
    "call",
    [
        lambda model, out: cg.evaluate("no-benchmark", model, out=out),
        lambda model, out: cg.evaluate(
            "no-benchmark", "efficientnet-lite0", label_space="confusable", referee=model, out=out
        ),
        lambda model, out: cg.discover("no-benchmark", model, out=out),
        lambda model, out: cg.mitigate("no-benchmark", model, "all", out=out),
    ],
)
def test_a_model_that_there_is_not_is_named_before_the_benchmark_is_opened(call, tmp_path):
    for model, said in (("efficientnet-lite9", "Unknown model"), ("onnx:none.onnx", "there is no file")):
        with pytest.raises(UsageError, match=said):
            call(model, tmp_path / "out")


def test_a_batch_that_does_not_fit_into_memory_says_so(photos, tmp_path, monkeypatch):
    import torch

    def lacking(_):
        raise MemoryError

    monkeypatch.setattr(torch, "stack", lacking)
    with pytest.raises(CounterGroundError, match=r"MemoryError.*-X batch-size"):
        run_on(photos, "plain", tmp_path / "run", runtime="eager")
