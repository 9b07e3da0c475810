"""Annotations in COCO's format: the class of a photo from the category of its objects.

The format: https://github.com/cocodataset/cocodataset.github.io/blob/master/dataset/format-data.htm
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeGuard

import polars as pl
from pydantic import BaseModel, Field, ValidationError

from counterground.errors import CounterGroundError, UsageError, first_problem
from counterground.files import is_file, is_folder, read_json
from counterground.photos._benchmark import Benchmark
from counterground.photos._source import Source, benchmark_of_rows, is_web
from counterground.text import counted

_SEVERAL = ("skip", "largest")
_FILE = "file_name"
_HUGE = 10**15  # of sides and areas, in pixels


def read_coco(path: Path, source: Source, *, show_progress: bool = False) -> Benchmark:
    """Read ``annotations.json?images=FOLDER``, one row for each photo that shows one category.

    ``image=coco_url`` takes the photos from the URLs in that field. Photos without an annotation, and those
    of several categories, are left out and counted; with ``several=largest`` the category of the largest
    object is the class, if sizes are stated. A crowd region is the object only if there are no others.

    Other fields of a photo also become columns.

    Raises:
        UsageError: an unknown setting.
        CounterGroundError: the file is not in that format, an annotation points nowhere, or no photo is left.
    """
    source.only("images", "several", "names")
    several = source.options.get("several", "skip")
    if several not in _SEVERAL:
        raise UsageError(f"{source.text}: several is one of {', '.join(_SEVERAL)}, not {several!r}.")
    content = read_coco_file(path)
    column = source.columns.get("path", _FILE)
    rows, notes = _rows(path, content, column, several)
    urls = is_web(str(rows[0].get(column) or ""))
    folder = path.parent if urls else _folder(path, source, [str(row.get(column) or "") for row in rows])
    columns = {"path": column, "class_name": "class_name", **source.columns}
    frame = pl.DataFrame(rows, infer_schema_length=None, strict=False)
    named = replace(source, place=str(path), columns=columns)
    found = benchmark_of_rows(frame, named, folder, path.stem, show_progress=show_progress)
    return found.described(notes=(*notes, *found.notes))


_Id = int | str
_Pixels = Annotated[float, Field(strict=True, gt=-_HUGE, lt=_HUGE)]


class _Image(BaseModel):
    id: _Id
    license: _Id | None = None


class _Category(BaseModel):
    id: _Id
    name: object


class _Segment(BaseModel):
    category_id: _Id | None = None
    bbox: Annotated[list[_Pixels], Field(min_length=4, max_length=4)] | None = None


class _Annotation(_Segment):
    image_id: _Id
    segments_info: list[_Segment] | None = None


class _Content(BaseModel):
    images: list[_Image]
    categories: list[_Category]
    annotations: list[_Annotation]
    licenses: list[_Image] | None = None


class CocoFile(NamedTuple):
    """Annotations in COCO's format, checked: each has an image and a category that exist.

    Attributes:
        images: by id.
        categories: by id.
        annotations: annotations of each image, by its id; each has ``where``, for messages. A panoptic
            annotation is split into its segments, with the name of their PNG in ``segments``.
        licences: URL or name, by id.
    """

    images: dict[Any, dict[str, Any]]
    categories: dict[Any, dict[str, Any]]
    annotations: dict[Any, list[dict[str, Any]]]
    licences: dict[Any, Any]


def read_coco_file(path: Path) -> CocoFile:
    """Read annotations of objects, or panoptic ones.

    Raises:
        CounterGroundError: the file is not in that format, or an annotation points nowhere.
    """
    try:
        content = read_json(path, most=None)
        _Content.model_validate(content)
    except ValidationError as error:
        raise CounterGroundError(f"{path} is not in COCO's format: {first_problem(error)}.") from error
    except (OSError, ValueError) as error:
        raise CounterGroundError(f"Cannot read {path} as JSON: {error}.") from error
    images, categories = (_by_id(path, content[kind]) for kind in ("images", "categories"))
    licences = {
        entry["id"]: next(filter(_is_text, (entry.get("url"), entry.get("name"))), None)
        for entry in content.get("licenses") or ()
    }
    objects: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for number, annotation in enumerate(content["annotations"], 1):
        where, image = (
            f"{path}: annotation {annotation.get('id', f'number {number}')}",
            annotation["image_id"],
        )
        if image not in images:
            raise CounterGroundError(f"{where} is of the image {image!r}, which is not there.")
        singles = [annotation]
        if annotation.get("segments_info") is not None:
            name = annotation.get("file_name")
            singles = [segment | {"segments": name} for segment in annotation["segments_info"]]
        for single in singles:
            if (category := single.get("category_id")) not in categories:
                raise CounterGroundError(f"{where} has the category {category!r}, which is not there.")
            objects[image].append(single | {"where": where})
    return CocoFile(images, categories, dict(objects), licences)


def _rows(
    path: Path, content: CocoFile, column: str, several: str
) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """Return the photos that have a class, and notes on the others."""
    rows, left_out = [], Counter[str]()
    for key, image in content.images.items():
        if not _is_text(image.get(column)):
            raise CounterGroundError(f"{path}: image {key} has no {column!r}; it has {', '.join(image)}.")
        shown = content.annotations.get(key, [])
        distinct = {annotation["category_id"] for annotation in shown}
        sized = several == "largest" and any(map(_area, shown))
        if not shown or (len(distinct) > 1 and not sized):
            left_out["without an annotation" if not shown else "of several categories"] += 1
            continue
        single = [annotation for annotation in shown if not annotation.get("iscrowd")] or shown
        largest = max(single, key=lambda annotation: _area(annotation) or 0)
        licence = content.licences.get(image.get("license"))
        rows.append(
            {
                field: value
                for field, value in image.items()
                if isinstance(value, str | int | float) and field not in ("id", "license")
            }
            | ({"licence": licence} if licence else {})
            | {"class_name": str(content.categories[largest["category_id"]]["name"])}
        )
    if not rows:
        counts = ", ".join(f"{count:,} {why}" for why, count in left_out.items()) or "it lists none"
        raise CounterGroundError(f"{path}: no photo has a class ({counts}); see ?several=largest.")
    notes = [
        f"{counted(count, 'photo')} {why} left out of {counted(len(content.images), 'photo')}."
        for why, count in left_out.items()
    ]
    if several == "largest":
        notes.append("The class of a photo of several categories is that of its largest object.")
    return rows, tuple(notes)


def _area(annotation: Mapping[str, Any]) -> float | None:
    """Return the area of an object in pixels: of its mask if that is stated, else of its box."""
    if is_pixels(annotation.get("area")):
        return float(annotation["area"])
    box = coco_box(annotation)
    return None if box is None else box[2] * box[3]


def _by_id(path: Path, entries: Sequence[dict[str, Any]]) -> dict[Any, dict[str, Any]]:
    found = {entry["id"]: entry for entry in entries}
    if len(found) < len(entries):
        ((twice, _),) = Counter(entry["id"] for entry in entries).most_common(1)
        raise CounterGroundError(f"{path}: the id {twice} is listed twice.")
    return found


def _is_text(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and bool(value)


def is_pixels(value: Any) -> TypeGuard[float]:
    """Return whether it is a finite number of a size that photos have."""
    return isinstance(value, int | float) and abs(value) < _HUGE


def coco_box(annotation: Mapping[str, Any]) -> tuple[float, float, float, float] | None:
    """Return left, top, width and height in pixels, as stated; None without a box."""
    if not annotation.get("bbox"):
        return None
    left, top, width, height = map(float, annotation["bbox"])
    return left, top, width, height


def _folder(path: Path, source: Source, names: Sequence[str]) -> Path:
    """Return the folder of the photos: as given, else a usual one that has the first photo."""
    if "images" in source.options:
        folder = Path(source.options["images"])
        if not is_folder(folder):
            raise UsageError(f"{source.text}: {folder} is not a folder.")
        return folder
    split = path.stem.rpartition("_")[2]  # annotations/instances_val2017.json beside val2017/
    beside = [path.parent, path.parent / "images", path.parent.parent / split, path.parent.parent / "images"]
    for folder in [*beside, path.parent.parent / "images" / split]:
        if is_file(folder / names[0]):
            return folder
    if not source.files:
        return path.parent
    raise UsageError(f"{names[0]!r} is not found beside {path}: say where the photos are, ?images=FOLDER.")
