"""The class that a generated answer names, or whether it says yes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from counterground.models import without_thoughts

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
