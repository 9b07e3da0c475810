"""The page's first sentences: which model relies most on the background, by how much, how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from counterground.report.page._comparisons import Comparisons
from counterground.results import ModelScores, count, headline, p_equals
from counterground.text import counted

LEVEL = 0.05
FEW_CLUSTERS = 20
_NAMED = 3
_NO_DROP = "No model has a drop: no class has both common and counter photos."
_UNTESTED = (
    "The models were evaluated on different photos or with different settings; see “Comparability” below."
)


class Answer(NamedTuple):
    """A question that readers ask of the verdict, and what the photos answer."""

    question: str
    answer: str
    reason: str


@dataclass(frozen=True)
class Verdict:
    """``sentence`` says which model and by how much, ``answers`` how well the photos support it.

    ``lead`` is the label of the model with the largest drop; None where no model has a drop.
    """

    sentence: str
    answers: list[Answer]
    lead: str | None


def find_lead(models: Sequence[ModelScores]) -> ModelScores | None:
    """Return the model with the largest drop; None where no class has both groups."""
    dropping = [model for model in models if model.has_groups]
    return max(dropping, key=_drop, default=None)


def judge(models: Sequence[ModelScores], comparisons: Comparisons) -> Verdict:
    """Say which of the models relies most on the background, in words no stronger than the tests.

    Args:
        models: all models of one benchmark.
        comparisons: their paired tests.
    """
    lead = find_lead(models)
    if lead is None:
        nothing = f"{headline(models[0])}." if len(models) == 1 else _NO_DROP
        return Verdict(nothing, [], None)
    others = [model for model in models if model.has_groups and model is not lead]
    ranking = _Ranking.of(lead, others, comparisons)
    answers = [_relies(lead, len(others) + 1)]
    if others:
        answers += [ranking.answer(), _least([lead, *others], comparisons)]
    return Verdict(_sentence(lead, others, ranking), [*answers, _sample_size(lead)], lead.label)


@dataclass(frozen=True)
class _Ranking:
    """The other models by the tests of their drops against that of the first.

    ``corrected`` says how p-values are corrected.
    """

    apart: list[str]
    tied: list[str]
    untested: list[str]
    p_values: list[float]
    corrected: str

    @classmethod
    def of(cls, first: ModelScores, others: Sequence[ModelScores], comparisons: Comparisons) -> _Ranking:
        values: dict[str, float] = {}
        tests = 0
        for model in others:
            pair = comparisons.between(first.label, model.label)
            if pair and pair.drop and pair.drop.p_holm is not None:
                values[model.label] = pair.drop.p_holm
                tests = max(tests, pair.drop.corrected_for)
        return cls(
            [label for label, p in values.items() if p < LEVEL],
            [label for label, p in values.items() if p >= LEVEL],
            [model.label for model in others if model.label not in values],
            sorted(values.values()),
            f"Holm-corrected over {counted(tests, 'pair')}",
        )

    @property
    def doubtful(self) -> list[str]:
        """The models whose drops are not significantly different from that of the first, or not tested."""
        return [*self.tied, *self.untested]

    def answer(self) -> Answer:
        """Whether the lead relies more on the background than the others."""
        question = "More than the other models?"
        more = f" Not tested, because settings differ: {_listed(self.untested)}." if self.untested else ""
        if not self.p_values:
            return Answer(question, "Not tested.", _UNTESTED)
        if not self.tied:
            others = _all_of(self.apart, "each")
            evidence = f"{p_equals(self.p_values[-1], at_most=True)}, {self.corrected}"
            reason = f"Its drop is significantly larger than that of {others} ({evidence}).{more}"
            return Answer(question, "Yes." if not self.untested else "As far as tested.", reason)
        if not self.apart:
            reason = f"Its drop is not significantly different from that of {_all_of(self.tied, 'any')}"
            return Answer(
                question,
                "Inconclusive.",
                f"{reason} (smallest {p_equals(self.p_values[0])}, {self.corrected}).{more}",
            )
        reason = (
            f"Significantly more than {_listed(self.apart)}; not significantly different from "
            f"{_listed(self.tied)} ({self.corrected})."
        )
        return Answer(question, "In part.", reason + more)


def _sentence(lead: ModelScores, others: Sequence[ModelScores], ranking: _Ranking) -> str:
    if not others:
        return f"{headline(lead)}."
    drop = lead.get("drop")
    if drop.value is not None and drop.value <= 0:
        return (
            "No model lost accuracy on these photos when the background changed from common to counter; the "
            f"largest drop is that of {lead.label}, {drop.text} points {drop.interval}."
        )
    if not _is_clear(lead):
        return f"{_clear(others)} {_largest(lead)}, not statistically distinguishable from zero."
    loses = f"it loses {drop.text} points {drop.interval} when the background changes from common to counter"
    if not ranking.doubtful:
        return f"{lead.label} relies most on the background: {loses}."
    if ranking.apart:
        return (
            f"{lead.label} has the largest drop: {loses}. {_listed(ranking.doubtful)} may rely on it as much."
        )
    return (
        "It is not clear which model relies most on the background. "
        f"{lead.label} has the largest drop: {loses}."
    )


def _is_clear(model: ModelScores) -> bool:
    """Whether the interval of a model's drop lies above 0."""
    low = model.get("drop").low
    return low is not None and low > 0


def _clear(models: Sequence[ModelScores]) -> str:
    """Which of the models clearly rely on the background although another has the largest drop."""
    relying = [model for model in models if _is_clear(model)]
    if not relying:
        return "There is no clear evidence that any model relies on the background."
    if len(relying) == 1:
        drop = relying[0].get("drop")
        size = f"its drop is {drop.text} points {drop.interval}"
        return f"There is clear evidence that {relying[0].label} relies on the background: {size}."
    names = _listed([model.label for model in relying])
    return f"There is clear evidence that {names} rely on the background."


def _largest(lead: ModelScores) -> str:
    drop = lead.get("drop")
    return f"The largest drop is that of {lead.label}, {drop.text} points {drop.interval}"


def _relies(lead: ModelScores, models: int) -> Answer:
    question = f"Does {lead.label} rely on the background?"
    drop = lead.get("drop")
    if drop.low is None or drop.high is None:
        return Answer(question, "Unknown.", "There are too few independent photos for an interval.")
    if drop.low > 0:
        inflated = (
            f" Selected as the largest of {models} drops, it is somewhat inflated." if models > 1 else ""
        )
        reason = f"The 95 % interval of its drop, {drop.interval}, lies above 0.{inflated}"
        return Answer(question, "Yes.", reason)
    return Answer(
        question, "No clear evidence.", f"The 95 % interval of its drop, {drop.interval}, reaches 0."
    )


def _least(models: Sequence[ModelScores], comparisons: Comparisons) -> Answer:
    """Which model has the smallest drop, and which others may have as small a one."""
    least = min(reversed(models), key=_drop)  # of equal drops, not that of the lead
    drop = least.get("drop")
    ranking = _Ranking.of(least, [model for model in models if model is not least], comparisons)
    reason = f"{drop.text} points {drop.interval}."
    if ranking.tied:
        verb = "is" if len(ranking.tied) == 1 else "are"
        reason += f" {_listed(ranking.tied)} {verb} statistically tied with it."
    if ranking.untested:
        reason += f" Not tested against it: {_listed(ranking.untested)}."
    return Answer("Smallest measured drop", f"{least.label}:", reason)


def _sample_size(lead: ModelScores) -> Answer:
    drop = lead.get("drop")
    answer = f"{counted(drop.n, 'photo')} in {counted(drop.clusters or 0, 'cluster')}."
    reason = "Photos of one cluster are not independent; intervals and tests count clusters."
    if drop.clusters == drop.n:
        answer = f"{counted(drop.n, 'photo')}, treated as independent."
        reason = "If some belong together (one observer, one place), intervals are too narrow."
    if drop.clusters is not None and drop.clusters < FEW_CLUSTERS:
        reason += " With so few, intervals are wide: more independent photos would narrow them."
    return Answer("Sample size", answer, reason)


def _drop(model: ModelScores) -> float:
    return model.get("drop").value or 0.0


def _all_of(labels: Sequence[str], each: str) -> str:
    if len(labels) == 1:
        return f"the other model, {labels[0]}"
    return f"{each} of the {len(labels)} other models"


def _listed(labels: Sequence[str]) -> str:
    if len(labels) > _NAMED:
        return f"{count(len(labels))} models"
    return labels[0] if len(labels) == 1 else f"{', '.join(labels[:-1])} and {labels[-1]}"
