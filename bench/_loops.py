"""Loops that others write, each a whole process: ``python bench/_loops.py LOOP PHOTOS NAMES MODEL ...``.

PHOTOS is a folder of class folders, NAMES a file with a class name a line, in their order. Run by the
environment of ``_peers.py``, which has CLIP_benchmark; nothing of CounterGround is imported here.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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


def clip_benchmark(photos: str, names: list[str], models: list[str]) -> None:
    """CLIP_benchmark's evaluation in float32, as its command calls it, for one model after another."""
    from clip_benchmark.metrics.zeroshot_classification import evaluate

    for model in models:
        network, transform, tokenizer = clip(model)
        print(
            evaluate(
                network, loader(photos, transform), tokenizer, names, [TEMPLATE], device="cpu", amp=False
            )
        )


def plain_clip(photos: str, names: list[str], models: list[str]) -> None:
    """A DataLoader, one forward pass a batch, the arg-max."""
    network, transform, tokenizer = clip(models[0])
    right = []
    with torch.inference_mode():
        texts = network.encode_text(tokenizer([TEMPLATE.format(c=name) for name in names]), normalize=True)
        for batch, target in loader(photos, transform):
            scores = network.encode_image(batch, normalize=True) @ texts.T
            right.append(scores.argmax(dim=1) == target)
    print(torch.cat(right).float().mean())


def plain_classifier(photos: str, names: list[str], models: list[str]) -> None:
    """torchvision's reference evaluation: a DataLoader, an eager forward pass a batch, the arg-max."""
    from torchvision.models import ResNet50_Weights, resnet50

    del names
    network = resnet50()
    network.load_state_dict(torch.load(models[0], weights_only=True))
    network.eval()
    right = []
    with torch.inference_mode():
        for batch, target in loader(photos, ResNet50_Weights.DEFAULT.transforms()):
            right.append(network(batch).argmax(dim=1) == target)
    print(torch.cat(right).float().mean())


def one_decode(photos: str, names: list[str], models: list[str]) -> None:
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
            for first in range(0, len(paths), BATCH):
                batch = torch.stack([tensors[0] for tensors in decoded[first : first + BATCH]])
                (network.encode_image(batch, normalize=True) @ texts.T).argmax(dim=1)


LOOPS = {
    "clip-benchmark": clip_benchmark,
    "plain-clip": plain_clip,
    "plain-classifier": plain_classifier,
    "one-decode": one_decode,
}

if __name__ == "__main__":
    LOOPS[sys.argv[1]](sys.argv[2], Path(sys.argv[3]).read_text().splitlines(), sys.argv[4:])
