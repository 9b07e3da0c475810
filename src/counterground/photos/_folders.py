"""Benchmarks that are folders of photos: with groups (CounterAnimal), with backgrounds, flat (ImageFolder).

Nothing is skipped silently: what is not read is known junk, is noted, or is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from counterground.errors import CounterGroundError, UsageError
from counterground.photos._benchmark import Benchmark, describe_gaps
from counterground.photos._manifest import MANIFEST_SCHEMA
from counterground.photos._photo import IMAGE_SUFFIXES, photo_ids
from counterground.photos.labels import assign_classes, find_imagenet_index, imagenet_candidates
from counterground.text import and_more, counted

_GROUP_FOLDER = re.compile(r"(common|counter)-(\S.*)")
_SPLITS = frozenset({"train", "training", "val", "valid", "validation", "dev", "test", "testing"})
_EXPECTED = (
    "expected <class>/*.jpg, <class>/<background>/*.jpg, or <class>/common-<background>/*.jpg "
    "with <class>/counter-<background>/*.jpg"
)
_JUNK = frozenset({"thumbs.db", "desktop.ini", "__macosx", "@eadir"})


@dataclass
class _Found:
    """What a walk over the class folders found."""

    root: Path
    paths: list[Path] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    backgrounds: list[str | None] = field(default_factory=list)
    groups: list[str | None] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    def add(self, entry: Path, folder: str, group: str | None = None, background: str | None = None) -> None:
        """Add a photo, or note a file that is not one."""
        if not _is_photo(entry):
            self.others.append(entry.relative_to(self.root).as_posix())
            return
        self.paths.append(entry)
        self.folders.append(folder)
        self.groups.append(group)
        self.backgrounds.append(background)


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
    folders = _class_folders(root)
    grouped = any(_groups(folder) for folder in folders)
    flat = any(_is_photo(entry) for folder in folders for entry in _entries(folder))
    if not grouped and not flat:
        _refuse_splits(folders)
    found = _Found(root)
    for folder in folders:
        if grouped or not flat:
            _walk_backgrounds(folder, found, grouped=grouped)
        else:
            _walk_photos(folder, found, folder.name)
    beside = [entry.name for entry in _entries(root) if _is_photo(entry)]
    if not found.paths and beside:
        raise CounterGroundError(
            f"Photos such as {beside[0]} lie directly in {root}: put them into class folders; {_EXPECTED}."
        )
    if not found.paths:
        raise CounterGroundError(
            f"There is no photo in {source}: {_EXPECTED}. Photos of other types, such as HEIC, must be "
            "converted to JPEG."
        )
    classes = assign_classes([folder.name for folder in folders])
    space = classes.classes
    indices = [classes.index[folder] for folder in found.folders]
    columns = {
        "path": [path.relative_to(root).as_posix() for path in found.paths],
        "photo_id": photo_ids(found.paths),
        "class_index": indices,
        "class_name": [space.names[index] for index in indices],
        "background": found.backgrounds,
        "group": found.groups,
    }
    photos = pl.DataFrame(columns, schema={name: MANIFEST_SCHEMA[name] for name in columns})
    benchmark = Benchmark(source.resolve().name, root, photos, space)
    stepped = (
        (f"The classes are the folders inside the single folder {root.name!r}.",) if root != source else ()
    )
    notes = (
        *stepped,
        *classes.notes,
        *describe_gaps(benchmark),
        *_note_files(beside, "photo", "beside the class folders"),
        *_note_files(found.others, "file", "of unknown type"),
    )
    return benchmark.described(notes=notes)


def _entries(folder: Path) -> list[Path]:
    """Return the sorted entries, without hidden ones and known junk."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise CounterGroundError(f"Cannot read the folder {folder}: {error.strerror or error}.") from error
    return [entry for entry in entries if not entry.name.startswith(".") and entry.name.lower() not in _JUNK]


def _is_photo(entry: Path) -> bool:
    return entry.suffix.lower() in IMAGE_SUFFIXES and not entry.is_dir()


def _class_folders(root: Path) -> list[Path]:
    folders = []
    for entry in _entries(root):
        if entry.is_dir() or not entry.exists():
            _refuse_broken(entry)
            folders.append(entry)
    return folders


def _refuse_splits(folders: list[Path]) -> None:
    for folder in folders:
        if folder.name.lower() in _SPLITS and _holds_photos(folder):
            raise CounterGroundError(
                f"Folder {folder.name!r} looks like a split, not a class: read one split alone, {folder}."
            )


def _groups(folder: Path) -> list[Path]:
    return [entry for entry in _entries(folder) if _GROUP_FOLDER.fullmatch(entry.name) and entry.is_dir()]


def _layout_root(source: Path) -> Path:
    """Return ``source``, or the only folder in it if that holds the class folders."""
    folders = [entry for entry in _entries(source) if entry.is_dir()]
    if len(folders) != 1 or _groups(folders[0]) or any(_is_photo(entry) for entry in _entries(folders[0])):
        return source
    only = folders[0]
    inner = [entry for entry in _entries(only) if entry.is_dir()]
    is_class = _names_a_class(only.name) and not any(_groups(folder) for folder in inner)
    return only if inner and not is_class else source


def _names_a_class(name: str) -> bool:
    try:
        find_imagenet_index(name)
    except UsageError:
        return bool(imagenet_candidates(name))  # ambiguous, but a class
    return True


def _walk_backgrounds(folder: Path, found: _Found, *, grouped: bool) -> None:
    for entry in _entries(folder):
        where = entry.relative_to(found.root).as_posix()
        if not entry.is_dir():
            if _is_photo(entry):
                raise CounterGroundError(
                    f"Photo {where!r} is in no group: move it to common-<background> or counter-<background>."
                )
            found.others.append(where)
        elif not grouped:
            _walk_photos(entry, found, folder.name, background=entry.name)
        elif match := _GROUP_FOLDER.fullmatch(entry.name):
            _walk_photos(entry, found, folder.name, match[1], match[2])
        elif _holds_photos(entry):
            raise CounterGroundError(
                f"Folder {where!r} is neither common-<background> nor counter-<background>: rename it."
            )


def _walk_photos(
    folder: Path, found: _Found, class_folder: str, group: str | None = None, background: str | None = None
) -> None:
    for entry in _entries(folder):
        if entry.is_dir():
            if _holds_photos(entry):
                where = entry.relative_to(found.root).as_posix()
                raise CounterGroundError(f"Photos in {where!r} are too deep: {_EXPECTED}.")
            continue
        _refuse_broken(entry)
        found.add(entry, class_folder, group, background)


def _refuse_broken(entry: Path) -> None:
    if entry.is_symlink() and not entry.exists():
        raise CounterGroundError(f"{entry} is a broken link: remove or repair it.")


def _holds_photos(folder: Path) -> bool:
    return any(_is_photo(path) for path in _walk(folder))


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
