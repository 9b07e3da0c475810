"""Who chose which backgrounds are common and counter, and what this does to the figures of which models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from counterground.comparison import chosen_on_its_photos, measured_referees
from counterground.findings._finding import Finding
from counterground.metrics import DROP
from counterground.results import Run

Effect = Literal["inflated", "narrow", "fair"]


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
    for each in measured_referees(run, str(run.path)):
        effect: Effect = each.effect or "fair"
        effects[each.model] = max(effect, effects.get(each.model, "fair"), key=_STRENGTH.index)
    benchmark, here = run.info.benchmark, chosen_on_its_photos(run)
    recorded = benchmark.discovery is not None or benchmark.referee is not None or here
    return Selection(effects, here, recorded or DROP not in run.design.contrasts)


_STRENGTH: tuple[Effect, ...] = ("fair", "inflated", "narrow")
