"""The page's first sentences: which model leans most on the background, by how much, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from counterground.report.page._comparisons import Comparisons, Test
from counterground.results import ModelScores, count, counted, headline, p_value

LEVEL = 0.05
FEW_CLUSTERS = 20
_NAMED = 3
_NO_DROP = "No model has a drop: no class has both common and counter photos."


class Answer(NamedTuple):
    """A question that readers ask of the verdict, and what the photos answer."""

    question: str
    answer: str
    reason: str


@dataclass(frozen=True)
class Verdict:
    """``sentence`` says which model and by how much, ``answers`` how far the photos bear it out.

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
    """Say which of the models leans most on the background, in words no stronger than the tests.

    Args:
        models: all models of one benchmark.
        comparisons: their paired tests, of the lead against every other model at least.
    """
    lead = find_lead(models)
    if lead is None:
        nothing = f"{headline(models[0])}." if len(models) == 1 else _NO_DROP
        return Verdict(nothing, [], None)
    others = [model for model in models if model.has_groups and model is not lead]
    ranking = _Ranking.of(lead, others, comparisons)
    answers = [_leans_at_all(lead, len(others) + 1)]
    if others:
        answers += [ranking.answer(comparisons), _least([lead, *others], comparisons)]
    return Verdict(_sentence(lead, others, ranking), [*answers, _rests_on(lead)], lead.label)


@dataclass(frozen=True)
class _Ranking:
    """The other models by what the tests of their drops against that of the first say."""

    apart: list[str]
    tied: list[str]
    untested: list[str]
    p_values: list[float]

    @classmethod
    def of(cls, first: ModelScores, others: Sequence[ModelScores], comparisons: Comparisons) -> _Ranking:
        tests = {model.label: _drop_test(first.label, model.label, comparisons) for model in others}
        known = {label: test.p_corrected if test else None for label, test in tests.items()}
        values = {label: p for label, p in known.items() if p is not None}
        return cls(
            [label for label, p in values.items() if p < LEVEL],
            [label for label, p in values.items() if p >= LEVEL],
            [label for label in known if label not in values],
            sorted(values.values()),
        )

    @property
    def doubtful(self) -> list[str]:
        """The models whose drops were not told apart from that of the first."""
        return [*self.tied, *self.untested]

    def answer(self, comparisons: Comparisons) -> Answer:
        """Whether the lead leans more than the others."""
        question = "Does it lean more than the others?"
        corrected = f"corrected for {counted(comparisons.corrected_for, 'pair')}"
        more = f" Asked in another way and not tested: {_listed(self.untested)}." if self.untested else ""
        if not self.p_values:
            return Answer(question, "Not tested.", comparisons.obstacle or "The models share no setting.")
        if not self.tied:
            largest = p_value(self.p_values[-1])
            sign = "" if largest.startswith("<") else "≤ "
            whom = _all_of(self.apart, "the other model", "every one")
            reason = f"Its drop is larger than that of {whom} (p {sign}{largest}, {corrected}).{more}"
            return Answer(question, "Yes." if not self.untested else "As far as tested.", reason)
        if not self.apart:
            smallest = p_value(self.p_values[0])
            equals = "" if smallest.startswith("<") else "= "
            whom = _all_of(self.tied, "the other model", "any")
            reason = f"Tested on the same photos, its drop cannot be told from that of {whom}"
            return Answer(
                question, "Undecided.", f"{reason} (smallest p {equals}{smallest}, {corrected}).{more}"
            )
        reason = (
            f"more than {_listed(self.apart)}; it cannot be told from {_listed(self.tied)} ({corrected})."
        )
        return Answer(question, "Than some:", reason + more)


def _sentence(lead: ModelScores, others: Sequence[ModelScores], ranking: _Ranking) -> str:
    if not others:
        return f"{headline(lead)}."
    drop = lead.get("drop")
    if drop.value is not None and drop.value <= 0:
        return (
            "No model was seen to lose accuracy when the background changes from common to counter; the "
            f"largest drop is that of {lead.label}, {drop.text} points {drop.interval}."
        )
    if not _is_shown(lead):
        return f"{_shown(others)} {_largest(lead)}, which is not statistically distinguishable from zero."
    loses = f"it loses {drop.text} points {drop.interval} when the background changes from common to counter"
    if not ranking.doubtful:
        return f"{lead.label} leans most on the background: {loses}."
    if ranking.apart:
        return f"{lead.label} has the largest drop: {loses}. {_listed(ranking.doubtful)} may lean as much."
    return f"Which model leans most, these photos cannot tell. {lead.label} has the largest drop: {loses}."


def _is_shown(model: ModelScores) -> bool:
    """Whether the interval of a model's drop lies above 0."""
    low = model.get("drop").low
    return low is not None and low > 0


def _shown(models: Sequence[ModelScores]) -> str:
    """Which of the models are shown to lean on the background although another has the largest drop."""
    leaning = [model for model in models if _is_shown(model)]
    if not leaning:
        return "No model is shown to lean on the background."
    if len(leaning) == 1:
        drop = leaning[0].get("drop")
        drop_text = f"its drop is {drop.text} points {drop.interval}"
        return f"{leaning[0].label} is shown to lean on the background: {drop_text}."
    return f"{_listed([model.label for model in leaning])} are shown to lean on the background."


def _largest(lead: ModelScores) -> str:
    drop = lead.get("drop")
    return f"The largest drop is that of {lead.label}, {drop.text} points {drop.interval}"


def _leans_at_all(lead: ModelScores, models: int) -> Answer:
    question = f"Does {lead.label} lean on the background at all?"
    drop = lead.get("drop")
    if drop.low is None or drop.high is None:
        return Answer(question, "Unknown.", "There are too few independent photos for an interval.")
    if drop.low > 0:
        flattered = f" As the largest of {models} drops it is somewhat flattered." if models > 1 else ""
        reason = f"The 95 % interval of its drop, {drop.interval}, lies above 0.{flattered}"
        return Answer(question, "Yes.", reason)
    return Answer(question, "Not shown.", f"The 95 % interval of its drop, {drop.interval}, reaches 0.")


def _least(models: Sequence[ModelScores], comparisons: Comparisons) -> Answer:
    """Which model has the smallest drop, and which others may drop as little."""
    least = min(reversed(models), key=_drop)  # of equal drops, not that of the lead
    drop = least.get("drop")
    ranking = _Ranking.of(least, [model for model in models if model is not least], comparisons)
    reason = f"{drop.text} points {drop.interval}."
    if not ranking.doubtful:
        return Answer("Which drops least?", f"{least.label}:", reason)
    untold = "was not told apart" if len(ranking.doubtful) == 1 else "were not told apart"
    reason += f" {_listed(ranking.doubtful)} {untold} from it and may drop as little."
    return Answer("Which drops least?", f"{least.label}, as measured:", reason)


def _rests_on(lead: ModelScores) -> Answer:
    drop = lead.get("drop")
    answer = f"{counted(drop.n, 'photo')} in {counted(drop.clusters, 'cluster')}."
    reason = "Photos of one cluster are not independent; intervals and tests count clusters."
    if drop.clusters == drop.n:
        answer = f"{counted(drop.n, 'photo')}, each taken as independent."
        reason = "Where some belong together (one observer, one place), intervals are too narrow."
    if drop.clusters is not None and drop.clusters < FEW_CLUSTERS:
        reason += " So few make wide intervals: more independent photos would narrow them."
    return Answer("What does this rest on?", answer, reason)


def _drop_test(lead: str, other: str, comparisons: Comparisons) -> Test | None:
    for pair in comparisons.pairs:
        if {pair.model, pair.against} == {lead, other}:
            return next((test for test in pair.tests if test.title == "Drop"), None)
    return None


def _drop(model: ModelScores) -> float:
    return model.get("drop").value or 0.0


def _all_of(labels: Sequence[str], one: str, each: str) -> str:
    return f"{one}, {labels[0]}" if len(labels) == 1 else f"{each} of the {len(labels)} others"


def _listed(labels: Sequence[str]) -> str:
    if len(labels) > _NAMED:
        return f"{count(len(labels))} models"
    return labels[0] if len(labels) == 1 else f"{', '.join(labels[:-1])} and {labels[-1]}"
