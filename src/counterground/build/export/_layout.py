"""Where each photo and mask of a benchmark goes in an export."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import polars as pl

from counterground.build.export._names import place, safe_name, safe_path
from counterground.errors import CounterGroundError, UsageError
from counterground.photos import IMAGE_SUFFIXES, Benchmark, find_imagenet_index, imagenet_names

#: Files at the top of an export: no photo may be called so.
OWN_FILES = (
    "ATTRIBUTION.csv",
    "README.md",
    "benchmark.json",
    "class_names.txt",
    "croissant.json",
    "export.json",
    "imagenet_names.txt",
    "label_space.json",
    "left_out.csv",
    "photos.parquet",
)
UNLABELLED = "unlabelled"


@dataclass(frozen=True)
class Contents:
    """What an export holds: the benchmark with the paths it gets there, and the file each path comes from.

    ``origins`` has the masks too. ``notes`` say what this layout changes or cannot hold.
    """

    benchmark: Benchmark
    origins: dict[str, Path]
    notes: tuple[str, ...] = ()

    @property
    def masks(self) -> list[str]:
        """Paths of the masks, each once."""
        return self.benchmark.photos["mask"].drop_nulls().unique().sort().to_list()


def keep_paths(benchmark: Benchmark) -> Contents:
    """Keep every path that is safe on all systems; so the version stays where no path changes.

    Masks go to a folder of their own where they do not have one already.
    """
    photos = benchmark.photos
    paths = place([safe_path(path) for path in photos["path"]], OWN_FILES)
    renamed = sum(old != new for old, new in zip(photos["path"], paths, strict=True))
    masks = photos["mask"].drop_nulls().unique().sort().to_list()
    new_masks = dict(zip(masks, _place_masks(masks, paths), strict=True))
    origins = {new: benchmark.photo_path(old) for old, new in zip(photos["path"], paths, strict=True)} | {
        new: benchmark.photo_path(old) for old, new in new_masks.items()
    }
    moved = photos.with_columns(
        pl.Series("path", paths, pl.String),
        pl.Series("mask", [mask and new_masks[mask] for mask in photos["mask"]], pl.String),
    )
    notes = (
        (f"{renamed:,} files were renamed, to names that every system keeps, so the version is another.",)
        if renamed
        else ()
    )
    return Contents(replace(benchmark, photos=moved), origins, notes)


def _place_masks(masks: Sequence[str], photos: Sequence[str]) -> list[str]:
    tops = {_top(path) for path in photos}
    wanted = [safe_path(path) for path in masks]
    if any(_top(path) in tops for path in wanted):
        folder = next(name for number in range(len(tops) + 1) if (name := f"masks{number or ''}") not in tops)
        wanted = [f"{folder}/{path}" for path in wanted]
    return place(wanted, [*OWN_FILES, *photos])


def _top(path: str) -> str:
    return path.partition("/")[0].casefold()


def counteranimal_paths(benchmark: Benchmark) -> Contents:
    """Lay the photos out as ``<index> <class>/<group>-<background>/<file>``, as CounterAnimal is.

    Without groups ``<class>/<background>/<file>``, without backgrounds ``<class>/<file>``. Masks have no
    place in this layout.

    Raises:
        CounterGroundError: some photos have a group and some have none.
    """
    photos = benchmark.photos
    grouped = photos["group"].is_not_null()
    if grouped.any() and not grouped.all():
        raise CounterGroundError(
            f"{int((~grouped).sum()):,} of {len(photos):,} photos of {benchmark.name} have no group, which"
            " the layout counteranimal cannot hold: choose another format, or leave them out first."
        )
    classes = _class_folders(benchmark)
    labelled = photos["background"].is_not_null().any() or grouped.any()
    wanted = []
    for path, index, group, background in photos.select(
        "path", "class_index", "group", "background"
    ).iter_rows():
        place_name = safe_name(f"{group}-{background or UNLABELLED}" if group else background or UNLABELLED)
        wanted.append(
            "/".join([classes[index], *([place_name] if labelled else []), _file_name(path, benchmark)])
        )
    paths = place(wanted, OWN_FILES)
    origins = {new: benchmark.photo_path(old) for old, new in zip(photos["path"], paths, strict=True)}
    masks = photos["mask"].drop_nulls().len()
    notes = (f"{masks:,} masks were left behind: this layout has no place for them.",) if masks else ()
    moved = photos.with_columns(pl.Series("path", paths, pl.String), pl.lit(None, pl.String).alias("mask"))
    return Contents(replace(benchmark, photos=moved), origins, notes)


def _class_folders(benchmark: Benchmark) -> dict[int, str]:
    """Name a folder for each class: index and name where ImageNet has it, else the name."""
    space = benchmark.label_space
    present = benchmark.photos["class_index"].unique().sort().to_list()
    wanted = []
    for index in present:
        imagenet = space.imagenet[index]
        name = safe_name(space.names[index])
        wanted.append(name if imagenet is None else _numbered(imagenet, name))
    return dict(zip(present, place(wanted, OWN_FILES), strict=True))


def _numbered(imagenet: int, name: str) -> str:
    """Return "100 black swan", with ImageNet's own name where no reader of folders would match this one."""
    try:
        find_imagenet_index(f"{imagenet} {name}")
    except UsageError:
        name = safe_name(imagenet_names("openai")[imagenet])
    return f"{imagenet} {name}"


def _file_name(path: str, benchmark: Benchmark) -> str:
    name = safe_name(PurePosixPath(path).name)
    if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES:
        return name
    return f"{name}.{image_kind(_head(benchmark.photo_path(path)))}"


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(16)
    except OSError:
        return b""  # copying says what is wrong with it


_KINDS = (
    (b"\xff\xd8\xff", "jpg"),
    (b"\x89PNG", "png"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II*\0", "tif"),
    (b"MM\0*", "tif"),
    (b"P5", "pgm"),
    (b"P6", "ppm"),
)


def image_kind(head: bytes) -> str:
    """Return the usual suffix of a photo by its first 16 bytes; ``jpg`` where they say nothing."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp":
        return "avif"
    return next((suffix for magic, suffix in _KINDS if head.startswith(magic)), "jpg")
