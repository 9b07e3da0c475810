"""The page's first screen: what was found, how sure that is, whether photos suffice, what to do next."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from counterground.decision import Outlook, Question
from counterground.metrics import ALPHA
from counterground.reporting.page._comparisons import Comparisons
from counterground.reporting.page._evidence import (
    NO_INTERVAL,
    Answer,
    Evidence,
    Ranking,
    Selection,
    in_points,
    listed,
)
from counterground.reporting.words import DROP_WORDS, Words
from counterground.results import NO_GROUPS, ModelScores, corrected_drops, headline
from counterground.text import counted, percent

ASKED = Question(0.05, 0.8)
"""The drop that photos must be enough to detect, 5 points as `discover` asks for, and with what power."""
Ahead = Callable[[str, float], Outlook | str]
"""Function: what `counterground plan` says about a model's drop, given its label and ``alpha``.

If nothing can be planned, it returns the reason, which continues a sentence that begins with the label.
"""
_NEXT = "What to do next?"
CAUSE = "How much of the drop is the background?"
CURE = "What would make it smaller?"
_NO_EFFECT = (
    "These composites do not show how much models rely on the background: the same objects are not on "
    "backgrounds of their own label and of other labels."
)
_CHECK = Answer(
    _NEXT,
    "Check the models.",
    "Look for the cause first: do the class names fit the model, is the preprocessing the model's own, does "
    "it know these classes at all, or do too many names compete (--label-space benchmark leaves only those "
    "of these photos)?",
)
_ELSEWHERE = Answer(
    _NEXT,
    "Measure it on other photos.",
    "Photos that were not used to choose the pairs give a drop without this bias: counterground discover "
    "--split half keeps half of the photos for measuring; new photos of the same pairs also work, and are "
    "the only way for CounterAnimal's pairs.",
)
_SWAP_AGAIN = Answer(
    _NEXT,
    "Make other composites.",
    "counterground swap with the kinds same and other puts the same objects on both.",
)
_MORE_PHOTOS = Answer(
    _NEXT,
    "Add photos.",
    "Do not conclude that models do equally well on both sides: add photos, and evaluate again.",
)
_ENOUGH = Answer(
    _NEXT, "Nothing: more photos of this kind would change little.", "The interval is narrow, and holds 0."
)
_OTHER_CONTRAST = Answer(
    _NEXT,
    "Choose another contrast.",
    "See below how many photos each cell has; then hold fewer columns fixed, or add photos.",
)
_NO_PAIRS = Answer(
    _NEXT,
    "Choose pairs of backgrounds.",
    "A drop needs common and counter photos of the same class: sort the photos into folders "
    "<class>/<background>/, or label backgrounds with counterground label; then counterground discover "
    "chooses a common and a counter background for each class.",
)
_NOT_SWAPPED = Answer(
    CAUSE, "Not measured.", "counterground swap puts the same objects on other backgrounds."
)
_NOT_MITIGATED = Answer(
    CURE, "Not tried.", "counterground mitigate tries methods and measures what each costs."
)
_AFTER_A_GAIN = Answer(
    _NEXT,
    "Check which side should be harder.",
    "Counter backgrounds should be those that models find harder; counterground discover chooses them so.",
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
    of_composites: bool = False,
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
        of_composites: whether the photos are composites.
        words: words for another contrast, whose difference is judged instead of the drop.
        selection: who chose the pairs of backgrounds, and on which photos.
        generative: labels of generative models, which have no head that could be mitigated.
        cause: how much of the drop is the background, if swapped backgrounds were evaluated.
        cure: what would make it smaller, if mitigations were tried.
        ahead: what the photos can detect; None if nothing can be planned.
    """
    if of_composites and words.is_drop:  # each background has objects of its own, or no object
        return Verdict(_NO_EFFECT, [*filter(None, (cause, cure)), _SWAP_AGAIN], None)
    lead = find_lead(models, guessing, words)
    if lead is None:
        found = _without_drop(models, guessing, words)
        return replace(found, answers=[*filter(None, (cause, cure)), *found.answers])
    judged = _judged(models, guessing, words)
    others = [model for model in judged if model is not lead]
    evidence = Evidence(corrected_drops(judged, words.contrast), words, selection or Selection())
    ranking = Ranking.of(lead, others, comparisons, words)
    if evidence.is_clear(lead):
        cause = cause or (_NOT_SWAPPED if words.is_drop else None)
        can_be_mitigated = words.about_backgrounds and lead.label not in generative
        cure = cure or (_NOT_MITIGATED if can_be_mitigated else None)
    answers = [_relies(lead, evidence), *filter(None, (cause, cure))]
    if others and not evidence.is_reversed(lead):  # a gain is no larger than the others'
        answers.append(ranking.answer(evidence.selection, lead.label))
    answers += _left_out(models, guessing, words)
    enough = _enough_photos(lead, evidence, ahead)
    answers += [enough, *_other_classes(lead, words), _next(lead, evidence, ranking, enough)]
    return Verdict(_sentence(lead, others, evidence, ranking), answers, lead.label)


def _without_drop(models: Sequence[ModelScores], guessing: Collection[str], words: Words) -> Verdict:
    """Return the verdict if no drop can be measured, or none of a model that beats guessing."""
    if guessing and any(map(words.knows, models)):
        sentence = f"No {words.noun} can be judged: no model is clearly better than guessing on these photos."
        return Verdict(sentence, [*_left_out(models, guessing, words), _CHECK], None)
    best = max(models, key=lambda model: model.get("plain_accuracy").value or 0.0)
    accuracy = best.get("plain_accuracy")
    why = NO_GROUPS if words.is_drop else "no stratum has photos on both sides"
    sentence = (
        f"Highest measured accuracy: {best.label}, {accuracy.text} % {accuracy.interval}. No {words.noun} "
        f"can be measured: {why}."
    )
    if not words.is_drop:
        return Verdict(sentence, [_OTHER_CONTRAST], None)
    # Pairs that a guessing referee chooses are noise.
    guess = all(model.label in guessing for model in models)
    return Verdict(sentence, [_CHECK if guess else _NO_PAIRS], None)


def _sentence(lead: ModelScores, others: Sequence[ModelScores], evidence: Evidence, ranking: Ranking) -> str:
    words, doubt = evidence.words, evidence.doubt(lead)
    but = f" {doubt.reason}" if doubt else ""
    if not others:
        return f"{headline(lead, contrast=words.contrast, when=words.when)}.{but}"
    drop = words.difference(lead)
    largest = f"The largest measured {words.noun} is that of {lead.label}"
    if evidence.is_reversed(lead):
        return f"{largest}, {in_points(drop)}: a gain."
    if not evidence.is_clear(lead):
        return f"{largest}, {in_points(drop)}, which is not clearly above 0."
    if not doubt and ranking.doubtful:
        but = f" {listed(ranking.doubtful)} may have as large a {words.noun}."
    return f"{largest}: it loses {in_points(drop)} {words.when}.{but}"


def _relies(lead: ModelScores, evidence: Evidence) -> Answer:
    words = evidence.words
    question, drop = words.question(lead.label), words.difference(lead)
    if drop.low is None or drop.high is None:
        return Answer(question, "Unknown.", NO_INTERVAL)
    found = f"The 95 % interval of its {words.noun} is {drop.interval} ({evidence.p_text(lead)})."
    if evidence.is_reversed(lead):
        return Answer(question, "The other way round.", found)
    if not evidence.is_clear(lead):
        return Answer(question, "No clear evidence.", found)
    if doubt := evidence.doubt(lead):
        return Answer(question, doubt.answer, f"{found} {doubt.reason}")
    other = (
        "The objects are the same on both."
        if words.is_effect
        else "Other differences between the sides, such as the size of objects, may contribute, too."
    )
    return Answer(
        question, "Yes.", f"{found} {other} The largest of several differences is somewhat inflated."
    )


def _enough_photos(lead: ModelScores, evidence: Evidence, ahead: Ahead | None) -> Answer:
    """Say whether there are enough photos, by the drops that they detect with the power of `ASKED`.

    All numbers are those of `counterground plan`. The largest of several drops needs more photos: the
    number corrected for them decides.
    """
    words = evidence.words
    question, drop, noun = "Are there enough photos?", words.difference(lead), words.noun
    rows = "composite" if words.is_effect else "photo"
    photos = f"{counted(drop.n, rows)} in {counted(drop.clusters or 0, 'cluster')}"
    if drop.low is None:
        return Answer(question, "No.", f"{photos}. {NO_INTERVAL}")
    clear = evidence.is_clear(lead) or evidence.is_reversed(lead)
    doubtful = "Yes, for a difference this large." if clear else "Too few to be sure."
    found = "an average of cells has no plan" if ahead is None else ahead(lead.label, ALPHA / evidence.models)
    if isinstance(found, str):
        return Answer(question, doubtful, f"{photos}; {lead.label}: {found}.")
    least = "no" if found.smallest is None else "a"
    size = "" if found.smallest is None else f" of at least {percent(found.smallest)} points"
    reason = f"{photos}: {least} {noun}{size} is detected with power {100 * ASKED.power:g} %."
    if found.needed_at is not None and found.needed_at <= found.now:
        return Answer(question, "Yes.", reason)
    needed = "more than 10 million" if found.needed is None else counted(found.needed, rows)
    reason += (
        f" A {noun} of {100 * ASKED.drop:g} points is detected with power {percent(found.power_now)} % now "
        f"and needs about {needed}."
    )
    return Answer(question, doubtful, reason)


def _left_out(models: Sequence[ModelScores], guessing: Collection[str], words: Words) -> list[Answer]:
    """Name models near chance, which are not compared: at 0 % nothing can be lost."""
    found = [model.label for model in models if model.label in guessing]
    reason = f"Accuracy on {words.on_left} is not clearly above chance, so a small {words.noun} says nothing."
    return [Answer("Left out", f"{listed(found)}.", reason)] if found else []


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


def _next(lead: ModelScores, evidence: Evidence, ranking: Ranking, enough: Answer) -> Answer:
    """Say what the evidence allows readers to decide or, if it does not, what would help."""
    words = evidence.words
    if evidence.doubt(lead):
        return _ELSEWHERE
    if evidence.is_reversed(lead):
        return _AFTER_A_GAIN
    if not evidence.is_clear(lead):
        return _ENOUGH if enough.answer == "Yes." else _MORE_PHOTOS
    look = f"See below in which classes {lead.label} loses most."
    if ranking.doubtful:
        reason = f"Do not choose another model over {lead.label} because of a smaller {words.noun}. {look}"
        return Answer(_NEXT, "Decide on other grounds, or add photos.", reason)
    reason = f"Weigh the {words.noun} against accuracy there. {look}"
    return Answer(_NEXT, f"Compare accuracy on {words.on_right}.", reason)
