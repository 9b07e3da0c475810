"""Each line of docs/models.md is run as it stands, with tiny models under the names it uses."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import polars as pl
import pytest
import tiny_lvlm
from noise_photos import ANIMALS, save_noise
from tiny_hf import build

from counterground.cli import main

PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
COMMIT = "0" * 40
HUB = {
    "openai/clip-vit-base-patch32": "clip",
    "google/siglip-base-patch16-224": "siglip",
    "google/siglip2-base-patch16-224": "siglip2",
    "google/siglip2-base-patch16-naflex": "naflex",
    "kakaobrain/align-base": "align",
    "google/vit-base-patch16-224": "vit1000",
    "facebook/dinov2-small": "dinov2",
}
LVLMS = {
    "llava-hf/llava-1.5-7b-hf": "llava",
    "llava-hf/llava-v1.6-vicuna-7b-hf": "llava_next",
    "Salesforce/instructblip-vicuna-7b": "instructblip",
    "Qwen/Qwen2-VL-2B-Instruct": "qwen2_vl",
    "Qwen/Qwen2.5-VL-3B-Instruct": "qwen2_5_vl",
}
CLIP = "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"


def blocks(mark: str, language: str) -> list[str]:
    return re.findall(rf"<!-- {re.escape(mark)} -->\n```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


LINES = [line for block in blocks("run", "console") for line in block.strip().splitlines()]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, tiny_clip):
    """A folder with photos, models and modules of the names that the page uses."""
    import timm
    import torch
    import torchvision
    from safetensors.torch import save_file

    root = tmp_path_factory.mktemp("workplace")
    for number, (animal, places) in enumerate(ANIMALS.items()):
        for group, place in zip(("common", "counter"), places, strict=True):
            path = root / "my-photos" / animal / f"{group}-{place}" / "0.jpg"
            save_noise(path, seed=10 * number + 2 * len(place) + (group == "counter"))
    (root / "my_models.py").write_text("\n\n".join(blocks("my_models.py", "python")))
    for repository, name in HUB.items():
        build(name, in_hub(root, repository))
    for repository, family in LVLMS.items():
        tiny_lvlm.build(family, in_hub(root, repository))
    shutil.copytree(tiny_clip, in_hub(root, CLIP), dirs_exist_ok=True)
    torch.manual_seed(0)
    network = timm.create_model("resnet18.a1_in1k", pretrained=False)
    save_file(network.state_dict(), in_hub(root, "timm/resnet18.a1_in1k") / "model.safetensors")
    weights = torchvision.models.ResNet18_Weights.DEFAULT
    checkpoints = root / "torch" / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    torch.save(torchvision.models.resnet18().state_dict(), checkpoints / weights.url.rsplit("/", 1)[-1])
    write_onnx(root / "my-model.onnx")
    write_checkpoints(root)
    return root


def write_checkpoints(root: Path) -> None:
    import timm
    import torch
    import torchvision

    (root / "classes.txt").write_text("\n".join(ANIMALS) + "\n")
    tuned = timm.create_model("resnet18", num_classes=len(ANIMALS))
    torch.save({"state_dict": tuned.state_dict()}, root / "best.pth")
    tuned = torchvision.models.resnet18(num_classes=len(ANIMALS))
    torch.save({"model": tuned.state_dict()}, root / "best-tv.pth")


def in_hub(root: Path, repository: str) -> Path:
    """Return the folder of a repository's files in the cache of the hub."""
    folder = root / "hub" / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    files = folder / "snapshots" / COMMIT
    files.mkdir(parents=True)
    return files


def write_onnx(path: Path) -> None:
    import torch

    layers = [torch.nn.Conv2d(3, 8, 8, 8), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
    network = torch.nn.Sequential(*layers, torch.nn.Linear(8, 1000)).eval()
    pixels = torch.zeros(1, 3, 224, 224)
    torch.onnx.export(network, (pixels,), str(path), dynamo=False, input_names=["pixels"])
    described = re.search(r"```json\n(.*?)```", PAGE, flags=re.DOTALL)
    assert described
    path.with_name(f"{path.name}.json").write_text(described[1])


@pytest.fixture
def names_lead_to_tiny_models(workplace, tiny_clip, monkeypatch):
    monkeypatch.chdir(workplace)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(workplace / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(workplace / "torch"))
    config = json.loads((tiny_clip / "open_clip_config.json").read_text())["model_cfg"]
    monkeypatch.setitem(__import__("open_clip").factory._MODEL_CONFIGS, "ViT-B-32", config)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:You are using the legacy TorchScript:DeprecationWarning")
@pytest.mark.parametrize("line", LINES, ids=[line.split()[-1] for line in LINES])
def test_the_line_runs(line, workplace, names_lead_to_tiny_models, capsys):
    words = shlex.split(line)
    assert words[0] == "counterground"
    # The hub of the test is its cache: without this a machine with a network would fetch the real weights.
    offline = ["--offline"] if words[1] == "evaluate" else []
    assert main([*words[1:], *offline]) == 0, capsys.readouterr().err
    out = workplace / words[-1]
    if words[1] == "evaluate":
        predictions = pl.read_parquet(out / "predictions.parquet")
        assert len(predictions) == 6 * words.count("-m")
        assert set(predictions["model"]) == {word for at, word in enumerate(words) if words[at - 1] == "-m"}
    else:
        assert out.stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.parametrize("line", blocks("run with a server", "console")[0].strip().splitlines())
def test_the_line_runs_with_a_server(line, workplace, names_lead_to_tiny_models, serve_chat, capsys):
    server = serve_chat(lambda _: "Yes, a flamingo.")
    words = shlex.split(line.replace("localhost:8000", f"127.0.0.1:{server.server_port}"))
    assert main(words[1:]) == 0, capsys.readouterr().err
    predictions = pl.read_parquet(workplace / words[-1] / "predictions.parquet")
    assert predictions.height == (12 if "protocol=yes-no" in words else 6)
    assert "calls to make" in capsys.readouterr().err


def test_every_family_has_its_line():
    named = {word.partition(":")[0] for line in LINES for word in shlex.split(line) if ":" in word}
    assert {"open_clip", "hf", "torchvision", "timm", "onnx", "my_models"} <= named
