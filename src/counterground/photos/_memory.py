"""Tables in memory as manifests: Polars and pandas frames, and photos that are images, not files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from counterground.errors import CounterGroundError, UsageError, did_you_mean
from counterground.files import cache_dir, draft_folder, place_once
from counterground.photos._manifest import EXACT, MANIFEST_SCHEMA
from counterground.photos._photo import image_type
from counterground.photos._questions import QUESTION_SCHEMA
from counterground.text import and_more, counted

_OPTIONAL = ("cluster", "mask", "licence", "attribution", "source", "imagenet_index")
_NUMBERS = ("class_index", "imagenet_index")
_DEFAULTS = ("background", "group")
_KINDS: dict[tuple[type, ...], tuple[str, Callable[[Any], Any]]] = {
    (str,): ("texts", str),
    (bool, np.bool_): ("booleans", bool),
    (int, float, np.number): ("numbers", float),
}
"""Kinds of further columns, the first that fits; what they are called, and how a value is converted."""
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
    found = _columns_used(*_reader(table), columns, attributes)
    lengths = {columns.get(name) or name: len(listed) for name, listed in found.items()}
    if 0 in lengths.values() or len(set(lengths.values())) > 1:
        counts = ", ".join(f"{name!r} has {counted(length, 'value')}" for name, length in lengths.items())
        raise UsageError(f"The columns of a frame must be equally long, and not empty: {counts}.")
    if "group" in found and not any(found["group"]):
        raise UsageError(
            f"The column {columns['group']!r} names no group: give common and counter, or group=None."
        )
    for ours, what in (("path", "photo"), ("class_name", "class")):
        row = next((row for row, value in enumerate(found[ours]) if value is None), None)
        if row is not None:
            raise UsageError(f"Row {row} of the frame has no {what} in its column {columns[ours]!r}.")
    notes: tuple[str, ...] = ()
    if isinstance(names, str) and names == "imagenet":
        found["class_index"] = found.pop("class_name")
    else:
        found["class_name"], called = _class_names(found["class_name"], names, str(columns["class_name"]))
        notes = note_absent_classes(called, found["class_name"])
    photos, folder = _photos(found.pop("path"), root)
    kept = {name: _cells(name, listed, attributes, root) for name, listed in found.items()}
    return pl.DataFrame([_column(name, listed) for name, listed in {**photos, **kept}.items()]), folder, notes


def _columns_used(
    known: Sequence[str],
    values: Callable[[str], list[Any]],
    columns: Mapping[str, str | None],
    attributes: Sequence[str],
) -> dict[str, list[Any]]:
    """Return the values of each column of the table that is used, by its name in the manifest."""
    found: dict[str, list[Any]] = {}
    for ours, theirs in columns.items():
        if theirs is None:
            continue
        if theirs in known:
            found[ours] = values(theirs)
        elif not (ours in _DEFAULTS and theirs == ours):
            parameter = "label" if ours == "class_name" else ours
            listed = ", ".join(map(repr, list(known)[:8]))
            raise UsageError(
                f"The frame has no column {theirs!r}: say which it is with {parameter}=. It has {listed}."
                f"{did_you_mean(theirs, map(str, known))}"
            )
    for name in attributes:
        if name not in known:
            raise UsageError(f"The frame has no column {name!r}.{did_you_mean(name, map(str, known))}")
        if columns.get(name, name) != name:
            raise UsageError(
                f"An attribute cannot be called {name!r}, which is a column of every manifest: rename that "
                "column of the frame."
            )
        found[name] = values(name)
    used = {*columns.values(), *attributes}
    optional = (*_OPTIONAL, *(QUESTION_SCHEMA if "options" in known else ()))
    return found | {name: values(name) for name in optional if name in known and name not in used}


def _column(name: str, values: list[Any]) -> pl.Series:
    try:
        return pl.Series(name, values)
    except (TypeError, OverflowError) as error:
        raise UsageError(
            f"The column {name!r} of the frame mixes kinds of values: give values of one kind."
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


def _cells(name: str, values: list[Any], attributes: Sequence[str], root: Path | str | None) -> list[Any]:
    if name in _NUMBERS:
        return values
    if name == "mask":
        if any(isinstance(value, Image.Image | np.ndarray | list | bytes) for value in values):
            raise UsageError(
                "The column 'mask' of the frame has masks in memory: write them to files, and give the paths."
            )
        return [_below(root, value) for value in values]
    if name in attributes and name not in MANIFEST_SCHEMA:
        return _attribute(name, values)
    return [_text(value) for value in values]


def _text(value: Any) -> str | list[str] | None:
    """Return a cell as text; the options of a question stay a list."""
    if isinstance(value, list | tuple | np.ndarray):
        return [str(each) for each in value]
    return None if value is None else str(value)


def _attribute(name: str, values: Sequence[Any]) -> list[Any]:
    """Return the values of an attribute or a covariate, which are of one kind."""
    kinds = {_kind(value) for value in values if value is not None}
    if len(kinds) > 1:
        raise UsageError(
            f"The column {name!r} of the frame has {' and '.join(sorted(kinds))}: give values of one kind "
            "(texts or booleans for an attribute, numbers for a covariate)."
        )
    as_kind = next((make for kind, make in _KINDS.values() if {kind} == kinds), None)
    try:
        made = [value if value is None or as_kind is None else as_kind(value) for value in values]
    except OverflowError as error:
        raise UsageError(f"The column {name!r} of the frame has a number that is too large.") from error
    if as_kind is float and _are_codes(values):
        return [None if value is None else str(value) for value in values]
    return made


def _are_codes(values: Sequence[Any]) -> bool:
    """Return whether numbers are whole and so large that, as floats, some would become equal."""
    present = [value for value in values if value is not None]
    return all(isinstance(value, int | np.integer) for value in present) and any(
        abs(int(value)) > EXACT for value in present
    )


def _kind(value: Any) -> str:
    found = (kind for types, (kind, _) in _KINDS.items() if isinstance(value, types))
    return next(found, type(value).__name__)


def _reader(table: Any) -> tuple[Sequence[str], Callable[[str], list[Any]]]:
    """Return the column names, and a function for a column's values; missing ones are None."""
    if isinstance(table, pl.LazyFrame):
        table = table.collect()
    if isinstance(table, pl.DataFrame):
        return table.columns, lambda name: _polars_values(table[name])
    if isinstance(table, Mapping):
        return list(table), lambda name: _listed_values(name, table[name])
    if hasattr(table, "columns") and hasattr(table, "iloc"):
        columns = list(table.columns)
        if repeated := [name for name in columns if columns.count(name) > 1]:
            raise UsageError(f"The frame has the column {repeated[0]!r} more than once: rename one.")
        return columns, lambda name: _pandas_values(table[name])
    raise UsageError(
        f"A frame is a Polars or pandas DataFrame, or a dict of columns, not {type(table).__name__}."
    )


def _listed_values(name: str, column: Any) -> list[Any]:
    """Return the values of a column of a dict; a text or a set is refused, although it can be iterated."""
    if isinstance(column, pl.Series):
        return _polars_values(column)
    # The keys of a dict are a Set, too, but they have an order.
    unordered = isinstance(column, str | bytes | set | frozenset | Mapping)
    try:
        values = None if unordered else list(column)
    except TypeError:
        values = None
    if values is None:
        raise UsageError(
            f"The column {name!r} of the frame is {type(column).__name__}, not a list with a value for each "
            "photo."
        )
    return [None if _is_missing(value) else value for value in values]


def _is_missing(value: Any) -> bool:
    if isinstance(value, float | np.floating | np.datetime64):
        return bool(value != value)  # noqa: PLR0124 - NaN and NaT differ from themselves
    return value is None or type(value).__name__ in _NOT_A_VALUE


def _polars_values(column: pl.Series) -> list[Any]:
    if isinstance(column.dtype, pl.Array):
        return list(column.to_numpy())
    return [None if _is_missing(value) else value for value in column.to_list()]


def _pandas_values(column: Any) -> list[Any]:
    present = column.notna().tolist()
    return [value if there else None for value, there in zip(column.tolist(), present, strict=True)]


def _class_names(
    given: Sequence[Any], names: Iterable[str] | str | None, column: str
) -> tuple[list[Any], Sequence[str]]:
    """Return the name of each photo's class, and all names of numbered classes."""
    whole = (value for value in given if isinstance(value, int | np.integer))
    numbers = [int(value) for value in whole if not isinstance(value, bool)]
    if names is None:
        if numbers or any(isinstance(value, float | np.floating) for value in given):
            raise UsageError(
                f"Column {column!r} has numbers: say what they mean with names=[...], the class names in "
                "their order, or names='imagenet' if they are ImageNet-1K indices."
            )
        return list(given), ()
    if isinstance(names, str) or not isinstance(names, Iterable) or len(numbers) < len(given):
        raise UsageError(
            f"names= must list the class names for the numbers in column {column!r}, or be 'imagenet'."
        )
    if isinstance(names, Mapping):
        called = dict(names)
    elif isinstance(names, Set):  # its order is not that of the numbers
        raise UsageError("names= must list the class names in their order, not a set.")
    else:
        called = dict(enumerate(names))
    wrong = [number for number in numbers if number not in called]
    if wrong:
        raise UsageError(f"Column {column!r} has the class {wrong[0]}, but names= has {len(called)} names.")
    named = [called[number] for number in numbers]
    if not isinstance(names, Mapping):  # which may join classes on purpose
        refuse_shared_names(dict.fromkeys(zip(map(str, named), numbers, strict=True)))
    return named, list(called.values())


def _photos(given: Sequence[Any], root: Path | str | None) -> tuple[dict[str, list[str]], Path]:
    """Return the columns ``path`` and, if photos were written, ``photo_id``, and the folder of paths."""
    if not all(isinstance(value, str | os.PathLike) for value in given):
        return _written(given)
    return {"path": [_below(root, value) for value in given]}, Path.cwd() if root is None else Path(root)


def _below(root: Path | str | None, value: Any) -> Any:
    """Return a path with slashes, relative to ``root`` if it is below that; None for an empty one.

    Anything that is not a path becomes text.
    """
    if not isinstance(value, str | os.PathLike):
        return _text(value)
    if value == "":
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
