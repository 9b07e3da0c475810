"""Every runtime of a network gives the numbers of eager PyTorch, and leaves the network as it was."""

from __future__ import annotations

import sys

import pytest
import timm
import tiny_hf
import torch
from PIL import Image
from timm.data import create_transform, resolve_model_data_config

from counterground.benchmarks import StampsSettings, build_stamps
from counterground.errors import CounterGroundError
from counterground.models import load_model, named_models
from counterground.models._execution import runtimes_for
from counterground.photos import load_photo

LITE = "efficientnet-lite0"
BLOCK = 32
# As a part of the largest number.
CLOSE = 1e-5


def spread(network: torch.nn.Module) -> torch.nn.Module:
    """Give batch norm the statistics of noise, as training would: a random network else says one thing."""
    torch.manual_seed(0)
    with torch.no_grad():
        network.train()
        for _ in range(20):
            network(torch.randn(16, 3, 96, 96))
    return network.eval()


def classifier(network: torch.nn.Module, transform):
    names = [f"class {index}" for index in range(1000)]
    (given,) = named_models((network, transform, names))
    return load_model(given, device="cpu")


def timm_classifier(name: str):
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=1000)
    return classifier(spread(network), create_transform(**resolve_model_data_config(network)))


MODELS = {
    "shipped CLIP": lambda: load_model("counterground:stamps-biased", device="cpu"),
    "convolutions": lambda: timm_classifier("test_resnet"),
    "transformer": lambda: timm_classifier("test_vit"),
}


@pytest.fixture(scope="module")
def images(shared_cache):
    """200 photos of the built-in benchmark, all classes and backgrounds among them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COUNTERGROUND_CACHE", str(shared_cache))
        stamps = build_stamps(StampsSettings(per_label=4))
    some = stamps.photos.sample(200, seed=3)
    for column in ("class_name", "background"):
        assert set(some[column]) == set(stamps.photos[column])
    return [load_photo(stamps.photo_path(path)).image for path in some["path"]]


@pytest.fixture
def photos():
    torch.manual_seed(0)
    return torch.randn(6, 3, 96, 96)


def by_onnx(model):
    (runtime,) = model.runtimes
    return model.run_by(runtime)


def encoded(model, blocks) -> torch.Tensor:
    return torch.cat([model.encode(block) for block in blocks])


def ties(expected: torch.Tensor) -> torch.Tensor:
    """Return which photos have two best numbers that a runtime may exchange."""
    best = expected.topk(2, dim=1).values
    return best[:, 0] - best[:, 1] <= 2 * CLOSE * expected.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_hundreds_of_photos_are_predicted_as_by_pytorch(name, images):
    model = MODELS[name]()
    blocks = torch.stack([model.preprocess(image) for image in images]).split(BLOCK)
    expected = encoded(model, blocks)
    tied = ties(expected)
    assert tied.sum() < 0.02 * len(images)
    for runtime in model.runtimes:
        given = encoded(model.run_by(runtime), blocks)
        assert (given - expected).abs().max() <= CLOSE * expected.abs().max(), runtime.name
        changed = given.argmax(1) != expected.argmax(1)
        assert not (changed & ~tied).any(), runtime.name
        assert changed.sum() <= tied.sum()


def test_features_by_onnx_runtime_do_not_depend_on_the_rest_of_the_batch():
    model = by_onnx(load_model(LITE, device="cpu"))
    torch.manual_seed(0)
    photos = torch.randn(6, 3, 224, 224)
    rows = model.encode(photos)
    assert torch.equal(model.encode(photos.flip(0)), rows.flip(0))
    assert torch.equal(model.encode(photos[2:3]), rows[2:3])


@pytest.mark.parametrize("name", ["clip", "siglip", "vit", "resnet"])
def test_towers_of_transformers(name, tmp_path):
    model = load_model(f"hf:{tiny_hf.build(name, tmp_path)}", device="cpu")
    photos = torch.randn(5, 3, tiny_hf.SIDE, tiny_hf.SIDE)
    expected = model.encode(photos)
    assert (by_onnx(model).encode(photos) - expected).abs().max() <= CLOSE * expected.abs().max()


def test_patches_of_several_grids_are_not_traced(tmp_path):
    model = load_model(f"hf:{tiny_hf.build('naflex', tmp_path)}", device="cpu")
    photo = model.preprocess(Image.new("RGB", (64, 40)))
    with pytest.raises(CounterGroundError, match="patches"):
        by_onnx(model).encode(photo[None])


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_without_its_packages_there_is_no_onnx_runtime(missing, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    assert load_model(LITE, device="cpu").runtimes == ()


def test_onnx_runtime_is_for_full_precision():
    model = load_model(LITE, device="cpu", precision="bf16")
    assert model.runtimes == ()


def test_onnx_runtime_runs_a_network_whatever_the_default_dtype_of_the_program():
    network, batch = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2)), torch.rand(3, 3, 2, 2)
    (onnx,) = runtimes_for("cpu", "fp32")
    torch.set_default_dtype(torch.float64)
    try:
        torch.testing.assert_close(onnx.start(network, batch)(batch), network(batch))
    finally:
        torch.set_default_dtype(torch.float32)


def test_the_network_and_pytorch_are_left_as_they_were(photos):
    torch.manual_seed(0)
    network = timm.create_model("test_vit", num_classes=1000, img_size=96).eval()
    convolutions = spread(timm.create_model("test_resnet", num_classes=1000))
    for each in (network, convolutions):
        before = each(photos), [(*weights.stride(), weights.data_ptr()) for weights in each.parameters()]
        model = classifier(each, lambda image: image)
        for runtime in model.runtimes:
            model.run_by(runtime).encode(photos)
        after = each(photos), [(*weights.stride(), weights.data_ptr()) for weights in each.parameters()]
        assert torch.equal(after[0], before[0])
        assert after[1] == before[1]
    assert all(block.attn.fused_attn for block in network.blocks)
    assert torch.backends.mha.get_fastpath_enabled()
    assert torch.backends.cuda.flash_sdp_enabled()


class Decides(torch.nn.Module):
    """What it computes depends on the photos themselves."""

    def forward(self, batch):
        means = batch.mean((2, 3))
        return means if means.sum() > 0 else 2 * means


def test_code_that_decides_by_values_is_not_traced(photos):
    (given,) = named_models((Decides(), lambda image: image, ["red", "green", "blue"]))
    with pytest.raises(CounterGroundError, match=r"test_runtimes\.py, line \d+ may decide by values"):
        by_onnx(load_model(given, device="cpu")).encode(photos)


def test_the_fingerprint_says_what_runs_it():
    model = timm_classifier("test_resnet")
    eager = model.fingerprint
    found = {eager, *(model.run_by(runtime).fingerprint for runtime in model.runtimes)}
    assert len(found) == 1 + len(model.runtimes)
    assert model.fingerprint == eager
