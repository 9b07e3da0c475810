"""Masks and boxes from annotations in COCO's format: polygons, RLE, crowds, and panoptic PNGs.

The formats: https://github.com/cocodataset/cocodataset.github.io/blob/master/dataset/format-data.htm
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from counterground.errors import UsageError, error_message, needs_extra
from counterground.files import file_sha256, is_file
from counterground.masks._sources import (
    Box,
    Found,
    Mask,
    MaskRequest,
    MaskSource,
    NameMatch,
    of_classes,
    read_image,
)
from counterground.photos import (
    Benchmark,
    CocoFile,
    UnreadablePhoto,
    box_inside,
    coco_box,
    is_pixels,
    photo_size,
    read_coco_file,
)
from counterground.settings import MaskSettings
from counterground.text import counted

_Inside = npt.NDArray[np.bool_]

# pycocotools draws in C, without bounds: far points take gigabytes, or end the process.
_FAR = 1e6  # pixels from the corner of the photo
_LONG = 1e7  # pixels along all polygons, at most


class OutlineError(Exception):
    """An outline that cannot be used: a key of ``REASONS``, and why in words."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def coco_source(path: Path, benchmark: Benchmark, settings: MaskSettings) -> MaskSource:
    """Return the source of the outlines of each photo's class.

    Objects of other categories and crowd regions are never part of a mask.

    Raises:
        UsageError: none of its images is a photo of the benchmark, or none of its categories a class; or the
            panoptic PNGs are not found.
        CounterGroundError: the file is not in COCO's format.
    """
    annotated = _Annotated.read(path, benchmark, settings)
    folder = _segments_folder(path, annotated.content)
    with needs_extra("masks"):
        import pycocotools  # noqa: F401 - checked before any photo is read

    def find(photo: MaskRequest) -> Found:
        objects = annotated.objects(photo)
        if isinstance(objects, Found):
            return objects
        try:
            return _drawn(objects, photo.size, settings.several, folder)
        except OutlineError as error:
            return Found(None, error.reason, str(error))

    unused = len(annotated.content.images) - len(annotated.matched.claims)
    notes = (f"{counted(unused, 'annotated image')} of no photo.",) if unused else ()
    return MaskSource("coco", find, record={"sha256": file_sha256(path)}, notes=notes)


def coco_boxes(path: Path, benchmark: Benchmark, settings: MaskSettings) -> dict[str, tuple[Box, ...]]:
    """Return the boxes of the objects of each photo's class, by path; crowd regions have none.

    A photo with an object whose box is not stated is left out: that object would stay in the background. So
    is one that has another size than the annotations state.

    Raises:
        UsageError: see `coco_source`.
        CounterGroundError: the file is not in COCO's format, or a box is not four numbers.
    """
    annotated = _Annotated.read(path, benchmark, settings)
    found = {}
    for photo, name in benchmark.photos.select("path", "class_name").iter_rows():
        file = benchmark.photo_path(photo)
        try:
            size = photo_size(file)
        except UnreadablePhoto:  # its mask says so
            continue
        objects = annotated.objects(MaskRequest(photo, file, name, None, size))
        boxes = [] if isinstance(objects, Found) else list(map(coco_box, objects))
        known = [box for box in boxes if box and min(box[2:]) > 0]
        if known and len(known) == len(boxes):
            edges = np.array([box_inside(box, size) for box in known])
            areas = np.prod(edges[:, 2:] - edges[:, :2], axis=1)
            found[photo] = (known[int(areas.argmax())],) if settings.several == "largest" else tuple(known)
    return found


@dataclass(frozen=True)
class _Annotated:
    """Annotations with the photos that they belong to.

    Attributes:
        content: the content of the file.
        matched: the image id of each photo.
        categories: the category ids of each class name.
    """

    content: CocoFile
    matched: NameMatch[Any]
    categories: Mapping[str, frozenset[Any]]

    @classmethod
    def read(cls, path: Path, benchmark: Benchmark, settings: MaskSettings) -> _Annotated:
        """Read a file and find its images and categories among the photos."""
        content = read_coco_file(path)
        photos = benchmark.photos["path"].to_list()
        known = {part for photo in photos for part in PurePosixPath(photo).parts[:-1]}
        files = {
            key: PurePosixPath(str(image.get("file_name") or "").replace("\\", "/"))
            for key, image in content.images.items()
        }
        shared = len({file.parent for file in files.values()}) == 1
        names = defaultdict(list)
        for key, file in files.items():
            *folders, _ = parts = file.parts or ("",)
            # A bare name says which photo it is beside folders that say nothing, such as ``train2017``.
            bare = not known or (not known & set(folders) and (shared or len(folders) < 2))
            for start in range(len(parts) - (bool(folders) and not bare)):
                names["/".join(parts[start:])].append(key)
        matched = NameMatch(photos, names, stems=False)
        if not matched.claims:
            raise UsageError(
                f"No image of {path} is a photo of {benchmark.name}: {next(iter(names), '')!r} is not "
                f"{photos[0]!r}."
            )
        classes = benchmark.photos["class_name"].unique().sort().to_list()
        named_as = {key: str(category["name"]) for key, category in content.categories.items()}
        found = of_classes(path, "category", named_as, classes, settings.categories)
        return cls(content, matched, found)

    def objects(self, photo: MaskRequest) -> list[dict[str, Any]] | Found:
        """Return the single objects of the photo's class, or why there are none."""
        key = self.matched.one(photo.path, "image")
        if isinstance(key, Found):
            return key
        image, shown = self.content.images[key], self.content.annotations.get(key, [])
        stated = (image.get("width"), image.get("height"))
        known = all(is_pixels(side) and side > 0 for side in (*stated, *photo.size))
        if known and stated != photo.size:
            there, wanted = (f"{width} x {height}" for width, height in (stated, photo.size))
            return Found(None, "wrong size", f"annotated at {there} pixels, the photo has {wanted}")
        if not shown:
            return Found(None, "missing", "the image has no annotation")
        of_class = [each for each in shown if each["category_id"] in self.categories[photo.class_name]]
        if not of_class:
            others = sorted({str(self.content.categories[each["category_id"]]["name"]) for each in shown})
            return Found(None, "other category", f"annotated: {', '.join(others)}")
        single = [each for each in of_class if not each.get("iscrowd")]
        return single or Found(None, "crowd only", counted(len(of_class), "crowd region"))


def _drawn(objects: Sequence[dict[str, Any]], size: tuple[int, int], several: str, folder: Path) -> Found:
    """Return the union of the objects, or the largest of them."""
    chosen, most = np.zeros(size[::-1], bool, order="F"), -1  # as the outlines are drawn
    for each in objects:  # one in memory at a time
        drawn = _segment(each, size, folder) if "segments" in each else draw_outline(each, size)
        if several != "largest":
            chosen |= drawn
        elif (area := int(drawn.sum())) > most:
            chosen, most = drawn, area
    mask: Mask = np.ascontiguousarray(chosen).astype(np.uint8) * 255
    return Found(mask)


def draw_outline(annotation: Mapping[str, Any], size: tuple[int, int]) -> _Inside:
    """Return the pixels of an object, ``[height, width]``, from its polygons or run lengths.

    ``size`` is the photo's width and height in pixels.

    Raises:
        OutlineError: it has none, or they are not in COCO's format, or of a photo of another size.
    """
    outline = annotation.get("segmentation")
    number = f"annotation {annotation.get('id')}"
    if not outline:
        raise OutlineError("incomplete", f"{number} has no outline")
    width, height = size
    if isinstance(outline, dict) and outline.get("size") != [height, width]:
        raise OutlineError(
            "wrong size", f"{number} has the size {outline.get('size')}, the photo [{height}, {width}]"
        )
    try:
        return _pixels(outline, size)
    except Exception as error:  # whatever pycocotools raises on what it cannot read
        raise OutlineError("unreadable", f"the outline of {number}: {error_message(error)}") from error


def _pixels(outline: Any, size: tuple[int, int]) -> _Inside:
    from pycocotools import mask as coco

    width, height = size
    if isinstance(outline, dict):
        runs = outline["counts"]
        if isinstance(runs, list) and sum(runs) != width * height:
            raise ValueError("its runs are not of all pixels")
        drawn = coco.frPyObjects(outline, height, width) if isinstance(runs, list) else outline
    else:
        points = np.concatenate([np.array(polygon, float).reshape(-1, 2) for polygon in outline])
        # It draws in C: far points take gigabytes, or end the process.
        if not (np.abs(points) <= _FAR).all() or len(points) * np.ptp(points) > _LONG:
            raise ValueError(f"it leads further than {_FAR:.0e} pixels")
        drawn = coco.merge(coco.frPyObjects(outline, height, width))
    decoded = np.asarray(coco.decode(drawn))
    if decoded.max() > 1:  # what it did not write
        raise ValueError("its runs are not of all pixels")
    return decoded.astype(bool)


def _segments_folder(path: Path, content: CocoFile) -> Path:
    """Return where the PNGs of panoptic annotations are, beside their file."""
    shown = (each for several in content.annotations.values() for each in several)
    first = min((str(each["segments"]) for each in shown if "segments" in each), default=None)
    for folder in (path.parent / path.stem, path.parent):
        if first is None or is_file(folder / first):
            return folder
    raise UsageError(f"{path} is panoptic: put its PNGs, such as {first}, into {path.parent / path.stem}.")


def _segment(annotation: dict[str, Any], size: tuple[int, int], folder: Path) -> _Inside:
    """Return the pixels of a segment, whose id is red + 256 green + 65536 blue."""
    name = Path(str(annotation["segments"])).name
    image = read_image(folder / name, size)
    if isinstance(image, Found):
        raise OutlineError(image.reason, image.detail)
    ids = np.asarray(image).astype(np.int64) @ np.array([1, 256, 65536])
    number = annotation.get("id")
    inside: _Inside = ids == number if isinstance(number, int | float) else np.zeros(ids.shape, bool)
    if not inside.any():
        raise OutlineError("incomplete", f"segment {number} is not in {name}")
    return inside
