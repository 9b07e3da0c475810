"""ColoredCOCO's objects from COCO's annotations: in each photo, the largest object of nine classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from counterground.errors import CounterGroundError, UsageError, needs_extra
from counterground.masks import OutlineError, draw_outline
from counterground.paper.study.coco._objects import CLASSES, Array, Objects, Part
from counterground.photos import UnreadablePhoto, load_photo, read_coco_file

#: Classes of Ahmed et al. (2021), in their order: class i has biased colour i.
COCO_CLASSES = ("boat", "airplane", "truck", "dog", "zebra", "horse", "bird", "train", "bus")
PER_CLASS: Mapping[Part, int] = {"train": 800, "validation": 100, "test": 100}
MINIMAL_AREA = 10_000.0  # square pixels of the photo, as in Ahmed et al.
_ANNOTATIONS = "annotations/instances_train2017.json"
_PHOTOS = "train2017"
_GET = "get train2017.zip and annotations_trainval2017.zip from cocodataset.org and unpack both there"


class _Chosen(NamedTuple):
    """A chosen object: its annotation and its photo's entry, as COCO has them."""

    label: int
    annotation: Mapping[str, Any]
    photo: Mapping[str, Any]


def load_coco_objects(
    folder: Path, size: int, *, per_class: Mapping[Part, int] = PER_CLASS, minimal_area: float = MINIMAL_AREA
) -> Objects:
    """Return the objects of ColoredCOCO from COCO 2017 under ``folder``.

    As in Ahmed et al. (2021): the largest object of the class in a photo, at least ``minimal_area`` square
    pixels, photo and mask squashed to ``size`` x ``size``; the first ``per_class`` of each class.
    Unlike theirs, crowds are left out; a photo with large objects of several classes counts only for its
    largest, so parts share no photo; photos are taken in order of id; test and validation are filled first if
    a class has too few. Objects cut off by the photo's edge stay, as in theirs.

    Args:
        folder: folder with ``annotations/instances_train2017.json`` and ``train2017/``.
        size: side of the photos; Ahmed et al. use 64.
        per_class: photos of each class in each part.
        minimal_area: least area of an object, in pixels of its photo.

    Raises:
        UsageError: no COCO there.
        CounterGroundError: pycocotools is missing, or annotations or photos are damaged, missing or do not
        fit.
    """
    parts = _parts(_choose(check_coco(folder), minimal_area), per_class)
    pixels = {part: np.stack([_cut_out(folder, one, size) for one in rows]) for part, rows in parts.items()}
    return Objects(
        COCO_CLASSES,
        pixels,
        {part: np.array([one.label for one in rows]) for part, rows in parts.items()},
        {part: [str(one.photo["file_name"]) for one in rows] for part, rows in parts.items()},
        tuple(range(CLASSES)),
        f"COCO 2017, {', '.join(f'{len(rows):,} {part}' for part, rows in parts.items())} photos",
    )


def check_coco(folder: Path) -> Path:
    """Return the annotation file of COCO 2017 under ``folder``, before any work is done.

    Raises:
        UsageError: no COCO there, or pycocotools is not installed.
    """
    with needs_extra("masks"):
        import_module("pycocotools")
    file = folder / _ANNOTATIONS
    if not file.is_file() or not (folder / _PHOTOS).is_dir():
        raise UsageError(f"{folder} holds no {_ANNOTATIONS} or no {_PHOTOS}: {_GET}.")
    return file


def _choose(file: Path, minimal_area: float) -> list[list[_Chosen]]:
    """Return the largest object of each photo, if it is large enough, by class and in order of photo id."""
    content = read_coco_file(file)
    named = {str(category["name"]): key for key, category in content.categories.items()}
    if missing := [name for name in COCO_CLASSES if name not in named]:
        raise CounterGroundError(f"{file} has no class {missing[0]!r}: {_GET}.")
    labels = {named[name]: label for label, name in enumerate(COCO_CLASSES)}
    chosen: list[list[_Chosen]] = [[] for _ in COCO_CLASSES]
    for key in sorted(content.annotations):
        fit = [
            each
            for each in content.annotations[key]
            if each["category_id"] in labels and not each.get("iscrowd") and each["area"] >= minimal_area
        ]
        if fit:
            largest = max(fit, key=lambda each: each["area"])
            label = labels[largest["category_id"]]
            chosen[label].append(_Chosen(label, largest, content.images[key]))
    return chosen


def _parts(chosen: Sequence[list[_Chosen]], per_class: Mapping[Part, int]) -> dict[Part, list[_Chosen]]:
    parts: dict[Part, list[_Chosen]] = {"train": [], "validation": [], "test": []}
    held = per_class["validation"] + per_class["test"]
    for name, rows in zip(COCO_CLASSES, chosen, strict=True):
        if len(rows) <= held:
            raise CounterGroundError(
                f"{len(rows)} photos show a large {name}; validation and test alone need {held}: {_GET}."
            )
        train = min(per_class["train"], len(rows) - held)
        middle = train + per_class["validation"]
        parts["train"] += rows[:train]
        parts["validation"] += rows[train:middle]
        parts["test"] += rows[middle : middle + per_class["test"]]
    return parts


def _cut_out(folder: Path, one: _Chosen, size: int) -> Array:
    """Return ``[size, size, 4]`` uint8: the photo, and the mask as coverage."""
    file = folder / _PHOTOS / one.photo["file_name"]
    try:
        photo = load_photo(file).image
        inside = draw_outline(one.annotation, photo.size)
    except UnreadablePhoto as error:
        raise CounterGroundError(
            f"{file} cannot be read ({error.reason}): unpack train2017.zip again."
        ) from error
    except OutlineError as error:
        raise CounterGroundError(f"{folder / _ANNOTATIONS}: {error}; {_GET}.") from error
    # Bilinear with Pillow's antialiasing is what scikit-image's resize does in the original.
    small = photo.resize((size, size), Image.Resampling.BILINEAR)
    mask = Image.fromarray(inside.astype(np.uint8) * np.uint8(255))
    return np.dstack([np.asarray(small), np.asarray(mask.resize((size, size), Image.Resampling.BILINEAR))])
