"""What tests and the choice of the pairs allow to say about the drop of a model, and about two drops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from counterground.metrics import SIGNIFICANT, Estimate
from counterground.reporting.page._comparisons import Comparisons
from counterground.reporting.words import Words
from counterground.results import ModelScores
from counterground.text import count, counted, p_equals

NAMED = 3  # so many models are listed by name
BIASED = "Not comparable."
NO_INTERVAL = (
    "There is no interval: all photos, or those of a side, are in one cluster. Add photos of other clusters."
)
_UNTESTED = (
    "The models were evaluated on different photos or with different settings, or there are too few "
    "independent photos; see “Comparability” below."
)
_CHOSEN_HERE = (
    "The pairs were chosen on these same photos, which inflates drops by an unknown amount that differs "
    "between models."
)


class Answer(NamedTuple):
    """A question that readers have about the verdict, its answer, and the reason for the answer."""

    question: str
    answer: str
    reason: str


class Doubt(NamedTuple):
    """The most that can be said about a drop above 0, and why."""

    answer: str
    reason: str


@dataclass(frozen=True)
class Selection:
    """How the choice of the pairs affects drops on them.

    Attributes:
        referees: for the labels of models that chose the pairs, the ``effect`` of `MeasuredReferee`.
        on_these_photos: whether any model chose the pairs on the photos that are judged.
    """

    referees: Mapping[str, str | None] = field(default_factory=dict)
    on_these_photos: bool = False

    def has_biased(self, label: str) -> bool:
        """Whether a model chose these pairs so that its own drop, or the interval of it, is biased."""
        return self.referees.get(label) is not None

    def doubt(self, label: str, noun: str) -> Doubt | None:
        """Return the most that can be said about a model's drop above 0; None if nothing biases it."""
        effect = self.referees.get(label)
        if effect == "inflated":
            reason = f"It chose the pairs on these same photos, which inflates its {noun}."
            return Doubt("Not established.", reason)
        if effect == "narrow":
            reason = (
                "It chose the pairs of each half of these photos on the other half, or was made from the "
                "model that did, so this interval is too narrow: the one to report is under “Before you "
                "quote a figure”."
            )
            return Doubt("Not established here.", reason)
        if self.on_these_photos:
            reason = (
                "The pairs were chosen on these same photos, which inflates, by an unknown amount, the "
                f"{noun}s of models that find the same photos hard as the model that chose them."
            )
            return Doubt("Not certain.", reason)
        return None


@dataclass(frozen=True)
class Evidence:
    """Whether the drops of the judged models differ from 0, corrected for their number (by label)."""

    p_values: dict[str, float | None]
    words: Words
    selection: Selection

    @property
    def models(self) -> int:
        return len(self.p_values)

    def is_clear(self, model: ModelScores) -> bool:
        """Whether a model's drop is above 0 and significant."""
        return self._is_significant(model) and self.words.size(model) > 0

    def doubt(self, model: ModelScores) -> Doubt | None:
        """Return the most that can be said about a clear drop, because of how the pairs were chosen."""
        return self.selection.doubt(model.label, self.words.noun) if self.is_clear(model) else None

    def is_reversed(self, model: ModelScores) -> bool:
        """Whether a model is more accurate on the right side: its drop is below 0 and significant."""
        return self._is_significant(model) and self.words.size(model) < 0

    def _is_significant(self, model: ModelScores) -> bool:
        p = self.p_values[model.label]
        return p is not None and p < SIGNIFICANT

    def p_text(self, model: ModelScores) -> str:
        """Return the p-value of a model's drop, and for how many models it is corrected."""
        p = p_equals(self.p_values[model.label])
        return f"{p}, Holm-corrected over {self.models} models" if self.models > 1 else p


@dataclass(frozen=True)
class Ranking:
    """The other models, by the tests of their drops against the first model's.

    ``corrected`` says how p-values are corrected. ``untested`` are not comparable, or have too few photos.
    """

    apart: list[str]
    tied: list[str]
    untested: list[str]
    corrected: str
    words: Words

    @classmethod
    def of(
        cls, first: ModelScores, others: Sequence[ModelScores], comparisons: Comparisons, words: Words
    ) -> Ranking:
        values: dict[str, float] = {}
        corrected_for = 0
        for model in others:
            pair = comparisons.between(first.label, model.label)
            if pair is not None and pair.drop is not None and pair.drop.p_holm is not None:
                values[model.label], corrected_for = pair.drop.p_holm, pair.corrected_for
        return cls(
            [label for label, p in values.items() if p < SIGNIFICANT],
            [label for label, p in values.items() if p >= SIGNIFICANT],
            [model.label for model in others if model.label not in values],
            f"Holm-corrected over {counted(corrected_for, 'test')}",
            words,
        )

    @property
    def doubtful(self) -> list[str]:
        """The models whose drops are not significantly different from the first one's, or not tested."""
        return [*self.tied, *self.untested]

    def answer(self, selection: Selection, label: str) -> Answer:
        """Say whether the lead drops more than the others, and whether it or another chose these pairs."""
        question = "More than the other models?"
        if selection.has_biased(label):
            reason = f"It chose the pairs, which biases its {self.words.noun} compared with other models."
            return Answer(question, BIASED, reason)
        if not self.apart and not self.tied:
            return Answer(question, "Not tested.", _UNTESTED)
        answer = "Yes." if not self.doubtful else "In part." if self.apart else "Inconclusive."
        results = (
            ("significantly larger than that of", self.apart),
            ("not significantly different from that of", self.tied),
            ("not tested against", self.untested),
        )
        found = "; ".join(f"{said} {listed(labels)}" for said, labels in results if labels)
        reason = f"Its {self.words.noun} is {found} ({self.corrected})."
        if self.apart and self.words.is_drop:
            reason += " Drops depend on accuracy: compare effective robustness, too (counterground compare)."
        if self.apart and selection.on_these_photos:
            answer, reason = "Perhaps.", f"{reason} {_CHOSEN_HERE}"
        return Answer(question, answer, reason)


def in_points(drop: Estimate) -> str:
    return f"{drop.text} points {drop.interval}".rstrip()


def listed(labels: Sequence[str]) -> str:
    return f"{count(len(labels))} models" if len(labels) > NAMED else ", ".join(labels) or "none"
