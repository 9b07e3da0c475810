"""ObjectNet (Barbu et al. 2019): objects in unusual places and views; 113 classes that ImageNet has too.

Folders and mappings: the readers of model-soups (also in facebookresearch/Whac-A-Mole, dataset/objectnet.py)
and of imagenet-testbed; the red border of 2 pixels, which is cut off: objectnet_pytorch_dataloader.py of
abarbu/objectnet-template-pytorch; licence: the data set card of timm/objectnet. Not verified: the number of
photos.

The field reports the accuracy: there are no groups. Cropped photos are written to the cache, which takes as
much space again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import polars as pl
from PIL import Image, ImageOps

from counterground.benchmarks._layout import Copy, LayoutBenchmark
from counterground.errors import CounterGroundError
from counterground.files import read_text
from counterground.metrics import Design

_BORDER = 2


def _uncovered(photo: Image.Image) -> Image.Image:
    if min(photo.size) <= 2 * _BORDER:
        raise ValueError("it is smaller than its border")
    return ImageOps.crop(photo, _BORDER)


def _mapping(copy: Copy) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return name and ImageNet-1K indices of each folder that ImageNet has a class for."""
    labels = copy.json("mappings/folder_to_objectnet_label.json")
    folders = {label: folder for folder, label in labels.items()}
    lines = read_text(copy.root / "mappings/imagenet_to_label_2012_v2").splitlines()
    numbers = copy.json("mappings/pytorch_to_imagenet_2012_id.json")
    indices: dict[str, list[int]] = defaultdict(list)
    for index, line in numbers.items():
        indices[lines[line].strip()].append(int(index))
    shared = copy.json("mappings/objectnet_to_imagenet_1k.json")
    return {
        folders[label]: (label.lower(), tuple(sorted(_only(indices, name) for name in names.split("; "))))
        for label, names in shared.items()
    }


def _only(indices: Mapping[str, list[int]], name: str) -> int:
    found = indices.get(name, [])
    if len(found) != 1:
        raise ValueError(f"{len(found)} ImageNet classes are called {name!r}")
    return found[0]


def _read(copy: Copy) -> pl.DataFrame:
    try:
        mapping = _mapping(copy)
    except (OSError, KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
        raise CounterGroundError(f"{copy.root / 'mappings'} is not as published: {error!r}.") from error
    if len(mapping) != 113:
        copy.notes.append(
            f"The mappings of this copy share {len(mapping)} classes with ImageNet; 113 were published."
        )
    copy.classes = dict(sorted(mapping.values()))
    names = {folder: name for folder, (name, _) in mapping.items()}
    photos = copy.grid("images/{class_name}", class_name=names)
    made = {path: f"{Path(path).with_suffix('.png')}" for path in photos["path"]}
    copy.make({to: (copy.root / path, _uncovered) for path, to in made.items()})
    return photos.with_columns(pl.col("path").replace_strict(made))


OBJECTNET = LayoutBenchmark(
    name="objectnet",
    description="objects of 113 ImageNet classes in unusual places, from unusual viewpoints",
    marks=("images", "mappings"),
    read=_read,
    classes=(),
    design=Design(cells=("class_name",)),
    licence="CC BY 4.0 and: never used to tune a model; photos put on the web only with their red border",
    homepage="https://objectnet.dev",
    by_hand="Get objectnet-1.0.zip from objectnet.dev and unpack it with the password given there.",
    cite=("barbu2019objectnet",),
    makes=True,
).built_in()
