"""Objects on plain colours that follow their class: ColoredCOCO (paper section 6, Ahmed et al. 2021)."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.resources import files
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image, ImageColor

from counterground.benchmarks import open_packages
from counterground.benchmarks.stamps import STAMPS_PACKAGE, read_map, solid
from counterground.errors import CounterGroundError, UsageError, needs_extra
from counterground.masks import OutlineError, draw_outline
from counterground.photos import UnreadablePhoto, load_photo, read_coco_file

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = get_args(Part)
Strength = float | None  # None: colours are independent of the class
Array = np.ndarray[Any, np.dtype[Any]]

#: The nine biased colours in the order of Ahmed et al.'s nine classes; names as captions say them.
BIASED: Mapping[str, str] = {
    "dark green": "#006400",
    "rosy brown": "#bc8f8f",
    "red": "#ff0000",
    "gold": "#ffd700",
    "green": "#00ff00",
    "royal blue": "#4169e1",
    "cyan": "#00e1e1",
    "blue": "#0000ff",
    "deep pink": "#ff1493",
}
#: Ahmed et al. draw ten others anew at each run, at a squared distance over 2,500 from all
#: biased ones; these are fixed and meet that condition.
OTHERS: Mapping[str, str] = {
    "grey": "#808080",
    "white": "#ffffff",
    "black": "#000000",
    "orange": "#ff8c00",
    "purple": "#800080",
    "brown": "#8b4513",
    "beige": "#f5deb3",
    "navy": "#000080",
    "violet": "#ee82ee",
    "teal": "#008080",
}
COLORS = (*BIASED, *OTHERS)
CLASSES = len(BIASED)
_BRIGHTNESS = 0.75  # brightness of the painted background, as in Ahmed et al.


@dataclass(frozen=True)
class Objects:
    """Objects cut out of their photos, nine classes in three parts; training has individuals of its own.

    Attributes:
        names: label of each class as captions say it.
        pixels: part -> ``[n, size, size, 4]`` uint8, RGB and coverage.
        classes: part -> ``[n]`` index of the class.
        individuals: part -> the photo or animal that each object is from.
        biased: ``[9]`` index in ``COLORS`` of each class's biased colour.
        source: where they come from, in a few words.
    """

    names: tuple[str, ...]
    pixels: Mapping[Part, Array] = field(repr=False)
    classes: Mapping[Part, Array] = field(repr=False)
    individuals: Mapping[Part, Sequence[str]] = field(repr=False)
    biased: tuple[int, ...]
    source: str


@dataclass(frozen=True)
class Painted:
    """Photos of objects on plain colours.

    Attributes:
        pixels: ``[n, size, size, 3]`` uint8.
        classes: ``[n]`` index of the class.
        colors: ``[n]`` index in ``COLORS``.
    """

    pixels: Array = field(repr=False)
    classes: Array
    colors: Array


def paint(objects: Objects, part: Part, strength: Strength, seed: int) -> Painted:
    """Paint a part as in training (section 6): a fraction ``strength`` of a class on its biased colour.

    The rest is spread over the ten other colours; with ``strength`` None, all nineteen colours are equally
    frequent in every class. Quotas are exact to the photo. A larger strength recolours some photos and leaves
    the others unchanged.
    """
    draw = np.random.default_rng([seed, PARTS.index(part), 0])

    def colors_of(label: int, n: int) -> Array:
        order, spread = draw.permutation(n), _spread(range(CLASSES, len(COLORS)), n, draw)
        if strength is None:
            return _spread(range(len(COLORS)), n, draw)
        spread[order[: round(strength * n)]] = objects.biased[label]
        return spread

    return _painted(objects, part, colors_of)


def paint_elsewhere(objects: Objects, part: Part, seed: int) -> Painted:
    """Paint a part out of distribution: the eight biased colours of other classes, equally often."""
    draw = np.random.default_rng([seed, PARTS.index(part), 1])
    others = [[color for color in objects.biased if color != own] for own in objects.biased]
    return _painted(objects, part, lambda label, n: _spread(others[label], n, draw))


def _painted(objects: Objects, part: Part, colors_of: Callable[[int, int], Array]) -> Painted:
    classes = objects.classes[part]
    colors = np.zeros(len(classes), dtype=np.int64)
    for label in range(len(objects.names)):
        rows = np.flatnonzero(classes == label)
        colors[rows] = colors_of(label, len(rows))
    return Painted(on_color(objects.pixels[part], colors), classes, colors)


def _spread(colors: Sequence[int], n: int, draw: np.random.Generator) -> Array:
    """Return ``n`` of ``colors``, as equally often as possible, in random order."""
    return draw.permutation(np.resize(draw.permutation(np.asarray(colors)), n))


def on_color(pixels: Array, colors: Array) -> Array:
    """Put objects ``[n, size, size, 4]`` on colours ``[n]`` of ``COLORS``; ``[n, size, size, 3]`` uint8."""
    rgb = np.array([ImageColor.getrgb(each) for each in (*BIASED.values(), *OTHERS.values())], np.float32)
    rgb *= _BRIGHTNESS
    painted = np.empty((*pixels.shape[:3], 3), dtype=np.uint8)
    for row, color in enumerate(colors):
        coverage = pixels[row, ..., 3:].astype(np.float32) / 255
        painted[row] = np.rint(pixels[row, ..., :3] * coverage + rgb[color] * (1 - coverage))
    return painted


def caption_obj(name: str) -> str:
    """Return the caption *obj*: the object alone."""
    return f"a photo of {name}"


def caption_objbkg(name: str, color: str) -> str:
    """Return the caption *objbkg*: the object and its background."""
    return f"a photo of {name} in {color} background"


#: Classes of Ahmed et al. (2021), in their order: class i has biased colour i.
COCO_CLASSES = ("boat", "airplane", "truck", "dog", "zebra", "horse", "bird", "train", "bus")
PER_CLASS: Mapping[Part, int] = {"train": 800, "validation": 100, "test": 100}
MINIMAL_AREA = 10_000.0  # square pixels of the photo, as in Ahmed et al.
_ANNOTATIONS = "annotations/instances_train2017.json"
_PHOTOS = "train2017"
_GET = "get train2017.zip and annotations_trainval2017.zip from cocodataset.org and unpack both there"


_Entry = Mapping[str, Any]
_Object = tuple[Array, int, str]  # pixels, class, individual


def load_coco_objects(folder: Path, size: int, *, per_class: Mapping[Part, int] = PER_CLASS) -> Objects:
    """Return the objects of ColoredCOCO from COCO 2017 under ``folder``.

    As in Ahmed et al. (2021): the largest object of the class in a photo, at least 10,000 square
    pixels, photo and mask squashed to ``size`` x ``size``; the first ``per_class`` of each class.
    Unlike theirs, crowds are left out; a photo with large objects of several classes counts only for its
    largest, so parts share no photo; photos are taken in order of id; test and validation are filled first if
    a class has too few. Objects cut off by the photo's edge stay, as in theirs.

    Args:
        folder: folder with ``annotations/instances_train2017.json`` and ``train2017/``.
        size: side of the photos; Ahmed et al. use 64.
        per_class: photos of each class in each part.

    Raises:
        UsageError: no COCO there.
        CounterGroundError: pycocotools is missing, or annotations or photos are damaged, missing or do not
        fit.
    """
    chosen = _choose(check_coco(folder))
    made: dict[Part, list[_Object]] = {part: [] for part in PARTS}
    test = per_class["validation"] + per_class["test"]
    for label, (name, rows) in enumerate(zip(COCO_CLASSES, chosen, strict=True)):
        if len(rows) <= test:
            raise CounterGroundError(
                f"{len(rows)} photos show a large {name}; validation and test alone need {test}: {_GET}."
            )
        left = iter(rows)
        sizes = {**per_class, "train": min(per_class["train"], len(rows) - test)}
        for part in PARTS:
            for annotation, photo in islice(left, sizes[part]):
                pixels = _cut_out(folder, annotation, photo, size)
                made[part].append((pixels, label, str(photo["file_name"])))
    counts = ", ".join(f"{len(made[part]):,} {part}" for part in PARTS)
    return _objects(COCO_CLASSES, made, tuple(range(CLASSES)), f"COCO 2017, {counts} photos")


def _objects(
    names: tuple[str, ...], made: Mapping[Part, Sequence[_Object]], biased: tuple[int, ...], source: str
) -> Objects:
    return Objects(
        names,
        {part: np.stack([pixels for pixels, _, _ in rows]) for part, rows in made.items()},
        {part: np.array([label for _, label, _ in rows]) for part, rows in made.items()},
        {part: [individual for _, _, individual in rows] for part, rows in made.items()},
        biased,
        source,
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


def _choose(file: Path) -> list[list[tuple[_Entry, _Entry]]]:
    """Return each photo's largest object, if large enough, by class and in order of photo id."""
    content = read_coco_file(file)
    named = {str(category["name"]): key for key, category in content.categories.items()}
    if missing := [name for name in COCO_CLASSES if name not in named]:
        raise CounterGroundError(f"{file} has no class {missing[0]!r}: {_GET}.")
    labels = {named[name]: label for label, name in enumerate(COCO_CLASSES)}
    chosen: list[list[tuple[_Entry, _Entry]]] = [[] for _ in COCO_CLASSES]
    for key in sorted(content.annotations):
        fit = [
            each
            for each in content.annotations[key]
            if each["category_id"] in labels and not each.get("iscrowd") and each["area"] >= MINIMAL_AREA
        ]
        if fit:
            largest = max(fit, key=lambda each: each["area"])
            chosen[labels[largest["category_id"]]].append((largest, content.images[key]))
    return chosen


def _cut_out(folder: Path, annotation: _Entry, photo: _Entry, size: int) -> Array:
    """Return ``[size, size, 4]`` uint8: the photo, and the mask as coverage."""
    file = folder / _PHOTOS / photo["file_name"]
    try:
        image = load_photo(file).image
        inside = draw_outline(annotation, image.size)
    except UnreadablePhoto as error:
        raise CounterGroundError(
            f"{file} cannot be read ({error.reason}): unpack train2017.zip again."
        ) from error
    except OutlineError as error:
        raise CounterGroundError(f"{folder / _ANNOTATIONS}: {error}; {_GET}.") from error
    mask = Image.fromarray(inside.astype(np.uint8) * np.uint8(255))
    # Bilinear with Pillow's antialiasing is what scikit-image's resize does in the original.
    return np.dstack(
        [np.asarray(each.resize((size, size), Image.Resampling.BILINEAR)) for each in (image, mask)]
    )


SIDE = 32
_SIZES: dict[Part, int] = {"train": 240, "validation": 40, "test": 80}
_SCALE = (0.7, 0.95)  # longer side of the animal, as a share of the photo's
_TILT = 10.0  # degrees, either way
_GAIN = 0.15  # largest change of a colour channel


def load_stamps_objects(seed: int, *, packages: Path | None = None) -> Objects:
    """Return ColoredStamps' objects for ``seed``, 32 pixels a side.

    The seed draws the individuals of the test, the biased colour of each group, and how animals are placed,
    tilted, mirrored and lit. Validation shows the test's individuals in other photos: there are too few for
    a third part.

    Args:
        seed: seed of everything random.
        packages: folder with the ``.deb`` file, if there is no apt.

    Raises:
        CounterGroundError: the package cannot be fetched or read.
    """
    draw = np.random.default_rng([seed, 7])
    groups = _groups()
    cutouts = _cutouts(packages)
    made: dict[Part, list[_Object]] = {part: [] for part in PARTS}
    for label, paths in enumerate(groups.values()):
        shuffled = [paths[place] for place in draw.permutation(len(paths))]
        unseen = 1 if len(paths) < 4 else 2
        for part, n in _SIZES.items():
            chosen = shuffled[unseen:] if part == "train" else shuffled[:unseen]
            for number in range(n):
                path = chosen[number % len(chosen)]
                made[part].append((_placed(cutouts[path], draw), label, PurePosixPath(path).stem))
    biased = tuple(int(color) for color in draw.permutation(CLASSES))
    source = "ColoredStamps: cut-outs of Debian's tuxpaint-stamps-default; validation shows other photos of "
    return _objects(tuple(groups), made, biased, f"{source}the test's individuals")


def _cutouts(packages: Path | None) -> Mapping[str, Image.Image]:
    # Ask for all photographic stamps, not only ours: the cached package then serves the benchmark too.
    stamps = [row["path"] for row in read_map("stamp_map") if row["photo"] == "True"]
    copyright_file = f"/usr/share/doc/{STAMPS_PACKAGE}/copyright"
    package = open_packages({STAMPS_PACKAGE: [*stamps, copyright_file]}, packages)[STAMPS_PACKAGE]
    cutouts = {}
    for path in (path for paths in _groups().values() for path in paths):
        with Image.open(package.file(path)) as stored:
            whole = solid(stored.convert("RGBA"))
        cutouts[path] = whole.resize(_fitted(whole, 4 * SIDE), Image.Resampling.LANCZOS)
    return cutouts


@cache
def _groups() -> dict[str, tuple[str, ...]]:
    text = files("counterground.paper.study").joinpath("data/coloredstamps/groups.csv").read_text("utf-8")
    groups: dict[str, tuple[str, ...]] = {}
    for row in csv.DictReader(text.splitlines()):
        groups[row["group"]] = (*groups.get(row["group"], ()), row["path"])
    return groups


def _placed(animal: Image.Image, draw: np.random.Generator) -> Array:
    """Return ``[SIDE, SIDE, 4]`` uint8: the animal mirrored, tilted, lit, sized and placed at random."""
    if draw.random() < 0.5:
        animal = animal.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    animal = animal.rotate(draw.uniform(-_TILT, _TILT), Image.Resampling.BICUBIC, expand=True)
    animal = animal.crop(animal.getchannel("A").getbbox())  # turning adds an empty rim
    size = _fitted(animal, SIDE * draw.uniform(*_SCALE))
    animal = animal.resize(size, Image.Resampling.LANCZOS)
    left, top = (int(draw.integers(SIDE - length + 1)) for length in size)
    photo = Image.new("RGBA", (SIDE, SIDE))
    photo.paste(animal, (left, top))
    pixels = np.asarray(photo, dtype=np.float32).copy()
    pixels[..., :3] *= draw.uniform(1 - _GAIN, 1 + _GAIN, 3) * draw.uniform(1 - _GAIN, 1 + _GAIN)
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def _fitted(image: Image.Image, side: float) -> tuple[int, int]:
    ratio = side / max(image.size)
    return max(1, round(image.width * ratio)), max(1, round(image.height * ratio))
