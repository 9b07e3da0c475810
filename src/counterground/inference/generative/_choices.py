"""The options of each photo: all candidates, or a few to choose from, shown in every rotation."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

import polars as pl

from counterground.errors import UsageError
from counterground.inference._predict import prediction_table
from counterground.inference.request import MAIN_OBJECT, Request
from counterground.models import without_thoughts

INSTRUCTION = "Answer with the option's letter from the given choices directly."
_ANSWER = re.compile(r"(?:\(([A-Za-z])\)|([A-Za-z])\)?)[.:]?(?:\s+(.*))?", re.DOTALL)


@dataclass(frozen=True)
class Choice:
    """A question about a photo.

    Attributes:
        question: the question, without its options.
        texts: the options, in the order that is rotated.
        indices: index of each option in the candidate labels.
        true: position of the right option in ``texts``, -1 if it is none of them.
    """

    question: str
    texts: tuple[str, ...]
    indices: tuple[int, ...]
    true: int

    def __len__(self) -> int:
        return len(self.texts)

    def shown(self, order: int) -> list[str]:
        """Return the options in one of ``k`` orders: position ``p`` shows option ``(p + order) % k``."""
        return [*self.texts[order:], *self.texts[:order]]

    def prompts(self) -> list[str]:
        """Return the question with its options in each of their orders, each option after its letter."""
        shown = [zip(ascii_uppercase, self.shown(order), strict=False) for order in range(len(self))]
        lines = [[f"{letter}. {text}" for letter, text in each] for each in shown]
        return ["\n".join([self.question, *each, INSTRUCTION]) for each in lines]

    def letters(self) -> list[tuple[str, str]]:
        """Return prompts and letters: those of the first order, then those of the next."""
        return [(prompt, letter) for prompt in self.prompts() for letter in ascii_uppercase[: len(self)]]

    def answers(self) -> list[tuple[str, str]]:
        """Return the question and each option's text."""
        return [(self.question, text) for text in self.texts]

    def read(self, answer: str, order: int) -> int | None:
        """Return the position in ``texts`` of the option that an answer names by its letter."""
        found = _ANSWER.fullmatch(without_thoughts(answer).strip())
        if not found:
            return None
        shown, place = self.shown(order), ascii_uppercase.index((found[1] or found[2]).upper())
        if place >= len(self):
            return None
        rest = _plain(found[3] or "")
        return (place + order) % len(self) if rest in ("", _plain(shown[place])) else None


def choices_of(request: Request) -> list[Choice]:
    """Return the question about each photo of the manifest.

    If the benchmark has none, the options are the true class and others: with ``--label-space confusable``
    those closest to the class, else some drawn from the label space by ``photo_id``.

    Raises:
        UsageError: only one name competes.
    """
    return list(_own(request) if request.benchmark.has_questions else _drawn(request))


def choice_table(
    request: Request,
    labels: dict[str, Any],
    photos: pl.DataFrame,
    choices: Sequence[Choice],
    results: pl.DataFrame,
) -> pl.DataFrame:
    """Return rows of ``predictions.parquet``, with options as indices in the candidate labels."""
    picked = results["predicted_index"].to_list()
    index = [None if at is None else choice.indices[at] for at, choice in zip(picked, choices, strict=True)]
    results = results.with_columns(predicted_index=pl.Series(index, dtype=pl.Int32))
    if request.benchmark.has_questions:
        true = [choice.indices[choice.true] for choice in choices]
        results = results.with_columns(true_index=pl.Series(true, dtype=pl.Int32))
    return prediction_table(photos, results, request.candidates, labels)


def _own(request: Request) -> Iterator[Choice]:
    place = {text: index for index, text in enumerate(request.candidates.texts)}
    columns = ("photo_id", "question", "options", "answer")
    for photo, question, options, answer in request.benchmark.photos.select(columns).iter_rows():
        texts = _shuffled(photo, options)
        yield Choice(question, tuple(texts), tuple(place[text] for text in texts), texts.index(answer))


def _drawn(request: Request) -> Iterator[Choice]:
    labels = request.candidates
    nearest = labels.space.candidates is not None
    for photo, index in request.benchmark.photos.select("photo_id", "class_index").iter_rows():
        true = labels.true_index[index]
        assert true is not None, "a class without a name in the label space was refused"
        # For a class none of whose photos the referee could read, these are all names: a question has two
        # options, and the photos are listed as unreadable.
        unread = nearest and true not in (labels.space.candidates or ())
        competing = range(len(labels.space)) if unread else request.candidate_indices(index)
        others = [other for other in competing if other != true]
        chosen = {labels.texts[true]: true}
        for other in others if nearest else _draws(photo, others):
            chosen.setdefault(labels.texts[other], other)
            if len(chosen) == request.settings.options:
                break
        if len(chosen) < 2:
            raise UsageError(
                f"A question needs at least 2 options, and only {labels.texts[true]!r} competes."
            )
        texts = _shuffled(photo, list(chosen))
        indices = tuple(chosen[text] for text in texts)
        yield Choice(MAIN_OBJECT, tuple(texts), indices, indices.index(true))


def _draws(photo: str, others: Sequence[int]) -> Iterator[int]:
    """Yield all of ``others`` in an order that depends on the photo alone."""
    left = list(others)
    for turn in range(len(left)):
        at = turn + _number(f"{photo} {turn}") % (len(left) - turn)
        left[turn], left[at] = left[at], left[turn]
        yield left[turn]


def _shuffled(photo: str, texts: Sequence[str]) -> list[str]:
    """Return the options in an order drawn from the photo: a tie then favours no position in the manifest."""
    return sorted(texts, key=lambda text: _number(f"{photo} {text}"))


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(".!")
