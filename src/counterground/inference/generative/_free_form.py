"""Generated answers: what to ask, and the class that is read from each of them."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from counterground.files import cache_dir
from counterground.inference._predict import prediction_table
from counterground.inference.encoding import PhotoSources, require_readable
from counterground.inference.generative._generation import (
    MAX_NEW_TOKENS,
    Answer,
    GenerativeOutput,
    count_missing,
    generate_all,
)
from counterground.inference.request import PromptSpec, Request
from counterground.inference.store import ReadStatus
from counterground.models import without_thoughts

if TYPE_CHECKING:
    from counterground.models import Generative


RULE = (
    "Answers, names and aliases are split into words: lower case, without accents and punctuation; each "
    "character of a script without spaces (Chinese, Japanese, Korean, Thai, ...) is a word; a name with "
    "commas counts as several. What a model writes between <think> and </think> is no part of its answer. A "
    "class is named where all words of one of its names occur in a row, the last one also in the plural (-s, "
    "-es). The first name in the answer wins, the longer of two that begin at the same word, the lower index "
    "of two with the same text. An answer that names no class is unmatched: it counts as wrong and is "
    "reported separately."
)
# Includes the selectors that turn a character, such as a tick, into an emoji.
_ACCENTS = re.compile("[\u0300-\u036f\u20d0-\u20ff\ufe00-\ufe0f]")
_APOSTROPHES = re.compile("[\u02b0-\u02ff]")  # as in Hawaiian; Unicode counts them as letters
# Scripts in which a text has no spaces, or in which particles follow a noun without one (Korean).
_SPACELESS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3"
    "\uf900-\ufaff\U00020000-\U0003ffff]"
)
_LIGATURES = str.maketrans({"æ": "ae", "œ": "oe", "ß": "ss", "ø": "o", "ł": "l", "đ": "d", "™": " "})


@dataclass(frozen=True)
class Match:
    """The class an answer names, None for none, and whether it names other classes after it."""

    index: int | None
    several: bool


class Matcher:
    """Finds classes in answers; ``surface_forms`` are the ways each class is written."""

    def __init__(self, surface_forms: Sequence[Sequence[str]]) -> None:
        self._names: dict[tuple[str, ...], list[int]] = {}
        for index, forms in enumerate(surface_forms):
            for name in forms:
                for part in [name, *name.split(",")]:
                    words = split_words(part)
                    if words and index not in self._names.setdefault(words, []):
                        self._names[words].append(index)
        self._longest = max((len(words) for words in self._names), default=0)

    def match(self, answer: str, candidates: set[int]) -> Match:
        """Return the class among the candidates that an answer names."""
        words = split_words(without_thoughts(answer))
        found: list[int] = []
        at = 0
        while at < len(words):
            length, index = self._at(words, at, candidates)
            if index is not None:
                found.append(index)
            at += max(length, 1)
        return Match(found[0] if found else None, len(set(found)) > 1)

    def _at(self, words: Sequence[str], at: int, candidates: set[int]) -> tuple[int, int | None]:
        for length in range(min(self._longest, len(words) - at), 0, -1):
            *first, last = words[at : at + length]
            for ending in _singular(last):
                named = [index for index in self._names.get((*first, ending), ()) if index in candidates]
                if named:
                    return length, min(named)
        return 0, None


def says_yes(answer: str) -> bool | None:
    """Return whether the first word of an answer is yes or no; None for any other."""
    first = next(iter(split_words(without_thoughts(answer))), "")
    return {"yes": True, "no": False}.get(first)


def split_words(text: str) -> tuple[str, ...]:
    """Return the words of a text in lower case, without accents and punctuation."""
    apart = unicodedata.normalize("NFKD", text.lower().translate(_LIGATURES))
    # Composed again, since NFKD also splits Korean syllables.
    plain = unicodedata.normalize("NFC", _APOSTROPHES.sub(" ", _ACCENTS.sub("", apart)))
    kept = "".join(letter if unicodedata.category(letter)[0] in "LNM" else " " for letter in plain)
    return tuple(_SPACELESS.sub(r" \g<0> ", kept).split())


def _singular(word: str) -> list[str]:
    return [word, *(word.removesuffix(end) for end in ("s", "es") if word.endswith(end) and word != end)]


Answers = Mapping[tuple[str, str], Answer]
"""Answers by the content of the photo and the question."""


def generate_and_read(
    request: Request, model: Generative, prompts: Sequence[PromptSpec], asked: list[dict[str, Any]]
) -> GenerativeOutput:
    """Ask about every photo, and read the answers: the class they name, or yes and no.

    Args:
        request: the evaluation.
        model: the model to ask.
        prompts: its prompts, all of one protocol.
        asked: JSON-ready account of the prompts.

    Raises:
        CounterGroundError: the model fails, or no photo can be read.
    """
    photos = request.benchmark.photos
    answers, read = generate_answers(request, model, questions_about(request, prompts))
    readable = photos[np.flatnonzero(read.readable).tolist()]
    interpret = _read_names if prompts[0].protocol == "free-form" else _read_yes_or_no
    tables, texts, several = [], [], 0
    for prompt in prompts:
        results, named, ambiguous = interpret(request, prompt, readable, answers)
        labels = request.answer_labels(model.display_name, prompt)
        tables.append(prediction_table(readable, results, request.candidates, labels))
        texts.append(named.with_columns(model=pl.lit(model.display_name), prompts=pl.lit(prompt.label)))
        several += ambiguous
    predictions, written = pl.concat(tables), pl.concat(texts)
    unclear = (
        0 if prompts[0].protocol == "free-form" else sum(says_yes(text) is None for text in written["answer"])
    )
    unmatched = predictions["predicted_index"].null_count()
    return GenerativeOutput(predictions, read, asked, written, unmatched, several, unclear)


def generate_answers(
    request: Request, model: Generative, questions: Mapping[str, list[str]]
) -> tuple[Answers, ReadStatus]:
    """Return the answers to these questions by photo and question, and which photos were read.

    Raises:
        CounterGroundError: the model fails, or no photo can be read.
    """
    photos = request.benchmark.photos
    answers, reasons = generate_all(
        model,
        PhotoSources(request.benchmark, photos),
        questions,
        _answers_file(model),
        total=photos.height,
        show_progress=request.settings.show_progress,
    )
    read = _read_status(photos, questions, answers, reasons)
    require_readable(read)
    return answers, read


def count_calls(model: Generative, questions: Mapping[str, list[str]]) -> tuple[int, int]:
    """Return how many answers to these questions are still to be generated, and how many are stored."""
    total = sum(len(asked) for asked in questions.values())
    missing = count_missing(_answers_file(model), questions)
    return missing, total - missing


def _read_names(
    request: Request, prompt: PromptSpec, photos: pl.DataFrame, answers: Answers
) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """Let the first name in an answer win; see ``RULE``."""
    question, _ = prompt.about("")
    matcher, candidates = Matcher(request.recognised_forms()), request.candidates
    allowed = {index: set(candidates.indices(index).tolist()) for index in photos["class_index"].unique()}
    texts = [answers[photo, question].text for photo in photos["photo_id"]]
    matches = [
        matcher.match(text, allowed[index]) for text, index in zip(texts, photos["class_index"], strict=True)
    ]
    predicted = [match.index for match in matches]
    true = [candidates.true_index[index] for index in photos["class_index"]]
    correct = [index is not None and index == own for index, own in zip(predicted, true, strict=True)]
    names = [None if index is None else candidates.space.names[index] for index in predicted]
    named = photos.select("path").with_columns(
        question=pl.lit(question), answer=pl.Series(texts), named=pl.Series(names, dtype=pl.String)
    )
    return _results(predicted, correct, None, None), named, sum(match.several for match in matches)


def _read_yes_or_no(
    request: Request, prompt: PromptSpec, photos: pl.DataFrame, answers: Answers
) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """Let the name that gets a yes win, the lowest index of several; a photo without a yes is unmatched."""
    candidates, forms = request.candidates, request.surface_forms()
    predicted: list[int | None] = []
    correct, ranks, gaps, rows, several = [], [], [], [], 0
    for path, photo, index in photos.select("path", "photo_id", "class_index").iter_rows():
        yes = []
        for name in candidates.indices(index).tolist():
            questions = dict.fromkeys(prompt.about(text)[0] for text in forms[name])
            texts = [answers[photo, question].text for question in questions]
            rows += [
                (path, *pair, candidates.space.names[name]) for pair in zip(questions, texts, strict=True)
            ]
            if any(says_yes(text) for text in texts):
                yes.append(name)
        own = candidates.true_index[index]
        predicted.append(min(yes) if yes else None)
        correct.append(bool(yes) and min(yes) == own)
        ranks.append(sum(name < own for name in yes) if own in yes else None)
        gaps.append(None if not yes else float(len(yes) == 1))
        several += len(yes) > 1
    columns = {"path": pl.String, "question": pl.String, "answer": pl.String, "named": pl.String}
    named = pl.DataFrame(rows, schema=columns, orient="row").with_columns(
        named=pl.when(pl.col("answer").map_elements(says_yes, return_dtype=pl.Boolean)).then("named")
    )
    return _results(predicted, correct, ranks, gaps), named, several


def _results(
    predicted: list[int | None], correct: list[bool], ranks: list[int | None] | None, gaps: list[Any] | None
) -> pl.DataFrame:
    unknown = [None] * len(predicted)
    return pl.DataFrame(
        {
            "predicted_index": pl.Series(predicted, dtype=pl.Int32),
            "correct": pl.Series(correct, dtype=pl.Boolean),
            "true_rank": pl.Series(ranks or unknown, dtype=pl.Int32),
            "confidence": pl.Series(unknown, dtype=pl.Float32),
            "top2_gap": pl.Series(gaps or unknown, dtype=pl.Float32),
        }
    )


def questions_about(request: Request, prompts: Sequence[PromptSpec]) -> dict[str, list[str]]:
    """Return the questions to ask about each photo, by content."""
    forms, photos = request.surface_forms(), request.benchmark.photos
    about_class: dict[int, list[str]] = {}
    for index in photos["class_index"].unique().to_list():
        names = request.candidate_indices(index) if "{}" in prompts[0].question else ()
        texts = [text for name in names for text in forms[name]] or [""]
        about_class[index] = list(
            dict.fromkeys(prompt.about(text)[0] for prompt in prompts for text in texts)
        )
    questions: dict[str, list[str]] = {}
    for photo, index in photos.select("photo_id", "class_index").iter_rows():
        questions[photo] = list(dict.fromkeys([*questions.get(photo, ()), *about_class[index]]))
    return questions


def _read_status(
    photos: pl.DataFrame, questions: Mapping[str, list[str]], answers: Answers, failed: Mapping[str, str]
) -> ReadStatus:
    """Return which photos were read; the first answer about each says if it was converted to RGB."""
    contents = photos["photo_id"].to_list()
    first = [answers.get((photo, questions[photo][0])) for photo in contents]
    reasons = {row: failed[photo] for row, photo in enumerate(contents) if photo in failed}
    readable = np.array([row not in reasons for row in range(len(contents))])
    converted = np.array([answer is not None and answer.converted for answer in first])
    return ReadStatus(readable, converted, reasons)


def _answers_file(model: Generative) -> Path:
    key = f"{model.fingerprint}\n{model.device}\n{model.convert_rgb_first}\n{MAX_NEW_TOKENS}"
    return cache_dir() / "answers" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.sqlite"
