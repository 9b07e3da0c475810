"""Files of predictions: each format recognises its own by their content, and reads them into one table."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from counterground.errors import CounterGroundError, UsageError, error_message
from counterground.files import is_file, open_regular, read_json
from counterground.plugins import Registry

NO_ANSWER = "(no answer)"
"""What a format writes where a model named nothing: it counts as wrong."""
_FIRST = 2**20  # bytes of JSON lines in which the first object must end


@dataclass(frozen=True)
class GivenPredictions:
    """Predictions as a file has them.

    Attributes:
        rows: a row for each photo and model: ``photo`` (a path, the end of one, or a ``photo_id``) and
            ``prediction`` (a name, or an index into the candidate labels), texts. Optional: ``confidence``, a
            probability; ``model``; ``candidates``, a list of names, the best first; ``names``, ``prompts``,
            ``protocol``, ``answer_score``, ``true_rank`` and ``top2_gap`` as in ``predictions.parquet``.
        ways: other names of a prediction, the first that is a candidate label counts; none: it is wrong.
    """

    rows: pl.DataFrame
    ways: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {NO_ANSWER: ()})


@dataclass(frozen=True)
class PredictionFormat:
    """A format of predictions; other packages add theirs by entry points ``counterground.predictions``.

    Attributes:
        name: what messages and ``run.json`` call it.
        recognises: (file, content) -> whether it is in this format; the content is what a ``.json`` file
            holds, the first object of JSON lines, else None.
        read: (file, content, columns) -> its predictions; ``columns`` says what a table calls ``photo``,
            ``prediction``, ``confidence`` and ``model``, where that was said.
    """

    name: str
    recognises: Callable[[Path, Any], bool]
    read: Callable[[Path, Any, Mapping[str, str]], GivenPredictions]


def read_predictions(
    path: Path, columns: Mapping[str, str], formats: Registry[PredictionFormat]
) -> tuple[GivenPredictions, str]:
    """Read a file of predictions in the first format that recognises it; return them and its name.

    Raises:
        UsageError: there is no such file, or a column that was named is not there.
        CounterGroundError: no format recognises it, or it is damaged.
    """
    if not is_file(path):
        raise UsageError(f"There is no file of predictions {str(path)!r}.")
    try:
        content = _content(path)
        for name in sorted(formats.names(), key=formats.built_in.__contains__):  # those of packages first
            form = formats.find(name)
            if form is not None and form.recognises(path, content):
                return form.read(path, content, columns), name
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pl.exceptions.PolarsError) as error:
        raise CounterGroundError(f"Cannot read the predictions {path}: {error_message(error)}.") from error
    raise CounterGroundError(f"{path} is in no known format of predictions: {', '.join(formats.names())}.")


def _content(path: Path) -> Any:
    suffix = path.suffix.lower()
    if suffix == ".json":
        return read_json(path, most=None)
    if suffix not in (".jsonl", ".ndjson"):
        return None
    with open_regular(path) as file:
        return json.loads(file.readline(_FIRST) or "null")
