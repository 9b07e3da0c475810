"""What the tests and the choice of the pairs allow to say about the models of one benchmark."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from counterground.catalogue import Finding, ordered
from counterground.comparison import Selection
from counterground.findings._words import DROP_WORDS, Words
from counterground.metrics import SIGNIFICANT, Estimate
from counterground.results import NO_GROUPS, MitigationRecord, ModelScores, near_chance
from counterground.text import p_equals

FEW_CLUSTERS = 10
"""With fewer, intervals are rough."""
PLACEBO = 0.02
"""Cost of editing alone (fraction) from which effects of backgrounds are uncertain."""
_NO_SIDES = "no stratum has photos on both sides"


class PairTest(NamedTuple):
    """The corrected p-value of the difference of two models' drops, and of how many tests it is one."""

    p_corrected: float
    tests: int


class Composites(NamedTuple):
    """What composites show of a model: the effect of the background, and what editing alone costs.

    ``effect`` is corrected together with all others of the page; ``chose_pairs`` says whether the pairs were
    chosen on the photos of the objects.
    """

    model: str
    effect: Estimate
    cost: float = 0.0
    chose_pairs: bool = False


class Mitigation(NamedTuple):
    """What methods did to a model.

    ``chose_pairs`` says whether the pairs were chosen on the photos that judged it; ``other_photos`` whether
    these are not those of the models.
    """

    record: MitigationRecord
    chose_pairs: bool = False
    other_photos: bool = False


@dataclass(frozen=True)
class Facts:
    """What is known about the models of one benchmark, by their labels.

    Attributes:
        models: their scores.
        words: what the contrast that is judged is called.
        chance: accuracy of guessing, by label.
        selection: who chose the pairs of backgrounds.
        tests: of the difference of two models' drops, by the two labels; None: none were made.
        of_composites: whether the photos are composites.
        corrected: the differences of the judged models (``metrics.corrected_differences``), by label; they
            have no corrected p-value if nobody knows of how many contrasts this one was picked.
        composites: what composites show of these models.
        mitigations: what methods did to them.
        photos: whether there are enough photos.
        generative: models without a head that could be mitigated.
    """

    models: Sequence[ModelScores]
    words: Words = DROP_WORDS
    chance: Mapping[str, float] = field(default_factory=dict)
    selection: Selection = field(default_factory=Selection)
    tests: Mapping[frozenset[str], PairTest] | None = None
    of_composites: bool = False
    corrected: Mapping[str, Estimate] = field(default_factory=dict)
    composites: Sequence[Composites] = ()
    mitigations: Sequence[Mitigation] = ()
    photos: Finding | None = None
    generative: frozenset[str] = frozenset()

    @cached_property
    def guessing(self) -> frozenset[str]:
        """Models near chance on the left side or, if no difference is known, on all photos."""
        known = any(map(self.words.knows, self.models))
        levels = {
            model.label: model.of(self.words.contrast).left if known else model.get("accuracy")
            for model in self.models
        }
        return frozenset(
            label for label, level in levels.items() if near_chance(level, self.chance.get(label, 0.0))
        )

    @cached_property
    def judged(self) -> list[ModelScores]:
        """The models whose difference says something."""
        return [m for m in self.models if self.words.knows(m) and m.label not in self.guessing]

    @cached_property
    def lead(self) -> ModelScores | None:
        """The model with the largest difference; None if no difference says anything."""
        if self.of_composites and self.words.is_drop:  # each background has objects of its own, or no object
            return None
        return max(self.judged, key=self.words.size, default=None)

    @property
    def size(self) -> Estimate:
        """The lead's difference, with the interval that agrees with its corrected test."""
        return self.corrected.get(self.lead.label, Estimate()) if self.lead else Estimate()

    @property
    def is_clear(self) -> bool:
        """Whether the lead's difference is above 0 and significant."""
        return is_clear(self.size) and (self.size.value or 0.0) > 0

    @property
    def is_reversed(self) -> bool:
        """Whether it is below 0 and significant."""
        return is_clear(self.size) and (self.size.value or 0.0) < 0

    @property
    def doubts(self) -> list[Finding]:
        """Why a clear difference of the lead is not established: how it, or the pairs, were chosen."""
        if self.lead is None or not is_clear(self.size):
            return []
        if self.size.p_corrected is None:
            return [Finding("exploratory", "", {"noun": self.words.noun})]
        if not self.words.about_backgrounds or self.is_reversed:
            return []
        return self.selection.doubts(self.lead.label, self.words.noun)

    @cached_property
    def others(self) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], int]:
        """The other models by their tests against the lead: clearly smaller, tied, untested; all tests."""
        lead = self.lead
        labels = [model.label for model in self.judged if model is not lead]
        if lead is None or self.tests is None:
            return (), (), (), 0
        tests = {label: self.tests.get(frozenset((label, lead.label))) for label in labels}
        p = {label: test.p_corrected for label, test in tests.items() if test}
        smaller = tuple(label for label in p if p[label] < SIGNIFICANT)
        tied = tuple(label for label in p if p[label] >= SIGNIFICANT)
        untested = tuple(label for label in labels if label not in p)
        return smaller, tied, untested, max((test.tests for test in tests.values() if test), default=0)


def is_clear(difference: Estimate) -> bool:
    """Whether an interval excludes 0, and a corrected test, if there is one, agrees."""
    low, high, p = difference.low, difference.high, difference.p_corrected
    return low is not None and high is not None and not low <= 0 <= high and (p is None or p < SIGNIFICANT)


Rule = Callable[[Facts], Iterator[Finding]]
_RULES: list[Rule] = []


def _rule(function: Rule) -> Rule:
    """Add a rule: what it yields is found in this order, within claims, warnings, notes and steps."""
    _RULES.append(function)
    return function


@_rule
def _claim(facts: Facts) -> Iterator[Finding]:
    """What was found, in one sentence."""
    words, lead, size = facts.words, facts.lead, facts.size
    if facts.of_composites and words.is_drop:
        yield Finding("no_effect")
    elif lead is None and facts.guessing and any(map(words.knows, facts.models)):
        yield Finding("all_near_chance", "", {"noun": words.noun})
    elif lead is None:
        best = max(facts.models, key=lambda model: model.get("plain_accuracy").value or 0.0)
        reason = NO_GROUPS if words.is_drop else _NO_SIDES
        yield Finding.of("no_sides", best.label, best.get("plain_accuracy"), noun=words.noun, reason=reason)
    elif facts.doubts:
        yield Finding.of("not_established", lead.label, size, noun=words.noun)
    elif facts.is_reversed:
        yield Finding.of(
            "reversed", lead.label, size, noun=words.noun, left=words.on_left, right=words.on_right
        )
    elif not facts.is_clear:
        yield Finding.of("not_clear", lead.label, size, noun=words.noun)
    else:
        code = "loses_most" if len(facts.judged) > 1 else "loses"
        number = {"models": len(facts.judged), "noun": words.noun} if len(facts.judged) > 1 else {}
        yield Finding.of(code, lead.label, size, when=words.when, **number)


@_rule
def _selected(facts: Facts) -> Iterator[Finding]:
    """Who chose the contrast or, if it is about backgrounds, the pairs."""
    if any(doubt.code == "exploratory" for doubt in facts.doubts):
        yield from facts.doubts
    if facts.words.about_backgrounds and any(map(facts.words.knows, facts.models)):
        yield from facts.doubts
        yield from facts.selection.findings(facts.words.noun)


@_rule
def _guessing(facts: Facts) -> Iterator[Finding]:
    """Models near chance are not compared: at 0 % nothing can be lost."""
    if facts.guessing:
        models = tuple(model.label for model in facts.models if model.label in facts.guessing)
        known = any(map(facts.words.knows, facts.models))
        left = facts.words.on_left if known else "all photos"
        yield Finding("near_chance", "", {"models": models, "left": left, "noun": facts.words.noun})


@_rule
def _interval(facts: Facts) -> Iterator[Finding]:
    """How good the interval is, and what it is about."""
    lead, words, size = facts.lead, facts.words, facts.size
    if lead is None:
        return
    own = words.difference(lead)
    if own.low is None or own.high is None:
        yield Finding("no_interval", lead.label)
        return
    if own.clusters is not None and own.clusters < FEW_CLUSTERS:
        yield Finding("few_clusters", "", {"clusters": own.clusters})
    if (size.family or 1) > 1:
        numbers = {"p": p_equals(size.p_corrected), "tests": size.family, "noun": words.noun}
        yield Finding("corrected", lead.label, numbers)
    if facts.is_clear and not words.is_effect:
        yield Finding("confounded", "", {"noun": words.noun})
    if own.classes_low is not None:
        yield Finding("other_classes", lead.label, {"interval": own.classes_interval})


@_rule
def _mistakes(facts: Facts) -> Iterator[Finding]:
    """Whether the lead's mistakes name classes that the background fits more often than chance does."""
    if facts.lead is None or not facts.words.is_drop:
        return
    ratio, chance = (facts.lead.get(name, "counter") for name in ("bias_ratio", "bias_ratio_chance"))
    if ratio.low is not None and chance.value is not None and ratio.low > chance.value:
        yield Finding.of("mistakes_fit", facts.lead.label, ratio, chance=chance.value)


@_rule
def _ranking(facts: Facts) -> Iterator[Finding]:
    """Whether the lead drops more than the others; a gain is no larger than the others'."""
    lead, noun = facts.lead, facts.words.noun
    if lead is None or len(facts.judged) < 2 or facts.is_reversed:
        return
    if facts.words.about_backgrounds and facts.selection.biases(lead.label):
        yield Finding("biased_ranking", lead.label, {"noun": noun})
        return
    smaller, tied, untested, tests = facts.others
    numbers = {"noun": noun, "tests": tests}
    if smaller:
        yield Finding("larger", lead.label, {**numbers, "others": smaller})
        if facts.words.about_backgrounds and facts.selection.on_these_photos:
            yield Finding("ranking_uncertain", "", {"noun": noun})
    if tied:
        yield Finding("tied", lead.label, {**numbers, "others": tied})
    if untested:
        yield Finding("untested", lead.label, {"others": untested})


@_rule
def _caused(facts: Facts) -> Iterator[Finding]:
    """How much of the drop is the background, for the lead or else the model with the largest effect."""
    measured = [each for each in facts.composites if each.effect.value is not None]
    if facts.composites and not measured:
        yield Finding("no_effect")
    if not measured:
        return
    lead = facts.lead.label if facts.lead else None
    # A run without the effect, such as one for the BG-Gap, says nothing against another that measures it.
    of_lead = [each for each in measured if each.model == lead]
    found = of_lead[0] if of_lead else max(measured, key=lambda each: each.effect.value or 0.0)
    code = "caused" if is_clear(found.effect) and (found.effect.value or 0.0) > 0 else "not_caused"
    numbers = {"p": p_equals(found.effect.p_corrected), "effects": len(measured)}
    yield Finding.of(code, found.model, found.effect, **numbers)
    if found.chose_pairs:
        yield Finding("inflated_too", "", {"what": "the effect, too, where a label has few photographs"})
    if abs(found.cost) > PLACEBO:
        yield Finding("placebo_large", found.model, {"cost": found.cost})


@_rule
def _mended(facts: Facts) -> Iterator[Finding]:
    """Which mitigations make the difference significantly smaller, at what cost."""
    known = [each for each in facts.mitigations if each.record.contrast == str(facts.words.contrast)]
    if not known:
        return
    lead = facts.lead.label if facts.lead else None
    found = max(  # of several runs, the first that helps most
        [each for each in known if each.record.model == lead] or known,
        key=lambda each: 2 if each.record.mended else any(method.helps for method in each.record.methods),
    )
    record = found.record
    yield from record.findings
    if "mended" in {each.code for each in record.findings}:
        if found.chose_pairs:
            yield Finding("inflated_too", "", {"what": "a gain, merely because answers change"})
        if found.other_photos:
            yield Finding("mended_elsewhere", record.model, {"benchmark": record.benchmark})


@_rule
def _photos(facts: Facts) -> Iterator[Finding]:
    """Whether there are enough photos."""
    if facts.photos is not None:
        yield facts.photos


@_rule
def _classes(facts: Facts) -> Iterator[Finding]:
    """Whether the difference is not that of the two accuracies, as they are over other classes."""
    for model in facts.models:
        known = [each.value for each in model.of(facts.words.contrast) if each.value is not None]
        if len(known) == 3 and abs(known[0] - known[1] - known[2]) > 1e-9:
            yield Finding("one_sided", "", {"noun": facts.words.noun})
            return


@_rule
def _step(facts: Facts) -> Iterator[Finding]:
    """What the evidence allows readers to decide or, if it does not, what would help."""
    words, lead = facts.words, facts.lead
    if facts.of_composites and words.is_drop:
        yield Finding("do_swap_kinds")
    elif lead is None and (facts.guessing and _is_guessing(facts)):
        yield Finding("do_check_models")
    elif lead is None:
        yield Finding("do_choose_pairs" if words.is_drop else "do_other_contrast")
    elif facts.doubts:
        yield Finding("do_measure_elsewhere")
    elif facts.is_reversed:
        yield Finding("do_check_sides")
    elif not facts.is_clear:
        enough = facts.photos is not None and facts.photos.code == "photos_enough"
        yield Finding("do_nothing" if enough else "do_add_photos")
    else:
        causes, mends = {each.code for each in _caused(facts)}, {each.code for each in _mended(facts)}
        _, tied, untested, _ = facts.others
        if tied or untested:
            yield Finding("do_other_grounds", "", {"noun": words.noun})
        else:
            yield Finding("do_compare", "", {"noun": words.noun, "right": words.on_right})
        if words.is_drop and not causes & {"caused", "not_caused"}:
            yield Finding("do_swap")
        if words.about_backgrounds and lead.label not in facts.generative and not mends:
            yield Finding("do_mitigate", "", {"noun": words.noun})


def _is_guessing(facts: Facts) -> bool:
    known = any(map(facts.words.knows, facts.models))
    return known or all(model.label in facts.guessing for model in facts.models)


def judge(facts: Facts) -> list[Finding]:
    """Return what can be said about the models: one claim, then what limits it, and what to do next."""
    return ordered(finding for rule in _RULES for finding in rule(facts))
