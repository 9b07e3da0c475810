"""Answers of generative models as evaluation tools log them, and lists of a transformers pipeline."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from counterground.errors import CounterGroundError
from counterground.files import read_text
from counterground.predictions._formats import NO_ANSWER, GivenPredictions, PredictionFormat
from counterground.predictions._tables import PHOTO_NAMES

_TEXTS = {"photo": pl.String, "prediction": pl.String}


def _photo_of(record: Mapping[str, Any], otherwise: Any = None) -> Any:
    known = [record[name] for name in (*PHOTO_NAMES, "photo_id", "id") if isinstance(record.get(name), str)]
    return known[0] if known else otherwise


def _table(rows: Iterable[tuple[Any, ...]], **more: Any) -> GivenPredictions:
    frame = pl.DataFrame(list(rows), {**_TEXTS, **more}, orient="row", strict=False)
    return GivenPredictions(frame.with_columns(pl.col("prediction").fill_null(NO_ANSWER)))


def _is_lmms_eval(_path: Path, content: Any) -> bool:
    return isinstance(content, dict) and {"doc_id", "filtered_resps"} <= set(content)


def _lmms_eval(path: Path, _content: Any, _columns: Mapping[str, str]) -> GivenPredictions:
    """Read a file ``*_samples_*.jsonl``; the photo is what ``doc`` says, else the number of the document."""
    samples = [json.loads(line) for line in read_text(path, None).splitlines() if line.strip()]
    rows = (
        (_photo_of(of.get("doc") or {}, str(of["doc_id"])), _first(of["filtered_resps"])) for of in samples
    )
    return _table(rows)


def _first(answer: Any) -> str | None:
    while isinstance(answer, list):
        answer = answer[0] if answer else None
    return None if answer is None else str(answer).strip().rstrip(".") or None


def _is_inspect(path: Path, content: Any) -> bool:
    if path.suffix == ".eval":  # compressed as Python cannot read it before 3.14
        raise CounterGroundError(f"Write {path} as JSON: inspect log dump {path.name} > log.json")
    return isinstance(content, dict) and {"eval", "samples"} <= set(content)


def _inspect(_path: Path, content: Any, _columns: Mapping[str, str]) -> GivenPredictions:
    """Read a log of Inspect: the answer that a scorer took, or the completion; a letter is an option."""
    model, samples = content["eval"]["model"], content["samples"]
    rows = ((_photo_of(of.get("metadata") or {}, str(of["id"])), _answer(of), model) for of in samples)
    return _table(rows, model=pl.String)


def _answer(sample: Mapping[str, Any]) -> str | None:
    answers = [score.get("answer") for score in (sample.get("scores") or {}).values()]
    answer = _first([*filter(None, answers), (sample.get("output") or {}).get("completion")])
    options = sample.get("choices") or ()
    letter = ord(answer) - ord("A") if answer and len(answer) == 1 else -1
    return options[letter] if 0 <= letter < len(options) else answer


def _pipeline_entries(content: Any) -> Iterator[tuple[Any, list[dict[str, Any]]]]:
    """Yield photos and their lists of ``label`` and ``score``."""
    if isinstance(content, dict):
        yield from content.items()
        return
    for record in content:
        yield _photo_of(record), next((value for value in record.values() if isinstance(value, list)), [])


def _is_pipeline(_path: Path, content: Any) -> bool:
    try:
        first = next(_pipeline_entries(content))[1][0]
    except (StopIteration, TypeError, IndexError, KeyError, AttributeError):
        return False
    return isinstance(first, dict) and {"label", "score"} <= set(first)


def _pipeline(_path: Path, content: Any, _columns: Mapping[str, str]) -> GivenPredictions:
    """Read ``{photo: [{"label": ..., "score": ...}, ...]}``, or a list of records that hold such lists."""
    rows = []
    for photo, labels in _pipeline_entries(content):
        best = sorted(labels, key=lambda each: -each["score"])
        rows.append((photo, best[0]["label"], best[0]["score"], [each["label"] for each in best]))
    return _table(rows, confidence=pl.Float64, candidates=pl.List(pl.String))


LMMS_EVAL = PredictionFormat("lmms-eval", _is_lmms_eval, _lmms_eval)
INSPECT = PredictionFormat("Inspect", _is_inspect, _inspect)
PIPELINE = PredictionFormat("pipeline", _is_pipeline, _pipeline)
