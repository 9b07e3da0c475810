"""ONNX Runtime encodes many photos on a CPU if it gives the numbers of eager PyTorch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from colour_model import pixels

from counterground.errors import CounterGroundError, UsageError
from counterground.inference import _try_model as chooser  # its tolerance, and what are many photos
from counterground.inference import choose_runtime, encode_photos, evaluate_models
from counterground.models import Classifier, LoadOptions, Runtime, load_model

# A network whose runtimes the test makes.
from counterground.models._labels import Labels
from counterground.models._networks import NetworkClassifier
from counterground.photos import read_benchmark
from counterground.settings import Settings

LITE = "efficientnet-lite0"
SETTINGS = Settings(label_space="benchmark", device="cpu", batch_size=16)
TOLERANCE = chooser.TOLERANCE["fp32"]


@pytest.fixture
def these_are_many(monkeypatch):
    monkeypatch.setattr(chooser, "ENOUGH", 48)


@pytest.mark.slow
def test_lite_by_onnx_runtime_answers_as_by_pytorch(stamps, cache):
    model = load_model(LITE, device="cpu")
    eager_fingerprint = model.fingerprint
    eager = encode_photos(model, stamps, cache / "features", batch_size=8, show_progress=False).matrix
    model, _ = choose_runtime(model, len(stamps), "onnx")
    fast = encode_photos(model, stamps, cache / "features", batch_size=8, show_progress=False).matrix
    assert model.runtime.startswith("onnxruntime ")
    assert model.fingerprint != eager_fingerprint
    assert 0 < np.abs(fast - eager).max() <= TOLERANCE * np.abs(eager).max()
    first, second = np.sort(eager, axis=1)[:, :-3:-1].T
    ties = int((first - second <= 2 * TOLERANCE * np.abs(eager).max()).sum())
    assert (fast.argmax(1) != eager.argmax(1)).sum() <= ties == 0


class Colours(torch.nn.Module):
    """Says how much of each colour there is."""

    def forward(self, batch):
        return 10 * batch.mean((2, 3))


def photos_alone(image):
    assert image.size == (48, 40)
    return pixels(image)


def colours(*runtimes: Runtime, preprocess=pixels) -> NetworkClassifier:
    model = NetworkClassifier(
        "object:Colours",
        Colours(),
        preprocess,
        Labels(("ice bear", "black swan", "flamingo"), (296, 100, 130)),
        description={},
        configuration={},
        libraries=(),
        options=LoadOptions(),
    )
    model.runtimes = runtimes
    return model


def scaled(by, starts: list[str], name: str = "quick 1") -> Runtime:
    """Gives 1 + ``by`` times what the network gives, which is between 0 and 10."""

    def start(network, batch):
        starts.append(name)
        return lambda batch: 10 * batch.mean((2, 3)) * (1 + by)

    return Runtime(name, start)


def failing(network, batch):
    raise RuntimeError("no such operator")


def evaluate(photos, model, out, **more):
    run = evaluate_models(read_benchmark(photos), {"colours": model}, replace(SETTINGS, **more), out)
    return run.predictions.write_csv(), run.info.models[0]


@pytest.mark.usefixtures("these_are_many")
class TestAuto:
    def test_one_that_agrees_is_recorded_and_resumed_with(self, photos, tmp_path, cache):
        starts = []
        eager, record = evaluate(photos, colours(), tmp_path / "eager")
        assert record.description["runtime"] == "eager"
        fast, used = evaluate(photos, colours(scaled(2e-6, starts)), tmp_path / "fast")
        assert used.description["runtime"] == "quick 1"
        assert used.fingerprint != record.fingerprint
        assert fast != eager
        shards = sorted(cache.glob("features/*/*.safetensors"))
        max(shards, key=lambda path: path.stat().st_mtime_ns).unlink()
        resumed, again = evaluate(photos, colours(scaled(2e-6, starts)), tmp_path / "resumed")
        assert (resumed, again) == (fast, used)
        assert starts == ["quick 1"] * 2
        whole, again = evaluate(photos, colours(scaled(2e-6, starts)), tmp_path / "whole")
        assert (whole, again) == (fast, used)
        assert starts == ["quick 1"] * 2, "where every photo is stored, none is started"

    @pytest.mark.parametrize(
        ("runtime", "why"),
        [
            (scaled(0.01, []), "quick 1: differs by 0.01 of the largest number on made-up images"),
            (scaled(float("nan"), []), "quick 1: differs by nan of the largest number on made-up images"),
            (Runtime("broken 1", failing), "broken 1: no such operator"),
        ],
    )
    def test_one_that_differs_or_fails_is_not_used(self, runtime, why, photos, tmp_path):
        eager, plain = evaluate(photos, colours(), tmp_path / "eager")
        made, record = evaluate(photos, colours(runtime), tmp_path / "refused")
        assert (made, record.fingerprint) == (eager, plain.fingerprint)
        assert (record.description["runtime"], record.description["runtime_refused"]) == ("eager", why)

    def test_a_preprocessing_for_the_photos_alone_stays_with_pytorch(self, photos, tmp_path):
        model = colours(scaled(0, []), preprocess=photos_alone)
        _, record = evaluate(photos, model, tmp_path / "run")
        assert record.description["runtime"] == "eager"


def test_few_photos_are_not_worth_it(photos, tmp_path):
    starts = []
    _, record = evaluate(photos, colours(scaled(0, starts)), tmp_path / "run")
    assert (record.description["runtime"], starts) == ("eager", [])
    for number, name in ((chooser.ENOUGH - 1, "eager"), (chooser.ENOUGH, "quick 1")):
        model = colours(scaled(0, starts))
        model, _ = choose_runtime(model, number)
        assert model.runtime == name


class TestWanted:
    def test_it_is_used(self, photos, tmp_path):
        for wanted, name in (("onnx", "quick 1"), ("eager", "eager")):
            _, record = evaluate(photos, colours(scaled(1e-6, [])), tmp_path / wanted, runtime=wanted)
            assert record.description["runtime"] == name

    def test_it_is_refused_where_it_differs_or_fails(self, photos, tmp_path):
        wrong = scaled(0.01, [], "wrong 1")
        with pytest.raises(
            CounterGroundError, match=r"colours cannot be run by -X runtime=onnx: differs by 0\.01"
        ):
            evaluate(photos, colours(wrong), tmp_path / "run", runtime="onnx")

    def test_it_is_refused_where_there_is_none(self, photos, tmp_path):
        with pytest.raises(UsageError, match="on the CPU in fp32"):
            evaluate(photos, LITE, tmp_path / "run", runtime="onnx", precision="bf16")

        class Own(Classifier):
            runtime = "onnx"
            fingerprint, device, dtype, dim, description = "1", "cpu", "fp32", 3, {}
            class_names, imagenet_columns = ("ice bear", "black swan", "flamingo"), (296, 100, 130)

            def preprocess(self, image):
                return pixels(image)

            def encode(self, batch):
                return batch.mean((2, 3))

        _, record = evaluate(photos, Own(), tmp_path / "run", runtime="onnx")
        assert record.description["runtime"] == "onnx", "it brings its own"
