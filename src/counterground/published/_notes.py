"""The places where the paper contradicts itself, tied to the rows they concern."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import TypedDict

import polars as pl


class _Rows(TypedDict):
    table: str
    where: dict[str, list[str | int]]


class _Note(TypedDict):
    number: int
    text: str
    rows: list[_Rows]


def notes(name: str | None = None) -> pl.DataFrame:
    """Return the contradictions: ``number`` (1 to 13), ``table`` (null: the paper as a whole), ``text``.

    One contradiction can have several texts, each for its own rows; ``load_table`` shows which apply.

    Args:
        name: only the notes on this table; all by default.
    """
    records: list[dict[str, str | int | None]] = []
    for note in _read():
        tables: list[str | None] = [*sorted({rows["table"] for rows in note["rows"]})] or [None]
        records += [{"number": note["number"], "table": table, "text": note["text"]} for table in tables]
    frame = pl.DataFrame(records, schema={"number": pl.Int64, "table": pl.String, "text": pl.String})
    return frame if name is None else frame.filter(pl.col("table") == name)


def attach_notes(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    """Add the nullable column ``note`` to a table."""
    found = []
    for note in _read():
        selectors = [_selector(rows["where"]) for rows in note["rows"] if rows["table"] == name]
        if selectors:
            text = f"[{note['number']}] {note['text']}"
            found.append(pl.when(pl.any_horizontal(selectors)).then(pl.lit(text)))
    if not found:
        return frame.with_columns(note=pl.lit(None, dtype=pl.String))
    joined = pl.concat_str(found, separator=" ", ignore_nulls=True)
    return frame.with_columns(note=pl.when(joined != "").then(joined))


def _selector(where: dict[str, list[str | int]]) -> pl.Expr:
    return pl.all_horizontal(pl.col(column).is_in(values) for column, values in where.items())


@cache
def _read() -> list[_Note]:
    text = resources.files(__package__).joinpath("data", "notes.json").read_text(encoding="utf-8")
    found: list[_Note] = json.loads(text)
    return found
