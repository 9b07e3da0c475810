"""Rows as a manifest: which column is which, names of numbered classes, tables and photos in memory."""

from __future__ import annotations

import hashlib
import math
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
from counterground.photos._classified import row_of
from counterground.photos._manifest import MANIFEST_SCHEMA
from counterground.photos._photo import image_type
from counterground.text import and_more

_LISTED = 8
_NOT_A_VALUE = ("NAType", "NaTType")  # of pandas, which need not be installed
# The others become RGB, as when they are read.
_PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I", "F"})


def find_column(column: str, known: Iterable[str], where: str) -> str:
    """Return the name of a column.

    Raises:
        UsageError: there is no such column.
    """
    known = list(known)
    if column not in known:
        hint = did_you_mean(column, map(str, known))
        raise UsageError(
            f"{where}: there is no column {column!r}; it has {', '.join(map(str, known))}.{hint}"
        )
    return column


def with_class_names(
    frame: pl.DataFrame, names: Mapping[int, str], what: str
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Replace the numbers in ``class_name``, else ``class_index``, by names; note those without a photo.

    ``what`` has the names, for messages.

    Raises:
        CounterGroundError: a number without a name, or two numbers with one name.
    """
    column = "class_name" if "class_name" in frame.columns else "class_index"
    if column not in frame.columns:
        raise CounterGroundError(f"there are no classes that {what} could name: say which column they are.")
    given = frame[column].cast(pl.String).str.strip_chars().str.replace(r"\.0$", "")
    numbers = given.cast(pl.Int64, strict=False)
    named = numbers.replace_strict(dict(names), default=None, return_dtype=pl.String).alias("class_name")
    wrong = given.is_not_null() & named.is_null()
    if wrong.any():
        row = row_of(wrong)
        raise CounterGroundError(
            f"Row {row} has the class {given[row - 1]!r}, and {what} has {len(names)} names."
        )
    number_of: dict[str, int] = {}
    for number in numbers.drop_nulls().unique().sort():
        if (other := number_of.setdefault(names[number], number)) != number:
            raise CounterGroundError(
                f"The classes {other} and {number} are both called {names[number]!r}, and would be one: give "
                "each a name of its own."
            )
    frame = frame if column == "class_name" else frame.drop(column)
    return frame.with_columns(named), note_absent_classes(list(names.values()), named)


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


def manifest_of_table(
    table: Any, root: Path | str | None, columns: Mapping[str, str | None], attributes: Sequence[str]
) -> tuple[pl.DataFrame, Path]:
    """Return the manifest of a table, its classes unresolved, and the folder of its paths.

    Args:
        table: a Polars or pandas frame, or a mapping of columns.
        root: the folder of relative paths and masks, to which those below it become relative; None for the
            working folder.
        columns: column of the manifest -> the table's, optional under the manifest's own name.
        attributes: further columns, under their own names.

    Raises:
        UsageError: see ``Benchmark.from_frame``.
    """
    if isinstance(table, pl.LazyFrame):
        table = table.collect()
    if not isinstance(table, Mapping) and not hasattr(table, "columns"):
        raise UsageError(
            f"A frame is a Polars or pandas DataFrame, or a dict of columns, not {type(table).__name__}."
        )
    known = list(table) if isinstance(table, Mapping) else list(table.columns)
    optional = {*MANIFEST_SCHEMA} - {"path", "class_name", "photo_id", "class_index"}
    wanted = {name: name for name in (*sorted(optional), *attributes)}
    wanted |= {ours: theirs or "" for ours, theirs in columns.items()}
    found = {
        ours: _values(theirs, table[find_column(theirs, known, "The frame")])
        for ours, theirs in wanted.items()
        if theirs in known or not (ours in optional and theirs in ("", ours))
    }
    if len(set(map(len, found.values()))) > 1:
        raise UsageError("The columns of a frame must be equally long.")
    if any(isinstance(value, Image.Image | np.ndarray | list | bytes) for value in found.get("mask", ())):
        raise UsageError("The frame has masks in memory: write them to files, and give the paths.")
    if "mask" in found:
        found["mask"] = [_below(root, value) for value in found["mask"]]
    folder = Path.cwd() if root is None else Path(root)
    if all(isinstance(value, str | os.PathLike | None) for value in found["path"]):
        found["path"] = [_below(root, value) for value in found["path"]]
    else:
        photos, folder = _written(found["path"])
        found |= photos
    return pl.DataFrame([_column(name, listed) for name, listed in found.items()]), folder


def _column(name: str, values: list[Any]) -> pl.Series:
    try:
        return pl.Series(name, values, strict=False)
    except (TypeError, OverflowError) as error:
        raise UsageError(
            f"The column {name!r} of the frame cannot be read: {error_message(error)}."
        ) from error


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
    return [
        None
        if (isinstance(value, float) and math.isnan(value)) or type(value).__name__ in _NOT_A_VALUE
        else value
        for value in plain
    ]


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
    try:
        image = value if isinstance(value, Image.Image) else Image.fromarray(value)
        buffer = BytesIO()
        plain = image if image.mode in _PNG_MODES else image.convert("RGB")
        plain.save(buffer, "PNG", compress_level=1, icc_profile=None)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UsageError(
            f"Row {row} of the frame is no photo ({error}): give paths, PIL images, uint8 arrays [h, w] or "
            "[h, w, 3], or the bytes of files."
        ) from error
    return buffer.getvalue(), ".png"
