"""Where each photo and mask of a benchmark goes in an export, and its bytes, checked by hash."""

from __future__ import annotations

import hashlib
import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from counterground.errors import CounterGroundError, UsageError
from counterground.files import open_regular
from counterground.photos import LABEL_SPACE_FILE, Benchmark, find_imagenet_index, imagenet_names
from counterground.text import counted

_FORBIDDEN = re.compile(r'[<>:"/\\|?*]')
_RESERVED = re.compile(
    r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)\s*(?=\.|$)", re.IGNORECASE
)
_LONGEST = 150  # bytes: file systems end at 255, Windows paths at 260 in all


def safe_name(text: str) -> str:
    """Return ``text`` as one part of a path that Windows, macOS, Linux and tar all keep unchanged.

    Composed Unicode; ``_`` for separators, wildcards and invisible characters; no leading dot (hidden), no
    trailing dot or space, no Windows device name; at most 150 bytes. A safe name comes back unchanged.
    """
    name = unicodedata.normalize("NFC", text)
    name = "".join(char if char.isprintable() else "_" for char in name)
    name = _FORBIDDEN.sub("_", name).strip()
    name = re.sub(r"[.\s]+$", "", name)
    if name.startswith(".") or _RESERVED.match(name):
        name = f"_{name}"
    return _shorten(name, text) or "_"


def _shorten(name: str, text: str) -> str:
    if len(name.encode()) <= _LONGEST:
        return name
    stem, suffix = _split(name)
    room = _LONGEST - len(suffix.encode()) - 9
    kept = stem.encode()[:room].decode(errors="ignore").rstrip(". ")
    return f"{kept}-{_digest(text)}{suffix}"


def _split(name: str) -> tuple[str, str]:
    suffix = PurePosixPath(name).suffix
    return (name.removesuffix(suffix), suffix) if len(suffix) <= 8 else (name, "")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def safe_path(path: str) -> str:
    """Return a relative path with only safe parts; a safe path comes back unchanged."""
    return "/".join(safe_name(part) for part in path.split("/") if part not in ("", ".")) or "_"


def place(wanted: Sequence[str], taken: Iterable[str] = ()) -> list[str]:
    """Return one path for each of ``wanted``, all distinct on every file system.

    Names that differ only in case or composition collide on some systems. The first of those that collide, in
    the order given, keeps its path; the others get the start of a hash of their name. ``taken`` are names
    already in use.
    """
    used = {_fold(name) for name in taken}
    placed = []
    renamed: Counter[str] = Counter()
    for path in wanted:
        free = path
        while _fold(free) in used:
            stem, suffix = _split(path)
            free = f"{stem}-{_digest(f'{path} {renamed[path]}')}{suffix}"
            renamed[path] += 1  # equal paths come by the thousand: none tries the names of those before it
        used.add(_fold(free))
        placed.append(free)
    return placed


def _fold(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())


def slug(text: str) -> str:
    """Return a short ASCII name for files of a whole collection: letters, digits and hyphens."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:60].strip("-") or "photos"


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
    """Keep every path that is safe on all systems; if no path changes, the version stays the same.

    Masks go to a folder of their own unless they already have one.
    """
    photos = benchmark.photos
    paths = place([safe_path(path) for path in photos["path"]], OWN_FILES)
    renamed = sum(old != new for old, new in zip(photos["path"], paths, strict=True))
    masks = photos["mask"].drop_nulls().unique().sort().to_list()
    new_masks = dict(zip(masks, _place_masks(masks, paths), strict=True))
    origins = {new: benchmark.photo_path(old) for old, new in zip(photos["path"], paths, strict=True)} | {
        new: benchmark.mask_path(old) for old, new in new_masks.items()
    }
    moved = photos.with_columns(
        pl.Series("path", paths, pl.String),
        pl.Series("mask", [mask and new_masks[mask] for mask in photos["mask"]], pl.String),
    )
    notes = (
        (f"Renamed {counted(renamed, 'file')} to names that every system supports, so the version differs.",)
        if renamed
        else ()
    )
    return Contents(
        replace(benchmark, photos=moved, masks_root=None), origins, notes, masks_root=benchmark.masks_root
    )


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
    for path, index, group, background in photos.select(
        "path", "class_index", "group", "background"
    ).iter_rows():
        place_name = safe_name(f"{group}-{background or UNLABELLED}" if group else background or UNLABELLED)
        wanted.append(
            "/".join(
                [classes[index], *([place_name] if labelled else []), safe_name(PurePosixPath(path).name)]
            )
        )
    paths = place(wanted, OWN_FILES)
    origins = {new: benchmark.photo_path(old) for old, new in zip(photos["path"], paths, strict=True)}
    masks = photos["mask"].drop_nulls().len()
    notes = (f"Left out {counted(masks, 'mask')}: this layout cannot hold them.",) if masks else ()
    moved = photos.with_columns(pl.Series("path", paths, pl.String), pl.lit(None, pl.String).alias("mask"))
    return Contents(replace(benchmark, photos=moved, masks_root=None), origins, notes)


def _class_folders(benchmark: Benchmark) -> dict[int, str]:
    """Name a folder for each class: index and name if ImageNet has it, else the name."""
    space = benchmark.classes
    present = benchmark.photos["class_index"].unique().sort().to_list()
    wanted = []
    for index in present:
        imagenet = space.imagenet[index]
        name = safe_name(space.names[index])
        wanted.append(name if imagenet is None else _numbered(imagenet, name))
    return dict(zip(present, place(wanted, OWN_FILES), strict=True))


def _numbered(imagenet: int, name: str) -> str:
    """Return "100 black swan", with ImageNet's own name if no reader of folders would match this one."""
    try:
        find_imagenet_index(f"{imagenet} {name}")
    except UsageError:
        name = safe_name(imagenet_names("openai")[imagenet])
    return f"{imagenet} {name}"


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
SHARD_MEGABYTES = 100
SHARD_PHOTOS = 10_000
"""When a shard is full: before the photo that would exceed either limit."""


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


def refuse_columns(benchmark: Benchmark, taken: Collection[str], form: str) -> None:
    """Refuse attributes whose names mean something else in a format: they could not be read back.

    Raises:
        UsageError: there is one; the message names the first.
    """
    found = next((name for name in benchmark.photos.columns if name in taken), None)
    if found is not None:
        raise UsageError(
            f"{benchmark.name} has a column {found!r}, a name that the format {form} uses itself: rename it"
            " in the manifest, or choose another format."
        )


def samples(contents: Contents, tick: Tick) -> Iterator[Sample]:
    """Yield every photo in the order of the manifest, one in memory at a time."""
    for number, row in enumerate(contents.benchmark.photos.iter_rows(named=True)):
        photo = photo_bytes(contents, row["path"], row["photo_id"])
        mask = None if row["mask"] is None else photo_bytes(contents, row["mask"])
        yield Sample(number, row, photo, mask)
        tick()


def in_shards(photos: Iterator[Sample]) -> Iterator[tuple[int, Iterator[Sample]]]:
    """Yield the number of each shard with its photos, one in memory at a time."""
    filled = {"shard": 0, "photos": 0, "bytes": 0}

    def shard_of(photo: Sample) -> int:
        full = filled["photos"] == SHARD_PHOTOS or filled["bytes"] + photo.size > SHARD_MEGABYTES * 10**6
        if full and filled["photos"]:
            filled.update(shard=filled["shard"] + 1, photos=0, bytes=0)
        filled["photos"] += 1
        filled["bytes"] += photo.size
        return filled["shard"]

    return itertools.groupby(photos, key=shard_of)
