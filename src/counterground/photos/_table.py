"""Tables in files, as their rows are written."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path

import polars as pl

from counterground.errors import CounterGroundError, error_message
from counterground.files import open_regular, read_parquet, read_text

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
