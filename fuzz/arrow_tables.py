"""Changes to Arrow tables: to cells, rows, columns, their types and their names."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pyarrow as pa

Change = Callable[[bytes, Random], bytes]
TEXTS = (
    "",
    " ",
    "x",
    "a\0b",
    "../x",
    "/etc/passwd",
    "ox\nhen",
    "\u202e",
    "y" * 3000,
    "NaN",
    "null",
    "http://",
)
_NUMBERS = (-1, 0, 1, 7, 127, 128, 2**31, 2**53 + 1, 2**63 - 1, -(2**63), 2**64 - 1)
_FLOATS = (float("nan"), float("inf"), float("-inf"), -0.0, 1e300, 5e-324, 0.5, -1.0, 101.0)
_TYPES = (
    pa.string(),
    pa.large_string(),
    pa.int8(),
    pa.int64(),
    pa.uint64(),
    pa.float16(),
    pa.float32(),
    pa.float64(),
    pa.bool_(),
    pa.binary(),
    pa.null(),
    pa.date32(),
    pa.timestamp("ns", "UTC"),
    pa.decimal128(38, 10),
    pa.dictionary(pa.int32(), pa.string()),
    pa.list_(pa.int64()),
    pa.struct({"x": pa.int64()}),
)


def unexpected(like: Any, random: Random) -> Any:
    """Return a value of the same type that few expect."""
    if isinstance(like, bool):
        return not like
    if isinstance(like, int):
        return random.choice(_NUMBERS)
    if isinstance(like, float):
        return random.choice(_FLOATS)
    return random.choice((*TEXTS, f"{like}x", str(like)[:-1], str(like).upper()))


def changed_table(table: Any, random: Random, change: Change) -> Any:
    """Return the table with a cell, a row, a column, a type, a name or its metadata changed."""
    names, kind = table.column_names, random.random()
    if not names:
        return table
    at = random.randrange(len(names))
    column = table.column(at)
    if kind < 0.15:
        return table.take(pa.array(_rows(len(table), random), pa.int64()))
    if kind < 0.2:
        return table.remove_column(at)
    if kind < 0.25:
        return table.append_column(random.choice((*TEXTS, names[at], names[at] + "s")), column)
    if kind < 0.3:
        return table.set_column(at, names[at], table.column(random.randrange(len(names))))
    if kind < 0.33:
        names[at] = random.choice((*TEXTS, *names))
        return table.rename_columns(names)
    if kind < 0.36 and (said := table.schema.metadata):
        key = random.choice(list(said))
        return table.replace_schema_metadata(said | {key: change(said[key], random)})
    changed = _cast(column, random) if kind < 0.5 else _cells(column, random, change)
    return table.set_column(at, names[at], changed)


def _rows(count: int, random: Random) -> list[int]:
    rows, kind = list(range(count)), random.random()
    if kind < 0.1 or not rows:
        return []
    if kind < 0.4:
        rows.insert(random.randrange(len(rows)), random.choice(rows))
    elif kind < 0.7:
        rows.pop(random.randrange(len(rows)))
    else:
        random.shuffle(rows)
    return rows


def _cast(column: Any, random: Random) -> Any:
    """Return the column as another type; without values, where that cannot be."""
    kind = random.choice(_TYPES)
    try:
        return column.combine_chunks().cast(kind, safe=False)
    except pa.ArrowException:
        return pa.nulls(len(column), kind)


def _cells(column: Any, random: Random, change: Change) -> Any:
    """Return the column with a cell changed, made null or exchanged with another, or all of them equal."""
    values, kind = column.to_pylist(), random.random()
    if not values:
        return column
    at, other = random.randrange(len(values)), random.randrange(len(values))
    if kind < 0.1:
        values = [values[at]] * len(values)
    elif kind < 0.25:
        values[at], values[other] = values[other], values[at]
    elif kind < 0.35:
        values[at] = None
    else:
        values[at] = _cell(values[at], random, change)
    try:
        return pa.array(values, column.type)
    except (pa.ArrowException, OverflowError, TypeError):  # another type holds it, or none does
        return pa.array(values)


def _cell(value: Any, random: Random, change: Change) -> Any:
    if isinstance(value, bytes):
        return change(value, random)
    if isinstance(value, dict) and value:
        key = random.choice(list(value))
        return value | {key: _cell(value[key], random, change)}
    if isinstance(value, list):
        changed = [_cell(each, random, change) for each in value[:1]]
        return value * 2 if random.random() < 0.3 else changed + value[1:]
    return unexpected(value, random)
