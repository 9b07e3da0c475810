"""Where each photo and mask of a benchmark goes in an export, and its bytes, checked by hash."""

from __future__ import annotations

import hashlib
import itertools
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from counterground.errors import CounterGroundError, UsageError
from counterground.files import open_regular
from counterground.photos import LABEL_SPACE_FILE, Benchmark, find_imagenet_index, imagenet_names
from counterground.text import counted


def safe_name(text: str) -> str:
    """Return ``text`` as one part of a path: ``_`` for separators, wildcards and what cannot be seen."""
    plain = "".join(char if char.isprintable() else "_" for char in unicodedata.normalize("NFC", text))
    name = re.sub(r"[.\s]+$", "", re.sub(r'[<>:"/\\|?*]', "_", plain)).strip()
    return f"_{name}" if not name or name.startswith(".") else name


def apart(wanted: Sequence[str], taken: Iterable[str] = ()) -> list[str]:
    """Return one path for each of ``wanted``, all distinct, also where case and composition do not count.

    The first of those that collide keeps its path; the others get a number.
    """
    used = {_fold(name) for name in taken}
    placed = []
    number = 1
    for path in wanted:
        free = path
        while _fold(free) in used:
            number += 1  # equal paths come by the thousand: none tries the numbers of those before it
            suffix = PurePosixPath(path).suffix
            free = f"{path.removesuffix(suffix)}-{number}{suffix}"
        used.add(_fold(free))
        placed.append(free)
    return placed


def _fold(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()


#: Files at the top of an export: no photo may have one of these names.
OWN_FILES = (
    "ATTRIBUTION.csv",
    "README.md",
    "benchmark.json",
    "class_names.txt",
    "croissant.json",
    "eval.yaml",
    "export.json",
    "imagenet_names.txt",
    LABEL_SPACE_FILE,
    "left_out.csv",
    "photos.parquet",
)
UNLABELLED = "unlabelled"


@dataclass(frozen=True)
class Contents:
    """What an export holds: the benchmark with its paths there, and the file each path comes from.

    ``origins`` also has the masks, which lie below ``masks_root`` if that is given. ``notes`` say what this
    layout changes or cannot hold.
    """

    benchmark: Benchmark
    origins: dict[str, Path]
    notes: tuple[str, ...] = ()
    masks_root: Path | None = None

    @property
    def masks(self) -> list[str]:
        """Paths of the masks, each once."""
        return self.benchmark.photos["mask"].drop_nulls().unique().sort().to_list()


def keep_paths(benchmark: Benchmark) -> Contents:
    """Keep every path, so the version stays the same; masks go to a folder of their own."""
    photos = benchmark.photos
    tops = {path.partition("/")[0] for path in photos["path"]}
    folder = next(name for n in range(len(tops) + 1) if (name := f"masks{n or ''}") not in tops)
    masks = {
        old: old if old.startswith(f"{folder}/") else f"{folder}/{old}"
        for old in photos["mask"].drop_nulls().unique().sort()
    }
    origins = {path: benchmark.photo_path(path) for path in photos["path"]}
    origins |= {new: benchmark.mask_path(old) for old, new in masks.items()}
    moved = photos.with_columns(pl.col("mask").replace(masks))
    kept = replace(benchmark, photos=moved, masks_root=None)
    return Contents(kept, origins, masks_root=benchmark.masks_root)


def counteranimal_paths(benchmark: Benchmark) -> Contents:
    """Lay the photos out as ``<index> <class>/<group>-<background>/<file>``, as in CounterAnimal.

    Without groups this is ``<class>/<background>/<file>``, without backgrounds ``<class>/<file>``. Masks have
    no place in this layout.

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
    for row in photos.select("path", "class_index", "group", "background").iter_rows(named=True):
        background = row["background"] or UNLABELLED
        parts = (
            [safe_name(f"{row['group']}-{background}" if row["group"] else background)] if labelled else []
        )
        wanted.append(
            "/".join([classes[row["class_index"]], *parts, safe_name(PurePosixPath(row["path"]).name)])
        )
    paths = apart(wanted)
    origins = {new: benchmark.photo_path(old) for old, new in zip(photos["path"], paths, strict=True)}
    masks = photos["mask"].drop_nulls().len()
    notes = (f"Left out {counted(masks, 'mask')}: this layout cannot hold them.",) if masks else ()
    moved = photos.with_columns(pl.Series("path", paths, pl.String), pl.lit(None, pl.String).alias("mask"))
    return Contents(replace(benchmark, photos=moved, masks_root=None), origins, notes)


def _class_folders(benchmark: Benchmark) -> dict[int, str]:
    """Name a folder for each class: "100 black swan" if ImageNet has it, else the name.

    Where no reader of folders would match a class with its index, it has ImageNet's own name.
    """
    space = benchmark.classes
    present = benchmark.photos["class_index"].unique().sort().to_list()
    wanted = []
    for index in present:
        imagenet, name = space.imagenet[index], safe_name(space.names[index])
        if imagenet is not None:
            try:
                find_imagenet_index(f"{imagenet} {name}")
            except UsageError:
                name = safe_name(imagenet_names("openai")[imagenet])
        wanted.append(name if imagenet is None else f"{imagenet} {name}")
    return dict(zip(present, apart(wanted, OWN_FILES), strict=True))


Tick = Callable[[], None]


def photo_bytes(contents: Contents, path: str, photo_id: str | None = None) -> bytes:
    """Return the bytes of a photo, or (without ``photo_id``) of a mask.

    Raises:
        CounterGroundError: the file cannot be read, is not the one in the manifest, or is a link that leaves
            the benchmark: files elsewhere may not be meant for sharing.
    """
    source = contents.origins[path]
    roots = (contents.benchmark.root, contents.masks_root)
    try:
        inside = any(root and source.resolve().is_relative_to(root.resolve()) for root in roots)
        with open_regular(source) as file:
            data = file.read()
    except (OSError, RuntimeError, ValueError) as error:
        raise CounterGroundError(
            f"Cannot read {source}: {error}. Restore it, or remove it from the benchmark."
        ) from error
    if not inside:
        raise CounterGroundError(
            f"{source} is behind a link that leaves the folder: copy the folder with what its links lead to "
            "(cp -rL), and export the copy."
        )
    if photo_id is not None and hashlib.sha256(data).hexdigest() != photo_id:
        raise CounterGroundError(
            f"The photo {source} has changed since the manifest was written: restore the old file, write"
            " the manifest again, or remove it (from a pool by discarding it in the review)."
        )
    return data


def copy_photos(contents: Contents, folder: Path, tick: Tick) -> None:
    """Write every photo and mask to its path below ``folder``.

    Copies, not links: a linked export would change when the source is edited.

    Raises:
        CounterGroundError: see `photo_bytes`.
        OSError: a file cannot be written.
    """
    for path, photo_id in contents.benchmark.photos.select("path", "photo_id").iter_rows():
        _write_bytes(folder / path, photo_bytes(contents, path, photo_id))
        tick()
    for path in contents.masks:
        _write_bytes(folder / path, photo_bytes(contents, path))


def _write_bytes(target: Path, data: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)


CLASS_FIELDS = ("label", "cls")  # readers of shards, ours too, take fields of these names for the class
SHARD_BYTES = 100 * 10**6
"""A shard is full before the photo that would exceed it."""


@dataclass(frozen=True)
class Sample:
    """One row of the manifest with its bytes; ``number`` counts over all shards, from 0."""

    number: int
    row: dict[str, Any]
    photo: bytes
    mask: bytes | None

    @property
    def size(self) -> int:
        """Bytes of photo and mask."""
        return len(self.photo) + len(self.mask or b"")


def samples(contents: Contents, tick: Tick) -> Iterator[Sample]:
    """Yield every photo in the order of the manifest, one in memory at a time."""
    for number, row in enumerate(contents.benchmark.photos.iter_rows(named=True)):
        photo = photo_bytes(contents, row["path"], row["photo_id"])
        mask = None if row["mask"] is None else photo_bytes(contents, row["mask"])
        yield Sample(number, row, photo, mask)
        tick()


def in_shards(photos: Iterator[Sample]) -> Iterator[tuple[int, Iterator[Sample]]]:
    """Yield the number of each shard with its photos, one in memory at a time."""
    shard = size = 0

    def shard_of(photo: Sample) -> int:
        nonlocal shard, size
        if size and size + photo.size > SHARD_BYTES:
            shard, size = shard + 1, 0
        size += photo.size
        return shard

    return itertools.groupby(photos, key=shard_of)
