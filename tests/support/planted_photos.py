"""Photos of a coloured object on a coloured ground, and a dual encoder that believes the ground."""

from __future__ import annotations

import re

import numpy as np
import torch
from PIL import Image

from counterground import Benchmark
from counterground.models import Classifier, DualEncoder

CLASSES = ("ox", "goose", "otter", "crab")
BACKGROUNDS = ("grass", "snow", "water")
_COLOURS = {
    "ox": (150, 90, 40),
    "goose": (240, 240, 120),
    "otter": (60, 30, 20),
    "crab": (220, 40, 30),
    "grass": (40, 140, 40),
    "snow": (225, 235, 245),
    "water": (40, 80, 170),
}
_NAMES = (*CLASSES, *BACKGROUNDS)
_VECTORS = np.linalg.qr(np.random.default_rng(5).normal(size=(16, 16)))[0][: len(_NAMES)]
_NOISE = 34.0  # of a photo, in levels of a colour
_SIZE = 24


def common_background(name: str) -> str:
    return BACKGROUNDS[CLASSES.index(name) % len(BACKGROUNDS)]


def planted_benchmark(clusters: int = 9, *, masks=None, **changes) -> Benchmark:
    """Every class on every background in every cluster; a class's own background is common to it.

    Args:
        clusters: of photographs, with a light of their own.
        masks: a folder for photos and masks of the objects; without it there are no masks.
        changes: further columns, or others.
    """
    random = np.random.default_rng(0)
    rows = []
    for cluster in range(clusters):
        light = random.normal(0, 10, 3)
        for name in CLASSES:
            for ground in BACKGROUNDS:
                side = int(random.integers(8, 15))
                box = slice((_SIZE - side) // 2, (_SIZE - side) // 2 + side)
                pixels = np.tile(np.array(_COLOURS[ground], dtype=float), (_SIZE, _SIZE, 1))
                pixels[box, box] = np.array(_COLOURS[name]) + random.normal(0, _NOISE, 3)
                pixels += light + random.normal(0, 6, pixels.shape)
                mask = None
                if masks is not None:
                    alpha = np.zeros((_SIZE, _SIZE), np.uint8)
                    alpha[box, box] = 255
                    mask = str(masks / f"mask-{len(rows)}.png")
                    Image.fromarray(alpha).save(mask)
                photo = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
                if masks is not None:
                    photo.save(masks / f"photo-{len(rows)}.png")
                rows.append(
                    {
                        "path": photo if masks is None else masks / f"photo-{len(rows)}.png",
                        "class_name": name,
                        "background": ground,
                        "group": "common" if ground == common_background(name) else "counter",
                        "cluster": f"photographer {cluster}",
                        "object_area": (side / _SIZE) ** 2,
                        "mask": mask,
                    }
                )
    table = {column: [row[column] for row in rows] for column in rows[0]} | changes
    if masks is None:
        del table["mask"]
    further = [name for name in ("object_area",) if table.get(name) is not None]
    table = {name: values for name, values in table.items() if values is not None}
    return Benchmark.from_frame(table, name="planted", attributes=further)


class Planted(DualEncoder):
    """Sees the object and the ground; its words for a class are half about the class's own ground."""

    spec, device, dtype, dim = "planted", "cpu", "fp32", _VECTORS.shape[1]
    fingerprint = "planted, version 1"
    logit_scale = 20.0

    def __init__(self):
        self.description = {"architecture": "planted"}

    def preprocess(self, image):
        return torch.from_numpy(np.asarray(image.resize((_SIZE, _SIZE)), dtype=np.float32)).permute(2, 0, 1)

    def encode(self, batch):
        middle, edge = batch[:, :, 9:15, 9:15].mean((2, 3)), batch[:, :, :3].mean((2, 3))
        seen = _likeness(middle, CLASSES) @ _of(CLASSES) + _likeness(edge, BACKGROUNDS) @ _of(BACKGROUNDS)
        return torch.nn.functional.normalize(seen, dim=1).float()

    def encode_texts(self, texts):
        return np.stack([self._encode(text) for text in texts]).astype(np.float32)

    def _encode(self, text):
        words = re.findall(r"\w+", text.lower())
        vector = np.full(self.dim, 0.05)
        for name in words:
            if name in _NAMES:
                vector = vector + _VECTORS[_NAMES.index(name)]
            if name in CLASSES and not set(words) & set(BACKGROUNDS):
                vector = vector + 1.2 * _VECTORS[_NAMES.index(common_background(name))]
        return vector / np.linalg.norm(vector)


class PlantedClassifier(Classifier):
    """The same as a classifier: its logits are the similarities with the four classes."""

    spec, device, dtype, dim = "planted-classifier", "cpu", "fp32", len(CLASSES)
    fingerprint = "planted classifier, version 1"
    class_names, imagenet_columns = CLASSES, (345, 99, 360, None)

    def __init__(self):
        self.description = {"architecture": "planted"}
        self._encoder = Planted()

    def preprocess(self, image):
        return self._encoder.preprocess(image)

    def encode(self, batch):
        head = self._encoder.encode_texts([f"A photo of {name}." for name in CLASSES])
        return 20 * self._encoder.encode(batch) @ torch.from_numpy(head).T


def _of(names):
    return torch.from_numpy(np.stack([_VECTORS[_NAMES.index(name)] for name in names])).float()


def _likeness(colours, names):
    wanted = torch.tensor([_COLOURS[name] for name in names], dtype=torch.float32)
    return torch.softmax(-torch.cdist(colours, wanted) / 25, dim=1)
