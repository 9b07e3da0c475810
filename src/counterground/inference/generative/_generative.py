"""Generative models on a benchmark: losses of candidate answers, or answers in their own words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from counterground.errors import UsageError
from counterground.inference._encode import Features
from counterground.inference._request import Request
from counterground.inference.generative._answer_losses import score_answers
from counterground.inference.generative._matching import RULE
from counterground.inference.generative._protocol import MAX_NEW_TOKENS, Asking, ways_of_asking
from counterground.inference.generative._words import read_words

if TYPE_CHECKING:
    from counterground.models import Generative


MOST_NAMES = 100


@dataclass(frozen=True)
class Spoken:
    """What a generative model gave: predictions, which photos were read, and what it said.

    ``asked`` is a JSON-ready account of the questions; ``unmatched`` counts answers that name no competing
    class and ``several`` those that name more than one, where answers are words.
    """

    predictions: pl.DataFrame
    features: Features
    asked: list[dict[str, Any]]
    answers: pl.DataFrame | None = None
    unmatched: int | None = None
    several: int = 0


def check_askable(request: Request, model: Generative) -> list[Asking]:
    """Return how a model will be asked, before any photo is read.

    Raises:
        UsageError: it cannot be asked under this protocol, or too many names compete.
    """
    settings = request.settings
    ways = ways_of_asking(model, settings.protocol, settings.article)
    if ways[0].protocol != "free-form":
        check_number_of_names(request, model.spec)
    return ways


def check_number_of_names(request: Request, spec: str) -> None:
    """Refuse to score more than `MOST_NAMES` answers for each photo; ``free-form`` scores none.

    Raises:
        UsageError: more names compete.
    """
    if request.settings.protocol == "free-form":
        return
    classes = request.benchmark.photos["class_index"].unique().to_list()
    most = max(len(request.names_for(index)) for index in classes)
    if most > MOST_NAMES:
        raise UsageError(
            f"{spec} scores an answer for every name that competes, and {most:,} do for each photo. "
            "Use --label-space confusable --referee MODEL, which leaves 20."
        )


def evaluate_generative(request: Request, model: Generative) -> Spoken:
    """Ask a generative model about every photo.

    Raises:
        UsageError: see `check_askable`.
        CounterGroundError: the model fails, or not one photo can be read.
    """
    ways = check_askable(request, model)
    asked = [_account(request, model, asking) for asking in ways]
    if ways[0].answer is None:
        words = read_words(request, model, ways)
        unmatched = words.predictions["predicted_index"].null_count()
        return Spoken(words.predictions, words.features, asked, words.answers, unmatched, words.several)
    scored = [score_answers(request, model, asking) for asking in ways]
    return Spoken(pl.concat([table for table, _ in scored]), scored[0][1], asked)


def _account(request: Request, model: Generative, asking: Asking) -> dict[str, Any]:
    """Say how a model was asked, with one question written out as the model got it."""
    example, answer = asking.about(request.contest.texts[0])
    account: dict[str, Any] = {
        "protocol": asking.protocol,
        "question": asking.question,
        "example": model.prompt(example, answer if asking.answer else None),
    }
    if asking.answer is None:
        rule = RULE if asking.protocol == "free-form" else "The first word of the answer is yes or no."
        return {**account, "max_new_tokens": MAX_NEW_TOKENS, "rule": rule}
    return {**account, "answer": asking.answer, "lowest": f"{request.settings.loss} of token losses"}
