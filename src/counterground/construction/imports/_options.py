"""The options of an import, and the class names that follow from them; nothing is guessed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
        retry_failed: retry addresses that failed in an earlier import.
        first_pause: seconds before the first retry of an address, doubled before each further one.
        show_progress: show a bar.

    Raises:
        UsageError: no jobs, or an empty name of an annotator or a class.
    """

    class_name: str | None = None
    rename: Mapping[str, str] = field(default_factory=dict)
    annotator: str = IMPORTED
    url_column: str = "url"
    class_column: str | None = None
    background_column: str | None = None
    image_column: str | None = None
    jobs: int = 4
    retry_failed: bool = False
    first_pause: float = 2.0
    show_progress: bool = False

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise UsageError(f"jobs is {self.jobs}; give 1 or more.")
        if not self.annotator.strip():
            raise UsageError("The annotator of imported backgrounds has an empty name.")
        for name in (self.class_name, *self.rename.values()):
            if name is not None and not name.strip():
                raise UsageError("A class has an empty name.")


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
    return {name: classes.label_space.names[classes.index[new]] for name, new in renamed.items()}


def find_class_column(frame: pl.DataFrame, options: ImportOptions, source: Path) -> str | None:
    """Return the column of a table that has the classes; None if all rows are of ``options.class_name``.

    Raises:
        UsageError: there is neither a column nor a class of all rows, or there are both.
    """
    column = options.class_column or "class_name"
    if column in frame.columns and options.class_name is not None:
        raise UsageError(f"{source} has a column {column!r} of classes: leave out --class.")
    if column in frame.columns:
        return column
    if options.class_column is None and options.class_name is not None:
        return None
    raise no_column(source, column, frame, "--class-column, or the class of all rows with --class")


def no_column(source: Path, column: str, frame: pl.DataFrame, option: str = "") -> UsageError:
    """Return the error for a column that a table does not have, and the option that names another one."""
    hint = did_you_mean(column, frame.columns)
    remedy = f" Name the column with {option}." if option else ""
    return UsageError(f"{source} has no column {column!r}; it has {', '.join(frame.columns)}.{hint}{remedy}")
