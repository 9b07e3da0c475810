"""Questions with answer options of their own, one for each photo: three more columns of a manifest."""

from __future__ import annotations

from typing import Any

import polars as pl

from counterground.errors import CounterGroundError
from counterground.files import parse_json

QUESTION_SCHEMA: dict[str, pl.DataType] = {
    "question": pl.String(),
    "options": pl.List(pl.String()),  # 2 to 26 texts
    "answer": pl.String(),  # the text of the right option
}
"""Columns of a manifest whose photos have questions; all three are present, or none."""
MAX_OPTIONS = 26  # as many as there are letters


def check_questions(photos: pl.DataFrame) -> None:
    """Check the columns of ``QUESTION_SCHEMA``, which must be present.

    Raises:
        CounterGroundError: the first photo with an empty question, with fewer than 2 or more than 26 options,
            an empty or repeated option, or an answer that is not one of them.
    """
    for row in photos.select("path", *QUESTION_SCHEMA).iter_rows(named=True):
        if problem := question_problem(row["question"], row["options"], row["answer"]):
            raise CounterGroundError(f"Photo {row['path']!r}: {problem}.")


def question_problem(question: Any, options: Any, answer: Any) -> str:
    """Return what is wrong with a question, empty if nothing is."""
    return _kind_problem(question, options, answer) or _text_problem(question, options, answer)


def _text_problem(question: str | None, options: list[str | None] | None, answer: str | None) -> str:
    if not (question or "").strip():
        return "its question is empty"
    count = len(options or ())
    if not options or not 2 <= count <= MAX_OPTIONS:
        return f"its question has {count} option{'s' * (count != 1)}; there must be 2 to {MAX_OPTIONS}"
    texts = [(option or "").strip() for option in options]
    if not all(texts):
        return f"option {texts.index('') + 1} of its question is empty"
    if twice := next((text for text in texts if texts.count(text) > 1), None):
        return f"its question has the option {twice!r} twice"
    if answer not in options:
        listed = ", ".join(map(repr, options))
        return f"its answer {answer!r} is not one of its options ({listed}); write the text of the right one"
    return ""


def _kind_problem(question: Any, options: Any, answer: Any) -> str:
    for name, value in (("question", question), ("answer", answer)):
        if not isinstance(value, str | None):
            return f"its {name} is not a text, but {value!r}"
    if options is not None and not (isinstance(options, list) and _are_texts(options)):
        return f"its options are not a list of texts, but {options!r}"
    return ""


def _are_texts(values: list[Any]) -> bool:
    return all(isinstance(value, str | None) for value in values)


def read_options(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a table with its column ``options`` as lists; texts, as CSV has them, are read as JSON.

    Raises:
        CounterGroundError: a column of ``QUESTION_SCHEMA`` is missing, or a cell is not a list of texts.
    """
    if missing := [name for name in QUESTION_SCHEMA if name not in frame.columns]:
        raise CounterGroundError(f"The manifest has a column 'options', but no column {missing[0]!r}.")
    if frame.schema["options"] != pl.String:
        return frame
    lists = [_list_of(cell, row) for row, cell in enumerate(frame["options"], 1)]
    return frame.with_columns(options=pl.Series(lists, dtype=pl.List(pl.String)))


def _list_of(cell: str | None, row: int) -> list[str]:
    try:
        found: Any = parse_json(cell or "")
    except ValueError:
        found = None
    if not isinstance(found, list) or None in found or not _are_texts(found):
        raise CounterGroundError(
            f'Row {row} of the manifest: options must be a list of texts in JSON, as in ["sand", "snow"], '
            f"not {cell!r}."
        )
    return found
