"""Who chose which backgrounds are common and counter, and what this does to the figures of which models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from counterground.benchmarks import benchmark_names
from counterground.catalogue import Finding
from counterground.comparison._published import COUNTERANIMAL, paper_row
from counterground.comparison._run_points import is_counteranimal, why_not_paper
from counterground.metrics import DROP
from counterground.results import ModelRecord, Run

REFEREE = "CLIP-LAION400M-ViT/B/32"
"""The paper's referee (section 2), which chose the backgrounds of CounterAnimal."""

Effect = Literal["fair", "inflated", "narrow"]
_STRENGTH: tuple[Effect, ...] = ("fair", "inflated", "narrow")


@dataclass(frozen=True)
class Selection:
    """Who chose the pairs of backgrounds of some photos.

    Attributes:
        effects: of the models that chose them, what this does to their own drop: ``inflated`` by choice on
            the same photos; ``narrow``, an interval that is too narrow, by choice on the other half of them;
            ``fair`` by choice on other photos.
        on_these_photos: whether any model chose them on the photos that are judged.
        is_known: whether it is recorded who chose them.
    """

    effects: Mapping[str, Effect] = field(default_factory=dict)
    on_these_photos: bool = False
    is_known: bool = True

    def biases(self, model: str) -> bool:
        """Whether a model chose these pairs so that its own drop, or the interval of it, is biased."""
        return self.effects.get(model, "fair") != "fair"

    def doubts(self, model: str, noun: str) -> list[Finding]:
        """Return why a model's drop above 0 is not established; empty if it is."""
        effect = self.effects.get(model)
        if effect == "inflated":
            return [Finding("chose_here", model, {"noun": noun})]
        if effect == "narrow":
            return [Finding("chose_other_half", model)]
        return [Finding("chosen_here", "", {"noun": noun})] if self.on_these_photos else []

    def findings(self, noun: str) -> Iterator[Finding]:
        """Return what readers of drops on these pairs must know about who chose them."""
        for model, effect in self.effects.items():
            if effect != "inflated":
                yield Finding("chose_pairs", model)
            if effect != "fair":
                yield from self.doubts(model, noun)
        if self.on_these_photos:
            yield Finding("chosen_here", "", {"noun": noun})
        if not self.is_known:
            yield Finding("selection_unknown", "", {"noun": noun})


def selection_of(run: Run) -> Selection:
    """Return who chose the pairs of a run, by its record; models are those of the run."""
    effects: dict[str, Effect] = {}
    for model, effect in _effects(run):
        effects[model] = max(effect, effects.get(model, "fair"), key=_STRENGTH.index)
    benchmark, of_paper = run.info.benchmark, _has_counteranimals_pairs(run)
    here = of_paper or benchmark.split == "none"
    declared = benchmark.design is not None or benchmark.name.partition("?")[0] in benchmark_names()
    known = benchmark.referee is not None or here or (run.info.recorded and declared)
    without = DROP not in run.design.contrasts or (not known and run.photos["group"].is_null().all())
    return Selection(effects, here, known or without)


def _effects(run: Run) -> Iterator[tuple[str, Effect]]:
    """Yield the models of a run that chose its pairs; one may have chosen several times."""
    discovery, records = run.info.benchmark.discovery, run.info.models
    if discovery is not None:
        by_split: dict[str, Effect] = {"none": "inflated", "cross": "narrow"}
        for spec, model in _measured(records, (*discovery.referees, *discovery.earlier_referees)):
            yield model, by_split.get(discovery.split, "fair") if spec in discovery.referees else "fair"
        if discovery.split == "cross":
            for record in records:
                if _is_mitigated(record) and record.spec in discovery.referees:
                    yield record.name, "narrow"
    if _has_counteranimals_pairs(run):
        for record in records:
            row = paper_row(record)
            if row and row.main_model == REFEREE:
                yield record.name, "inflated"


def _has_counteranimals_pairs(run: Run) -> bool:
    """Return whether the pairs are CounterAnimal's, or were chosen among them, where each class has two."""
    discovery = run.info.benchmark.discovery
    if discovery is not None:
        return (discovery.origin or "").casefold() == COUNTERANIMAL
    return is_counteranimal(run) or not why_not_paper(run)


def _is_mitigated(record: ModelRecord) -> bool:
    return "mitigation" in record.description


def _measured(records: Sequence[ModelRecord], specs: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield specifications of referees with the names of the run's models that match them.

    Fingerprints decide. If none matches, as after a change of runtime or of library versions, all models with
    the referee's specification count, of which there may be several: two files may share a short one.
    """
    for spec in dict.fromkeys(specs):
        known = [record for record in records if spec in record.chose]
        called = [record for record in records if record.spec == spec and not _is_mitigated(record)]
        for record in known or called:
            yield spec, record.name
