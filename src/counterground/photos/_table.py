"""Tables in files, as their rows are written."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import cache
from itertools import chain, zip_longest
from pathlib import Path

import polars as pl

from counterground.errors import CounterGroundError, error_message
from counterground.files import open_regular, read_parquet
from counterground.photos._manifest import stripped
from counterground.photos._photo import IMAGE_SUFFIXES

TEXT_SUFFIXES = (".csv", ".tsv")
_JSON_LINES = (".jsonl", ".ndjson")
_LONGEST_HEADER = 2**20
# Polars unpacks them: a few kilobytes may become gigabytes.
_COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"x\x01", b"x\x9c", b"x\xda")
_REPEATED = re.compile(r"(.*)_duplicated_\d+", re.DOTALL)
_NOT_UTF_8 = "it is not UTF-8; save it as UTF-8"
TABLE_SUFFIXES = (".parquet", *TEXT_SUFFIXES, *_JSON_LINES)
"""Lower-case suffixes of the files that ``read_table`` reads."""


def read_table(source: Path) -> pl.DataFrame:
    """Read a table: Parquet, JSON lines, or CSV or TSV with a header, whose cells are then texts or null.

    Raises:
        CounterGroundError: it cannot be read, has no rows, or see `refuse_patterns`.
    """
    suffix = source.suffix.lower()
    try:
        open_regular(source).close()
        if suffix in TEXT_SUFFIXES:
            frame = _read_text(source)
        elif suffix in _JSON_LINES:
            frame = pl.read_ndjson(source, infer_schema_length=None)
        else:
            frame = read_parquet(source)
    except pl.exceptions.NoDataError as error:
        raise CounterGroundError(f"{source} is empty.") from error
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error_message(error)
        if "truncate_ragged_lines" in str(error):
            reason = "a row has more cells than the header has names"
        elif "CSV malformed" in reason or "as dtype `str`" in reason:
            reason = "a quote is out of place: put the whole cell in quotes, and double those within"
        elif "invalid utf-8" in reason:
            reason = _NOT_UTF_8
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
    with open_regular(source) as file:
        header = file.readline(_LONGEST_HEADER)
    if header.startswith(_COMPRESSED):
        raise CounterGroundError(f"Cannot read the table {source}: it is compressed; unpack it.")
    separator = _separator(source, header)
    frame = pl.read_csv(source, separator=separator, infer_schema=False, glob=False)
    if any("\ufffd" in name for name in frame.columns):  # as Polars writes other bytes in a header
        raise CounterGroundError(f"Cannot read the table {source}: {_NOT_UTF_8}.")
    _refuse_repeated_names(source, frame.columns, header)
    quoted = _refuse_stray_quotes(source, frame, separator)
    refuse_patterns(frame, f"{source}: ")
    if quoted:  # without a quote, no cell has several lines
        _refuse_swallowed(frame, separator)
    return frame.rename(str.strip).with_columns(stripped(pl.all()))


def _refuse_repeated_names(source: Path, names: Sequence[str], header: bytes) -> None:
    """Refuse a header that has a name twice; Polars calls the second ``NAME_duplicated_0``.

    Columns without a name, such as empty ones at the end, may be several.
    """
    written = [
        found[1] if (found := _REPEATED.fullmatch(name)) and found[0].encode() not in header else name
        for name in names
    ]
    counts = Counter(name.strip() for name in written)
    if again := [name for name, count in counts.items() if name and count > 1]:
        raise CounterGroundError(f"{source} has the column {again[0]!r} twice: rename one, or remove it.")


def _refuse_stray_quotes(source: Path, frame: pl.DataFrame, separator: str) -> bool:
    """Refuse a text with a quote out of place unless Python's csv module reads the same cells.

    Polars guesses where such a cell ends: it may leave out rows, or quotes. Returns whether there is a quote.

    Raises:
        CounterGroundError: the two differ; the message names the line.
    """
    with open_regular(source) as file:
        data = file.read()
    if b'"' not in data:
        return False
    sign = re.escape(separator).encode()
    opened = rb'"(?:(?<=\A")|(?<=\A\xef\xbb\xbf")|(?<=[\n%b]"))' % sign
    cell = rb'%b[^"]*+(?:""[^"]*+)*+"(?=[\r\n%b]|\Z)' % (opened, sign)
    cells = re.compile(rb'(?:[^"]*%b){1,1000}' % cell)  # so many at once, as repeats take memory
    place = 0
    while found := cells.match(data, place):
        place = found.end()
    if data.find(b'"', place) < 0:
        return True
    text = io.StringIO(data.decode("utf-8-sig", errors="replace"), newline="")
    lines = csv.reader(text, delimiter=separator)
    read = filter(any, chain([frame.columns], frame.iter_rows()))
    with suppress(csv.Error):  # a cell of more than 128 kB
        for ours, theirs in zip_longest(read, filter(any, lines), fillvalue=()):
            if [cell or "" for cell in ours] != [*theirs, *[""] * (len(ours) - len(theirs))]:
                break
        else:
            return True
    raise CounterGroundError(
        f"{source}: a quote is out of place, in line {lines.line_num:,} or before: close it, or put the "
        "whole cell in quotes and double those within."
    )


def _separator(source: Path, header: bytes) -> str:
    """Return what separates the cells; where commas are decimal marks, spreadsheets write something else."""
    if source.suffix.lower() == ".tsv":
        return "\t"
    return next((sign for sign in (",", ";", "\t") if sign.encode() in header), ",")


def _refuse_swallowed(frame: pl.DataFrame, separator: str) -> None:
    """Refuse a cell that holds whole rows: a quote that is not closed where it should be swallows them.

    Raises:
        CounterGroundError: there is one; the message names the row.
    """

    @cache
    def texts(key: int) -> frozenset[str]:
        return frozenset(frame[:, key].drop_nulls())

    for place, column in enumerate(frame.get_columns()):
        if not column.str.contains("\n", literal=True).any():
            continue
        breaks = column.str.count_matches("\n", literal=True)
        signs = column.str.count_matches(separator, literal=True)
        for row in ((breaks > 0) & (signs == breaks * (frame.width - 1))).arg_true().to_list():
            lines = [line.split(separator) for line in str(column[row]).split("\n")]
            if _are_rows(lines, place, frame.width, texts):
                raise CounterGroundError(
                    f"Row {row + 1}, column {column.name!r}, looks like {len(lines):,} rows in one cell: "
                    "close its quote where it ends, or write the cell in one line."
                )


def _are_rows(
    lines: list[list[str]], place: int, width: int, texts: Callable[[int], Collection[str]]
) -> bool:
    """Return whether the lines of a cell in column number ``place`` are rows, not text.

    They are if they have as many cells as rows have and, outside the column itself, a cell is a photo or each
    line has a value that the same column has elsewhere (one of its ``texts``), such as a class.
    """
    first, *middle, last = lines
    rows = [
        dict(enumerate(first, place)),
        *(dict(enumerate(line)) for line in middle),
        dict(enumerate(last)),
    ]
    if [len(row) for row in rows] != [width - place, *(width for _ in middle), place + 1]:
        return False
    others = [{key: cell.strip() for key, cell in row.items() if key != place} for row in rows]
    cells = [cell for row in others for cell in row.values()]
    return any(_is_photo(cell) for cell in cells) or (
        bool(cells)
        and all(not row or any(cell and cell in texts(key) for key, cell in row.items()) for row in others)
    )


def _is_photo(cell: str) -> bool:
    return "://" in cell or Path(cell).suffix.lower() in IMAGE_SUFFIXES
