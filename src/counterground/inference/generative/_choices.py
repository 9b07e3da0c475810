"""Multiple choice: the question and the options of each photo, their orders, and how they are written."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from counterground.errors import UsageError
from counterground.inference.request import MAIN_OBJECT, Request
from counterground.models import without_thoughts

INSTRUCTION = "Answer with the option's letter from the given choices directly."
OWN_QUESTIONS = "the benchmark's own questions"
ORDERS = (
    "The options start in an order drawn from photo_id. All cyclic rotations of it are asked, so that each "
    "option stands once at each position; the mean loss over them decides, or the majority of the answers."
)
RULE = (
    "An answer is read where it is the letter of an option, alone or in parentheses, with or without a point "
    "or colon, and nothing after it but the text of that option. What a model writes between <think> and "
    "</think> is no part of its answer. Any other answer is unparsable and counts for no option."
)
_ANSWER = re.compile(r"(?:\(([A-Za-z])\)|([A-Za-z])\)?)[.:]?(?:\s+(.*))?", re.DOTALL)


@dataclass(frozen=True)
class Choice:
    """A question about a photo.

    Attributes:
        question: the question, without its options.
        texts: the options, in the order that is rotated.
        indices: index of each option in the candidate labels.
        true: position of the right option in ``texts``.
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

    def prompt(self, order: int) -> str:
        """Return the question with its options in one order, each after its letter."""
        lines = [
            f"{letter}. {text}" for letter, text in zip(ascii_uppercase, self.shown(order), strict=False)
        ]
        return "\n".join([self.question, *lines, INSTRUCTION])

    def letters(self) -> list[tuple[str, str]]:
        """Return prompts and letters: those of the first order, then those of the next."""
        prompts, names = map(self.prompt, range(len(self))), ascii_uppercase[: len(self)]
        return [(prompt, letter) for prompt in prompts for letter in names]

    def answers(self) -> list[tuple[str, str]]:
        """Return the question and each option's text."""
        return [(self.question, text) for text in self.texts]

    def read(self, answer: str, order: int) -> int | None:
        """Return the position in ``texts`` of the option that an answer names by its letter (``RULE``)."""
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


def question_label(request: Request) -> str:
    """Return the value of the column ``prompts``."""
    return OWN_QUESTIONS if request.benchmark.has_questions else MAIN_OBJECT


def _own(request: Request) -> Iterator[Choice]:
    place = {text: index for index, text in enumerate(request.candidates.texts)}
    columns = ("photo_id", "question", "options", "answer")
    for photo, question, options, answer in request.benchmark.photos.select(columns).iter_rows():
        texts = _shuffled(photo, options)
        yield Choice(question, tuple(texts), tuple(place[text] for text in texts), texts.index(answer))


def _drawn(request: Request) -> Iterator[Choice]:
    labels, count = request.candidates, request.settings.options
    nearest = labels.space.candidates is not None
    competing = {
        index: _competing(request, index) for index in request.benchmark.photos["class_index"].unique()
    }
    for photo, index in request.benchmark.photos.select("photo_id", "class_index").iter_rows():
        true = labels.true_index[index]
        assert true is not None, "a class without a name in the label space was refused"
        others = [other for other in competing[index] if other != true]
        ordered = iter(others) if nearest else _draws(photo, others)
        chosen = {labels.texts[true]: true}
        for other in ordered:
            chosen.setdefault(labels.texts[other], other)
            if len(chosen) == count:
                break
        if len(chosen) < 2:
            raise UsageError(
                f"A question needs at least 2 options, and only {labels.texts[true]!r} competes."
            )
        texts = _shuffled(photo, list(chosen))
        yield Choice(
            MAIN_OBJECT,
            tuple(texts),
            tuple(chosen[text] for text in texts),
            texts.index(labels.texts[true]),
        )


def _competing(request: Request, class_index: int) -> Sequence[int]:
    """Return what the options of a class are taken from.

    For a class none of whose photos the referee could read, these are all names: a question has two options,
    and the photos are listed as unreadable.
    """
    labels, known = request.candidates, request.candidates.space.candidates
    unread = known is not None and labels.true_index[class_index] not in known
    return range(len(labels.space)) if unread else request.candidate_indices(class_index)


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
