"""A faster runtime is used where it gives the numbers of eager PyTorch, and only there."""

from __future__ import annotations

import re
import sys
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from counterground.benchmarks import StampsSettings, build_stamps
from counterground.inference import Settings, choose_runtime, encode_photos, evaluate_models
from counterground.inference._runtime import TOLERANCE
from counterground.models import LoadOptions, Runtime, load_model

# A network whose runtimes the test makes.
from counterground.models.classifiers import NetworkClassifier
from counterground.photos import read_benchmark

LITE = "efficientnet-lite0"
SETTINGS = Settings(label_space="benchmark", device="cpu", batch_size=4)


@pytest.fixture(scope="module")
def stamps(tmp_path_factory, shared_cache):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COUNTERGROUND_CACHE", str(shared_cache))
        settings = StampsSettings(classes=("ostrich", "zebra"), labels=("grass", "rock"), placements=1)
        return build_stamps(settings, out=tmp_path_factory.mktemp("stamps") / "few")


def test_lite_by_onnx_runtime_answers_as_by_pytorch(stamps, cache):
    model = load_model(LITE, device="cpu")
    eager_fingerprint = model.fingerprint
    eager = encode_photos(model, stamps, cache / "features", batch_size=8, show_progress=False).matrix
    choose_runtime(model, stamps, 8)
    fast = encode_photos(model, stamps, cache / "features", batch_size=8, show_progress=False).matrix
    assert model.description["runtime"].startswith("onnxruntime ")
    assert 0 < model.description["runtime_difference"] <= TOLERANCE
    assert model.fingerprint != eager_fingerprint
    assert 0 < np.abs(fast - eager).max() <= TOLERANCE
    first, second = np.sort(eager, axis=1)[:, :-3:-1].T
    ties = int((first - second <= 2 * TOLERANCE).sum())
    assert (fast.argmax(1) != eager.argmax(1)).sum() <= ties == 0


def test_features_by_onnx_runtime_do_not_depend_on_the_rest_of_the_batch():
    model = load_model(LITE, device="cpu")
    model.run_by(model.runtimes[0])
    torch.manual_seed(0)
    photos = torch.randn(6, 3, 224, 224)
    rows = model.encode(photos)
    assert torch.equal(model.encode(photos.flip(0)), rows.flip(0))
    assert torch.equal(model.encode(photos[2:3]), rows[2:3])


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_without_its_packages_there_is_pytorch(missing, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    assert load_model(LITE, device="cpu").runtimes == ()


def test_other_precisions_run_by_pytorch():
    assert load_model(LITE, device="cpu", precision="bf16").runtimes == ()


class Colours(torch.nn.Module):
    def forward(self, batch):
        return 10 * batch.mean((2, 3))


def pixels(image):
    return torch.from_numpy(np.array(image.resize((4, 4)))).permute(2, 0, 1) / 255


def colours(*runtimes: Runtime) -> NetworkClassifier:
    model = NetworkClassifier(
        "object:Colours",
        Colours(),
        pixels,
        class_names=("ice bear", "black swan", "flamingo"),
        imagenet_columns=(296, 100, 130),
        description={},
        configuration={},
        libraries=(),
        options=LoadOptions(),
    )
    model.runtimes = runtimes
    return model


def scaled(by: float, starts: list[str], name: str = "quick 1") -> Runtime:
    """Gives 1 + ``by`` times what the network gives, which is between 0 and 10."""

    def start():
        starts.append(name)
        return lambda batch: Colours()(batch) * (1 + by)

    return Runtime(name, start)


def evaluate(photos, model, out):
    run = evaluate_models(read_benchmark(photos), {"colours": model}, SETTINGS, out)
    return (out / "predictions.parquet").read_bytes(), run.info.models[0]


def test_one_that_agrees_is_recorded_and_resumed_with(photos, tmp_path, cache):
    starts = []
    eager, record = evaluate(photos, colours(), tmp_path / "eager")
    assert "runtime" not in record.description
    fast, used = evaluate(photos, colours(scaled(5e-6, starts)), tmp_path / "fast")
    assert used.description["runtime"] == "quick 1"
    assert 1e-6 < used.description["runtime_difference"] < 5e-5
    assert used.fingerprint != record.fingerprint
    assert fast != eager
    shards = sorted(cache.glob("features/*/*.parquet"))
    newest = max(shards, key=lambda path: path.stat().st_mtime_ns)
    newest.unlink()
    resumed, again = evaluate(photos, colours(scaled(5e-6, starts)), tmp_path / "resumed")
    assert (resumed, again.fingerprint) == (fast, used.fingerprint)
    assert again.description == used.description
    whole, _ = evaluate(photos, colours(scaled(5e-6, starts)), tmp_path / "whole")
    assert whole == fast
    assert starts == ["quick 1"] * 2, "where every photo is stored, none is started"


def test_one_that_differs_is_refused_and_the_next_is_tried(photos, tmp_path):
    starts = []
    wrong, right = scaled(0.01, starts, "wrong 1"), scaled(2e-6, starts, "right 1")
    _, record = evaluate(photos, colours(wrong, right), tmp_path / "both")
    assert record.description["runtime"] == "right 1"
    eager, plain = evaluate(photos, colours(), tmp_path / "eager")
    refused, alone = evaluate(photos, colours(wrong), tmp_path / "wrong")
    assert (refused, alone.fingerprint) == (eager, plain.fingerprint)
    assert re.fullmatch(
        r"differs by 0\.\d+ on the first photos", alone.description["runtimes_refused"]["wrong 1"]
    )
    assert starts == ["wrong 1", "right 1"], "what was found of it is remembered"


def test_one_that_fails_costs_nothing_but_speed(photos, tmp_path):
    def fail():
        raise RuntimeError("no such operator")

    eager, plain = evaluate(photos, colours(), tmp_path / "eager")
    made, record = evaluate(photos, colours(Runtime("broken 1", fail)), tmp_path / "broken")
    assert (made, record.fingerprint) == (eager, plain.fingerprint)
    assert "no such operator" in record.description["runtimes_refused"]["broken 1"]


def test_not_a_number_is_refused(photos, tmp_path):
    _, record = evaluate(photos, colours(scaled(float("nan"), [])), tmp_path / "run")
    assert "runtime" not in record.description
    assert "quick 1" in record.description["runtimes_refused"]


def test_unreadable_photos_do_not_decide(photos, tmp_path):
    manifest = read_benchmark(photos)
    first = manifest.photos.sort("path")["path"].head(4).to_list()
    for path in first[:3]:
        manifest.photo_path(path).write_bytes(b"none")
    some = colours(scaled(2e-6, []))
    choose_runtime(some, replace(manifest, photos=manifest.photos.filter(pl.col("path").is_in(first))), 4)
    assert some.description["runtime"] == "quick 1"
    none = colours(scaled(2e-6, []))
    lost = manifest.photos.filter(pl.col("path").is_in(first[:3]))
    choose_runtime(none, replace(manifest, photos=lost), 3)
    assert none.description["runtimes_refused"] == {"quick 1": "none of the first photos can be read"}
