"""ColoredCOCO's objects from COCO's annotations: in each photo, the largest object of nine classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from counterground.errors import CounterGroundError, UsageError, needs_extra
from counterground.masks import OutlineError, draw_outline
from counterground.paper.study.coco._objects import CLASSES, Array, Objects, Part
from counterground.photos import UnreadablePhoto, coco_box, is_pixels, load_photo, read_coco_file

#: Classes of Ahmed et al. (2021), in their order: class i has biased colour i.
COCO_CLASSES = ("boat", "airplane", "truck", "dog", "zebra", "horse", "bird", "train", "bus")
PER_CLASS: Mapping[Part, int] = {"train": 800, "validation": 100, "test": 100}
MINIMAL_AREA = 10_000.0  # square pixels of the photo, as in Ahmed et al.
_ANNOTATIONS = "annotations/instances_train2017.json"
_PHOTOS = "train2017"
_GET = "get train2017.zip and annotations_trainval2017.zip from cocodataset.org and unpack both there"


@dataclass(frozen=True)
class _Chosen:
    """A chosen object: its annotation and its photo's entry, as COCO has them."""

    label: int
    annotation: Mapping[str, Any]
    photo: Mapping[str, Any]


@dataclass
class _Choice:
    """The chosen objects, and how many annotations were left out for which reason.

    Attributes:
        chosen: objects per class, in order of photo id.
        left_out: reason -> number of annotations of our classes.
    """

    chosen: list[list[_Chosen]]
    left_out: Counter[str] = field(default_factory=Counter)


def load_coco_objects(
    folder: Path, size: int, *, per_class: Mapping[Part, int] = PER_CLASS, minimal_area: float = MINIMAL_AREA
) -> Objects:
    """Return the objects of ColoredCOCO from COCO 2017 under ``folder``.

    As in Ahmed et al. (2021): the largest object of the class in a photo, at least ``minimal_area`` square
    pixels, photo and mask squashed to ``size`` x ``size``; the first ``per_class`` of each class.
    Unlike theirs, crowds are left out; a photo with large objects of several classes counts only for its
    largest, so parts share no photo; photos are taken in order of id; test and validation are filled first if
    a class has too few. Objects cut off by the photo's edge stay, as in theirs, and are counted in the notes.

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
    choice = _choose(check_coco(folder), minimal_area)
    parts = _parts(choice, per_class)
    pixels = {part: np.stack([_cut_out(folder, one, size) for one in rows]) for part, rows in parts.items()}
    return Objects(
        COCO_CLASSES,
        pixels,
        {part: np.array([one.label for one in rows]) for part, rows in parts.items()},
        {part: [str(one.photo["file_name"]) for one in rows] for part, rows in parts.items()},
        tuple(range(CLASSES)),
        f"COCO 2017, {', '.join(f'{len(rows):,} {part}' for part, rows in parts.items())} photos",
        tuple(_notes(choice, parts, per_class)),
    )


def check_coco(folder: Path) -> Path:
    """Return the annotation file of COCO 2017 under ``folder``, before any work is done.

    Raises:
        UsageError: no COCO there, or pycocotools is not installed.
    """
    with needs_extra("masks"):
        import_module("pycocotools")
    file = folder / _ANNOTATIONS
    if not file.is_file():
        raise UsageError(f"No {file}: {_GET}.")
    if not (folder / _PHOTOS).is_dir():
        raise UsageError(f"No folder {folder / _PHOTOS}: {_GET}.")
    return file


def _choose(file: Path, minimal_area: float) -> _Choice:
    """Return the largest object of each photo, if it is large enough, by class and in order of photo id."""
    content = read_coco_file(file)
    names = [str(category["name"]) for category in content.categories.values()]
    named = dict(zip(names, content.categories, strict=True))
    if twice := [name for name in COCO_CLASSES if names.count(name) > 1]:
        raise CounterGroundError(f"{file} has two classes {twice[0]!r}: {_GET}.")
    if missing := [name for name in COCO_CLASSES if name not in named]:
        raise CounterGroundError(f"{file} has no class {missing[0]!r}: {_GET}.")
    labels = {named[name]: label for label, name in enumerate(COCO_CLASSES)}
    choice = _Choice([[] for _ in COCO_CLASSES])
    seen: set[str] = set()
    for key in sorted(content.annotations, key=lambda key: (isinstance(key, str), key)):
        largest = None
        for annotation in content.annotations[key]:
            if annotation["category_id"] not in labels:
                continue
            reason = _unfit(annotation, minimal_area)
            if reason is None and largest is not None:
                reason = "not the largest of their photo"
                if annotation["area"] > largest["area"]:
                    largest = annotation
            elif reason is None:
                largest = annotation
            if reason is not None:
                choice.left_out[reason] += 1
        if largest is not None:
            label = labels[largest["category_id"]]
            photo = _checked(content.images[key], file)
            if photo["file_name"] in seen:  # its two objects could end up in different parts
                raise CounterGroundError(f"{file} lists the photo {photo['file_name']!r} twice: {_GET}.")
            seen.add(photo["file_name"])
            choice.chosen[label].append(_Chosen(label, largest, photo))
    return choice


def _unfit(annotation: Mapping[str, Any], minimal_area: float) -> str | None:
    if annotation.get("iscrowd"):
        return "crowds"
    area = annotation.get("area")
    if not is_pixels(area):
        raise CounterGroundError(f"{annotation['where']} has no area, as instances have: {_GET}.")
    return "smaller than the minimal area" if area < minimal_area else None


def _checked(photo: Mapping[str, Any], file: Path) -> Mapping[str, Any]:
    """Return a photo's entry, which has a name and a size."""
    sides = photo.get("width"), photo.get("height")
    if not isinstance(photo.get("file_name"), str) or not all(map(is_pixels, sides)):
        raise CounterGroundError(f"{file}: image {photo['id']} has no file_name, width or height: {_GET}.")
    return photo


def _parts(choice: _Choice, per_class: Mapping[Part, int]) -> dict[Part, list[_Chosen]]:
    parts: dict[Part, list[_Chosen]] = {"train": [], "validation": [], "test": []}
    held = per_class["validation"] + per_class["test"]
    for name, chosen in zip(COCO_CLASSES, choice.chosen, strict=True):
        if len(chosen) <= held:
            raise CounterGroundError(
                f"{len(chosen)} photos show a large {name}; validation and test alone need {held}: {_GET}."
            )
        train = min(per_class["train"], len(chosen) - held)
        middle = train + per_class["validation"]
        parts["train"] += chosen[:train]
        parts["validation"] += chosen[train:middle]
        parts["test"] += chosen[middle : middle + per_class["test"]]
    return parts


def _notes(
    choice: _Choice, parts: Mapping[Part, Sequence[_Chosen]], per_class: Mapping[Part, int]
) -> Iterator[str]:
    if choice.left_out:
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in sorted(choice.left_out.items()))
        yield f"Annotations of the nine classes that were left out: {reasons}."
    cut = sum(_at_edge(one) for rows in parts.values() for one in rows)
    total = sum(map(len, parts.values()))
    yield f"{cut:,} of {total:,} objects touch the edge of their photo and may be cut off."
    have = Counter(one.label for one in parts["train"])
    for label, name in enumerate(COCO_CLASSES):
        if have[label] < per_class["train"]:
            yield f"Only {have[label]:,} training photos of {name}, not {per_class['train']:,}."


def _at_edge(one: _Chosen) -> bool:
    box = coco_box(one.annotation)
    if box is None:
        return False
    left, top, width, height = box
    return bool(
        left <= 1
        or top <= 1
        or left + width >= one.photo["width"] - 1
        or top + height >= one.photo["height"] - 1
    )


def _cut_out(folder: Path, one: _Chosen, size: int) -> Array:
    """Return ``[size, size, 4]`` uint8: the photo, and the mask as coverage."""
    file = folder / _PHOTOS / one.photo["file_name"]
    stated = (one.photo["width"], one.photo["height"])
    try:
        photo = load_photo(file).image
    except UnreadablePhoto as error:
        raise CounterGroundError(
            f"{file} cannot be read ({error.reason}): unpack train2017.zip again."
        ) from error
    if photo.size != stated:
        raise CounterGroundError(
            f"{file} is {photo.width} x {photo.height}, its annotation {stated[0]} x {stated[1]}: "
            "photos and annotations are of different releases."
        )
    # Bilinear with Pillow's antialiasing is what scikit-image's resize does in the original.
    small = photo.resize((size, size), Image.Resampling.BILINEAR)
    mask = Image.fromarray(_mask(folder, one, photo.size).astype(np.uint8) * np.uint8(255))
    return np.dstack([np.asarray(small), np.asarray(mask.resize((size, size), Image.Resampling.BILINEAR))])


def _mask(folder: Path, one: _Chosen, size: tuple[int, int]) -> NDArray[np.bool_]:
    try:
        inside = draw_outline(one.annotation, size)
    except OutlineError as error:
        raise CounterGroundError(f"{folder / _ANNOTATIONS}: {error}; {_GET}.") from error
    if not inside.any():
        raise CounterGroundError(f"{one.annotation['where']} has an empty mask: {_GET}.")
    return inside
