"""The photographs behind ``stamps``: cut-outs and backgrounds, and placing one on the other."""

from __future__ import annotations

import csv
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from PIL import Image

from counterground.benchmarks._packages import Package, open_packages
from counterground.errors import CounterGroundError, UsageError, did_you_mean
from counterground.photos import imagenet_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


STAMPS_PACKAGE = "tuxpaint-stamps-default"
CUTOUT_LICENCE = "GPL-2"
# Labels with at least twelve photographs in the default packages, six of them reserved.
LABELS = ("grass", "rock", "shrub", "sky", "tree", "water")
# The table knows photographs of others, too.
PACKAGES = (
    "budgie-backgrounds",
    "gcompris-qt-data",
    "golang-github-disintegration-imaging-dev",
    "grub2-splashimages",
    "kphotoalbum",
    "liblemonldap-ng-portal-perl",
    "lomiri-wallpapers-16.04",
    "lxqt-themes",
    "sddm-theme-maldives",
    "tuxpaint-data",
    "tuxtype-data",
    "wf-shell",
    "wordpress-theme-twentytwentyfive",
)
_REGION_SIDE = 512  # shorter side kept of a background: twice the photos' side, a fiftieth of the memory
_FAINT = 8  # alpha (of 255) that is invisible
_TRANSLUCENT = 250  # with less alpha than this in half of it, a body lets the background through


@dataclass(frozen=True)
class Cutout:
    """A photographic animal cut-out: RGBA, trimmed to its visible part; the alpha channel is the mask."""

    path_in_package: str
    class_name: str
    imagenet_index: int
    image: Image.Image = field(repr=False, compare=False)

    @property
    def stem(self) -> str:
        """File name without its suffix; unique within a class."""
        return PurePosixPath(self.path_in_package).stem


@dataclass(frozen=True)
class Background:
    """A labelled rectangle of a background photograph; several may come from the same photograph.

    ``reserved`` photographs are those that the shipped CLIPs were not trained on.
    """

    file: str
    label: str
    package: str
    source: str
    licence: str
    reserved: bool
    region: Image.Image = field(repr=False, compare=False)

    @property
    def cluster(self) -> str:
        """The photograph (package and path), whatever the rectangle; intervals are clustered by it."""
        return f"{self.package}:{self.source}"

    @property
    def image(self) -> Image.Image:
        """The square in the middle of the rectangle, RGB."""
        return self.crop(0.5)

    def crop(self, position: float) -> Image.Image:
        """Return a square of the full shorter side; ``position`` (0 to 1) slides it along the longer side."""
        width, height = self.region.size
        side = min(width, height)
        left, top = round((width - side) * position), round((height - side) * position)
        return self.region.crop((left, top, left + side, top + side))


def load_cutouts(packages: Path | None = None) -> list[Cutout]:
    """Return the 51 photographic cut-outs that show exactly one of 45 ImageNet classes, in file order.

    Args:
        packages: folder with the ``.deb`` files, if there is no apt.

    Raises:
        CounterGroundError: the package cannot be fetched or read.
    """
    package = open_packages({STAMPS_PACKAGE: _stamp_files()}, packages)[STAMPS_PACKAGE]
    return [_cutout(row, package) for row in cutout_rows()]


def load_backgrounds(
    packages: Path | None = None,
    *,
    labels: Sequence[str] = LABELS,
    reserved: bool = False,
) -> list[Background]:
    """Return the labelled background photographs, in file order.

    Args:
        packages: folder with the ``.deb`` files, if there is no apt.
        labels: backgrounds wanted.
        reserved: leave out the photographs that the shipped CLIPs were trained on.

    Raises:
        UsageError: an unknown label.
        CounterGroundError: a package cannot be fetched or read.
    """
    rows = background_rows(labels, reserved=reserved)
    opened = open_packages({name: _sources(name) for name in {row["package"] for row in rows}}, packages)
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        return list(pool.map(lambda row: _background(row, opened[row["package"]]), rows))


def package_records(backgrounds: Iterable[str], packages: Path | None) -> list[dict[str, str]]:
    """Return what is recorded of the packages of the cut-outs and of these backgrounds, by name.

    Raises:
        CounterGroundError: a package cannot be fetched or read.
    """
    wanted = {STAMPS_PACKAGE: _stamp_files()} | {name: _sources(name) for name in backgrounds}
    return [package.record() for _, package in sorted(open_packages(wanted, packages).items())]


def cutout_rows() -> list[dict[str, str]]:
    """Return the rows of the stamp map that are photographs and match an ImageNet class exactly."""
    return [row for row in read_map("stamp_map") if row["match"] == "exact" and row["photo"] == "True"]


def background_rows(labels: Sequence[str], *, reserved: bool) -> list[dict[str, str]]:
    """Return the rows of the background table for these labels, by file."""
    table = read_map("backgrounds")
    known = {row["label"] for row in table}
    for label in labels:
        if label not in known:
            raise UsageError(
                f"Unknown background {label!r}.{did_you_mean(label, known)} Known: {', '.join(sorted(known))}"
            )
    rows = [
        row
        for row in table
        if row["label"] in labels and row["package"] in PACKAGES and (_is_reserved(row) or not reserved)
    ]
    return sorted(rows, key=lambda row: row["file"])


def _stamp_files() -> list[str]:
    return [row["path"] for row in cutout_rows()] + [_copyright(STAMPS_PACKAGE)]


def _sources(package: str) -> list[str]:
    # All files of a package that any label may ask for, so that it is fetched once, whatever the labels.
    sources = [row["source"] for row in read_map("backgrounds") if row["package"] == package]
    return [*sources, _copyright(package)]


def _copyright(package: str) -> str:
    return f"/usr/share/doc/{package}/copyright"


@cache
def read_map(name: str) -> tuple[dict[str, str], ...]:
    """Return the rows of ``data/<name>.csv``, texts by column."""
    text = files("counterground.benchmarks.stamps").joinpath(f"data/{name}.csv").read_text("utf-8")
    return tuple(csv.DictReader(text.splitlines()))


def _cutout(row: dict[str, str], package: Package) -> Cutout:
    with Image.open(package.file(row["path"])) as stored:
        image = stored.convert("RGBA")
    index = int(row["imagenet_index"])
    return Cutout(row["path"], imagenet_names("openai")[index], index, solid(image))


def solid(image: Image.Image) -> Image.Image:
    """Trim the invisible rim, and make opaque a body (the fly's) that lets the background through."""
    alpha = image.getchannel("A").point(lambda value: value if value > _FAINT else 0)
    counts = alpha.histogram()[1:]
    firm = sum(counts[_TRANSLUCENT - 1 :])
    if firm < sum(counts) / 2:
        alpha = alpha.point(lambda value: min(255, 2 * value))
    image.putalpha(alpha)
    # An empty rim would make the animal smaller than the scale that was drawn for it.
    return image.crop(alpha.getbbox())


def _background(row: dict[str, str], package: Package) -> Background:
    left, top, right, bottom = (int(edge) for edge in row["box"].split())
    region = _region(package.file(row["source"]), (left, top, right, bottom))
    return Background(
        row["file"], row["label"], row["package"], row["source"], row["licence"], _is_reserved(row), region
    )


def _is_reserved(row: dict[str, str]) -> bool:
    return row["trained"] == "False"


@lru_cache(maxsize=128)
def _region(path: Path, box: tuple[int, int, int, int]) -> Image.Image:
    """Read a rectangle of a photograph, its shorter side reduced to at most 512 pixels."""
    left, top, right, bottom = box
    side = min(right - left, bottom - top)
    shrink = min(1.0, _REGION_SIDE / side)
    with Image.open(path) as stored:
        width, height = stored.size
        if right > width or bottom > height:
            raise CounterGroundError(
                f"{path} is {width} x {height}, not the photograph that was labelled; "
                "provide the package of Debian 13."
            )
        # JPEG decodes to a half or a quarter for a fraction of the work.
        stored.draft("RGB", (round(width * shrink), round(height * shrink)))
        scale_x, scale_y = stored.width / width, stored.height / height
        size = (max(1, round((right - left) * shrink)), max(1, round((bottom - top) * shrink)))
        part = (left * scale_x, top * scale_y, right * scale_x, bottom * scale_y)
        return stored.convert("RGB").resize(size, Image.Resampling.LANCZOS, box=part)


def composite(
    foreground: Image.Image,
    background: Image.Image,
    *,
    size: int,
    scale: float,
    center: tuple[float, float],
    flip: bool = False,
) -> tuple[Image.Image, Image.Image]:
    """Paste an RGBA cut-out on a square background photograph.

    Args:
        foreground: RGBA cut-out; its alpha is the mask.
        background: square RGB photograph, resized to ``size``.
        size: side of the result in pixels.
        scale: longer side of the cut-out as a fraction of ``size`` (0 to 1].
        center: centre of the cut-out (x, y) as fractions of ``size``; moved inside if it would be cut off.
        flip: mirror the cut-out left to right.

    Returns:
        The RGB photo and its L mask (255 = object), both ``size`` x ``size``.
    """
    cutout = foreground.convert("RGBA")
    if flip:
        cutout = cutout.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    ratio = scale * size / max(cutout.size)
    width, height = (max(1, round(side * ratio)) for side in cutout.size)
    cutout = cutout.resize((width, height), Image.Resampling.LANCZOS)
    left = round(min(max(center[0] * size - width / 2, 0), size - width))
    top = round(min(max(center[1] * size - height / 2, 0), size - height))
    photo = background.convert("RGB").resize((size, size), Image.Resampling.LANCZOS)
    alpha = cutout.getchannel("A")
    photo.paste(cutout.convert("RGB"), (left, top), alpha)
    mask = Image.new("L", (size, size))
    mask.paste(alpha, (left, top))
    return photo, mask
