"""Tables in memory as manifests: Polars and pandas frames, and photos that are images, not files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from counterground.errors import CounterGroundError, UsageError, did_you_mean, error_message
from counterground.files import cache_dir, draft_folder, place_once
from counterground.photos._manifest import QUESTION_SCHEMA
from counterground.photos._photo import image_type
from counterground.text import and_more

_OPTIONAL = ("cluster", "mask", "licence", "attribution", "source", "imagenet_index")
_DEFAULTS = ("background", "group")
_LISTED = 8
_NOT_A_VALUE = ("NAType", "NaTType")  # of pandas, which need not be installed
# The others become RGB, as when they are read.
_PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})
_LARGEST_16_BIT = 2**16 - 1


def manifest_of_table(
    table: Any,
    root: Path | str | None,
    columns: Mapping[str, str | None],
    names: Iterable[str] | str | None,
    attributes: str | Sequence[str] = (),
) -> tuple[pl.DataFrame, Path, tuple[str, ...]]:
    """Return the manifest of a table, its classes unresolved, the folder of its paths, and notes.

    Args:
        table: a Polars or pandas frame, or a mapping of columns.
        root: the folder of relative paths and masks, to which those below it become relative; None for the
            working folder.
        columns: the table's names for the columns ``path``, ``class_name``, ``background`` and ``group``.
        names: what the numbers of ``class_name`` mean; ``imagenet`` for ImageNet-1K.
        attributes: further columns, under their own names.

    Raises:
        UsageError: see ``Benchmark.from_frame``.
    """
    attributes = [attributes] if isinstance(attributes, str) else list(attributes)
    found = _columns_used(table, columns, attributes)
    if len(set(map(len, found.values()))) > 1:
        raise UsageError("The columns of a frame must be equally long.")
    notes: tuple[str, ...] = ()
    if isinstance(names, str) and names == "imagenet":
        found["class_index"] = found.pop("class_name")
    else:
        found["class_name"], called = _class_names(found["class_name"], names, str(columns["class_name"]))
        notes = note_absent_classes(called, found["class_name"])
    if "mask" in found:
        if any(isinstance(value, Image.Image | np.ndarray | list | bytes) for value in found["mask"]):
            raise UsageError(
                "The column 'mask' of the frame has masks in memory: write them to files, and give the paths."
            )
        found["mask"] = [_below(root, value) for value in found["mask"]]
    photos, folder = _photos(found.pop("path"), root)
    return (
        pl.DataFrame([_column(name, listed) for name, listed in {**photos, **found}.items()]),
        folder,
        notes,
    )


def _columns_used(
    table: Any, columns: Mapping[str, str | None], attributes: Sequence[str]
) -> dict[str, list[Any]]:
    """Return the values of each column of the table that is used, by its name in the manifest."""
    if isinstance(table, pl.LazyFrame):
        table = table.collect()
    if not isinstance(table, Mapping) and not hasattr(table, "columns"):
        raise UsageError(
            f"A frame is a Polars or pandas DataFrame, or a dict of columns, not {type(table).__name__}."
        )
    known = list(table) if isinstance(table, Mapping) else list(table.columns)
    wanted = {name: name for name in attributes}
    for ours, theirs in columns.items():
        if theirs in known or not (theirs is None or (ours in _DEFAULTS and theirs == ours)):
            wanted[ours] = str(theirs)
    for ours, theirs in wanted.items():
        if theirs not in known:
            parameter = "label" if ours == "class_name" else ours if ours in columns else "attributes"
            raise UsageError(
                f"The frame has no column {theirs!r}: say which it is with {parameter}=. It has "
                f"{', '.join(map(repr, known[:_LISTED]))}.{did_you_mean(theirs, map(str, known))}"
            )
    optional = (*_OPTIONAL, *(QUESTION_SCHEMA if "options" in known else ()))
    wanted |= {name: name for name in optional if name in known and name not in wanted.values()}
    return {ours: _values(theirs, table[theirs]) for ours, theirs in wanted.items()}


def _column(name: str, values: list[Any]) -> pl.Series:
    try:
        return pl.Series(name, values, strict=False)
    except (TypeError, OverflowError) as error:
        raise UsageError(
            f"The column {name!r} of the frame cannot be read: {error_message(error)}."
        ) from error


def refuse_shared_names(classes: Iterable[tuple[str, int]]) -> None:
    """Refuse two numbers of classes with one name, whose photos would be of one class.

    Args:
        classes: name and number of each class that has photos, each pair once.

    Raises:
        CounterGroundError: there are some; the message names the first.
    """
    numbers: dict[str, int] = {}
    for name, number in classes:
        if (other := numbers.setdefault(name, number)) != number:
            first, second = sorted((int(other), int(number)))
            raise CounterGroundError(
                f"The classes {first} and {second} are both called {name!r}, and would be one: give each a "
                "name of its own."
            )


def note_absent_classes(listed: Sequence[str], present: Iterable[str]) -> tuple[str, ...]:
    """Return a note on the names of numbered classes without a photo, which the benchmark does not have."""
    have = set(present)
    absent = [str(name) for name in listed if name not in have]
    if not absent:
        return ()
    note = (
        f"No photo of {len(absent):,} of the {len(listed):,} classes that are named by number, so the label "
        f"space 'benchmark' lacks them: {and_more(absent, _LISTED)}."
    )
    return (note,)


def _values(name: str, column: Any) -> list[Any]:
    """Return the values of a column of any table; missing ones are None."""
    if isinstance(column, pl.Series):
        listed = list(column.to_numpy()) if isinstance(column.dtype, pl.Array) else column.to_list()
    else:
        try:
            listed = list(column)
        except TypeError as error:
            raise UsageError(f"The column {name!r} of the frame is not a list: {error}.") from error
    plain = (value.item() if isinstance(value, np.generic) else value for value in listed)
    return [None if _is_missing(value) else value for value in plain]


def _is_missing(value: Any) -> bool:
    is_nan = isinstance(value, float) and value != value  # noqa: PLR0124 - NaN differs from itself
    return is_nan or type(value).__name__ in _NOT_A_VALUE


def _class_names(
    given: Sequence[Any], names: Iterable[str] | str | None, column: str
) -> tuple[list[Any], Sequence[str]]:
    """Return the name of each photo's class, and all names of numbered classes."""
    if names is None:
        if any(isinstance(value, int | float) and not isinstance(value, bool) for value in given):
            raise UsageError(
                f"Column {column!r} has numbers: say what they mean with names=[...], the class names in "
                "their order, or names='imagenet' if they are ImageNet-1K indices."
            )
        return list(given), ()
    called = dict(names) if isinstance(names, Mapping) else dict(enumerate(names))
    for value in given:
        if value not in called:
            raise UsageError(
                f"Column {column!r} has the class {value!r}, but names= has {len(called)} names."
            )
    named = [called[number] for number in given]
    if not isinstance(names, Mapping):  # which may join classes on purpose
        refuse_shared_names(dict.fromkeys(zip(map(str, named), given, strict=True)))
    return named, list(called.values())


def _photos(given: Sequence[Any], root: Path | str | None) -> tuple[dict[str, list[str]], Path]:
    """Return the columns ``path`` and, if photos were written, ``photo_id``, and the folder of paths."""
    if not all(isinstance(value, str | os.PathLike | None) for value in given):
        return _written(given)
    return {"path": [_below(root, value) for value in given]}, Path.cwd() if root is None else Path(root)


def _below(root: Path | str | None, value: Any) -> Any:
    """Return a path with slashes, relative to ``root`` if it is below that; None for an empty one."""
    if value in (None, ""):
        return None
    path = Path(value)
    return (path.relative_to(root) if root is not None and path.is_relative_to(root) else path).as_posix()


def _written(given: Sequence[Any]) -> tuple[dict[str, list[str]], Path]:
    """Write photos in memory to a cache folder named after their content."""
    width = len(str(len(given) - 1))
    try:
        with draft_folder(cache_dir() / "frames" / "photos") as draft, ThreadPoolExecutor() as threads:

            def write(row: int) -> tuple[str, str]:
                data, suffix = _file_of(given[row], row)
                name = f"{row:0{width}}{suffix}"
                (draft / name).write_bytes(data)
                return name, hashlib.sha256(data).hexdigest()

            written = list(threads.map(write, range(len(given))))
            digest = hashlib.sha256("\n".join(map(" ".join, written)).encode()).hexdigest()
            folder = draft.parent / digest[:32]
            place_once(draft, folder)
    except OSError as error:
        raise CounterGroundError(
            f"Cannot write the photos of the frame into {cache_dir()}: {error.strerror or error}. Free some "
            "space there, or move the cache with COUNTERGROUND_CACHE."
        ) from error
    paths, ids = zip(*written, strict=True)
    return {"path": list(paths), "photo_id": list(ids)}, folder


def _file_of(value: Any, row: int) -> tuple[bytes, str]:
    """Return the bytes of a photo as a file, and its suffix; images are written as PNG."""
    if isinstance(value, Mapping) and isinstance(value.get("bytes"), bytes):
        value = value["bytes"]  # as Hugging Face data sets hold them
    if isinstance(value, bytes):
        kind = image_type(value[:16])
        if kind is None:
            raise UsageError(f"Row {row} of the frame holds bytes that are not an image file.")
        return value, kind.suffix
    image = value if isinstance(value, Image.Image) else _image_of(value, row)
    if image.mode == "F":
        raise UsageError(f"Row {row} of the frame has floating-point pixels, whose range is not defined.")
    if image.mode == "I":
        values = np.asarray(image)
        if values.min() < 0 or values.max() > _LARGEST_16_BIT:  # PIL would clip them
            raise UsageError(
                f"Row {row} of the frame has grey values beyond 16 bits, whose range is not defined."
            )
        image = image.convert("I;16")
    try:
        if image.mode not in _PNG_MODES:
            image = image.convert("RGB")
        buffer = BytesIO()
        image.save(buffer, "PNG", compress_level=1, icc_profile=None)
    except (OSError, ValueError, SyntaxError) as error:
        raise UsageError(f"Row {row} of the frame cannot be kept as a photo: {error}.") from error
    return buffer.getvalue(), ".png"


def _image_of(value: Any, row: int) -> Image.Image:
    try:
        array = np.asarray(value) if hasattr(value, "__array__") else None
    except Exception:  # such as a tensor that is not in this machine's memory
        array = None
    fits = array is not None and (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4)))
    if array is not None and fits and array.dtype == np.uint8:
        return Image.fromarray(array)
    found = type(value).__name__ if array is None else f"an array of {array.dtype} {list(array.shape)}"
    raise UsageError(
        f"Row {row} of the frame is {found}; a photo is a path, a PIL image, a uint8 array [h, w] or "
        "[h, w, 3], or the bytes of a file."
    )
