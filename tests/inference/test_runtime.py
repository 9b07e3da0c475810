"""The fastest runtime that gives the numbers of eager PyTorch encodes the photos, and no other."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from noise_photos import save_animals

from counterground.benchmarks import StampsSettings, build_stamps
from counterground.errors import CounterGroundError, UsageError
from counterground.files import DamagedCacheWarning
from counterground.inference import Settings, choose_runtime, encode_photos, evaluate_models
from counterground.inference.encoding import _runtime as chooser  # its tolerance
from counterground.inference.encoding import feature_store
from counterground.models import Classifier, Generative, LoadOptions, Runtime, load_model

# A network whose runtimes the test makes.
from counterground.models.classifiers import NetworkClassifier
from counterground.photos import read_benchmark

LITE = "efficientnet-lite0"
SETTINGS = Settings(label_space="benchmark", device="cpu", batch_size=16)
TOLERANCE = chooser.TOLERANCE["fp32"]


@pytest.fixture(scope="module")
def stamps(tmp_path_factory, shared_cache):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COUNTERGROUND_CACHE", str(shared_cache))
        settings = StampsSettings(classes=("ostrich", "zebra"), labels=("grass", "rock"), placements=1)
        return build_stamps(settings, out=tmp_path_factory.mktemp("stamps") / "few")


@pytest.fixture
def photos(tmp_path):
    """As many as are worth measuring; what they cost is not waited for."""
    return save_animals(tmp_path / "photos", per_group=12)


class Clock:
    """Goes on by what a network of these tests says it takes, and hardly by itself.

    Networks find it in the package: what else their code refers to is part of their fingerprint.
    """

    now = 0.0

    def perf_counter(self) -> float:
        self.now += 1e-4
        return self.now


@pytest.fixture(autouse=True)
def no_work_of_the_machine_counts(monkeypatch):
    monkeypatch.setattr(chooser, "time", Clock())


@pytest.fixture
def any_work_is_worth_measuring(monkeypatch):
    monkeypatch.setattr(chooser, "_SHORT", 0)


@pytest.mark.slow
def test_lite_by_onnx_runtime_answers_as_by_pytorch(stamps, cache):
    model = load_model(LITE, device="cpu")
    eager_fingerprint = model.fingerprint
    eager = encode_photos(model, stamps, cache / "features", batch_size=8, show_progress=False).matrix
    choose_runtime(model, stamps, 8, "onnx")
    fast = encode_photos(model, stamps, cache / "features", batch_size=8, show_progress=False).matrix
    assert model.description["runtime"].startswith("onnxruntime ")
    assert 0 < model.description["runtime_difference"] <= TOLERANCE
    assert model.fingerprint != eager_fingerprint
    assert 0 < np.abs(fast - eager).max() <= TOLERANCE * np.abs(eager).max()
    first, second = np.sort(eager, axis=1)[:, :-3:-1].T
    ties = int((first - second <= 2 * TOLERANCE * np.abs(eager).max()).sum())
    assert (fast.argmax(1) != eager.argmax(1)).sum() <= ties == 0


class Colours(torch.nn.Module):
    """Says how much of each colour there is, and takes its time."""

    def forward(self, batch):
        chooser.time.now += 0.02
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


def scaled(by, starts: list[str], name: str = "quick 1", seconds: float = 0, **more) -> Runtime:
    """Gives 1 + ``by`` times what the network gives, which is between 0 and 10."""

    def start(network, batch):
        starts.append(name)

        def forward(batch):
            chooser.time.now += seconds
            return 10 * batch.mean((2, 3)) * (1 + (by(batch) if callable(by) else by))

        return forward

    return Runtime(name, start, **more)


def evaluate(photos, model, out, **more):
    run = evaluate_models(read_benchmark(photos), {"colours": model}, replace(SETTINGS, **more), out)
    return (out / "predictions.parquet").read_bytes(), run.info.models[0]


@pytest.mark.usefixtures("any_work_is_worth_measuring")
class TestAuto:
    def test_one_that_agrees_is_recorded_and_resumed_with(self, photos, tmp_path, cache):
        starts = []
        eager, record = evaluate(photos, colours(), tmp_path / "eager")
        assert record.description["runtime"] == "eager"
        fast, used = evaluate(photos, colours(scaled(2e-6, starts)), tmp_path / "fast")
        assert used.description["runtime"] == "quick 1"
        assert 1e-6 < used.description["runtime_difference"] < 4e-6
        measured = used.description["runtimes_measured"]
        assert measured["quick 1"]["photos_per_second"] > 1.1 * measured["eager"]["photos_per_second"]
        assert used.fingerprint != record.fingerprint
        assert fast != eager
        shards = sorted(cache.glob("features/*/*.safetensors"))
        newest = max(shards, key=lambda path: path.stat().st_mtime_ns)
        newest.unlink()
        resumed, again = evaluate(photos, colours(scaled(2e-6, starts)), tmp_path / "resumed")
        assert (resumed, again.fingerprint) == (fast, used.fingerprint)
        assert again.description == used.description
        whole, _ = evaluate(photos, colours(scaled(2e-6, starts)), tmp_path / "whole")
        assert whole == fast
        assert starts == ["quick 1"] * 2, "where every photo is stored, none is started"

    def test_one_that_differs_is_refused_and_the_next_is_used(self, photos, tmp_path):
        starts = []
        wrong, right = scaled(0.01, starts, "wrong 1"), scaled(2e-6, starts, "right 1")
        _, record = evaluate(photos, colours(wrong, right), tmp_path / "both")
        assert record.description["runtime"] == "right 1"
        eager, plain = evaluate(photos, colours(), tmp_path / "eager")
        refused, alone = evaluate(photos, colours(wrong), tmp_path / "wrong")
        assert (refused, alone.fingerprint) == (eager, plain.fingerprint)
        reason = alone.description["runtimes_measured"]["wrong 1"]["refused"]
        assert re.fullmatch(r"differs by 0\.\d+ of the largest number on the first photos", reason)
        before = len(starts)
        evaluate(photos, colours(wrong), tmp_path / "again")
        assert len(starts) == before, "what was found of it is remembered"

    def test_one_that_differs_later_in_the_block_is_refused(self, photos, tmp_path):
        late = scaled(lambda batch: 0.01 if len(batch) > 8 else 0, [], "late 1")
        slower = scaled(2e-6, [], "slower 1", seconds=0.005)
        _, record = evaluate(photos, colours(late, slower), tmp_path / "run")
        assert record.description["runtime"] == "slower 1"
        assert "differs by" in record.description["runtimes_measured"]["late 1"]["refused"]

    def test_the_fastest_is_used(self, photos, tmp_path):
        some = [scaled(1e-6, [], f"after {ms} ms", seconds=ms / 1000) for ms in (10, 0, 5, 40)]
        _, record = evaluate(photos, colours(*some), tmp_path / "run")
        assert record.description["runtime"] == "after 0 ms"
        _, record = evaluate(photos, colours(some[-1]), tmp_path / "slow")
        assert record.description["runtime"] == "eager"
        assert "refused" not in record.description["runtimes_measured"]["after 40 ms"]

    def test_one_that_fails_costs_nothing_but_speed(self, photos, tmp_path):
        def fail(network, batch):
            raise RuntimeError("no such operator")

        eager, plain = evaluate(photos, colours(), tmp_path / "eager")
        made, record = evaluate(photos, colours(Runtime("broken 1", fail)), tmp_path / "broken")
        assert (made, record.fingerprint) == (eager, plain.fingerprint)
        assert record.description["runtimes_measured"]["broken 1"] == {"refused": "no such operator"}

    def test_not_a_number_is_refused(self, photos, tmp_path):
        _, record = evaluate(photos, colours(scaled(float("nan"), [])), tmp_path / "run")
        assert record.description["runtime"] == "eager"
        assert "refused" in record.description["runtimes_measured"]["quick 1"]

    def test_unreadable_photos_do_not_decide(self, photos):
        manifest = read_benchmark(photos)
        first = manifest.photos["path"].head(16).to_list()
        for path in first[:15]:
            manifest.photo_path(path).write_bytes(b"none")
        some = colours(scaled(2e-6, []))
        choose_runtime(some, manifest, 16)
        assert some.description["runtime"] == "quick 1"
        none = colours(scaled(2e-6, []))
        choose_runtime(none, manifest, 15)
        assert none.description["runtime"] == "eager"

    def test_a_damaged_record_is_made_again(self, photos, tmp_path, cache):
        fast, _ = evaluate(photos, colours(scaled(2e-6, [])), tmp_path / "fast")
        (record,) = (cache / "runtimes").iterdir()
        for damage in (b"", b"{}", b'{"runtime": 1, "photos": null, "measured": {"a": {"b": 1}}}'):
            record.write_bytes(damage)
            assert evaluate(photos, colours(scaled(2e-6, [])), tmp_path / "fast")[0] == fast

    def test_more_photos_pay_for_a_slower_start(self, photos):
        starts = []
        manifest = read_benchmark(photos)
        more = pl.concat([manifest.photos] * 1000)  # only the first block is looked at
        more = more.with_columns(
            path=pl.Series([f"unseen/{number}.jpg" for number in range(len(more))]),
            photo_id=pl.Series([f"{number:064x}" for number in range(len(more))]),
        )
        many = replace(manifest, photos=pl.concat([manifest.photos, more]))
        for benchmark, runtime, started in (
            (manifest, "eager", 0),
            (many, "quick 1", 1),
            (manifest, "eager", 1),  # a repeated run continues as it began
            (many, "quick 1", 1),
        ):
            model = colours(scaled(2e-6, starts, pays_after=5))
            choose_runtime(model, benchmark, 16)
            assert (model.description["runtime"], len(starts)) == (runtime, started)
        another = scaled(2e-6, starts, "quick 2", pays_after=5)
        for benchmark in (many, manifest):  # what was found for many is not measured again for few
            model = colours(another)
            choose_runtime(model, benchmark, 16)
            assert (model.description["runtime"], len(starts)) == ("quick 2", 2)

    def test_a_repeated_run_is_the_same_whatever_a_larger_one_chose(self, photos, tmp_path, cache):
        """Fewer photos than are worth measuring; the choice for many does not hold for them afterwards."""
        few = save_animals(tmp_path / "few")
        before, record = evaluate(few, colours(scaled(2e-6, [])), tmp_path / "run")
        assert record.description["runtime"] == "eager"
        _, larger = evaluate(photos, colours(scaled(2e-6, [])), tmp_path / "larger")
        assert larger.description["runtime"] == "quick 1"
        shards = sorted(cache.glob("features/*/*.safetensors"))
        after, again = evaluate(few, colours(scaled(2e-6, [])), tmp_path / "run")
        assert (after, again) == (before, record)
        assert sorted(cache.glob("features/*/*.safetensors")) == shards, "nothing is encoded again"
        # Nor is it in another folder, nor if it was killed before its last block and run.json.
        store = feature_store(colours(), cache / "features", SETTINGS.batch_size).folder
        next(store.glob("*.safetensors")).unlink()
        resumed, again = evaluate(few, colours(scaled(2e-6, [])), tmp_path / "resumed")
        assert (resumed, again) == (before, record)
        assert sorted(cache.glob("features/*/*.safetensors")) == shards
        (kept,) = cache.glob("runtimes/*-63.choice")
        kept.write_bytes(b"damaged")
        with pytest.warns(DamagedCacheWarning):
            after, again = evaluate(few, colours(scaled(2e-6, [])), tmp_path / "run")
        assert (after, again) == (before, record)


def test_a_few_photos_are_not_worth_it(tmp_path):
    photos = save_animals(tmp_path / "photos")
    starts = []
    _, record = evaluate(photos, colours(scaled(0, starts)), tmp_path / "run")
    assert (record.description["runtime"], starts) == ("eager", [])
    assert "runtimes_measured" not in record.description
    _, record = evaluate(
        save_animals(tmp_path / "more", per_group=12), colours(scaled(0, starts)), tmp_path / "short"
    )
    assert (record.description["runtime"], starts) == ("eager", []), "nor is less than three seconds"


class TestWanted:
    def test_it_is_used_however_slow(self, photos, tmp_path):
        slow = scaled(1e-6, [], "slow 1", seconds=0.008, choice="compile")
        quick = scaled(1e-6, [], choice="onnx")
        _, record = evaluate(photos, colours(quick, slow), tmp_path / "run", runtime="compile")
        assert record.description["runtime"] == "slow 1"
        assert list(record.description["runtimes_measured"]) == ["eager", "slow 1"]
        _, record = evaluate(photos, colours(quick, slow), tmp_path / "eager", runtime="eager")
        assert record.description["runtime"] == "eager"

    def test_it_is_refused_where_it_differs_or_fails(self, photos, tmp_path):
        wrong = scaled(0.01, [], "wrong 1", choice="onnx")
        with pytest.raises(
            CounterGroundError, match=r"colours cannot be run by --runtime onnx: differs by 0\.0"
        ):
            evaluate(photos, colours(wrong), tmp_path / "run", runtime="onnx")

    def test_it_is_refused_where_there_is_none(self, photos, tmp_path):
        with pytest.raises(UsageError, match="on the CPU in fp32"):
            evaluate(photos, LITE, tmp_path / "run", runtime="onnx", precision="bf16")

        class Own(Classifier):
            runs_by = "onnx"
            fingerprint, device, dtype, dim, description = "1", "cpu", "fp32", 3, {}
            class_names, imagenet_columns = ("ice bear", "black swan", "flamingo"), (296, 100, 130)

            def preprocess(self, image):
                return pixels(image)

            def encode(self, batch):
                return batch.mean((2, 3))

        with pytest.raises(UsageError, match="runs networks of PyTorch"):
            evaluate(photos, Own(), tmp_path / "run", runtime="compile")
        _, record = evaluate(photos, Own(), tmp_path / "run", runtime="onnx")
        assert record.description["runtime"] == "onnx", "it brings its own"

    def test_it_is_refused_for_generative_models(self, photos, tmp_path):
        class Words(Generative):
            def generate(self, image, question, *, max_new_tokens):
                return "a flamingo"

        with pytest.raises(UsageError, match="it is a generative model"):
            evaluate(photos, Words(), tmp_path / "run", runtime="compile")

    def test_a_mistyped_one(self):
        with pytest.raises(UsageError, match="Did you mean 'onnx'"):
            Settings(runtime="onxn")
