"""Photos of discs on plain backgrounds, with masks; networks that look at one of the two, or at neither."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2.functional import pil_to_tensor

import counterground as cg
from counterground import Benchmark

SIDE = 64
CLASSES = {"hen": (230, 200, 40), "ox": (200, 40, 160)}
LABELS = {"grass": (40, 160, 60), "water": (40, 80, 200)}
COMMON = {"hen": "grass", "ox": "water"}


def disc_photos(root: Path, photos: int = 3, *, soft: bool = False, seed: int = 0) -> Benchmark:
    """Write ``photos`` of each class on each label, two of each cluster; return their benchmark."""
    rng = np.random.default_rng(seed)
    rows = []
    for name, own in CLASSES.items():
        for label, behind in LABELS.items():
            for number in range(photos):
                stem = f"{name}/{label}/{number}"
                centre, radius = rng.integers(28, 37, 2), int(rng.integers(10, 18))
                mask = disc(centre, radius, soft=soft)
                pixels = behind + (mask[..., None] / 255) * (np.array(own) - behind)
                pixels = pixels + rng.integers(-8, 9, (SIDE, SIDE, 1))
                save(root / f"{stem}.png", pixels.clip(0, 255).astype(np.uint8))
                save(root / f"masks/{stem}.png", mask)
                group = "common" if COMMON[name] == label else "counter"
                rows.append(
                    (f"{stem}.png", name, label, group, f"{stem[:-2]} {number // 2}", f"masks/{stem}.png")
                )
    columns = ["path", "class_name", "background", "group", "cluster", "mask"]
    return Benchmark.from_frame(pl.DataFrame(rows, schema=columns, orient="row"), root=root, name="discs")


def disc(centre, radius, *, soft=False):
    """Return a mask ``[SIDE, SIDE]``; the edge of a soft one is 4 pixels wide."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    away = np.hypot(rows - centre[0], columns - centre[1])
    inside = np.clip((radius - away) / 4 + 0.5, 0, 1) if soft else (away < radius)
    return np.asarray(inside * 255, np.uint8)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def background_only():
    """A classifier that answers with the class whose common background has the colour of the corner."""
    return _nearest({name: LABELS[COMMON[name]] for name in CLASSES}), _corner, list(CLASSES)


def foreground_only():
    """A classifier that answers with the class whose colour is in the middle."""
    return _nearest(CLASSES), _middle, list(CLASSES)


def coin():
    """A classifier whose answer is one of the photo's last bits."""
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1, 2, bias=False))
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor([[1.0], [-1.0]]))
    return network, _parity, list(CLASSES)


def _nearest(colours):
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3, len(colours)))
    wanted = torch.tensor(list(colours.values())).float() / 255
    with torch.no_grad():  # the squared distance, less what all classes share
        network[1].weight.copy_(2 * wanted)
        network[1].bias.copy_(-(wanted**2).sum(dim=1))
    return network


def _corner(image):
    return pil_to_tensor(image)[:, :4, :4].float().mean(dim=(1, 2), keepdim=True) / 255


def _middle(image):
    return pil_to_tensor(image)[:, 30:34, 30:34].float().mean(dim=(1, 2), keepdim=True) / 255


def _parity(image):
    return (pil_to_tensor(image).long().sum() % 2 * 2.0 - 1).reshape(1, 1, 1)


MODELS = {"background": background_only, "foreground": foreground_only, "coin": coin}
QUICK = {"label_space": "benchmark", "report": False, "backgrounds_per_label": 3}


@pytest.fixture(scope="module")
def soft_discs(tmp_path_factory):
    """24 photos with soft edges; a test module calls them `discs`."""
    return disc_photos(tmp_path_factory.mktemp("discs"), 6, soft=True)


@pytest.fixture(scope="module")
def swapped_discs(discs, tmp_path_factory):
    """All models on composites of `discs`; a test module calls it `run`."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COUNTERGROUND_CACHE", str(tmp_path_factory.mktemp("cache")))
        return cg.swap(discs, MODELS, out=folder / "run", **QUICK)
