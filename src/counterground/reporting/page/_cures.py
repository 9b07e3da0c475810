"""What would make a drop smaller: a run of mitigations, as an answer and as a part of a section."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from counterground.findings import Finding
from counterground.metrics import DROP, Contrast
from counterground.reporting.page._forest import SIDES, Forest, Line, draw_forest
from counterground.results import (
    BenchmarkRecord,
    MethodRecord,
    MitigationRecord,
    Table,
)

_GAIN = "a gain, merely because answers change"


class Method(NamedTuple):
    """A method of the table: its record, and the chosen settings in words."""

    record: MethodRecord
    settings: str


@dataclass(frozen=True)
class Cures:
    """What a run of `counterground mitigate` says about its model, under the model's name in the section.

    ``other_photos`` says if these are not the photos of the section; ``chose_pairs`` whether the pairs were
    chosen on the photos that the methods were evaluated on.
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
        """What the table says."""
        return self.record.sentences

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
    chose_pairs: bool = False,
    warnings: Sequence[str] = (),
) -> Cures:
    """Gather what the mitigations of one run changed.

    Args:
        record: ``mitigation.json``.
        label: what the section calls its model.
        on: photos that the mitigations were evaluated on.
        of: photos that the section is about.
        chose_pairs: whether the pairs were chosen on the photos of the run.
        warnings: those of the run that the section does not have.
    """
    record = record.model_copy(update={"model": label})
    other = f"Measured on another set of photos: {on.name}, version {on.version[:12]}."
    other_photos = None if on.version == of.version else other
    methods = [Method(each, _settings(each)) for each in record.methods]
    warned = [text for text in warnings if text not in record.notes]
    return Cures(record, record.table, methods, _draw(record), other_photos, chose_pairs, warned)


def cure_findings(cures: Sequence[Cures], lead: str | None, contrast: Contrast = DROP) -> list[Finding]:
    """Say which mitigations make the drop significantly smaller, at what cost.

    Args:
        cures: what the mitigated models of a section show.
        lead: label of the model that the section's verdict is about.
        contrast: what the section is about; mitigations of another one say nothing.
    """
    cures = [each for each in cures if each.record.contrast == str(contrast)]
    if not cures:
        return []
    of_lead = [each for each in cures if each.record.model == lead] or list(cures)
    found = max(of_lead, key=_help)  # of several runs, the first that helps most
    record = found.record
    about = {"noun": record.noun}
    drop = record.unmitigated.drop
    if drop.value is not None and drop.value <= 0:
        return [Finding.of("nothing_to_mend", record.model, drop, **about)]
    mitigated = [each for each in record.methods if each.helps and not (each.loses or each.reverses)]
    if not mitigated:
        return [Finding("not_mended", record.model, about)]
    best = max(mitigated, key=_net)
    about |= {"method": best.name, "left": record.sides[0]}
    cost = best.cost.value
    findings = [Finding.of("mended", record.model, best.gain, cost=cost, **about)]
    if found.chose_pairs:
        findings.append(Finding("inflated_too", "", {"what": _GAIN}))
    if found.other_photos:
        findings.append(Finding("mended_elsewhere", record.model, {"benchmark": record.benchmark}))
    return findings


def _help(cures: Cures) -> int:
    """Return how much a run helps: 2 if a method makes the drop smaller, 1 if only by loss or reversal."""
    helping = [each for each in cures.record.methods if each.helps]
    return max((1 + (not (each.loses or each.reverses)) for each in helping), default=0)


def _net(method: MethodRecord) -> float:
    """Return the gain on counter photos: a drop may shrink because common ones are lost."""
    return (method.gain.value or 0.0) - (method.cost.value or 0.0)


def _settings(method: MethodRecord) -> str:
    chosen = [", ".join(f"{name} {value}" for name, value in setting.items()) for setting in method.settings]
    return "; ".join(dict.fromkeys(filter(None, chosen)))


def _draw(record: MitigationRecord) -> Forest | None:
    lines = [Line(each.name, [each.gain, each.cost]) for each in record.methods]
    return draw_forest(lines, list(zip(("gain", "cost"), SIDES, strict=True)))
