"""What a generative model is asked under each protocol, and which answer is scored for a class."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import get_args

from counterground.errors import UsageError
from counterground.models import NEED_LOSSES, Generative
from counterground.settings import Article, Protocol

_PREFERRED: tuple[Protocol, ...] = ("answer-loss", "free-form", "describe", "yes-no")
MAIN_OBJECT = "What is the main object in the image?"
# The questions of the paper (section 5 and its appendix on LVLMs), word for word.
_QUESTIONS: dict[Protocol, tuple[str, ...]] = {
    "answer-loss": (MAIN_OBJECT,),
    "describe": ("Describe this image in detail.",),
    "yes-no": ("Is there a {} in the image?", "Is this image a photo of {}?"),
    "free-form": (MAIN_OBJECT,),
}
_YES_OR_NO = " Answer yes or no."
_ARTICLE = re.compile(r"\b([Aa]) \{\}")
# Written with a vowel and spoken with a consonant, and the other way round.
_SPOKEN_CONSONANT = re.compile(
    r"(eu|ewe|one\b|once|u\b|ubiq|uni([^mn]|$)|unan|use|usu|ut[aeio]|uk|ura|uri)", re.I
)
_SPOKEN_VOWEL = re.compile(r"(hour|honest|honou?r|heir|[Xx]-?ray|[fhlmnrsx]\b|[FHLMNRSX][A-Z])")


@dataclass(frozen=True)
class PromptSpec:
    """Templates of a question and of the scored answer, ``{}`` for the class.

    ``answer`` is None if generated text is read instead. ``label`` identifies the prompt in the tables, in
    the column ``prompts``.
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
        if self.correct_article and takes_an(name):
            template = _ARTICLE.sub(r"\1n {}", template)
        return template.replace("{}", name)


def prompt_specs(model: Generative, protocol: Protocol | None, article: Article) -> list[PromptSpec]:
    """Return how a model is asked (paper section 5): two prompts for ``yes-no``, one otherwise.

    The default protocol is ``answer-loss``, or ``free-form`` for a model that gives no losses.

    Raises:
        UsageError: the model cannot be asked under this protocol.
    """
    losses = gives_losses(model)
    chosen = protocol or [*(name for name in _PREFERRED if name in model.protocols), _PREFERRED[0]][0]
    check_protocol(model, chosen)
    answer = {"yes-no": "Yes" if losses else None, "free-form": None}.get(chosen, "A {}")
    ending = _YES_OR_NO if chosen == "yes-no" and not losses else ""
    return [PromptSpec(chosen, text + ending, answer, article == "correct") for text in _QUESTIONS[chosen]]


def gives_losses(model: Generative) -> bool:
    """Whether answers can be scored by their losses; else text is generated."""
    return not NEED_LOSSES.isdisjoint(model.protocols)


def check_protocol(model: Generative, chosen: Protocol) -> None:
    """Refuse a protocol that a model cannot be asked under.

    Raises:
        UsageError: the model cannot be asked under it.
    """
    if chosen in model.protocols:
        return
    possible = " or ".join(name for name in get_args(Protocol) if name in model.protocols)
    if chosen in NEED_LOSSES and not gives_losses(model):
        raise UsageError(f"{model.spec} gives no losses, which {chosen} needs; use -X protocol={possible}.")
    raise UsageError(f"{model.spec} cannot be asked under {chosen}; use -X protocol={possible}.")


def takes_an(name: str) -> bool:
    """Whether a name takes *an*: by its first sound, not its first letter (an hour, a European)."""
    text = name.strip()
    if _SPOKEN_VOWEL.match(text):
        return True
    return text[:1].lower() in "aeiou" and text != "" and not _SPOKEN_CONSONANT.match(text)
