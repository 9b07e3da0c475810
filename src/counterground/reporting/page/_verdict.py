"""The page's first screen: what was found, how sure that is, whether photos suffice, what to do next."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from counterground.metrics import BG_GAP
from counterground.reporting.page._comparisons import Comparisons
from counterground.reporting.page._enough import Ahead, enough_photos
from counterground.reporting.page._evidence import (
    BIASED,
    NAMED,
    NO_INTERVAL,
    Answer,
    Evidence,
    Ranking,
    Selection,
    in_points,
    listed,
)
from counterground.reporting.words import DROP_WORDS, Words
from counterground.results import NO_GROUPS, ModelScores, corrected_drops, headline, percent

_NEXT = "What to do next?"
_CAUSES_OF_GUESSING = (
    "Look for the cause first: do the class names fit the model, is the preprocessing the model's own, does "
    "it know these classes at all, or do too many names compete (--label-space benchmark leaves only those "
    "of these photos)?"
)
CAUSE = "How much of the drop is the background?"
CURE = "What would make it smaller?"
_CHOSEN_HERE = (
    "The pairs were chosen on these same photos, which inflates drops by an unknown amount that differs "
    "between models."
)


_NO_STRATA = "no stratum has photos on both sides"
_NO_EFFECT = (
    "These composites do not show how much models rely on the background: the same objects are not on "
    "backgrounds of their own label and of other labels"
)
_ELSEWHERE = (
    "Photos that were not used to choose the pairs give a drop without this bias: counterground discover "
    "--split half keeps half of the photos for measuring; new photos of the same pairs also work, and are "
    "the only way for CounterAnimal's pairs."
)


_SWAP_AGAIN = Answer(
    _NEXT,
    "Make other composites.",
    "counterground swap with the kinds same and other puts the same objects on both.",
)


@dataclass(frozen=True)
class Verdict:
    """``sentence`` says what was found, ``answers`` how well the photos support it and what to do next.

    ``lead`` is the label of the model with the largest drop; None if no model's drop says anything.
    """

    sentence: str
    answers: list[Answer]
    lead: str | None


def find_lead(
    models: Sequence[ModelScores], guessing: Collection[str] = (), words: Words = DROP_WORDS
) -> ModelScores | None:
    """Return the model with the largest difference, except those near chance; None if none has one."""
    return max(_judged(models, guessing, words), key=words.size, default=None)


def _judged(models: Sequence[ModelScores], guessing: Collection[str], words: Words) -> list[ModelScores]:
    return [model for model in models if words.knows(model) and model.label not in guessing]


def judge(
    models: Sequence[ModelScores],
    comparisons: Comparisons,
    *,
    guessing: Collection[str] = (),
    has_backgrounds: bool = True,
    of_composites: bool = False,
    shows_photos: bool = True,
    words: Words = DROP_WORDS,
    selection: Selection | None = None,
    generative: Collection[str] = (),
    cause: Answer | None = None,
    cure: Answer | None = None,
    ahead: Ahead | None = None,
) -> Verdict:
    """Say which of the models has the largest drop, in words no stronger than the tests.

    Args:
        models: all models of one benchmark.
        comparisons: their paired tests.
        guessing: labels of models near chance, whose drops say nothing.
        has_backgrounds: whether photos have backgrounds, from which `discover` could choose pairs.
        of_composites: whether the photos are composites.
        shows_photos: whether the page shows any of the photos.
        words: words for another contrast, whose difference is judged instead of the drop.
        selection: who chose the pairs of backgrounds, and on which photos.
        generative: labels of generative models, which have no head that could be mitigated.
        cause: how much of the drop is the background, if swapped backgrounds were evaluated.
        cure: what would make it smaller, if mitigations were tried.
        ahead: what the photos can detect; None if nothing can be planned.
    """
    if of_composites and words.is_drop:  # each background has objects of its own, or no object
        return Verdict(f"{_NO_EFFECT}.", [*filter(None, (cause, cure)), _SWAP_AGAIN], None)
    lead = find_lead(models, guessing, words)
    if lead is None:
        found = _without_drop(models, guessing, words, has_backgrounds=has_backgrounds)
        return replace(found, answers=[*filter(None, (cause, cure)), *found.answers])
    judged = _judged(models, guessing, words)
    others = [model for model in judged if model is not lead]
    evidence = Evidence(corrected_drops(judged, words.contrast), words, selection or Selection())
    ranking = Ranking.of(lead, others, comparisons, words)
    answers = [_relies(lead, evidence)]
    if cure is None and lead.label not in generative:
        cure = _not_mitigated(lead, evidence)
    answers += filter(None, (cause or _not_swapped(lead, evidence), cure))
    gained = evidence.is_reversed(lead)
    if others and not gained:  # if even the largest drop is a gain, it is no larger than the others'
        answer = ranking.answer(is_biased=evidence.selection.has_biased(lead.label))
        if evidence.selection.on_these_photos and ranking.p_values and answer.answer != BIASED:
            answer = answer._replace(
                answer="Perhaps." if answer.answer in ("Yes.", "As far as tested.") else answer.answer,
                reason=f"{answer.reason} {_CHOSEN_HERE}",
            )
        answers.append(answer)
    if others:
        answers.append(_least([lead, *others], comparisons, words))
    answers += _left_out(models, guessing, words)
    enough = enough_photos(lead, evidence, ranking, ahead)
    answers.append(enough)
    answers += _other_classes(lead, words)
    if evidence.doubt(lead):
        answers.append(Answer(_NEXT, "Measure it on other photos.", _ELSEWHERE))
    else:
        answers.append(
            _after_a_gain(words)
            if gained
            else _next(
                lead,
                others,
                evidence,
                ranking,
                enough=enough.answer == "Yes.",
                shows_photos=shows_photos,
            )
        )
    sentence = _sentence(lead, others, evidence, ranking)
    left_out = [model.label for model in models if model.label in guessing]
    if others and left_out:  # the sentence sounds as if it were about all models; these may drop more
        if sentence.startswith("No model "):
            sentence = f"No model clearly above chance {sentence.removeprefix('No model ')}"
        sentence += f" Left out, near chance: {listed(left_out)}."
    return Verdict(sentence, answers, lead.label)


def _without_drop(
    models: Sequence[ModelScores], guessing: Collection[str], words: Words, *, has_backgrounds: bool
) -> Verdict:
    """Return the verdict if no drop can be measured, or none of a model that beats guessing."""
    check = Answer(_NEXT, "Check the models.", _CAUSES_OF_GUESSING)
    if guessing and any(map(words.knows, models)):
        sentence = f"No {words.noun} can be judged: no model is clearly better than guessing on these photos."
        return Verdict(sentence, [*_left_out(models, guessing, words), check], None)
    best = max(models, key=lambda model: model.get("plain_accuracy").value or 0.0)
    accuracy = best.get("plain_accuracy")
    highest = f"Highest measured accuracy: {best.label}, {accuracy.text} % {accuracy.interval}".rstrip()
    found = (
        headline(best, contrast=words.contrast)
        if len(models) == 1
        else f"{highest}. No {words.noun} can be measured: {NO_GROUPS if words.is_drop else _NO_STRATA}"
    )
    if not words.is_drop:
        step = "See below how many photos each cell has; then hold fewer columns fixed, or add photos."
        return Verdict(f"{found}.", [Answer(_NEXT, "Choose another contrast.", step)], None)
    if all(model.label in guessing for model in models):  # pairs that a guessing referee chooses are noise
        return Verdict(f"{found}.", [check], None)
    if any(side.value is not None for model in models for side in model.of(words.contrast)):
        step = "A drop needs common and counter photos of the same class."
        return Verdict(f"{found}.", [Answer(_NEXT, "Add photos of the missing group.", step)], None)
    discover = "it chooses a common and a counter background for each class. Then evaluate the result."
    step = (
        f"Run counterground discover: {discover}"
        if has_backgrounds
        else "Sort the photos into folders <class>/<background>/, or label backgrounds with counterground "
        f"label. Then run counterground discover: {discover}"
    )
    answer = "Choose pairs of backgrounds." if has_backgrounds else "Name the backgrounds."
    return Verdict(f"{found}.", [Answer(_NEXT, answer, step)], None)


def _sentence(
    lead: ModelScores,
    others: Sequence[ModelScores],
    evidence: Evidence,
    ranking: Ranking,
) -> str:
    words = evidence.words
    doubt = evidence.doubt(lead)
    but = f" {doubt.reason}" if doubt else ""
    if not others:
        return f"{headline(lead, contrast=words.contrast, when=words.when)}.{but}"
    drop = words.difference(lead)
    if drop.value is not None and drop.value <= 0:
        return f"{words.nobody}; the largest {words.noun} is that of {lead.label}, {in_points(drop)}."
    if not evidence.is_clear(lead):
        doubt_of_it = ", not statistically distinguishable from zero"
        if drop.low is None or drop.high is None:
            doubt_of_it = "; there are too few independent photos to judge it"
        return f"{_clear(others, evidence)} {_largest(lead, words)}{doubt_of_it}."
    loses = f"it loses {in_points(drop)} {words.when}"
    largest = f"{lead.label} has the largest {words.noun}"
    if doubt or ranking.doubtful:  # the tests do not show that it is the largest
        largest = f"The largest measured {words.noun} is that of {lead.label}"
    if doubt or not ranking.doubtful:
        return f"{largest}: {loses}.{but}"
    if ranking.apart:
        return f"{largest}: {loses}. {listed(ranking.doubtful)} may have as large a {words.noun}."
    largest = f"The largest measured {words.noun} is that of {lead.label}"
    return f"It is not clear which model has the largest {words.noun}. {largest}: {loses}."


def _clear(models: Sequence[ModelScores], evidence: Evidence) -> str:
    """Say which models clearly rely on the background if that with the largest drop does not."""
    words = evidence.words
    relying = [model for model in models if evidence.is_clear(model) and not evidence.doubt(model)]
    if not relying:
        return f"There is no clear evidence that any model {words.relies}."
    if len(relying) == 1:
        drop = words.difference(relying[0])
        size = f"its {words.noun} is {in_points(drop)}"
        return f"There is clear evidence that {relying[0].label} {words.relies}: {size}."
    names = listed([model.label for model in relying])
    return f"There is clear evidence that {names} {words.rely}."


def _largest(lead: ModelScores, words: Words) -> str:
    drop = words.difference(lead)
    return f"The largest {words.noun} is that of {lead.label}, {in_points(drop)}"


def _relies(lead: ModelScores, evidence: Evidence) -> Answer:
    words = evidence.words
    question, noun = words.question(lead.label), words.noun
    drop = words.difference(lead)
    if drop.low is None or drop.high is None:
        return Answer(question, "Unknown.", NO_INTERVAL)
    models = evidence.models
    if evidence.is_clear(lead):
        found, inflated = f"The 95 % interval of its {noun}, {drop.interval}, lies above 0.", ""
        if models > 1:
            found = (
                f"Its {noun} is above 0 ({evidence.p_text(lead)}), with a 95 % interval of {drop.interval}."
            )
            inflated = f" Selected as the largest of {models} {noun}s, it may be somewhat inflated."
        if doubt := evidence.doubt(lead):
            return Answer(question, doubt.answer, f"{found} {doubt.reason}")
        if lead.label in evidence.selection.referees:
            inflated += " It chose these pairs, on other photos: they reflect its own weaknesses."
        sides = "groups" if words.is_drop else "sides"
        other = (
            "The objects are the same on both."
            if words.is_effect
            else f"Other differences between the {sides}, such as the size of objects, may contribute, too."
        )
        return Answer(question, "Yes.", f"{found} {other}{inflated}")
    if evidence.is_reversed(lead):
        reason = (
            f"Its {noun} is below 0 ({evidence.p_text(lead)}), with a 95 % interval of {drop.interval}: it "
            f"is more accurate on {words.on_right}."
        )
        return Answer(question, "The other way round.", reason)
    reason = f"The 95 % interval of its {noun}, {drop.interval}, reaches 0."
    if drop.low > 0 or drop.high < 0:
        side, extreme = ("above", "the largest") if drop.low > 0 else ("below", "one")
        reason = (
            f"The 95 % interval of its {noun}, {drop.interval}, lies {side} 0, but that of {extreme} of "
            f"{models} {noun}s may do so by chance ({evidence.p_text(lead)})."
        )
    return Answer(question, "No clear evidence.", reason)


def _not_swapped(lead: ModelScores, evidence: Evidence) -> Answer | None:
    """Return the answer that names the command for measuring how much of a clear drop is the background."""
    if not evidence.words.is_drop or not evidence.is_clear(lead):
        return None
    reason = "counterground swap puts the same objects on other backgrounds."
    return Answer(CAUSE, "Not measured.", reason)


def _not_mitigated(lead: ModelScores, evidence: Evidence) -> Answer | None:
    """Return the answer that names the command for trying to make a clear drop smaller."""
    if not evidence.words.about_backgrounds or not evidence.is_clear(lead):
        return None
    reason = "counterground mitigate tries methods and measures what each costs."
    return Answer(CURE, "Not tried.", reason)


def _least(models: Sequence[ModelScores], comparisons: Comparisons, words: Words) -> Answer:
    """Say which model has the smallest drop, and which others may have one as small."""
    least = min(reversed(models), key=words.size)  # of equal drops, not that of the lead
    drop = words.difference(least)
    ranking = Ranking.of(least, [model for model in models if model is not least], comparisons, words)
    reason = f"{in_points(drop)}."
    if ranking.tied:
        verb = "is" if len(ranking.tied) == 1 else "are"
        reason += f" {listed(ranking.tied)} {verb} not significantly different from it."
    if ranking.untested:
        reason += f" Not tested against it: {listed(ranking.untested)}."
    if ranking.few:
        reason += f" Too few independent photos to test it against {listed(ranking.few)}."
    return Answer(f"Smallest measured {words.noun}", f"{least.label}:", reason)


def _left_out(models: Sequence[ModelScores], guessing: Collection[str], words: Words) -> list[Answer]:
    """Name models near chance, which are not compared: at 0 % nothing can be lost."""
    found = [model for model in models if model.label in guessing]
    if not found:
        return []
    lefts = [model.of(words.contrast).left for model in found]
    levels = ", ".join(f"{left.text} %" for left in lefts)
    if len(found) > NAMED:  # the models are not named
        ranked = sorted(lefts, key=lambda left: left.value or 0.0)
        levels = f"{' to '.join(dict.fromkeys((ranked[0].text, ranked[-1].text)))} %"
    reason = f"{levels} on {words.on_left} is not clearly above chance, so a small {words.noun} says nothing."
    return [Answer("Left out", f"{listed([model.label for model in found])}:", reason)]


def _other_classes(lead: ModelScores, words: Words) -> list[Answer]:
    """Say what the drop would be with other classes, and what the other intervals are conditional on."""
    drop = words.difference(lead)
    if drop.classes_low is None:
        return []
    same = "classes and pairs of backgrounds" if words.about_backgrounds else "classes"
    reason = (
        f"The 95 % interval of {lead.label}’s {words.noun} if these classes are a random sample of classes. "
        f"All other intervals are about other photos of the same {same}."
    )
    return [Answer("For other classes chosen like these", f"{drop.classes_interval}.", reason)]


def _next(
    lead: ModelScores,
    others: Sequence[ModelScores],
    evidence: Evidence,
    ranking: Ranking,
    *,
    enough: bool,
    shows_photos: bool,
) -> Answer:
    """Say what the evidence allows readers to decide or, if it does not, what would help."""
    words = evidence.words
    drop = words.difference(lead)
    if not evidence.is_clear(lead):
        if any(map(evidence.is_clear, others)):
            where = f"See below which classes have the {words.noun}s."
            return Answer(_NEXT, "Look at the photos.", where)
        who, ignore, do = ("the models", "ignore", "do") if others else (lead.label, "ignores", "does")
        alike = f"{ignore} the background" if words.about_backgrounds else f"{do} equally well on both sides"
        reason = f"Do not conclude that {who} {alike}: add photos, and evaluate again."
        if enough:
            reason = f"The interval of the largest {words.noun} ends at {percent(drop.high)} points."
            return Answer(_NEXT, "Nothing: more photos of this kind would change little.", reason)
        return Answer(_NEXT, "Add photos.", reason)
    loses = "drops" if words.is_drop else "loses"
    where = ", and on which photos" if shows_photos else ""
    look = f"See below in which classes {lead.label} {loses} most{where}."
    if ranking.doubtful:
        which = listed(ranking.doubtful) if ranking.apart else "another model"
        reason = f"Do not choose {which} over {lead.label} because of a smaller {words.noun}. {look}"
        tested = ranking.tied or ranking.few
        instead = "add photos" if tested else "evaluate all models on the same photos with the same settings"
        return Answer(_NEXT, f"Decide on other grounds, or {instead}.", reason)
    if not others:
        return Answer(
            _NEXT, "Look at the photos.", f"{look} Evaluate other models on the same photos to compare."
        )
    left = [(model.label, model.of(words.contrast).right) for model in (lead, *others)]
    left = [left[0], max(left[1:], key=lambda each: each[1].value or 0.0)]
    levels = ", ".join(f"{label} {accuracy.text} % {accuracy.interval}".rstrip() for label, accuracy in left)
    reason = f"Weigh the {words.noun} against accuracy there: {levels}. {look}"
    where = "counter backgrounds" if words.is_drop else words.right
    return Answer(_NEXT, f"Compare accuracy on {where}.", reason)


def _after_a_gain(words: Words) -> Answer:
    if not words.about_backgrounds or words.contrast == BG_GAP:
        return Answer(_NEXT, "Look at the photos.", f"See below which classes have the {words.noun}s.")
    reason = (
        "Counter backgrounds should be those that models find harder. If you named the groups yourself, let "
        "counterground discover choose them: by default, its benchmark has none of the photos that it used "
        "for choosing."
    )
    return Answer(_NEXT, "Check which backgrounds are common and which counter.", reason)
