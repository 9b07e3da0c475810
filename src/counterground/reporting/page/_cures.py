"""What would make a drop smaller: a run of mitigations, as an answer and as a part of a section."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from counterground.metrics import DROP, Contrast
from counterground.reporting.page._causes import other_setting
from counterground.reporting.page._evidence import Answer
from counterground.reporting.page._forest import Forest, Line, draw_forest
from counterground.reporting.page._marks import SIDES
from counterground.reporting.page._verdict import CURE
from counterground.results import (
    BenchmarkRecord,
    MethodRecord,
    MitigationRecord,
    Table,
)
from counterground.text import and_more, counted

_NAMED = 3
_CHOSEN = (
    "The pairs were chosen on these same photos, where chance inflates the drop: a model may seem to gain "
    "merely because its answers change."
)


class Method(NamedTuple):
    """A method of the table: its record, and the chosen settings in words."""

    record: MethodRecord
    settings: str


@dataclass(frozen=True)
class Cures:
    """What a run of `counterground mitigate` says about its model, under the model's name in the section.

    ``other_photos`` says if these are not the photos of the section, or if other settings were used;
    ``chose_pairs`` whether the pairs were chosen on the photos that the methods were evaluated on.
    ``warnings`` are those of this run that the section and the record do not have.
    """

    record: MitigationRecord
    table: Table
    methods: list[Method]
    chart: Forest | None
    other_photos: str | None
    chose_pairs: bool
    warnings: list[str]

    @property
    def sentences(self) -> list[str]:
        """What the table says, and which methods also lose accuracy."""
        return [*self.record.sentences, *_losses(self.record)]

    @property
    def left_out(self) -> list[tuple[str, str]]:
        """Methods that could not be used, and why."""
        return list(self.record.left_out.items())


def make_cures(
    record: MitigationRecord,
    label: str,
    on: BenchmarkRecord,
    of: BenchmarkRecord,
    *,
    setting: str = "",
    chose_pairs: bool = False,
    warnings: Sequence[str] = (),
) -> Cures:
    """Gather what the mitigations of one run changed.

    Args:
        record: ``mitigation.json``.
        label: what the section calls its model.
        on: photos that the mitigations were evaluated on.
        of: photos that the section is about.
        setting: settings of the run, if they are not the section's.
        chose_pairs: whether the pairs were chosen on the photos of the run.
        warnings: those of the run that the section does not have.
    """
    record = record.model_copy(update={"model": label})
    other = "" if on.version == of.version else _other_set(on)
    other = " ".join(filter(None, [other, other_setting(setting)]))
    methods = [Method(each, _settings(each)) for each in record.methods]
    warned = [text for text in warnings if text not in record.notes]
    return Cures(record, record.table, methods, _draw(record), other or None, chose_pairs, warned)


def _other_set(on: BenchmarkRecord) -> str:
    return f"Measured on another set of photos: {on.name}, version {on.version[:12]}."


def cure_answer(cures: Sequence[Cures], lead: str | None, contrast: Contrast = DROP) -> Answer | None:
    """Say which mitigations make the drop significantly smaller, at what cost.

    Args:
        cures: what the mitigated models of a section show.
        lead: label of the model that the section's verdict is about.
        contrast: what the section is about; mitigations of another one give no answer.
    """
    cures = [each for each in cures if each.record.contrast == str(contrast)]
    if not cures:
        return None
    of_lead = [each for each in cures if each.record.model == lead] or list(cures)
    found = max(of_lead, key=_help)  # of several runs, the first that helps most
    record = found.record
    drop = record.unmitigated.drop.estimate
    methods = counted(len(record.methods), "method")
    noun = record.noun
    whose = f"Its {noun}" if record.model == lead else f"The {noun} of {record.model}"
    size = f"{whose} of {drop.text} points {drop.interval}".rstrip()
    if drop.value is not None and drop.value <= 0:
        return Answer(CURE, "There is nothing to make smaller.", f"{size} is not above 0.")
    one_of = f" in one of {len(of_lead)} runs" if len(of_lead) > 1 else ""
    tests = f"Holm-corrected over all tests of {methods}{one_of}, on photos not used for fitting or choosing"
    left = record.sides[0]
    smaller = sorted((each for each in record.methods if each.helps), key=_gained_on_counter)
    mitigated = [each for each in smaller if not (each.loses or each.reverses)]
    if not smaller:
        answer = f"None of {methods} tried." if len(record.methods) > 1 else f"Not {record.methods[0].name}."
        nearest = min(record.methods, key=_gained_on_counter)
        reason = f"{size} does not become significantly smaller ({tests}). Largest gain net of cost: "
        reason += f"{_changes([nearest], left)}."
    else:
        sides = {f"losing accuracy on {left}" if each.loses else f"reversing the {noun}" for each in smaller}
        side = " or ".join(sorted(sides))
        answer = _names(mitigated) if mitigated else f"None without {side}."
        named = (mitigated or smaller)[:_NAMED]
        reason = f"{size} becomes significantly smaller ({tests}): {_changes(named, left)}."
        reason += "".join(f" {sentence}" for sentence in [*record.reversals, *_losses(record)])
    chosen = _CHOSEN if found.chose_pairs and smaller else ""
    return Answer(CURE, answer, " ".join(filter(None, [reason, chosen, found.other_photos])))


def _help(cures: Cures) -> int:
    """Return how much a run helps: 2 if a method makes the drop smaller, 1 if only by loss or reversal."""
    helping = [each for each in cures.record.methods if each.helps]
    return max((1 + (not (each.loses or each.reverses)) for each in helping), default=0)


def _names(methods: Sequence[MethodRecord]) -> str:
    return f"{and_more([each.name for each in methods], _NAMED)}."


def _losses(record: MitigationRecord) -> list[str]:
    """Name the methods that make a drop smaller mostly by losing accuracy; an empty list without any."""
    names = ", ".join(each.name for each in record.methods if each.helps and each.loses)
    lost = f"accuracy lost on {record.sides[0]} (point estimates)"
    return [f"With {names}, more than half of the gain is {lost}."] if names else []


def _gained_on_counter(method: MethodRecord) -> float:
    """Return a sort key by the gain on counter photos: a drop may shrink because common ones are lost."""
    return (method.cost.value or 0.0) - (method.gain.value or 0.0)


def _changes(methods: Sequence[MethodRecord], left: str) -> str:
    changes = []
    for each in methods:
        gain, cost = (f"{of.text} {of.interval}".rstrip() for of in (each.gain.estimate, each.cost.estimate))
        changes.append(f"{each.name} by {gain} at a cost of {cost}")
    return f"{'; '.join(changes)} on {left}"


def _settings(method: MethodRecord) -> str:
    chosen = [", ".join(f"{name} {value}" for name, value in setting.items()) for setting in method.settings]
    return "; ".join(dict.fromkeys(filter(None, chosen)))


def _draw(record: MitigationRecord) -> Forest | None:
    lines = [Line(each.name, [each.gain.estimate, each.cost.estimate]) for each in record.methods]
    return draw_forest(lines, list(zip(("gain", "cost"), SIDES, strict=True)))
