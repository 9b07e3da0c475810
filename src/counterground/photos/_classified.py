"""What follows from the rows of a manifest: its classes, photo ids, attributes and folder."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import polars as pl

from counterground.errors import CounterGroundError, error_message
from counterground.files import is_file, open_regular, read_parquet, read_text
from counterground.photos._manifest import (
    EXACT,
    MANIFEST_SCHEMA,
    attribute_problem,
    cast_column,
    stripped,
    with_plain_paths,
)
from counterground.photos._photo import UnreadablePhoto, photo_ids
from counterground.photos.labels import (
    IMAGENET_SIZE,
    LabelSpace,
    assign_classes,
    imagenet_names,
)
from counterground.text import and_more, counted

TEXT_SUFFIXES = (".csv", ".tsv")
_JSON_LINES = (".jsonl", ".ndjson")
TABLE_SUFFIXES = (".parquet", *TEXT_SUFFIXES, *_JSON_LINES)
"""Lower-case suffixes of the files that ``read_table`` reads."""


def read_table(source: Path) -> pl.DataFrame:
    """Read a table: Parquet, JSON lines, or CSV or TSV with a header, whose cells are then texts or null.

    Raises:
        CounterGroundError: it cannot be read, has no rows, or see `refuse_patterns`.
    """
    suffix = source.suffix.lower()
    try:
        if suffix in TEXT_SUFFIXES:
            frame = _read_text(source)
        elif suffix in _JSON_LINES:
            open_regular(source).close()
            frame = pl.read_ndjson(source, infer_schema_length=None)
        else:
            frame = read_parquet(source)
    except UnicodeDecodeError as error:
        raise CounterGroundError(
            f"Cannot read the table {source}: it is not UTF-8; save it as UTF-8."
        ) from error
    except (OSError, csv.Error, pl.exceptions.PolarsError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error_message(error)
        raise CounterGroundError(f"Cannot read the table {source}: {reason}.") from error
    if frame.is_empty():
        raise CounterGroundError(f"{source} has no rows.")
    refuse_patterns(frame, f"{source}: ")
    return frame


def refuse_patterns(frame: pl.DataFrame, where: str = "") -> None:
    """Refuse names of columns that Polars would take for patterns.

    Raises:
        CounterGroundError: there is one.
    """
    for name in frame.columns:
        if name == "*" or (name.startswith("^") and name.endswith("$")):
            raise CounterGroundError(
                f"{where}No column can be called {name!r}, a pattern of names: rename it."
            )


def _read_text(source: Path) -> pl.DataFrame:
    """Read CSV or TSV; columns without a name, such as an index or empty ones at the end, are left out."""
    text = read_text(source, None)
    header = text.partition("\n")[0]
    # Where commas are decimal marks, spreadsheets write something else.
    usual = next((sign for sign in ",;\t" if sign in header), ",")
    sign = "\t" if source.suffix.lower() == ".tsv" else usual
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=sign, strict=True)
    try:
        names, *rows = [[cell.strip() or None for cell in line] for line in lines if line] or [[]]
    except csv.Error as error:
        raise csv.Error(f"a quote in line {lines.line_num:,} or before is out of place: {error}") from error
    if again := [name for name, count in Counter(names).items() if name and count > 1]:
        raise CounterGroundError(f"{source} has the column {again[0]!r} twice: rename one, or remove it.")
    for number, row in enumerate(rows, 1):
        if len(row) > len(names):
            raise CounterGroundError(f"{source}: row {number} has more cells than the header has names.")
        row.extend([None] * (len(names) - len(row)))
    columns = {name: [row[place] for row in rows] for place, name in enumerate(names) if name}
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))


ABSOLUTE = r"^(/|\\|[A-Za-z]:)"
_LISTED = 20
_CREDITS = ("licence", "attribution", "source")
_WHOLE = r"^-?\d{1,9}(\.0)?$"  # pandas writes whole numbers as 8.0 where some are missing


class Classified(NamedTuple):
    """A manifest with its classes and photo ids.

    Attributes:
        photos: the manifest.
        root: the folder of its paths.
        masks_root: that of its masks; None if it is the same.
        classes: the classes.
        notes: what outputs must say.
        left_out: rows that cannot be used (row, name, reason); None if there are none.
    """

    photos: pl.DataFrame
    root: Path
    masks_root: Path | None
    classes: LabelSpace
    notes: tuple[str, ...]
    left_out: pl.DataFrame | None


def classified(
    frame: pl.DataFrame,
    root: Path,
    masks_root: Path | None = None,
    classes: LabelSpace | None = None,
    *,
    skip_bad_rows: bool = False,
    files: bool = True,
) -> Classified:
    """Return what follows from the rows of a manifest.

    The table needs ``path`` and ``class_name``, or ``path`` and ``class_index``, which is then the
    ImageNet-1K index. A missing ``photo_id`` is computed.

    Args:
        frame: the rows, one per photo; columns outside ``MANIFEST_SCHEMA`` become attributes and covariates
            if they can (``as_attributes``), and the others are noted.
        root: the folder that paths are relative to. If they are absolute, it is instead the deepest folder
            that all photos and masks share, so that the benchmark is the same wherever it is.
        masks_root: the same for masks that do not lie where the photos do; None if they do.
        classes: the classes, whose names or numbers the table has; None: those that its names mean.
        skip_bad_rows: whether rows without a path, a class or a file are left out.
        files: whether the photos must be on this machine. If they need not and the first is not, the photo
            ids are made of the paths.

    Raises:
        CounterGroundError: a missing column, a column name one slip from a known one or that is a pattern, a
            class with two names or spellings, absolute paths among relative ones, or rows that cannot be
            used: the first are listed.
    """
    refuse_patterns(frame)
    if "path" not in frame.columns:
        raise CounterGroundError(f"The manifest has no column 'path'; it has {', '.join(frame.columns)}.")
    if not {"class_name", "class_index"} & set(frame.columns):
        raise CounterGroundError(
            "The manifest has neither a column 'class_name' nor 'class_index'; it has "
            f"{', '.join(frame.columns)}."
        )
    frame, notes_on_columns = as_attributes(frame)
    frame = with_plain_paths(_cast_keys(_with_tidy_texts(frame)))
    refuse_repeated(frame, "path")
    if masks_root is None:
        frame, root, moved = _below_one_folder(frame, root, "path", "mask")
    else:
        frame, root, moved = _below_one_folder(frame, root, "path")
        frame, masks_root, also = _below_one_folder(frame, masks_root, "mask")
        moved += also
    hashed = "photo_id" not in frame.columns
    first = str(frame["path"].drop_nulls().first())
    apart = hashed and not files and not is_file(root / first)
    frame, left_out, skipped = usable_rows(frame, root if hashed and not apart else None, skip=skip_bad_rows)
    classes, frame, found = _classify(frame, classes)
    if apart:
        skipped += ("The photos are not on this machine, so copies among them are not recognised.",)
        ids = [hashlib.sha256(path.encode()).hexdigest() for path in frame["path"]]
        frame = frame.with_columns(photo_id=pl.Series(ids, dtype=pl.String))
    elif hashed:
        frame = frame.with_columns(pl.Series("photo_id", _hashed(frame["path"], root), pl.String))
    notes = (*moved, *skipped, *found, *notes_on_columns)
    return Classified(frame, root, masks_root, classes, notes, left_out)


def usable_rows(
    frame: pl.DataFrame, root: Path | None, *, skip: bool
) -> tuple[pl.DataFrame, pl.DataFrame | None, tuple[str, ...]]:
    """Return the rows with a path, a class and, below ``root``, a file; the others, and a note on them.

    Raises:
        CounterGroundError: there are others, and they are not skipped, or they are all: the first are listed.
    """
    key = "class_name" if "class_name" in frame.columns else "class_index"
    gone = [root is not None and not is_file(root / (path or "")) for path in frame["path"]]
    reason = (
        pl.when(pl.col("path").fill_null("") == "")
        .then(pl.lit("no path"))
        .when(pl.col(key).is_null())
        .then(pl.lit(f"no {key}"))
        .when(pl.Series(gone))
        .then(pl.lit("missing file"))
    )
    rows = frame.select(pl.int_range(1, pl.len() + 1).alias("row"), name="path", reason=reason)
    bad = rows.drop_nulls("reason")
    if bad.is_empty():
        return frame, None, ()
    if not skip or len(bad) == len(frame):
        listed = [f"row {row}{f' ({name!r})' if name else ''}: {why}" for row, name, why in bad.iter_rows()]
        raise CounterGroundError(
            f"{len(bad):,} of {counted(len(frame), 'row')} cannot be used: {and_more(listed, _LISTED)}. "
            "Correct them, or leave them out: evaluate --skip-bad-rows."
        )
    counts = ", ".join(f"{count:,} {why}" for why, count in Counter(bad["reason"]).items())
    note = f"{len(bad):,} of {counted(len(frame), 'row')} left out ({counts})."
    return frame.filter(rows["reason"].is_null()), bad, (note,)


def as_attributes(frame: pl.DataFrame) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Return a table whose further columns can be attributes and covariates, and a note on those left out.

    Raises:
        CounterGroundError: a column name is one slip from a known one.
    """
    lacking = [name for name in MANIFEST_SCHEMA if name not in {*frame.columns, *_CREDITS}]
    problems = {
        column: problem
        for column in frame.columns
        if column not in MANIFEST_SCHEMA
        and (problem := attribute_problem(column, frame.schema[column], lacking))
    }
    for column, problem in problems.items():
        if problem.startswith("did you mean"):
            raise CounterGroundError(f"The manifest has a column {column!r}: {problem}.")
    unused = ", ".join(f"{column} ({problem})" for column, problem in problems.items())
    note = f"Columns of the manifest that were not used: {unused}."
    return frame.drop(problems), ((note,) if unused else ())


def _with_tidy_texts(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a table whose attributes and clusters are equal if they look alike, whichever format has them.

    Attributes and names of classes have no spaces around them and are null if nothing is left, as in CSV. An
    accent of an attribute or a cluster may be a character of its own in one row and not in another (NFD and
    NFC).
    """
    texts = [name for name in frame.columns if frame.schema[name] in (pl.String, pl.Categorical, pl.Enum)]
    attributes = [pl.col(name).cast(pl.String) for name in texts if name not in MANIFEST_SCHEMA]
    clusters = [pl.col("cluster").cast(pl.String)] if "cluster" in texts else []
    classes = [stripped(pl.col("class_name").cast(pl.String))] if "class_name" in texts else []
    alike = [text.str.normalize("NFC") for text in (*map(stripped, attributes), *clusters)]
    return frame.with_columns(*alike, *classes)


def with_covariates(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a CSV table in which further columns are numbers, or true and false, if all their texts are."""
    return frame.with_columns(_typed(frame[name]) for name in frame.columns if name not in MANIFEST_SCHEMA)


def _typed(column: pl.Series) -> pl.Series:
    if column.is_null().all():
        return column
    flags = column.str.to_lowercase().replace_strict({"true": True, "false": False}, default=None)
    if flags.null_count() == column.null_count():
        return flags
    numbers = column.cast(pl.Float64, strict=False)
    if numbers.null_count() > column.null_count():
        return column
    # Whole numbers that are codes: as numbers, some would become equal, such as 007 and 7.
    large = column.filter(numbers.abs() >= EXACT).str.contains(r"^\s*[+-]?[0-9]+\s*$").any()
    digits = column.filter(column.str.contains("^[0-9]+$"))
    return column if large or digits.n_unique() > digits.cast(pl.Float64).n_unique() else numbers


def row_of(wrong: pl.Series) -> int:
    """Return the number of the first row that is wrong, counted from 1 as in messages."""
    return int(wrong.arg_max() or 0) + 1


def refuse_repeated(frame: pl.DataFrame, column: str) -> None:
    """Refuse a value that is in several rows.

    Raises:
        CounterGroundError: there is one; the message names the first row that repeats, and the earlier one.
    """
    repeated = frame[column].is_not_null() & ~frame[column].is_first_distinct()
    if repeated.any():
        row = row_of(repeated)
        value = frame[column][row - 1]
        earlier = row_of(frame[column] == value)
        more = f" (and {repeated.sum() - 1:,} more)" if repeated.sum() > 1 else ""
        raise CounterGroundError(
            f"Row {row} of the manifest has the {column} of row {earlier}, {value!r}{more}: remove one."
        )


def _hashed(paths: pl.Series, root: Path) -> list[str]:
    """Return the ``photo_id`` of every photo."""
    try:
        return photo_ids([f"{root}{os.sep}{path}" for path in paths])
    except UnreadablePhoto as error:
        row = next(row for row, path in enumerate(paths, 1) if Path(f"{root}{os.sep}{path}") == error.path)
        raise CounterGroundError(
            f"Row {row} of the manifest: {error} Fix its path or permissions, or remove it."
        ) from error


def _below_one_folder(
    frame: pl.DataFrame, root: Path, *names: str
) -> tuple[pl.DataFrame, Path, tuple[str, ...]]:
    """Return the frame with relative paths in these columns, the folder they are relative to, and notes."""
    columns = [column for column in names if column in frame.columns]
    if not any(frame[column].str.contains(ABSOLUTE).any() for column in columns):
        return frame, root, ()
    written = {path: Path(path) for column in columns for path in frame[column].drop_nulls()}
    relative = [path for path, file in written.items() if not file.is_absolute()]
    if len(relative) == len(written):  # on this system
        return frame, root, ()
    if relative:
        raise CounterGroundError(
            f"Some paths of the manifest are absolute and others, such as {relative[0]!r}, are not: write "
            "all of them in one way."
        )
    files = {path: Path(os.path.normpath(file)) for path, file in written.items()}
    shared = Path(os.path.commonpath([file.parent for file in files.values()]))
    below = {path: file.relative_to(shared).as_posix() for path, file in files.items()}
    frame = frame.with_columns(pl.col(columns).replace(below))
    note = (
        f"The {'paths' if 'path' in names else 'masks'} of the manifest are absolute; outputs show them "
        f"relative to {shared.name or str(shared)!r}, the folder that holds all of them."
    )
    return frame, shared, (note,)


def _cast_keys(frame: pl.DataFrame) -> pl.DataFrame:
    if frame.schema.get("class_index") == pl.String and frame["class_index"].str.contains(_WHOLE).all():
        frame = frame.with_columns(pl.col("class_index").str.replace(r"\.0$", "").cast(pl.Int32))
    keys = [key for key in ("path", "mask", "class_name", "class_index") if key in frame.columns]
    return frame.with_columns(cast_column(frame[key], MANIFEST_SCHEMA[key]) for key in keys)


def _classify(
    frame: pl.DataFrame, classes: LabelSpace | None
) -> tuple[LabelSpace, pl.DataFrame, tuple[str, ...]]:
    """Return the label space, the frame with its class_index and class_name, and notes."""
    notes: tuple[str, ...] = ()
    if classes is not None:
        index = {name: number for number, name in enumerate(classes.names)}
    elif "class_name" in frame.columns:
        assigned = assign_classes(frame["class_name"].unique().sort().to_list())
        classes, index, notes = assigned.classes, assigned.index, assigned.notes
        if "class_index" in frame.columns:
            frame = frame.drop("class_index")
            notes += ("The manifest's class_index was not used: its classes are those of class_name.",)
    else:
        present = frame["class_index"].unique().sort().to_list()
        if wrong := [number for number in present if not 0 <= number < IMAGENET_SIZE]:
            raise CounterGroundError(
                f"class_index {wrong[0]} is not an ImageNet-1K index: correct it, or add class_name."
            )
        classes = LabelSpace("benchmark", tuple(imagenet_names()[i] for i in present), tuple(present))
        places = dict(zip(present, range(len(present)), strict=True))
        frame = frame.with_columns(pl.col("class_index").replace_strict(places, return_dtype=pl.Int32))
        notes = ("Classes without names were read as ImageNet-1K indices.",)
    if "class_index" not in frame.columns:
        frame = frame.with_columns(
            class_index=pl.col("class_name").replace_strict(index, return_dtype=pl.Int32)
        )
    names = pl.Series("class_name", classes.names).gather(frame["class_index"])
    return classes, frame.with_columns(names), notes
