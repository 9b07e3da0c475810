"""Rows of any source as a benchmark: columns by the source's names, photos on this disk or behind URLs."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from counterground.errors import CounterGroundError
from counterground.http import without_query
from counterground.photos._benchmark import Benchmark, benchmark_of_frame
from counterground.photos._classified import refuse_repeated, row_of, with_covariates
from counterground.photos._memory import note_absent_classes, refuse_shared_names
from counterground.photos._table import refuse_patterns
from counterground.photos.labels import read_class_names
from counterground.photos.sources._fetched import fetch_photos, problem_of_url
from counterground.photos.sources._source import Source, find_column, is_web


def benchmark_of_rows(
    frame: pl.DataFrame,
    source: Source,
    root: Path,
    name: str,
    *,
    texts: bool = False,
    show_progress: bool = False,
) -> Benchmark:
    """Return the benchmark of a table whose columns ``source`` names; photos behind URLs are fetched.

    Args:
        frame: one row per photo; its path or URL is in the column that ``image=`` names, else ``path`` or
            ``url``.
        source: which column is which, and ``names``, a file with the names of numbered classes.
        root: the folder of relative paths, of masks also if the photos are behind URLs.
        name: what outputs call the benchmark.
        texts: whether all columns are texts, as in CSV, so that numbers must be recognised.
        show_progress: show a bar while photos are fetched.

    Raises:
        CounterGroundError: a column is missing, a row has no photo or no class, no photo can be fetched, or
            ``benchmark_of_frame`` refuses the table; one line names the place and the row.
    """
    try:
        refuse_patterns(frame)
        frame = _with_our_names(frame, source)
        notes: tuple[str, ...] = ()
        if texts:
            frame = with_covariates(frame)
        if "names" in source.options:
            frame, absent = _with_class_names(frame, Path(source.options["names"]))
            notes += absent
        masks_root = None
        if _holds_urls(frame):
            masks_root = root
            frame, root, fetched = _fetched(frame, show_progress=show_progress)
            notes += fetched
        found = benchmark_of_frame(frame, root, name, masks_root)
    except CounterGroundError as error:
        raise type(error)(f"{source.place}: {error}") from error
    return found.described(notes=(*notes, *found.notes))


def _with_our_names(frame: pl.DataFrame, source: Source) -> pl.DataFrame:
    """Rename columns; one that has our name but is not the one chosen is left out."""
    columns = {ours: find_column(theirs, frame.columns) for ours, theirs in source.columns.items()}
    if "path" not in {*columns, *frame.columns} and "url" in frame.columns:
        columns["path"] = "url"
    if "path" not in {*columns, *frame.columns}:
        raise CounterGroundError(_unclear("no column 'path' or 'url'", "image", frame))
    if not {"class_name", "class_index", "options"} & {*columns, *frame.columns}:
        raise CounterGroundError(_unclear("neither a column 'class_name' nor 'class_index'", "label", frame))
    taken = {*columns, *columns.values()}
    return frame.select(
        *(pl.col(theirs).alias(ours) for ours, theirs in columns.items()),
        *(name for name in frame.columns if name not in taken),
    )


def _unclear(lacking: str, setting: str, frame: pl.DataFrame) -> str:
    has = ", ".join(frame.columns)
    return f"the manifest has {lacking}; it has {has}. Say which column it is: ?{setting}=COLUMN."


def _with_class_names(frame: pl.DataFrame, file: Path) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Replace the numbers in ``class_name``, else ``class_index``, by names; note those without a photo."""
    listed = read_class_names(file)
    column = next((each for each in ("class_name", "class_index") if each in frame.columns), None)
    if column is None:
        raise CounterGroundError(_unclear("no classes that names= could name", "label", frame))
    numbers = frame[column].cast(pl.String).str.strip_chars().str.replace(r"\.0$", "")
    index = numbers.cast(pl.Int64, strict=False)
    wrong = numbers.is_not_null() & ~index.is_between(0, len(listed) - 1).fill_null(value=False)
    if wrong.any():
        row = row_of(wrong)
        raise CounterGroundError(
            f"Row {row} has the class {numbers[row - 1]!r}, and {file} has names for 0 to {len(listed) - 1}."
        )
    named = pl.Series("class_name", listed, pl.String).gather(index)
    pairs = pl.DataFrame({"name": named, "number": index}).drop_nulls().unique().sort("number")
    try:
        refuse_shared_names(pairs.iter_rows())
    except CounterGroundError as error:
        raise CounterGroundError(f"{file}: {error}") from error
    frame = frame if column == "class_name" else frame.drop(column)
    return frame.with_columns(named), note_absent_classes(listed, named)


def _holds_urls(frame: pl.DataFrame) -> bool:
    return frame["path"].dtype == pl.String and frame["path"].str.contains("^(?i)https?://").any()


def _fetched(frame: pl.DataFrame, *, show_progress: bool) -> tuple[pl.DataFrame, Path, tuple[str, ...]]:
    """Return the frame with the paths of the photos in the cache, their folder, and notes."""
    for row, url in enumerate(frame["path"], 1):
        if url is None:
            raise CounterGroundError(f"Row {row} has no URL.")
        if problem := problem_of_url(url):
            hint = "" if is_web(url) else ", unlike those of other rows"
            raise CounterGroundError(f"Row {row}: {url!r} {problem}{hint}: correct it, or remove the row.")
    refuse_repeated(frame, "path")
    photos = fetch_photos(frame["path"].to_list(), show_progress=show_progress)
    columns = [pl.Series("path", photos.paths, pl.String)]
    if "source" not in frame.columns:
        columns.append(pl.Series("source", [without_query(url) for url in frame["path"]], pl.String))
    return frame.with_columns(columns), photos.folder, photos.notes
