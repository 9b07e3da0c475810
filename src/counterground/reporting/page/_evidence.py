"""What tests and the choice of the pairs allow to say about the drop of a model, and about two drops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import NamedTuple

from counterground.reporting.page._comparisons import Comparisons
from counterground.reporting.words import Words
from counterground.results import SIGNIFICANT, Estimate, ModelScores, count, p_equals
from counterground.text import counted

NAMED = 3  # so many models are listed by name
BIASED = "Not comparable."
NO_INTERVAL = (
    "There is no interval: all photos, or those of a side, are in one cluster. Add photos of other clusters."
)
_UNTESTED = (
    "The models were evaluated on different photos or with different settings; see “Comparability” below."
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
    """The other models, grouped by the tests of their drops against the first model's.

    ``corrected`` says how p-values are corrected; ``closest`` is the model whose difference from the first
    has the narrowest interval, None if nothing was tested. ``unlike`` are those of ``apart`` whose accuracies
    on the left side differ clearly from the first model's. ``untested`` are not comparable; ``few`` are, but
    the photos are too few for a test.
    """

    apart: list[str]
    unlike: list[str]
    tied: list[str]
    untested: list[str]
    few: list[str]
    p_values: list[float]
    corrected: str
    closest: str | None
    words: Words

    @classmethod
    def of(
        cls, first: ModelScores, others: Sequence[ModelScores], comparisons: Comparisons, words: Words
    ) -> Ranking:
        values: dict[str, float] = {}
        few: list[str] = []
        margins: dict[str, float] = {}
        corrected_for = 0
        for model in others:
            pair = comparisons.between(first.label, model.label)
            if pair is None or pair.drop is None:
                continue
            if pair.drop.p_holm is None:
                few.append(model.label)
            else:
                values[model.label], corrected_for = pair.drop.p_holm, pair.corrected_for
                margins[model.label] = half_width(pair.drop.difference, 1) or 0.0
        apart = [label for label, p in values.items() if p < SIGNIFICANT]
        level = first.of(words.contrast).left
        unlike = [
            other.label
            for other in others
            if other.label in apart and _are_apart(level, other.of(words.contrast).left)
        ]
        return cls(
            apart,
            unlike,
            [label for label, p in values.items() if p >= SIGNIFICANT],
            [model.label for model in others if model.label not in {*values, *few}],
            few,
            sorted(values.values()),
            f"Holm-corrected over {counted(corrected_for, 'test')}",
            min(margins, key=lambda label: margins[label], default=None),
            words,
        )

    @property
    def doubtful(self) -> list[str]:
        """The models whose drops are not significantly different from the first one's, or not tested."""
        return [*self.tied, *self.untested, *self.few]

    def answer(self, *, is_biased: bool) -> Answer:
        """Say whether the lead drops more than the others; ``is_biased``: it chose these pairs."""
        question = "More than the other models?"
        more = f" Not tested, because settings differ: {listed(self.untested)}." if self.untested else ""
        if self.few:
            more += f" Too few independent photos to test: {listed(self.few)}."
        if is_biased:
            reason = f"It chose the pairs, which biases its {self.words.noun} compared with other models."
            return Answer(question, BIASED, reason)
        if self.unlike and self.words.is_drop:
            more += (
                f" Drops depend on accuracy, and the accuracy of {listed(self.unlike)} on "
                f"{self.words.on_left} is clearly different: compare effective robustness, too "
                "(counterground compare)."
            )
        if not self.p_values:
            return Answer(question, "Not tested.", NO_INTERVAL if self.few else _UNTESTED)
        if not self.tied:
            others = self._all_of(self.apart, "each")
            evidence = f"{p_equals(self.p_values[-1], at_most=True)}, {self.corrected}"
            reason = (
                f"Its {self.words.noun} is significantly larger than that of {others} ({evidence}).{more}"
            )
            return Answer(question, "As far as tested." if self.untested or self.few else "Yes.", reason)
        if not self.apart:
            any_other = self._all_of(self.tied, "any")
            reason = f"Its {self.words.noun} is not significantly different from that of {any_other}"
            return Answer(
                question,
                "Inconclusive.",
                f"{reason} (smallest {p_equals(self.p_values[0])}, {self.corrected}).{more}",
            )
        reason = (
            f"Significantly more than {listed(self.apart)}; not significantly different from "
            f"{listed(self.tied)} ({self.corrected})."
        )
        return Answer(question, "In part.", reason + more)

    def _all_of(self, labels: Sequence[str], each: str) -> str:
        """Return models in words: all others, or by name if others were not tested."""
        if self.untested or self.few:
            return listed(labels)
        if len(labels) == 1:
            return f"the other model, {labels[0]}"
        if len(labels) == 2 and each == "any":
            return "either other model"
        return f"{each} of the {len(labels)} other models"


def half_width(figure: Estimate, tests: int) -> float | None:
    """Return half the width of an interval, widened for the first of several tests (about Bonferroni)."""
    if figure.low is None or figure.high is None:
        return None
    return (figure.high - figure.low) / 2 * _normal_bound(tests) / _normal_bound(1)


def _normal_bound(tests: int) -> float:
    """Return how many standard errors from 0 the first of several tests is significant."""
    return -NormalDist().inv_cdf(SIGNIFICANT / 2 / max(1, tests))


def _are_apart(first: Estimate, second: Estimate) -> bool:
    """Whether two intervals are both known and do not overlap."""
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return False
    return first.low > second.high or second.low > first.high


def in_points(drop: Estimate) -> str:
    return f"{drop.text} points {drop.interval}".rstrip()


def listed(labels: Sequence[str]) -> str:
    if len(labels) > NAMED:
        return f"{count(len(labels))} models"
    return labels[0] if len(labels) == 1 else f"{', '.join(labels[:-1])} and {labels[-1]}"
