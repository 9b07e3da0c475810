"""Other people's loops, each a whole process: ``python bench/_loops.py LOOP PHOTOS NAMES MODEL ...``.

PHOTOS is a folder of class folders, NAMES a file with one class name per line, in their order. The scores
``[n, k]`` of the last model go into the file that ``LOOP_SCORES`` names, with the paths of the photos. Run in
the environment of ``_peers.py``, which has CLIP_benchmark; nothing of CounterGround is imported here.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import open_clip
import torch
from torchvision.datasets import ImageFolder

TEMPLATE = "A photo of {c}."
BATCH, WORKERS = 64, 4  # CLIP_benchmark's defaults


def clip(model: str) -> tuple:
    """Load an OpenCLIP model: a folder, or NAME@FILE."""
    name, _, weights = model.partition("@")
    if not weights:
        name = f"local-dir:{name}"
    network, _, transform = open_clip.create_model_and_transforms(name, pretrained=weights or None)
    return network.eval(), transform, open_clip.get_tokenizer(name)


def loader(photos: str, transform) -> torch.utils.data.DataLoader:
    dataset = ImageFolder(photos, transform=transform, allow_empty=True)
    return torch.utils.data.DataLoader(dataset, batch_size=BATCH, num_workers=WORKERS)


def clip_benchmark(photos: str, names: list[str], models: list[str]) -> torch.Tensor:
    """CLIP_benchmark's evaluation in float32, as its command calls it, for one model after another."""
    from clip_benchmark.metrics import zeroshot_classification

    found = torch.empty(0)

    def accuracy(scores: torch.Tensor, target: torch.Tensor, topk: tuple[int, ...]) -> list[float]:
        # Its own fails with NumPy 2.4 and newer, after all the work: it converts an array of one to a number.
        nonlocal found
        found = scores
        return [(scores.topk(k).indices == target[:, None]).any(dim=1).float().mean().item() for k in topk]

    zeroshot_classification.accuracy = accuracy
    for model in models:
        network, transform, tokenizer = clip(model)
        print(
            zeroshot_classification.evaluate(
                network, loader(photos, transform), tokenizer, names, [TEMPLATE], device="cpu", amp=False
            )
        )
    return found


def openclip(photos: str, names: list[str], models: list[str]) -> torch.Tensor:
    """OpenCLIP's own zero-shot evaluation, which it runs during training."""
    from open_clip_train import zero_shot

    found = []

    def accuracy(scores: torch.Tensor, target: torch.Tensor, topk: tuple[int, ...]) -> list[float]:
        found.append(scores)  # its own fails with NumPy 2.4 and newer, like CLIP_benchmark's
        return [(scores.topk(k).indices == target[:, None]).any(dim=1).sum().item() for k in topk]

    zero_shot.accuracy = accuracy
    network, transform, tokenizer = clip(models[0])
    templates = (lambda name: TEMPLATE.format(c=name),)
    classifier = open_clip.build_zero_shot_classifier(network, tokenizer, names, templates, device="cpu")
    settings = SimpleNamespace(device="cpu", precision="fp32", batch_size=BATCH)
    print(zero_shot.run(network, classifier, loader(photos, transform), settings))
    return torch.cat(found)


def plain_clip(photos: str, names: list[str], models: list[str]) -> torch.Tensor:
    """A DataLoader, one forward pass per batch, the arg-max."""
    network, transform, tokenizer = clip(models[0])
    found, right = [], []
    with torch.inference_mode():
        texts = network.encode_text(tokenizer([TEMPLATE.format(c=name) for name in names]), normalize=True)
        for batch, target in loader(photos, transform):
            scores = network.encode_image(batch, normalize=True) @ texts.T
            found.append(scores)
            right.append(scores.argmax(dim=1) == target)
    print(torch.cat(right).float().mean())
    return torch.cat(found)


def plain_classifier(photos: str, names: list[str], models: list[str]) -> torch.Tensor:
    """torchvision's reference evaluation: a DataLoader, one eager forward pass per batch, the arg-max."""
    from torchvision.models import ResNet50_Weights, resnet50

    del names
    network = resnet50()
    network.load_state_dict(torch.load(models[0], weights_only=True))
    return plain(network, ResNet50_Weights.DEFAULT.transforms(), photos)


def plain_lite(photos: str, names: list[str], models: list[str]) -> torch.Tensor:
    """The same with timm's EfficientNet-Lite0, whose weights do not matter for the time."""
    import timm

    del names, models
    network = timm.create_model("tf_efficientnet_lite0")
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network))
    return plain(network, transform, photos)


def plain(network: torch.nn.Module, transform: object, photos: str) -> torch.Tensor:
    """A DataLoader, one eager forward pass per batch, the arg-max."""
    network.eval()
    found, right = [], []
    with torch.inference_mode():
        for batch, target in loader(photos, transform):
            scores = network(batch)
            found.append(scores)
            right.append(scores.argmax(dim=1) == target)
    print(torch.cat(right).float().mean())
    return torch.cat(found)


def one_decode(photos: str, names: list[str], models: list[str]) -> torch.Tensor:
    """The bound: each photo decoded once by threads, then the eager forward passes of all models."""
    from PIL import Image

    loaded = [clip(model) for model in models]
    paths = [path for path, _ in ImageFolder(photos, allow_empty=True).samples]

    def decode(path: str) -> list[torch.Tensor]:
        image = Image.open(path).convert("RGB")
        return [transform(image) for _, transform, _ in loaded[:1]]

    with torch.inference_mode(), ThreadPoolExecutor(os.cpu_count()) as threads:
        decoded = list(threads.map(decode, paths))
        for network, _, tokenizer in loaded:
            texts = network.encode_text(
                tokenizer([TEMPLATE.format(c=name) for name in names]), normalize=True
            )
            found = []
            for first in range(0, len(paths), BATCH):
                batch = torch.stack([tensors[0] for tensors in decoded[first : first + BATCH]])
                found.append(network.encode_image(batch, normalize=True) @ texts.T)
    return torch.cat(found)


LOOPS = {
    "clip-benchmark": clip_benchmark,
    "openclip": openclip,
    "plain-clip": plain_clip,
    "plain-classifier": plain_classifier,
    "plain-lite": plain_lite,
    "one-decode": one_decode,
}

if __name__ == "__main__":
    scores = LOOPS[sys.argv[1]](sys.argv[2], Path(sys.argv[3]).read_text().splitlines(), sys.argv[4:])
    if into := os.environ.get("LOOP_SCORES"):
        paths = [path for path, _ in ImageFolder(sys.argv[2], allow_empty=True).samples]
        np.savez(into, scores=scores.numpy(), paths=[os.path.realpath(path) for path in paths])
