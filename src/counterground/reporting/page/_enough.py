"""Whether there are enough photos to see a drop, by the functions of `counterground plan`."""

from __future__ import annotations

import math
from collections.abc import Callable

from counterground.decision import Outlook, Question
from counterground.metrics import ALPHA
from counterground.reporting.page._evidence import NO_INTERVAL, Answer, Evidence, Ranking, half_width
from counterground.reporting.words import Words
from counterground.results import ModelScores, percent
from counterground.text import counted

ASKED = Question(0.05, 0.8)
"""The drop that photos must be enough to detect, 5 points as `discover` asks for, and with what power."""

Ahead = Callable[[str, str | None, float], Outlook | str]
"""Function: what `counterground plan` says about a model's drop, or about its difference from another's.

It is given the labels of both models (the second may be None) and ``alpha`` for ``Outlook.needed_at``.
If nothing can be planned, it returns the reason, which continues a sentence that begins with the first label.
"""


def enough_photos(lead: ModelScores, evidence: Evidence, ranking: Ranking, ahead: Ahead | None) -> Answer:
    """Say whether there are enough photos, by the drops that they detect with the power of `ASKED`.

    All numbers are those of `counterground plan`. The largest of several drops needs more photos: the
    number corrected for them decides.
    """
    words = evidence.words
    drop, noun = words.difference(lead), words.noun
    question = "Are there enough photos?"
    photos = counted(drop.n, "composite" if words.is_effect else "photo")
    if drop.clusters == drop.n:
        photos += ", each taken as independent"
    else:
        photos += f" in {counted(drop.clusters or 0, 'cluster')} (those of one cluster are not independent)"
    margin = half_width(drop, evidence.models)
    if margin is None:
        return Answer(question, "No.", f"{photos}. {NO_INTERVAL}")
    gained = evidence.is_reversed(lead)
    size = "difference" if gained else noun  # a drop of -20 points is below any
    doubtful = (
        f"Yes, for a {size} this large." if gained or evidence.is_clear(lead) else "Too few to be sure."
    )
    found = "" if ahead is None else ahead(lead.label, None, ALPHA / evidence.models)
    if isinstance(found, str):
        reason = f"{photos}: a {size} below about {_points(margin)} cannot be distinguished from zero"
        because = f" {lead.label} {found}" if found else ""
        return Answer(question, "Yes." if margin <= ASKED.drop else doubtful, f"{reason}.{because}")
    power = f"with power {100 * ASKED.power:g} %"
    reason = f"{photos}: no {noun} is detected {power}"
    if found.smallest is not None:
        reason = f"{photos}: a {noun} of at least {percent(found.smallest)} points is detected {power}"
        reason += _between(lead, noun, ranking, ahead)
    enough = found.needed_at is not None and found.needed_at <= found.now
    if not enough and found.needed is not None:
        reason += f". {_needed(found, words, evidence)}"
    return Answer(question, "Yes." if enough else doubtful, f"{reason}.")


def _between(lead: ModelScores, noun: str, ranking: Ranking, ahead: Ahead | None) -> str:
    """Continue with the difference between two models' drops that is detected with the same power."""
    if ahead is None or ranking.closest is None:
        return ""
    pair = ahead(lead.label, ranking.closest, ALPHA)
    if isinstance(pair, str) or pair.smallest is None:
        return ""
    size = f"a difference of at least {percent(pair.smallest)} points"
    return f", and {size} between its {noun} and that of {ranking.closest}"


def _needed(found: Outlook, words: Words, evidence: Evidence) -> str:
    """Say with what power the drop of `ASKED` is detected now, and how many photos are needed."""
    rows = "composite" if words.is_effect else "photo"
    size = f"{100 * ASKED.drop:g} points"
    now = f"A {words.noun} of {size} is detected with power {percent(found.power_now)} % now"
    corrected = ""
    if found.needed_at is not None and found.needed_at != found.needed:
        corrected = f"{counted(found.needed_at, rows)} corrected for {counted(evidence.models, 'model')}"
    assert found.needed is not None
    if found.needed <= found.now:
        return f"{now}, but needs about {corrected}" if corrected else now
    needs = counted(found.needed, rows)
    if words.is_effect:
        times = math.ceil(10 * found.needed / found.now) / 10
        needs += f", made from {times:.1f} times as many objects and background photographs"
    elif found.clusters_now < found.now:
        needs += f" in {counted(found.clusters or 0, 'cluster')}"
    return f"{now} and needs about {needs}" + (f" ({corrected})" if corrected else "")


def _points(size: float) -> str:
    return counted(max(round(100 * size), 1), "point")
