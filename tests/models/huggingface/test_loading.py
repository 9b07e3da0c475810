"""Folders and hubs: what is refused, in one line; what never runs; what needs no network."""

from __future__ import annotations

import json
import re
import shutil
import sys

import pytest
import torch
from evil_pickle import Evil
from safetensors.torch import load_file, save_file
from tiny_hf import build, edit_json

from counterground.errors import CounterGroundError, UsageError
from counterground.models import check_specs, load_model


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return build("clip", tmp_path_factory.mktemp("clip"))


@pytest.fixture
def folder(clip, tmp_path):
    return shutil.copytree(clip, tmp_path / "clip")


def refused(spec, error=CounterGroundError, **options):
    with pytest.raises(error) as caught:
        load_model(spec, device="cpu", **options)
    assert "\n" not in str(caught.value)
    assert spec in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("./nowhere", "there is no folder"),
        ("clip-vit-base-patch32", "OWNER/NAME"),
        ("openai/clip-vit-base-patch32@", "OWNER/NAME@REVISION"),
        ("a/b?trust_remote", "Did you mean 'trust_remote_code'?"),
        ("a/b?trust_remote_code=yes", "takes no value"),
        ("a/b?labels", "take one"),
        ("a/b?backend=fast", "pil or torchvision"),
    ],
)
def test_a_mistyped_specification_is_found_before_any_work(rest, message):
    with pytest.raises(UsageError, match="hf:") as caught:
        check_specs(["efficientnet-lite0", f"hf:{rest}"])
    assert message in str(caught.value)
    assert refused(f"hf:{rest}", UsageError) == str(caught.value)


def test_the_check_reads_a_folders_configuration(folder):
    (folder / "config.json").write_text("{")
    with pytest.raises(CounterGroundError, match="not readable JSON"):
        check_specs([f"hf:{folder}"])
    (folder / "config.json").unlink()
    with pytest.raises(UsageError, match=r"has no config\.json"):
        check_specs([f"hf:{folder}"])
    (folder / "open_clip_config.json").touch()
    with pytest.raises(UsageError, match="write open_clip:"):
        check_specs([f"hf:{folder}"])


@pytest.mark.parametrize("architecture", ["CLIPVisionModelWithProjection", "CLIPTextModel", "ViTModel"])
def test_a_tower_alone_cannot_be_scored(architecture, folder):
    model_type = "clip" if "CLIP" in architecture else architecture.removesuffix("Model").lower()
    edit_json(folder / "config.json", architectures=[architecture], model_type=model_type)
    with pytest.raises(UsageError, match=f"{architecture} cannot be scored"):
        check_specs([f"hf:{folder}"])


def test_without_transformers_the_extra_is_named(clip, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert "pip install 'counterground[hf]'" in refused(f"hf:{clip}")


@pytest.mark.parametrize("missing", ["processor_config.json", "model.safetensors"])
def test_an_incomplete_folder_is_refused(missing, folder):
    (folder / missing).unlink()
    assert "is not a complete model" in refused(f"hf:{folder}")


def test_a_folder_without_its_tokenizer_is_refused(folder):
    """Transformers would make a tokenizer of two tokens, and every text the same."""
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    assert "its text tower 82" in refused(f"hf:{folder}")


def test_a_token_beyond_the_text_tower_is_refused(folder):
    """Describing the gap before it would take gigabytes."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["q"] = 10**7
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert "its tokenizer has 10000001 tokens" in refused(f"hf:{folder}")


@pytest.mark.parametrize("shape", [None, (3, 3)])
def test_weights_that_would_be_random_are_refused(shape, folder):
    state = load_file(folder / "model.safetensors")
    state.pop("visual_projection.weight")
    if shape:
        state["visual_projection.weight"] = torch.zeros(shape)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    message = refused(f"hf:{folder}")
    assert "visual_projection.weight" in message
    assert "would be random" in message


@pytest.mark.parametrize(
    ("kind", "tower", "settings", "named"),
    [
        ("clip", "vision_config", {"num_hidden_layers": 1}, r"vision_model\.encoder\.layers\.1\."),
        ("vit", None, {"num_hidden_layers": 1}, r"vit\.(encoder\.layer|layers)\.1\."),
        ("vit", None, {"qkv_bias": False}, r"\.bias"),
    ],
)
def test_weights_without_a_place_are_refused(kind, tower, settings, named, tmp_path):
    folder = build(kind, tmp_path / kind)
    config = json.loads((folder / "config.json").read_text())
    (config if tower is None else config[tower]).update(settings)
    (folder / "config.json").write_text(json.dumps(config))
    message = refused(f"hf:{folder}")
    assert re.search(rf"has no place for \d+ tensors of the weights \(.*{named}", message)


def test_a_head_that_is_not_used_may_be_in_the_weights(tmp_path):
    folder = build("vit", tmp_path / "vit")
    state = load_file(folder / "model.safetensors")
    state |= {"vit.pooler.dense.bias": torch.zeros(2), "decoder.0.weight": torch.zeros(2, 2)}
    state["vit.embeddings.mask_token"] = torch.zeros(2)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    load_model(f"hf:{folder}", device="cpu")


def test_a_pickle_that_runs_code_is_refused_and_not_run(folder, tmp_path):
    (folder / "model.safetensors").unlink()
    torch.save({"x": torch.zeros(1), "evil": Evil(str(tmp_path / "ran"))}, folder / "pytorch_model.bin")
    assert "could run code" in refused(f"hf:{folder}")
    assert not (tmp_path / "ran").exists()


def test_a_pickle_of_tensors_equals_safetensors(clip, folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    models = [load_model(f"hf:{where}", device="cpu") for where in (clip, folder)]
    assert models[0].fingerprint == models[1].fingerprint


def test_photos_of_different_shapes_are_refused(folder):
    about = json.loads((folder / "processor_config.json").read_text())["image_processor"]
    edit_json(folder / "processor_config.json", image_processor={**about, "do_center_crop": False})
    assert "of shapes" in refused(f"hf:{folder}")


OWN_CODE = """
from pathlib import Path
from transformers import CLIPConfig, CLIPModel

Path({flag!r}).touch()

class OwnConfig(CLIPConfig):
    model_type = "own_clip"

class OwnClip(CLIPModel):
    config_class = OwnConfig

    def get_image_features(self, pixel_values):
        return super().get_image_features(pixel_values=pixel_values).pooler_output.roll({places}, dims=1)
"""


def test_code_beside_the_weights_runs_only_when_asked_for_by_name(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    flag = tmp_path / "ran"
    (folder / "own.py").write_text(OWN_CODE.format(flag=str(flag), places=1))
    own = {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnClip"}
    edit_json(folder / "config.json", model_type="own_clip", architectures=["OwnClip"], auto_map=own)
    message = refused(f"hf:{folder}")
    assert f"hf:{folder}?trust_remote_code" in message
    assert not flag.exists()
    asked = f"hf:{folder}?trust_remote_code"
    model = load_model(asked, device="cpu")
    assert flag.exists()
    assert model.description["architecture"] == "OwnClip"
    (folder / "own.py").write_text(OWN_CODE.format(flag=str(flag), places=2))
    assert load_model(asked, device="cpu").fingerprint != model.fingerprint


def test_a_folder_never_asks_the_network(folder, monkeypatch):
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(f"socket.socket.{name}", lambda *_: pytest.fail("the network was asked"))
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    load_model(f"hf:{folder}", device="cpu")


def test_a_repository_in_the_cache_needs_no_network(clip, tmp_path, monkeypatch):
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--some--clip"
    shutil.copytree(clip, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(f"socket.socket.{name}", lambda *_: pytest.fail("the network was asked"))
    expected = load_model(f"hf:{clip}", device="cpu").fingerprint
    for spec in ("hf:some/clip", "hf:some/clip@main", f"hf:some/clip@{commit}"):
        model = load_model(spec, device="cpu", offline=True)
        assert model.fingerprint == expected
        assert model.description["weights"] == f"some/clip@{commit}"
