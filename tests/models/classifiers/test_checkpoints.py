"""Fine-tuned checkpoints with classes of their own, saved as people save them."""

from __future__ import annotations

import argparse

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from counterground.errors import CounterGroundError, UsageError
from counterground.models import check_specs, load_model

NAMES = ("rust spot", "scratch", "clean")


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return timm.create_model("test_resnet.r160_in1k", num_classes=3).eval()


@pytest.fixture
def labels(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_text("\n".join(NAMES) + "\n")
    return path


def prefixed(state, prefix):
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def shifted(state):
    return {name: tensor + 1 for name, tensor in state.items()}


SAVED = {
    "plain": lambda state: state,
    "training script": lambda state: {"epoch": 3, "state_dict": state, "optimizer": {"state": {}}},
    "with options": lambda state: {"model": state, "args": argparse.Namespace(lr=0.1, betas=(0.9, 0.95))},
    "with a score": lambda state: {"net": state, "acc": np.float64(0.5), "best": np.float32(0.4)},
    "DataParallel": lambda state: prefixed(state, "module."),
    "compiled": lambda state: {"model_state_dict": prefixed(state, "_orig_mod.")},
    "Lightning": lambda state: {"state_dict": prefixed(state, "model."), "hyper_parameters": {"lr": 1}},
    "averaged": lambda state: {"state_dict": shifted(state), "state_dict_ema": state},
    "averaged by PyTorch": lambda state: {**prefixed(state, "module."), "n_averaged": torch.tensor(3)},
}


@pytest.mark.parametrize("saved", SAVED)
def test_a_checkpoint_is_read_as_it_was_saved(saved, network, labels, tmp_path):
    path = tmp_path / "best.pth"
    torch.save(SAVED[saved](network.state_dict()), path)
    spec = f"timm:test_resnet@{path}?labels={labels}"
    check_specs([spec])
    model = load_model(spec, device="cpu")
    assert model.class_names == NAMES
    assert model.imagenet_columns == (None, None, None)
    assert not any("ImageNet" in warning for warning in model.description["warnings"])
    batch = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        np.testing.assert_array_equal(model.encode(batch), network(batch))


@pytest.mark.parametrize("size", [160, 192])
def test_weights_of_another_resolution_are_said_to_be_resampled(size, labels, tmp_path):
    torch.manual_seed(0)
    network = timm.create_model("test_vit", img_size=size, num_classes=3)
    torch.save(network.state_dict(), tmp_path / "best.pth")
    for name in ("test_vit", "test_vit.r160_in1k"):
        model = load_model(f"timm:{name}@{tmp_path / 'best.pth'}?labels={labels}", device="cpu")
        said = [text for text in model.description["warnings"] if "resampled" in text]
        assert len(said) == (size != 160)
        assert all(text.startswith("best.pth holds pos_embed (1, 145, 64), which was") for text in said)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("timm:test_resnet", {"fc.weight": torch.zeros(1).expand(10**7, 64)}, r"shape \(10000000, 64\) in 4"),
        ("torchvision:resnet18", {"fc.weight": torch.zeros(1).expand(10**7, 512)}, r"\(10000000, 512\) in 4"),
        ("timm:test_resnet", None, "no mapping of names to tensors"),
    ],
)
def test_weights_that_no_network_can_have_get_one_line_at_once(name, change, said, network, labels, tmp_path):
    """The last holds only the counter of averaged weights."""
    state = {"n_averaged": torch.tensor(3)} if change is None else {**network.state_dict(), **change}
    torch.save(state, tmp_path / "best.pth")
    with pytest.raises(CounterGroundError, match=rf"best\.pth does not fit .*{said}"):
        load_model(f"{name}@{tmp_path / 'best.pth'}?labels={labels}", device="cpu")


@pytest.mark.parametrize("text", ["hello", "a first\nof my classes", ""])
@pytest.mark.parametrize("spec", ["timm:test_resnet", "torchvision:resnet18", "open_clip:ViT-B-32"])
def test_a_file_that_holds_no_weights_is_said_to_hold_none(spec, text, tmp_path):
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(
        CounterGroundError, match=r"classes\.txt is not a readable weights file .*torch\.save"
    ):
        load_model(f"{spec}@{tmp_path / 'classes.txt'}", device="cpu")


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "mobilenet_v3_small", "regnet_y_400mf"])
def test_torchvisions_networks_get_the_head_of_the_checkpoint(name, labels, tmp_path):
    torch.manual_seed(0)
    network = torchvision.models.get_model(name, weights=None, num_classes=3).eval()
    path = tmp_path / "best.safetensors"  # whose tensors come in the order of their names
    save_file(network.state_dict(), path)
    model = load_model(f"torchvision:{name}@{path}?labels={labels}", device="cpu")
    assert model.class_names == NAMES
    batch = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        np.testing.assert_array_equal(model.encode(batch), network(batch))


def test_imagenet_names_in_the_file_are_matched(network, labels, tmp_path):
    torch.save(network.state_dict(), tmp_path / "best.pth")
    labels.write_text("flamingo\nmy own cat\nice bear\n")
    model = load_model(f"timm:test_resnet@{tmp_path / 'best.pth'}?labels={labels}", device="cpu")
    assert model.imagenet_columns == (130, None, 296)


@pytest.mark.parametrize("family", ["timm:resnet18.a1_in1k", "torchvision:resnet18"])
def test_a_file_whose_outputs_only_their_number_names_is_told(family, tmp_path):
    torch.manual_seed(0)
    network = torchvision.models.resnet18(weights=None)  # 1000 outputs, and timm's names of the tensors
    torch.save(network.state_dict(), tmp_path / "best.pth")
    said = "The 1000 outputs of best.pth are taken to be imagenet-1k in the usual order"
    model = load_model(f"{family}@{tmp_path / 'best.pth'}", device="cpu")
    assert model.imagenet_columns == tuple(range(1000))
    assert sum(said in warning for warning in model.description["warnings"]) == 1
    (tmp_path / "mine.txt").write_text("\n".join(f"species {number}" for number in range(1000)))
    mine = load_model(f"{family}@{tmp_path / 'best.pth'}?labels={tmp_path / 'mine.txt'}", device="cpu")
    assert not any(said in warning for warning in mine.description["warnings"])


MISTAKES = [
    ("", "the head has 3 outputs whose names are unknown: add ?labels=FILE (one name per line)."),
    ("?labels=two.txt", "two.txt has 2 names for 3 outputs."),
    ("?labels=twice.txt", "twice.txt calls two outputs 'scratch' (0 and 2, counted from 0)"),
    ("?labels=nowhere.txt", "nowhere.txt"),
    ("?labels=", "labels= needs a file with one name per line"),
    ("?labels=imagenet", "labels=imagenet means 1000 classes, but there are 3."),
    ("?label=two.txt", "unknown option 'label'; it takes labels. Did you mean 'labels'?"),
]


@pytest.mark.parametrize(("query", "said"), MISTAKES, ids=[query for query, _ in MISTAKES])
@pytest.mark.parametrize("family", ["timm:test_resnet", "torchvision:squeezenet1_1"])
def test_a_mistake_in_the_names_gets_one_line(family, query, said, network, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    chosen = torchvision.models.squeezenet1_1(num_classes=3) if "torchvision" in family else network
    torch.save(chosen.state_dict(), "best.pth")
    (tmp_path / "two.txt").write_text("rust spot\nscratch\n")
    (tmp_path / "twice.txt").write_text("scratch\nclean\nscratch\n")
    with pytest.raises(UsageError) as caught:
        load_model(f"{family}@best.pth{query}", device="cpu")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
