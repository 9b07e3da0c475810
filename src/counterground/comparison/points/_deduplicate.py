"""Results that several runs share, kept once."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

import polars as pl

from counterground.metrics import in_setting
from counterground.results import Run

_ANSWERS = ("path", "photo_id", "class_index", "group", "cluster", "predicted_index", "correct")
_Result = tuple[Run, dict[str, Any]]


def deduplicate_results(rows: Sequence[_Result]) -> list[_Result]:
    """Make one row of those that are one result, in order of the first; its ``source`` names all runs.

    One result are rows of equal weights (specification and fingerprint) on the same version of a benchmark,
    against the same names, with the same answer to every photo; and under the same names and prompts, but for
    classifiers, which read neither.
    """
    keys: list[Hashable] = [_asked(run, row) or place for place, (run, row) in enumerate(rows)]
    times = Counter(keys)
    merged: dict[Any, _Result] = {}
    for key, (run, row) in zip(keys, rows, strict=True):
        whole = key, _answers(run, row) if times[key] > 1 else ""
        if whole not in merged:
            merged[whole] = run, row
            continue
        holding, first = merged[whole]
        merged[whole] = holding, {**first, "source": f"{first['source']}, {row['source']}"}
    return list(merged.values())


def predictions_of(run: Run, row: dict[str, Any]) -> pl.DataFrame:
    """Return the predictions behind a row, by path."""
    return run.predictions.filter(in_setting(row)).sort("path")


def fingerprint(frame: pl.DataFrame) -> str:
    """Return a hash of rows, which holds within this process."""
    return hashlib.sha256(frame.hash_rows().to_numpy().tobytes()).hexdigest()


def _asked(run: Run, row: dict[str, Any]) -> tuple[Any, ...] | None:
    record = next((record for record in run.info.models if record.spec == row["model"]), None)
    if record is None:
        return None
    reads = () if record.kind == "classifier" else (row["names"], row["prompts"])
    space = run.info.label_space
    places = (run.info.benchmark.version, space.name, space.version, row["label_space"])
    return (
        record.spec,
        record.fingerprint,
        *places,
        *(row[name] for name in ("protocol", "as_published", "answer_score")),
        reads,
    )


def _answers(run: Run, row: dict[str, Any]) -> str:
    return fingerprint(predictions_of(run, row).select(_ANSWERS))
