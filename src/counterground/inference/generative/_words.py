"""Answers in a model's own words: what to ask, and the class that is read from them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from counterground.files import cache_dir
from counterground.inference._encode import Features, require_readable
from counterground.inference._predict import table_of
from counterground.inference._progress import photo_progress
from counterground.inference._request import Request
from counterground.inference.generative._answers import Answer, Interview, interview, missing_answers
from counterground.inference.generative._matching import Matcher, says_yes
from counterground.inference.generative._protocol import MAX_NEW_TOKENS, Asking

if TYPE_CHECKING:
    from counterground.models import Generative


@dataclass(frozen=True)
class Words:
    """Predictions, which photos were read, what was said, and how often it named several classes."""

    predictions: pl.DataFrame
    features: Features
    answers: pl.DataFrame
    several: int


def read_words(request: Request, model: Generative, ways: Sequence[Asking]) -> Words:
    """Ask about every photo, and read the answers: the class they name, or yes and no.

    Raises:
        CounterGroundError: the model fails, or not one photo can be read.
    """
    photos, benchmark = request.benchmark.photos, request.benchmark
    wanted = _wanted(request, ways)
    paths: dict[str, Path] = {}
    for photo, path in zip(photos["photo_id"], photos["path"], strict=True):
        paths.setdefault(photo, benchmark.photo_path(path))
    with photo_progress(model.spec, len(paths), shown=request.settings.show_progress) as advance:
        given = interview(model, paths, wanted, _answers_file(model), advance)
    features = _reading(photos, wanted, given)
    require_readable(features)
    rows = np.flatnonzero(features.readable).tolist()
    read = _words_as_names if ways[0].protocol == "free-form" else _words_as_yes
    tables, spoken, several = [], [], 0
    for asking in ways:
        table, said_so, more = read(request, asking, photos[rows], given)
        tables.append(
            table_of(photos[rows], table, request.contest, request.answer_labels(model.spec, asking))
        )
        spoken.append(said_so.with_columns(model=pl.lit(model.spec), prompts=pl.lit(asking.label)))
        several += more
    return Words(pl.concat(tables), features, pl.concat(spoken), several)


def calls_to_make(request: Request, model: Generative, ways: Sequence[Asking]) -> tuple[int, int]:
    """Return how many answers are still to be asked for, and how many are kept."""
    wanted = _wanted(request, ways)
    total = sum(len(questions) for questions in wanted.values())
    missing = missing_answers(_answers_file(model), wanted)
    return missing, total - missing


def _words_as_names(
    request: Request, asking: Asking, photos: pl.DataFrame, given: Interview
) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    question, _ = asking.about("")
    matcher, contest = Matcher(request.writings()), request.contest
    competing = {index: set(contest.candidates(index).tolist()) for index in photos["class_index"].unique()}
    texts = [given.answers[photo, question].text for photo in photos["photo_id"]]
    found = [
        matcher.match(text, competing[index])
        for text, index in zip(texts, photos["class_index"], strict=True)
    ]
    predicted = [match.index for match in found]
    true = [contest.true_index[index] for index in photos["class_index"]]
    right = [index is not None and index == own for index, own in zip(predicted, true, strict=True)]
    spoken = photos.select("path").with_columns(question=pl.lit(question), answer=pl.Series(texts))
    table = _table(predicted, right, None, None)
    return table, _named(spoken, predicted, contest.space.names), sum(match.several for match in found)


def _words_as_yes(
    request: Request, asking: Asking, photos: pl.DataFrame, given: Interview
) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """Let the names that get a yes win, the lower index of several; a photo without one is unmatched."""
    contest, written = request.contest, request.writings()
    predicted: list[int | None] = []
    right, ranks, gaps, spoken, several = [], [], [], [], 0
    for path, photo, index in photos.select("path", "photo_id", "class_index").iter_rows():
        names = contest.candidates(index).tolist()
        yes = []
        for name in names:
            questions = dict.fromkeys(asking.about(text)[0] for text in written[name])
            texts = [given.answers[photo, question].text for question in questions]
            spoken += [
                (path, *pair, contest.space.names[name]) for pair in zip(questions, texts, strict=True)
            ]
            if any(says_yes(text) for text in texts):
                yes.append(name)
        own = contest.true_index[index]
        predicted.append(min(yes) if yes else None)
        right.append(bool(yes) and min(yes) == own)
        ranks.append(sum(name < own for name in yes) if own in yes else None)
        gaps.append(None if not yes else float(len(yes) == 1))
        several += len(yes) > 1
    columns = {"path": pl.String, "question": pl.String, "answer": pl.String, "named": pl.String}
    said_so = pl.DataFrame(spoken, schema=columns, orient="row").with_columns(
        named=pl.when(pl.col("answer").map_elements(says_yes, return_dtype=pl.Boolean)).then("named")
    )
    return _table(predicted, right, ranks, gaps), said_so, several


def _table(
    predicted: list[int | None], right: list[bool], ranks: list[int | None] | None, gaps: list[Any] | None
) -> pl.DataFrame:
    nothing = [None] * len(predicted)
    return pl.DataFrame(
        {
            "predicted_index": pl.Series(predicted, dtype=pl.Int32),
            "correct": pl.Series(right, dtype=pl.Boolean),
            "true_rank": pl.Series(ranks or nothing, dtype=pl.Int32),
            "confidence": pl.Series(nothing, dtype=pl.Float32),
            "top2_gap": pl.Series(gaps or nothing, dtype=pl.Float32),
        }
    )


def _named(spoken: pl.DataFrame, predicted: list[int | None], names: Sequence[str]) -> pl.DataFrame:
    named = [None if index is None else names[index] for index in predicted]
    return spoken.with_columns(named=pl.Series(named, dtype=pl.String))


def _wanted(request: Request, ways: Sequence[Asking]) -> dict[str, list[str]]:
    """Return the questions to ask about each content."""
    written, photos = request.writings(), request.benchmark.photos
    about_class: dict[int, list[str]] = {}
    for index in photos["class_index"].unique().to_list():
        names = request.names_for(index) if "{}" in ways[0].question else ()
        texts = [text for name in names for text in written[name]] or [""]
        about_class[index] = list(dict.fromkeys(way.about(text)[0] for way in ways for text in texts))
    wanted: dict[str, list[str]] = {}
    for photo, index in photos.select("photo_id", "class_index").iter_rows():
        wanted[photo] = list(dict.fromkeys([*wanted.get(photo, ()), *about_class[index]]))
    return wanted


def _reading(photos: pl.DataFrame, wanted: dict[str, list[str]], given: Interview) -> Features:
    contents = photos["photo_id"].to_list()
    first: list[Answer | None] = [given.answers.get((photo, wanted[photo][0])) for photo in contents]
    reasons = {row: given.reasons[photo] for row, photo in enumerate(contents) if photo in given.reasons}
    readable = np.array([row not in reasons for row in range(len(contents))])
    converted = np.array([answer is not None and answer.converted for answer in first])
    return Features(np.zeros((len(contents), 0), dtype=np.float32), readable, converted, reasons)


def _answers_file(model: Generative) -> Path:
    how = f"{model.fingerprint}\n{model.device}\n{model.convert_rgb_first}\n{MAX_NEW_TOKENS}"
    return cache_dir() / "answers" / f"{hashlib.sha256(how.encode()).hexdigest()[:32]}.sqlite"
