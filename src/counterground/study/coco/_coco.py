"""ColoredCOCO's objects: the largest object of each photo, of nine classes, from COCO's annotations."""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from counterground.errors import CounterGroundError, UsageError, needs_extra
from counterground.reading import read_json
from counterground.study.coco._objects import CLASSES, Array, Objects, Part

#: Classes of Ahmed et al. (2021), in their order: class i has biased colour i.
COCO_CLASSES = ("boat", "airplane", "truck", "dog", "zebra", "horse", "bird", "train", "bus")
PER_CLASS: Mapping[Part, int] = {"train": 800, "validation": 100, "test": 100}
MINIMAL_AREA = 10_000.0  # square pixels of the photo, as in Ahmed et al.
_ANNOTATIONS = "annotations/instances_train2017.json"
_PHOTOS = "train2017"
_GET = "get train2017.zip and annotations_trainval2017.zip from cocodataset.org and unpack both there"


@dataclass(frozen=True)
class Chosen:
    """A chosen object: its annotation and its photo's entry, as COCO has them."""

    label: int
    annotation: Mapping[str, Any]
    photo: Mapping[str, Any]


@dataclass
class Choice:
    """What was chosen, and what was left out and why.

    Attributes:
        chosen: objects per class, in order of photo id.
        left_out: reason -> number of annotations of our classes.
    """

    chosen: list[list[Chosen]]
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
    coco = _open(folder)
    choice = choose_objects(coco, minimal_area)
    parts = _parts(choice, per_class)
    pixels = {
        part: np.stack([_cut_out(coco, folder, one, size) for one in rows]) for part, rows in parts.items()
    }
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
    with needs_extra("coco"):
        import_module("pycocotools")
    file = folder / _ANNOTATIONS
    if not file.is_file():
        raise UsageError(f"No {file}: {_GET}.")
    if not (folder / _PHOTOS).is_dir():
        raise UsageError(f"No folder {folder / _PHOTOS}: {_GET}.")
    return file


def _open(folder: Path) -> Any:
    """Return pycocotools' index of the annotations, checked for what we use."""
    file = check_coco(folder)
    from pycocotools.coco import COCO

    try:
        content = read_json(file, most=None)  # COCO's own files are larger than the limit for texts
        tables = [content[name] for name in ("images", "annotations", "categories")]
        coco = COCO()
        coco.dataset = dict(zip(("images", "annotations", "categories"), tables, strict=True))
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
            coco.createIndex()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CounterGroundError(
            f"{file} is not a COCO instance annotation file ({error!r}): {_GET}."
        ) from error
    missing = [name for name in COCO_CLASSES if not coco.getCatIds(catNms=[name])]
    if missing:
        raise CounterGroundError(f"{file} has no class {missing[0]!r}: {_GET}.")
    return coco


def choose_objects(coco: Any, minimal_area: float = MINIMAL_AREA) -> Choice:
    """Return the largest object of each photo, if it is large enough, by class and in order of photo id.

    Raises:
        CounterGroundError: an annotation lacks a required field, or belongs to no photo.
    """
    labels = {coco.getCatIds(catNms=[name])[0]: label for label, name in enumerate(COCO_CLASSES)}
    choice = Choice([[] for _ in COCO_CLASSES])
    largest: dict[int, Mapping[str, Any]] = {}
    for annotation in coco.dataset["annotations"]:
        if annotation.get("category_id") not in labels:
            continue
        reason = _unfit(annotation, minimal_area)
        other = largest.get(annotation["image_id"])
        if reason is None and other is not None:
            reason = "not the largest of their photo"
            if annotation["area"] > other["area"]:
                largest[annotation["image_id"]] = annotation
        elif reason is None:
            largest[annotation["image_id"]] = annotation
        if reason is not None:
            choice.left_out[reason] += 1
    for photo_id, annotation in sorted(largest.items()):
        if photo_id not in coco.imgs:
            raise CounterGroundError(
                f"Annotation {annotation['id']} belongs to photo {photo_id}, which is not listed: {_GET}."
            )
        label = labels[annotation["category_id"]]
        choice.chosen[label].append(Chosen(label, annotation, coco.imgs[photo_id]))
    return choice


def _unfit(annotation: Mapping[str, Any], minimal_area: float) -> str | None:
    lacking = {"id", "image_id", "area", "segmentation"} - set(annotation)
    if lacking:
        raise CounterGroundError(
            f"Annotation {annotation.get('id', '?')} has no {min(lacking)}, as instances have: {_GET}."
        )
    if annotation.get("iscrowd"):
        return "crowds"
    return "smaller than the minimal area" if annotation["area"] < minimal_area else None


def _parts(choice: Choice, per_class: Mapping[Part, int]) -> dict[Part, list[Chosen]]:
    parts: dict[Part, list[Chosen]] = {"train": [], "validation": [], "test": []}
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
    choice: Choice, parts: Mapping[Part, Sequence[Chosen]], per_class: Mapping[Part, int]
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


def _at_edge(one: Chosen) -> bool:
    box = one.annotation.get("bbox")
    if not box:
        return False
    left, top, width, height = box
    return bool(
        left <= 1
        or top <= 1
        or left + width >= one.photo["width"] - 1
        or top + height >= one.photo["height"] - 1
    )


def _cut_out(coco: Any, folder: Path, one: Chosen, size: int) -> Array:
    """Return ``[size, size, 4]`` uint8: the photo, and the mask as coverage."""
    file = folder / _PHOTOS / one.photo["file_name"]
    mask = _mask(coco, one)
    try:
        with Image.open(file) as stored:
            photo = stored.convert("RGB")
    except FileNotFoundError as error:
        raise CounterGroundError(f"{file} is missing: unpack train2017.zip again.") from error
    except OSError as error:
        raise CounterGroundError(f"{file} cannot be read ({error}): unpack train2017.zip again.") from error
    if photo.size != (mask.shape[1], mask.shape[0]):
        raise CounterGroundError(
            f"{file} is {photo.width} x {photo.height}, its annotation {mask.shape[1]} x {mask.shape[0]}: "
            "photos and annotations are of different releases."
        )
    # Bilinear with Pillow's antialiasing is what scikit-image's resize does in the original.
    small = photo.resize((size, size), Image.Resampling.BILINEAR)
    coverage = Image.fromarray(mask * np.uint8(255)).resize((size, size), Image.Resampling.BILINEAR)
    return np.dstack([np.asarray(small), np.asarray(coverage)])


def _mask(coco: Any, one: Chosen) -> Array:
    """Return the mask, ``[height, width]`` uint8 of 0 and 1, from polygons or run lengths."""
    where = f"Annotation {one.annotation['id']} of {one.photo['file_name']}"
    shape = one.annotation["segmentation"]
    if isinstance(shape, list) and (
        not shape or any(len(polygon) < 6 or len(polygon) % 2 for polygon in shape)
    ):
        raise CounterGroundError(f"{where} has a polygon with fewer than three points: {_GET}.")
    try:
        mask: Array = coco.annToMask(one.annotation)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise CounterGroundError(f"{where} has no readable mask ({error!r}): {_GET}.") from error
    if mask.shape != (one.photo["height"], one.photo["width"]):
        raise CounterGroundError(
            f"{where} has a mask of {mask.shape[1]} x {mask.shape[0]}, the photo is "
            f"{one.photo['width']} x {one.photo['height']}: {_GET}."
        )
    if not mask.any():
        raise CounterGroundError(f"{where} has an empty mask: {_GET}.")
    return mask
