"""ColoredStamps: nine groups of animals from the stamps package; the test has other individuals."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from counterground.benchmarks import open_packages
from counterground.benchmarks.stamps import STAMPS_PACKAGE, read_map, solid
from counterground.paper.study.coco._objects import CLASSES, Array, Objects, Part

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
    pixels: dict[Part, list[Array]] = {part: [] for part in _SIZES}
    classes: dict[Part, list[int]] = {part: [] for part in _SIZES}
    individuals: dict[Part, list[str]] = {part: [] for part in _SIZES}
    for label, paths in enumerate(groups.values()):
        shuffled = [paths[place] for place in draw.permutation(len(paths))]
        held = 1 if len(paths) < 4 else 2
        for part, n in _SIZES.items():
            chosen = shuffled[held:] if part == "train" else shuffled[:held]
            for number in range(n):
                path = chosen[number % len(chosen)]
                pixels[part].append(_placed(cutouts[path], draw))
                classes[part].append(label)
                individuals[part].append(PurePosixPath(path).stem)
    return Objects(
        tuple(groups),
        {part: np.stack(rows) for part, rows in pixels.items()},
        {part: np.array(rows) for part, rows in classes.items()},
        individuals,
        tuple(int(color) for color in draw.permutation(CLASSES)),
        "ColoredStamps: cut-outs of Debian's tuxpaint-stamps-default; validation shows other photos of the "
        "test's individuals",
    )


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
    text = (
        files("counterground.paper.study.coco").joinpath("data/coloredstamps/groups.csv").read_text("utf-8")
    )
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
