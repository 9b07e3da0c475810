"""The options of an import, and the class names that follow from them; nothing is guessed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from counterground.construction.pool import IMPORTED
from counterground.errors import UsageError, did_you_mean
from counterground.photos import assign_classes


@dataclass(frozen=True)
class ImportOptions:
    """How a source is read.

    Attributes:
        class_name: class of all photos, for a flat folder or a table without a column of classes.
        rename: new class names, by name in the source.
        annotator: the annotator recorded for the backgrounds of the source.
        url_column: the column of addresses.
        class_column: the column of class names; None: "class_name", or in a data set its only class label.
        background_column: the column of backgrounds; None: "background", if there is one.
        image_column: the column of images in a data set; None: its only one.
        jobs: photos read or fetched at the same time.
        first_pause: seconds before the first retry of an address, doubled before each further one.
        show_progress: show a bar.
    """

    class_name: str | None = None
    rename: Mapping[str, str] = field(default_factory=dict)
    annotator: str = IMPORTED
    url_column: str = "url"
    class_column: str | None = None
    background_column: str | None = None
    image_column: str | None = None
    jobs: int = 4
    first_pause: float = 2.0
    show_progress: bool = False


def resolve_class_names(written: Iterable[str], options: ImportOptions) -> dict[str, str]:
    """Return the pool's class name for each name of the source: renamed, then read as in a benchmark.

    Raises:
        UsageError: ``rename`` has a name that the source does not have.
        CounterGroundError: two names mean one class, or one is ambiguous alongside ImageNet classes.
    """
    names = list(dict.fromkeys(written))
    for name in options.rename:
        if name not in names:
            raise UsageError(
                f"--rename names {name!r}, which is not a class of the source.{did_you_mean(name, names)}"
            )
    renamed = {name: options.rename.get(name, name) for name in names}
    classes = assign_classes(list(dict.fromkeys(renamed.values())))
    return {name: classes.classes.names[classes.index[new]] for name, new in renamed.items()}


def find_class_column(frame: pl.DataFrame, options: ImportOptions, source: Path) -> str | None:
    """Return the column of a table that has the classes; None if all rows are of ``options.class_name``.

    Raises:
        UsageError: there is neither a column nor a class of all rows.
    """
    if options.class_name is not None:
        return None
    column = options.class_column or "class_name"
    return checked_column(frame.columns, column, str(source), "--class-column, or the class with --class")


def checked_column(columns: Collection[str], column: str, source: str, option: str) -> str:
    """Return a column of a table or data set that must be there.

    Raises:
        UsageError: it is not; the message has the option that names another one.
    """
    if column not in columns:
        raise UsageError(
            f"{source} has no column {column!r}; it has {', '.join(columns)}."
            f"{did_you_mean(column, columns)} Name the column with {option}."
        )
    return column


def unused_note(columns: Iterable[str], used: Collection[str | None]) -> tuple[str, ...]:
    """Return a note on columns of a source that are not used: they may be misspelt."""
    unused = [column for column in columns if column not in used]
    return (f"Unused columns of the source: {', '.join(unused)}.",) if unused else ()
