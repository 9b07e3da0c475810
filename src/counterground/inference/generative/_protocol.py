"""What a generative model is asked under each protocol, and which answer is scored for a class."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from counterground.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from counterground.models import Generative, Protocol


PROTOCOLS: tuple[Protocol, ...] = ("answer-loss", "describe", "yes-no", "free-form")
MAX_NEW_TOKENS = 64
_NEED_LOSSES: frozenset[Protocol] = frozenset({"answer-loss", "describe"})
_PREFERRED: tuple[Protocol, ...] = ("answer-loss", "free-form", "describe", "yes-no")
_MAIN_OBJECT = "What is the main object in the image?"
# The questions of the paper (section 5 and its appendix on LVLMs), word for word.
_QUESTIONS: dict[Protocol, tuple[str, ...]] = {
    "answer-loss": (_MAIN_OBJECT,),
    "describe": ("Describe this image in detail.",),
    "yes-no": ("Is there a {} in the image?", "Is this image a photo of {}?"),
    "free-form": (_MAIN_OBJECT,),
}
_ONLY_WORDS = " Answer yes or no."
_ARTICLE = re.compile(r"\b([Aa]) \{\}")
# Written with a vowel and spoken with a consonant, and the other way round.
_SPOKEN_CONSONANT = re.compile(
    r"(eu|ewe|one\b|once|u\b|ubiq|uni([^mn]|$)|unan|use|usu|ut[aeio]|uke|ura)", re.I
)
_SPOKEN_VOWEL = re.compile(r"(hour|honest|honou?r|heir|[Xx]-?ray|[fhlmnrsx]\b|[FHLMNRSX][A-Z])")


@dataclass(frozen=True)
class Asking:
    """One way of asking: templates of the question and of the scored answer, ``{}`` for the class.

    ``answer`` is None where the model's own words are read instead. ``label`` tells ways of asking apart in
    the tables, in the column ``prompts``.
    """

    protocol: Protocol
    question: str
    answer: str | None
    correct_article: bool

    @property
    def label(self) -> str:
        text = self.question if self.answer is None else f"{self.question} {self.answer}"
        return _ARTICLE.sub(r"\1(n) {}", text) if self.correct_article else text

    def about(self, name: str) -> tuple[str, str]:
        """Return question and scored answer for one name."""
        return self._filled(self.question, name), self._filled(self.answer or "", name)

    def _filled(self, template: str, name: str) -> str:
        if self.correct_article and spoken_with_vowel(name):
            template = _ARTICLE.sub(r"\1n {}", template)
        return template.replace("{}", name)


def ways_of_asking(model: Generative, protocol: Protocol | None, article: str) -> list[Asking]:
    """Return how a model is asked: two ways for ``yes-no``, one otherwise.

    Without a protocol it is ``answer-loss``, or ``free-form`` for a model that gives no losses.

    Raises:
        UsageError: the model cannot be asked so.
    """
    losses = not _NEED_LOSSES.isdisjoint(model.protocols)
    chosen = protocol or next(name for name in _PREFERRED if name in model.protocols)
    if chosen not in model.protocols:
        can = " or ".join(name for name in PROTOCOLS if name in model.protocols)
        if chosen in _NEED_LOSSES and not losses:
            raise UsageError(f"{model.spec} gives no losses, which {chosen} needs; use --protocol {can}.")
        raise UsageError(f"{model.spec} cannot be asked under {chosen}; use --protocol {can}.")
    answer = {"yes-no": "Yes" if losses else None, "free-form": None}.get(chosen, "A {}")
    only_words = _ONLY_WORDS if chosen == "yes-no" and not losses else ""
    return [Asking(chosen, text + only_words, answer, article == "correct") for text in _QUESTIONS[chosen]]


def check_protocol(protocol: str | None) -> None:
    """Check the name of a protocol.

    Raises:
        UsageError: there is no such protocol.
    """
    if protocol is not None and protocol not in PROTOCOLS:
        raise UsageError(
            f"Unknown protocol {protocol!r}; use one of {', '.join(PROTOCOLS)}."
            f"{did_you_mean(protocol, PROTOCOLS)}"
        )


def spoken_with_vowel(name: str) -> bool:
    """Whether a name takes *an*: by its first sound, not its first letter (an hour, a European)."""
    text = name.strip()
    if _SPOKEN_VOWEL.match(text):
        return True
    return text[:1].lower() in "aeiou" and text != "" and not _SPOKEN_CONSONANT.match(text)


def read_aliases(path: Path, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Read other words for classes: a JSON object from a class to a list of them.

    Args:
        path: the file.
        names: the classes that compete; each key must be one of them.

    Raises:
        UsageError: no such file, another form, or a class that does not compete.
    """
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"Cannot read the aliases {path}: {error.strerror}.") from error
    except ValueError as error:
        raise UsageError(f'{path} is not JSON ({error}); write {{"ice bear": ["polar bear"]}}.') from error
    if not isinstance(given, dict):
        raise UsageError(f'{path} must map classes to lists of aliases: {{"ice bear": ["polar bear"]}}.')
    for name, words in given.items():
        if name not in names:
            raise UsageError(f"{path}: no class {name!r} competes.{did_you_mean(name, names)}")
        if not isinstance(words, list) or not all(isinstance(word, str) and word.strip() for word in words):
            raise UsageError(
                f'{path}: the aliases of {name!r} must be a list of words, as in ["polar bear"].'
            )
    return {name: tuple(words) for name, words in given.items()}


def writings(
    names: Sequence[str], texts: Sequence[str], aliases: Mapping[str, Sequence[str]]
) -> list[tuple[str, ...]]:
    """Return all ways each class is written: its text, then its aliases, each one once."""
    pairs = zip(names, texts, strict=True)
    return [tuple(dict.fromkeys([text, *aliases.get(name, ())])) for name, text in pairs]
