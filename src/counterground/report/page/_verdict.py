"""The page's first screen: what was found, how sure that is, whether photos suffice, what to do next."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

from counterground.report.page._comparisons import Comparisons
from counterground.results import (
    NO_GROUPS,
    SIGNIFICANT,
    Estimate,
    ModelScores,
    corrected_drops,
    count,
    headline,
    p_equals,
    percent,
)
from counterground.text import counted

PRECISE = 0.05
"""Half the width of a drop's interval at which photos are enough: 5 points, the drop `discover` asks for."""
_NAMED = 3
_NEXT = "What to do next?"
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
    """``sentence`` says what was found, ``answers`` how well the photos support it and what to do next.

    ``lead`` is the label of the model with the largest drop; None where no model has one that says anything.
    """

    sentence: str
    answers: list[Answer]
    lead: str | None


def find_lead(models: Sequence[ModelScores], guessing: Collection[str] = ()) -> ModelScores | None:
    """Return the model with the largest drop, but for those near chance; None where none has one."""
    return max(_judged(models, guessing), key=_drop, default=None)


def _judged(models: Sequence[ModelScores], guessing: Collection[str]) -> list[ModelScores]:
    return [model for model in models if model.has_groups and model.label not in guessing]


def judge(
    models: Sequence[ModelScores],
    comparisons: Comparisons,
    *,
    guessing: Collection[str] = (),
    has_backgrounds: bool = True,
) -> Verdict:
    """Say which of the models relies most on the background, in words no stronger than the tests.

    Args:
        models: all models of one benchmark.
        comparisons: their paired tests.
        guessing: labels of models near chance, whose drops say nothing.
        has_backgrounds: whether photos have backgrounds, from which `discover` could choose pairs.
    """
    lead = find_lead(models, guessing)
    if lead is None:
        return _without_drop(models, guessing, has_backgrounds=has_backgrounds)
    judged = _judged(models, guessing)
    others = [model for model in judged if model is not lead]
    evidence, ranking = _Evidence.of(judged), _Ranking.of(lead, others, comparisons)
    answers = [_relies(lead, evidence)]
    if others:
        answers += [ranking.answer(), _least([lead, *others], comparisons)]
    answers += [*_left_out(models, guessing), _enough(lead, evidence, ranking), *_other_classes(lead)]
    answers.append(_next(lead, others, evidence, ranking))
    return Verdict(_sentence(lead, others, evidence, ranking), answers, lead.label)


def _without_drop(
    models: Sequence[ModelScores], guessing: Collection[str], *, has_backgrounds: bool
) -> Verdict:
    """What can be said where no drop can be measured, or none of a model that beats guessing."""
    if guessing and any(model.has_groups for model in models):
        sentence = "No drop can be judged: no model is clearly better than guessing on these photos."
        step = (
            "Look for the cause first: do the class names fit the model, is the preprocessing its own, does "
            "it know these classes at all?"
        )
        return Verdict(
            sentence, [*_left_out(models, guessing), Answer(_NEXT, "Check the models.", step)], None
        )
    best = max(models, key=lambda model: model.get("plain_accuracy").value or 0.0)
    accuracy = best.get("plain_accuracy")
    found = (
        headline(best)
        if len(models) == 1
        else f"Highest measured accuracy: {best.label}, {accuracy.text} % {accuracy.interval}. No drop can "
        f"be measured: {NO_GROUPS}"
    )
    discover = "it chooses a common and a counter background for each class. Then evaluate what it writes."
    step = (
        f"Run counterground discover: {discover}"
        if has_backgrounds
        else "Sort the photos into folders <class>/<background>/, or label backgrounds with counterground "
        f"label. Then run counterground discover: {discover}"
    )
    answer = "Choose pairs of backgrounds." if has_backgrounds else "Name the backgrounds."
    return Verdict(f"{found}.", [Answer(_NEXT, answer, step)], None)


@dataclass(frozen=True)
class _Evidence:
    """Whether the drops of the judged models differ from 0, corrected for their number (by label)."""

    p_values: dict[str, float | None]

    @classmethod
    def of(cls, models: Sequence[ModelScores]) -> _Evidence:
        return cls(corrected_drops(models))

    @property
    def models(self) -> int:
        return len(self.p_values)

    def is_clear(self, model: ModelScores) -> bool:
        """Whether a model relies on the background: its drop is above 0 and significant."""
        p = self.p_values[model.label]
        return p is not None and p < SIGNIFICANT and _drop(model) > 0

    def p_text(self, model: ModelScores) -> str:
        """The p-value of a model's drop, and for how many models it is corrected."""
        p = p_equals(self.p_values[model.label])
        return f"{p}, Holm-corrected over {self.models} models" if self.models > 1 else p

    def margin(self, drop: Estimate) -> float | None:
        """The drop (a fraction) that would just be significant, about, if it were that of the first model."""
        return _margin(drop, self.models)


@dataclass(frozen=True)
class _Ranking:
    """The other models by the tests of their drops against that of the first.

    ``corrected`` says how p-values are corrected; ``margin`` is about the smallest difference (a fraction)
    that would be significant, None where nothing was tested.
    """

    apart: list[str]
    tied: list[str]
    untested: list[str]
    p_values: list[float]
    corrected: str
    margin: float | None

    @classmethod
    def of(cls, first: ModelScores, others: Sequence[ModelScores], comparisons: Comparisons) -> _Ranking:
        values: dict[str, float] = {}
        tests, margins = comparisons.corrected_for, []
        for model in others:
            pair = comparisons.between(first.label, model.label)
            if pair and pair.drop and pair.drop.p_holm is not None:
                values[model.label] = pair.drop.p_holm
                margins.append(_margin(pair.drop.difference, tests))
        return cls(
            [label for label, p in values.items() if p < SIGNIFICANT],
            [label for label, p in values.items() if p >= SIGNIFICANT],
            [model.label for model in others if model.label not in values],
            sorted(values.values()),
            f"Holm-corrected over {counted(tests, 'test')}",
            min((margin for margin in margins if margin is not None), default=None),
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


def _sentence(
    lead: ModelScores, others: Sequence[ModelScores], evidence: _Evidence, ranking: _Ranking
) -> str:
    if not others:
        return f"{headline(lead)}."
    drop = lead.get("drop")
    if drop.value is not None and drop.value <= 0:
        return (
            "No model lost accuracy on these photos when the background changed from common to counter; the "
            f"largest drop is that of {lead.label}, {drop.text} points {drop.interval}."
        )
    if not evidence.is_clear(lead):
        return f"{_clear(others, evidence)} {_largest(lead)}, not statistically distinguishable from zero."
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


def _clear(models: Sequence[ModelScores], evidence: _Evidence) -> str:
    """Which of the models clearly rely on the background although another has the largest drop."""
    relying = [model for model in models if evidence.is_clear(model)]
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


def _relies(lead: ModelScores, evidence: _Evidence) -> Answer:
    question = f"Does {lead.label} rely on the background?"
    drop = lead.get("drop")
    if drop.low is None or drop.high is None:
        return Answer(question, "Unknown.", "There are too few independent photos for an interval.")
    models = evidence.models
    if evidence.is_clear(lead):
        found, inflated = f"The 95 % interval of its drop, {drop.interval}, lies above 0.", ""
        if models > 1:
            found = f"Its drop is above 0 ({evidence.p_text(lead)}), with a 95 % interval of {drop.interval}."
            inflated = f" Selected as the largest of {models} drops, it may be somewhat inflated."
        other = "Other differences between the groups, such as the size of objects, count too."
        return Answer(question, "Yes.", f"{found} {other}{inflated}")
    reason = f"The 95 % interval of its drop, {drop.interval}, reaches 0."
    if drop.low > 0:
        reason = (
            f"The 95 % interval of its drop, {drop.interval}, lies above 0, but that of the largest of "
            f"{models} drops may do so by chance ({evidence.p_text(lead)})."
        )
    return Answer(question, "No clear evidence.", reason)


def _least(models: Sequence[ModelScores], comparisons: Comparisons) -> Answer:
    """Which model has the smallest drop, and which others may have as small a one."""
    least = min(reversed(models), key=_drop)  # of equal drops, not that of the lead
    drop = least.get("drop")
    ranking = _Ranking.of(least, [model for model in models if model is not least], comparisons)
    reason = f"{drop.text} points {drop.interval}."
    if ranking.tied:
        verb = "is" if len(ranking.tied) == 1 else "are"
        reason += f" {_listed(ranking.tied)} {verb} not significantly different from it."
    if ranking.untested:
        reason += f" Not tested against it: {_listed(ranking.untested)}."
    return Answer("Smallest measured drop", f"{least.label}:", reason)


def _left_out(models: Sequence[ModelScores], guessing: Collection[str]) -> list[Answer]:
    """Models near chance, which are not compared: at 0 % nothing can be lost."""
    found = [model for model in models if model.label in guessing]
    if not found:
        return []
    levels = [f"{model.get('accuracy', 'common').text} %" for model in found]
    reason = f"{', '.join(levels)} on common photos is not clearly above chance, so the drop says nothing."
    return [Answer("Left out", f"{_listed([model.label for model in found])}:", reason)]


def _other_classes(lead: ModelScores) -> list[Answer]:
    """What the drop would be with other classes, and what the other intervals are conditional on."""
    drop = lead.get("drop")
    if drop.classes_low is None:
        return []
    reason = (
        f"The 95 % interval of {lead.label}’s drop if these classes are a random sample of classes. All "
        "other intervals are about other photos of the same classes and pairs of backgrounds."
    )
    return [Answer("For other classes chosen like these", f"{drop.classes_interval}.", reason)]


def _enough(lead: ModelScores, evidence: _Evidence, ranking: _Ranking) -> Answer:
    """Whether the photos suffice, in sizes of drops that they can and cannot distinguish from zero."""
    drop = lead.get("drop")
    question = "Are there enough photos?"
    photos = counted(drop.n, "photo")
    if drop.clusters == drop.n:
        photos += ", each taken as independent"
    else:
        photos += f" in {counted(drop.clusters or 0, 'cluster')} (photos of one cluster are not independent)"
    margin = evidence.margin(drop)
    if margin is None:
        return Answer(question, "No.", f"{photos}: too few for an interval.")
    reason = f"{photos}: a drop below about {_points(margin)} cannot be distinguished from zero"
    if ranking.margin is not None:
        reason += (
            f", nor can a difference below about {_points(ranking.margin)} between the drops of two models"
        )
    if margin <= PRECISE:
        return Answer(question, "Yes.", f"{reason}.")
    times = round((margin / PRECISE) ** 2)
    if times > 1:
        reason += f". About {count(times)} times as many independent photos would resolve drops of 5 points"
    answer = "Yes, for a drop this large." if evidence.is_clear(lead) else "Too few to be sure."
    return Answer(question, answer, f"{reason}.")


def _points(size: float) -> str:
    return counted(max(round(100 * size), 1), "point")


def _margin(figure: Estimate, tests: int) -> float | None:
    """Half the width of an interval, widened for the first of several tests (Bonferroni, about)."""
    if figure.low is None or figure.high is None:
        return None
    one, all_ = (-NormalDist().inv_cdf(SIGNIFICANT / 2 / number) for number in (1, max(1, tests)))
    return (figure.high - figure.low) / 2 * all_ / one


def _next(lead: ModelScores, others: Sequence[ModelScores], evidence: _Evidence, ranking: _Ranking) -> Answer:
    """What the evidence allows to decide, and where it does not, what would help."""
    if not evidence.is_clear(lead):
        if any(map(evidence.is_clear, others)):
            return Answer(_NEXT, "Look at the photos.", "See below in which classes the drops are.")
        reason = "Do not conclude that the models ignore the background: add photos, and evaluate again."
        if (margin := evidence.margin(lead.get("drop"))) is not None and margin <= PRECISE:
            reason = f"The interval of the largest drop ends at {percent(lead.get('drop').high)} points."
            return Answer(_NEXT, "Nothing: more photos of this kind would change little.", reason)
        return Answer(_NEXT, "Add photos.", reason)
    look = f"See below in which classes {lead.label} drops most, and on which photos."
    if ranking.doubtful:
        which = _listed(ranking.doubtful) if ranking.apart else "another model"
        reason = f"Do not choose {which} over {lead.label} because of a smaller drop. {look}"
        return Answer(_NEXT, "Decide on other grounds, or add photos.", reason)
    if not others:
        return Answer(
            _NEXT, "Look at the photos.", f"{look} Evaluate other models on the same photos to compare."
        )
    left = [(model.label, model.get("accuracy", "counter")) for model in (lead, *others)]
    left = [left[0], max(left[1:], key=lambda each: each[1].value or 0.0)]
    levels = ", ".join(f"{label} {accuracy.text} % {accuracy.interval}".rstrip() for label, accuracy in left)
    reason = f"Weigh the drop against it: {levels}. {look}"
    return Answer(_NEXT, "Compare accuracy on counter backgrounds.", reason)


def _drop(model: ModelScores) -> float:
    return model.get("drop").value or 0.0


def _all_of(labels: Sequence[str], each: str) -> str:
    if len(labels) == 1:
        return f"the other model, {labels[0]}"
    if len(labels) == 2 and each == "any":
        return "either other model"
    return f"{each} of the {len(labels)} other models"


def _listed(labels: Sequence[str]) -> str:
    if len(labels) > _NAMED:
        return f"{count(len(labels))} models"
    return labels[0] if len(labels) == 1 else f"{', '.join(labels[:-1])} and {labels[-1]}"
