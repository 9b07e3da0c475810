"""Benchmarks that are folders of photos: with groups (CounterAnimal), with backgrounds, flat (ImageFolder).

Nothing is skipped silently: what is not read is known junk, is noted, or is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from counterground.errors import CounterGroundError, UsageError
from counterground.photos._benchmark import Benchmark, benchmark_of_frame
from counterground.photos._photo import IMAGE_SUFFIXES
from counterground.photos.labels import assign_classes, find_imagenet_index, imagenet_candidates
from counterground.text import and_more, counted

_GROUP_FOLDER = re.compile(r"(common|counter)-(\S.*)")
_SPLITS = frozenset({"train", "training", "val", "valid", "validation", "dev", "test", "testing"})
_EXPECTED = (
    "expected <class>/*.jpg, <class>/<background>/*.jpg, or <class>/common-<background>/*.jpg "
    "with <class>/counter-<background>/*.jpg"
)
_JUNK = frozenset({"thumbs.db", "desktop.ini", "__macosx", "@eadir"})


def read_folder(source: Path) -> Benchmark:
    """Read ``<class>/<common|counter>-<background>/*``, ``<class>/<background>/*`` or ``<class>/*``.

    A single folder around the class folders is entered and noted, unless its name is a class of ImageNet-1K:
    then it is the class. Class folders are named as ``assign_classes`` reads them. Clusters are null: nothing
    in a folder says which photos belong together. Links are followed wherever they lead.

    Raises:
        CounterGroundError: no photo, none of the layouts or several at once, photos deeper than the layout
            has them, broken links, or class names that ``assign_classes`` refuses.
    """
    root = _layout_root(source)
    beside = [entry.name for entry in _entries(root) if _is_photo(entry)]
    folders = [entry for entry in _entries(root) if entry.is_dir()]
    files = [file.relative_to(root) for folder in folders for file in _walk(folder)]
    photos = [file for file in files if _is_photo(file)]
    if not photos:
        raise CounterGroundError(
            f"Photos such as {beside[0]} lie directly in {root}: put them into class folders; {_EXPECTED}."
            if beside
            else f"There is no photo in {source}: {_EXPECTED}. Photos of other types, such as HEIC, must be "
            "converted to JPEG."
        )
    grouped = any(_GROUP_FOLDER.fullmatch(file.parts[1]) for file in photos if len(file.parts) > 2)
    flat = not grouped and any(len(file.parts) == 2 for file in photos)
    if wrong := next(filter(None, (_problem(file.parts, grouped, flat) for file in photos)), ""):
        raise CounterGroundError(wrong)
    assigned = assign_classes([folder.name for folder in folders])
    groups = [_GROUP_FOLDER.fullmatch(file.parts[1]) if grouped else None for file in photos]
    places = [
        (match[2], match[1]) if match else (None if flat else file.parts[1], None)
        for file, match in zip(photos, groups, strict=True)
    ]
    frame = pl.DataFrame(
        {
            "path": [file.as_posix() for file in photos],
            "class_index": [assigned.index[file.parts[0]] for file in photos],
            "background": [background for background, _ in places],
            "group": [group for _, group in places],
        },
        schema_overrides={"class_index": pl.Int32, "background": pl.String, "group": pl.String},
    )
    found = benchmark_of_frame(frame, root, source.resolve().name, classes=assigned.classes)
    stepped = (f"The classes are the folders inside the single folder {root.name!r}.",)
    others = [file.as_posix() for file in files if not _is_photo(file)]
    return found.described(
        notes=(
            *(stepped if root != source else ()),
            *assigned.notes,
            *found.notes,
            *_note_files(beside, "photo", "beside the class folders"),
            *_note_files(others, "file", "of unknown type"),
        )
    )


def _problem(parts: tuple[str, ...], grouped: bool, flat: bool) -> str:
    """Return why a photo cannot lie where it does, empty if it can."""
    depth = 2 if flat else 3
    if len(parts) < depth:
        where = "/".join(parts)
        return f"Photo {where!r} is in no group: move it to common-<background> or counter-<background>."
    if grouped and not _GROUP_FOLDER.fullmatch(parts[1]):
        where = "/".join(parts[:2])
        return f"Folder {where!r} is neither common-<background> nor counter-<background>: rename it."
    if not grouped and not flat and parts[0].lower() in _SPLITS:
        return f"Folder {parts[0]!r} looks like a split, not a class: read one split alone."
    if len(parts) > depth:
        return f"Photos in {'/'.join(parts[:depth])!r} are too deep: {_EXPECTED}."
    return ""


def _entries(folder: Path) -> list[Path]:
    """Return the sorted entries, without hidden ones and known junk.

    Raises:
        CounterGroundError: the folder cannot be read, or holds a broken link.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise CounterGroundError(f"Cannot read the folder {folder}: {error.strerror or error}.") from error
    kept = [entry for entry in entries if not entry.name.startswith(".") and entry.name.lower() not in _JUNK]
    if broken := [entry for entry in kept if not entry.exists()]:
        raise CounterGroundError(f"{broken[0]} is a broken link: remove or repair it.")
    return kept


def _is_photo(entry: Path) -> bool:
    return entry.suffix.lower() in IMAGE_SUFFIXES and not entry.is_dir()


def _layout_root(source: Path) -> Path:
    """Return ``source``, or the only folder in it if that holds the class folders."""
    folders = [entry for entry in _entries(source) if entry.is_dir()]
    if len(folders) != 1:
        return source
    (only,) = folders
    inner = _entries(only)
    if any(_is_photo(entry) or _GROUP_FOLDER.fullmatch(entry.name) for entry in inner):
        return source
    inner = [entry for entry in inner if entry.is_dir()]
    grouped = any(_GROUP_FOLDER.fullmatch(entry.name) for folder in inner for entry in _entries(folder))
    return only if inner and (grouped or not _names_a_class(only.name)) else source


def _names_a_class(name: str) -> bool:
    try:
        find_imagenet_index(name)
    except UsageError:
        return bool(imagenet_candidates(name))  # ambiguous, but a class
    return True


def _walk(folder: Path) -> Iterator[Path]:
    waiting, entered = [folder], set()
    while waiting:
        entry = waiting.pop()
        if not entry.is_dir():
            yield entry
            continue
        found = entry.stat()
        if (found.st_dev, found.st_ino) not in entered:  # links may lead back
            entered.add((found.st_dev, found.st_ino))
            waiting += _entries(entry)[::-1]


def _note_files(names: list[str], noun: str, which: str) -> tuple[str, ...]:
    if not names:
        return ()
    return (f"Skipped {counted(len(names), noun)} {which}: {and_more(names, 3)}.",)
