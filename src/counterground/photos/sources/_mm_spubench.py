"""The layout of MM-SpuBench (Ye et al. 2024): ``annotation.json``, and ``data/images/000000.jpg`` and so on.

Its files could not be obtained when this was written. The layout is that of its data card; the fields of an
annotation are those that published code for reading them names and shows (``question``, ``choices`` as
``"A. ..."``, ``answer`` as a letter, ``spurious_correlation_type`` as a list).
"""

from __future__ import annotations

import re
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import polars as pl
from pydantic import BaseModel, Field, ValidationError

from counterground.errors import CounterGroundError, first_problem
from counterground.files import read_json
from counterground.photos._benchmark import Benchmark
from counterground.photos._manifest import question_problem
from counterground.photos._photo import IMAGE_SUFFIXES, photo_ids
from counterground.photos.labels import LabelSpace
from counterground.text import counted

_ANNOTATIONS, _IMAGES = "annotation.json", "data/images"
_LETTER = re.compile(r"\(?([A-Z])[).:]\s*(.*)", re.DOTALL)


def is_mm_spubench(folder: Path) -> bool:
    """Return whether a folder has this layout."""
    return (folder / _ANNOTATIONS).is_file() and (folder / _IMAGES).is_dir()


def read_mm_spubench(folder: Path) -> Benchmark:
    """Read this layout: annotation ``i`` is for photo ``i``, the class its first spurious correlation type.

    Raises:
        CounterGroundError: the annotations cannot be read, one is wrong, or photos do not match them.
    """
    rows = _annotations(folder / _ANNOTATIONS)
    photos = sorted(
        path.relative_to(folder).as_posix()
        for path in (folder / _IMAGES).iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES
    )
    numbers = [Path(path).stem for path in photos]
    if numbers != [f"{number:06d}" for number in range(len(rows))]:
        raise CounterGroundError(
            f"{folder}: {_ANNOTATIONS} has {counted(len(rows), 'question')}, so {_IMAGES} must hold exactly "
            f"the photos 000000 to {len(rows) - 1:06d}; it has {len(photos)}."
        )
    found = [_question(f"{folder / _ANNOTATIONS}, question {number}", row) for number, row in enumerate(rows)]
    names = sorted({types[0] for types, *_ in found})
    frame = pl.DataFrame(
        {
            "path": photos,
            "photo_id": photo_ids([folder / path for path in photos]),
            "class_index": pl.Series([names.index(types[0]) for types, *_ in found], dtype=pl.Int32),
            "class_name": [types[0] for types, *_ in found],
            "question": [question for _, question, _, _ in found],
            "options": [options for _, _, options, _ in found],
            "answer": [answer for *_, answer in found],
        }
    )
    space = LabelSpace("benchmark", tuple(names), (None,) * len(names))
    several = sum(len(types) > 1 for types, *_ in found)
    note = (
        f"Classes are types of spurious correlations. {several} of {counted(len(found), 'photo')} list "
        "several types; each counts under the first."
    )
    return Benchmark("MM-SpuBench", folder, frame, space, (note,))


def options_of(choices: list[str]) -> list[str]:
    """Return options without their letters, if each begins with its own: ``"B. snow"``."""
    found = [_LETTER.fullmatch(choice.strip()) for choice in choices]
    letters = [match[1] for match in found if match]
    if letters != list(ascii_uppercase[: len(choices)]):
        return [choice.strip() for choice in choices]
    return [match[2].strip() for match in found if match]


def _annotations(path: Path) -> list[dict[str, Any]]:
    try:
        found = read_json(path)
    except (OSError, ValueError) as error:
        raise CounterGroundError(f"{path} cannot be read: {error}.") from error
    if not isinstance(found, list) or not found or not all(isinstance(row, dict) for row in found):
        raise CounterGroundError(f"{path} must be a list with an object for each question.")
    return found


class _Annotation(BaseModel):
    spurious_correlation_type: str | list[str] = Field(min_length=1)
    question: str
    choices: list[str]
    answer: str


def _question(where: str, row: dict[str, Any]) -> tuple[list[str], str, list[str], str]:
    """Return the types of one annotation, its question, its options and the right one."""
    try:
        found = _Annotation.model_validate(row)
    except ValidationError as error:
        raise CounterGroundError(f"{where}: {first_problem(error)}.") from error
    types, answer = found.spurious_correlation_type, found.answer
    options = options_of(found.choices)
    letters = ascii_uppercase[: len(options)]
    if len(answer.strip()) == 1 and answer.strip() in letters:
        answer = options[letters.index(answer.strip())]
    if problem := question_problem(found.question, [*options], answer):
        raise CounterGroundError(f"{where}: {problem}.")
    return [types] if isinstance(types, str) else types, found.question, options, answer
