"""The classes and photo ids of a manifest: what its rows say, and what follows from them."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from counterground.errors import CounterGroundError
from counterground.photos._classes import assign_classes
from counterground.photos._imagenet import IMAGENET_SIZE, imagenet_names
from counterground.photos._label_space import LabelSpace
from counterground.photos._manifest import MANIFEST_SCHEMA, cast_column
from counterground.photos._photo import photo_ids


def classified(frame: pl.DataFrame, root: Path) -> tuple[pl.DataFrame, LabelSpace, tuple[str, ...]]:
    """Return a manifest with its classes and photo ids filled in, their label space, and notes.

    Needed are ``path`` and ``class_name``, or ``path`` and ``class_index``. With a name, ``class_index`` is
    optional and must run from 0 to k - 1; without, it is the ImageNet-1K index. ``imagenet_index`` says which
    class of ImageNet a class is (null: none) instead of its name. A missing ``photo_id`` is computed.

    Raises:
        CounterGroundError: a missing column, one class with two names or indices, or a file below ``root``
            that is missing.
    """
    if "path" not in frame.columns:
        raise CounterGroundError("The manifest has no column 'path'.")
    known = {*MANIFEST_SCHEMA, "imagenet_index"}
    unused = [column for column in frame.columns if column not in known]
    frame = _cast_keys(frame.drop(unused))
    space, frame, notes = _classify(frame)
    if "photo_id" not in frame.columns:
        ids = photo_ids([root / path for path in frame["path"]])
        frame = frame.with_columns(pl.Series("photo_id", ids, pl.String))
    if unused:
        notes = (*notes, f"Columns of the manifest that were not used: {', '.join(unused)}.")
    return frame.drop("imagenet_index", strict=False), space, notes


def _cast_keys(frame: pl.DataFrame) -> pl.DataFrame:
    keys = ("path", "class_name", "class_index", "imagenet_index")
    if not {"class_name", "class_index"} & set(frame.columns):
        raise CounterGroundError("The manifest has neither a column 'class_name' nor 'class_index'.")
    kinds = MANIFEST_SCHEMA | {"imagenet_index": pl.Int32()}
    frame = frame.with_columns(cast_column(frame[key], kinds[key]) for key in keys if key in frame.columns)
    needed = [column for column in ("path", "class_name", "class_index") if column in frame.columns]
    for column in needed:
        if frame[column].null_count():
            row = int(frame[column].is_null().arg_max() or 0) + 1
            raise CounterGroundError(f"Row {row} of the manifest has no {column}.")
    return frame


def _classify(frame: pl.DataFrame) -> tuple[LabelSpace, pl.DataFrame, tuple[str, ...]]:
    """Return the label space, the frame with its class_index and class_name, and notes."""
    if "class_name" not in frame.columns:
        return _classify_by_index(frame)
    names = frame["class_name"].unique().sort().to_list()
    notes: tuple[str, ...] = ()
    if "imagenet_index" in frame.columns:
        imagenet = _one_to_one(frame, "imagenet_index")
        if all(imagenet[name] is not None for name in names):
            names.sort(key=lambda name: imagenet[name] or 0)
        space = LabelSpace("benchmark", tuple(names), tuple(imagenet[name] for name in names))
        index = {name: position for position, name in enumerate(names)}
    else:
        classes = assign_classes(names)
        space, index, notes = classes.label_space, classes.index, classes.notes
    if "class_index" in frame.columns:
        space, index = _reorder(space, index, _one_to_one(frame, "class_index"))
    positions = [index[name] for name in frame["class_name"]]
    return space, _with_classes(frame, space, positions), notes


def _classify_by_index(frame: pl.DataFrame) -> tuple[LabelSpace, pl.DataFrame, tuple[str, ...]]:
    present = frame["class_index"].unique().sort().to_list()
    if present and not 0 <= present[0] <= present[-1] < IMAGENET_SIZE:
        wrong = present[0] if present[0] < 0 else present[-1]
        raise CounterGroundError(
            f"class_index {wrong} is not an ImageNet-1K index: add a column 'class_name', or correct it."
        )
    space = LabelSpace(
        "benchmark", tuple(imagenet_names("openai")[index] for index in present), tuple(present)
    )
    positions = [present.index(index) for index in frame["class_index"]]
    note = "Classes without names were read as ImageNet-1K indices."
    return space, _with_classes(frame, space, positions), (note,)


def _with_classes(frame: pl.DataFrame, space: LabelSpace, positions: list[int]) -> pl.DataFrame:
    return frame.with_columns(
        pl.Series("class_index", positions, pl.Int32),
        pl.Series("class_name", [space.names[position] for position in positions], pl.String),
    )


def _one_to_one(frame: pl.DataFrame, column: str) -> dict[str, int | None]:
    """Return the value of ``column`` per class name; each class must have one."""
    pairs = frame.select("class_name", column).unique().sort("class_name", column)
    repeated = pairs.filter(pl.col("class_name").is_duplicated())
    if len(repeated):
        name = repeated["class_name"][0]
        values = repeated.filter(pl.col("class_name") == name)[column].to_list()
        raise CounterGroundError(f"Class {name!r} has more than one {column}: {values}.")
    return dict(pairs.iter_rows())


def _reorder(
    space: LabelSpace, index: dict[str, int], numbers: dict[str, int | None]
) -> tuple[LabelSpace, dict[str, int]]:
    """Put the classes where the manifest's own class_index says."""
    if sorted(position for position in numbers.values() if position is not None) != list(range(len(space))):
        raise CounterGroundError(
            f"class_index must number the {len(space)} classes from 0 to {len(space) - 1}, one class each;"
            " leave the column out, or call it imagenet_index if it is that."
        )
    order = sorted(numbers, key=lambda name: numbers[name] or 0)
    old = [index[name] for name in order]
    return (
        LabelSpace(
            space.name,
            tuple(space.names[position] for position in old),
            tuple(space.imagenet[p] for p in old),
        ),
        {name: position for position, name in enumerate(order)},
    )
