"""What findings, pages and figures call a contrast: its sides and its difference."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from markupsafe import Markup, escape

from counterground.metrics import BACKGROUND_EFFECT, BG_GAP, DROP, Contrast, Estimate
from counterground.results import ModelScores, contrast_titles, side_names
from counterground.text import legible


class _Composites(NamedTuple):
    """A contrast of composites in words; ``turn`` says what the objects stand on, right instead of left."""

    left: str
    right: str
    titles: tuple[str, str, str]
    noun: str
    turn: str


_COMPOSITES = {
    BACKGROUND_EFFECT: _Composites(
        "common backgrounds",
        "counter backgrounds",
        ("Common", "Counter", "Background effect"),
        "background effect",
        "counter instead of common backgrounds",
    ),
    BG_GAP: _Composites(
        "backgrounds of the same class",
        "backgrounds of any class",
        ("Mixed-Same", "Mixed-Rand", "BG-Gap"),
        "BG-Gap",
        "backgrounds of any class instead of their own",
    ),
}
"""Both compare the same objects on two kinds of background."""


@dataclass(frozen=True)
class Words:
    """A contrast in words: the drop and two of composites are about backgrounds, others about sides."""

    contrast: Contrast = DROP

    @property
    def is_drop(self) -> bool:
        """Whether it is the drop from common to counter backgrounds."""
        return self.contrast == DROP

    @property
    def is_effect(self) -> bool:
        """Whether it is an effect of backgrounds on the same objects."""
        return self._of_composites is not None

    @property
    def about_backgrounds(self) -> bool:
        """Whether a difference above 0 is reliance on the background."""
        return self.is_drop or self.is_effect

    @property
    def left(self) -> str:
        """The left side in a sentence."""
        return self._of_composites.left if self._of_composites else _in_words(self.contrast.titles[0])

    @property
    def right(self) -> str:
        """The right side in a sentence."""
        return self._of_composites.right if self._of_composites else _in_words(self.contrast.titles[1])

    @property
    def titles(self) -> tuple[str, str, str]:
        """Column heads: left, right, left minus right."""
        return self._of_composites.titles if self._of_composites else contrast_titles(self.contrast)

    @property
    def noun(self) -> str:
        """The name of left minus right."""
        if self._of_composites:
            return self._of_composites.noun
        return "drop" if self.is_drop else "difference"

    @property
    def on_left(self) -> str:
        """Photos of the left side."""
        return self._of_composites.left if self._of_composites else side_names(self.contrast)[0]

    @property
    def on_right(self) -> str:
        """Photos of the right side."""
        return self._of_composites.right if self._of_composites else side_names(self.contrast)[1]

    @property
    def when(self) -> str:
        """When a model loses as much as the difference, as the end of a sentence."""
        if self.is_drop:
            return "from common to counter photos"
        if self._of_composites:
            return f"when the same objects stand on {self._of_composites.turn}"
        return f"on {self.right} instead of {self.left}"

    @property
    def absent(self) -> str:
        """Why a figure of the difference cannot be drawn."""
        if self.is_drop:
            return "no model of the runs has a drop (no class has common and counter photos)."
        return f"no model of the runs has {self.contrast.name} (no stratum has photos on both sides)."

    @property
    def held(self) -> str:
        """What both sides have in common, in one sentence; empty if that is only the class."""
        within = self.contrast.within
        if self.is_drop or within == DROP.within:
            return ""
        return f"Held fixed: {', '.join(within)}." if within else "Nothing is held fixed."

    @property
    def _of_composites(self) -> _Composites | None:
        return _COMPOSITES.get(self.contrast)

    def difference(self, model: ModelScores) -> Estimate:
        """Return left minus right for a model."""
        return model.of(self.contrast).difference

    def size(self, model: ModelScores) -> float:
        """Return the same as a number, 0 if it is not known."""
        return self.difference(model).value or 0.0

    def knows(self, model: ModelScores) -> bool:
        """Whether left minus right is known for a model."""
        return self.difference(model).value is not None

    def marked(self, sentence: str) -> str | Markup:
        """Set off the sides of a contrast, which are expressions, from the words around them."""
        if self._expressions is None:
            return sentence
        parts = self._expressions.split(legible(sentence))
        return Markup().join(
            Markup('<code class="side">{}</code>').format(breakable(part)) if k % 2 else escape(part)
            for k, part in enumerate(parts)
        )

    @cached_property
    def _expressions(self) -> re.Pattern[str] | None:
        sides = [side for side in self.contrast.titles if side != "all"]
        if self.about_backgrounds or not sides:
            return None
        longest_first = sorted(map(re.escape, sides), key=len, reverse=True)
        return re.compile(rf"(?<!\w)({'|'.join(longest_first)})(?!\w)")


def breakable(text: str) -> Markup:
    """Escape an expression or a name and allow line breaks after its separators."""
    return Markup("<wbr>").join(escape(part) for part in re.split(r"(?<=[=_|])(?=.)", legible(text)))


def _in_words(side: str) -> str:
    return "all photos" if side == "all" else side


DROP_WORDS = Words()
