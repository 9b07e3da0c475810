"""Models of a run that chose the pairs of backgrounds they are measured on, and what this does to figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from counterground.results._run import Run
from counterground.results._schema import ModelRecord

_NARROW = "its interval is too narrow, as that of the model that chose the pairs on the other half."
INFLATED = "selection inflates its drop; the effect on related models is not known."


@dataclass(frozen=True)
class MeasuredReferee:
    """A model of a run that chose, or helped to choose, the pairs it is measured on.

    Attributes:
        model: its name in the run.
        sentences: what a reader of its drop must know.
        effect: ``inflated``: it chose on the same photos, so its drop is too large; ``narrow``: on the other
            half of them (a swap), so its interval is too narrow; None: on other photos.
    """

    model: str
    sentences: tuple[str, ...]
    effect: Literal["inflated", "narrow"] | None = None


def own_referees(run: Run, name: str) -> list[MeasuredReferee]:
    """Return the models of a run that chose its pairs in `discover`; sentences call the run ``name``."""
    discovery = run.info.benchmark.discovery
    if discovery is None:
        return []
    found = []
    for spec, referee in _measured(run.info.models, (*discovery.referees, *discovery.earlier_referees)):
        chose = spec in discovery.referees
        others = ", together with other models," if chose and discovery.committee else ""
        if chose and discovery.split == "none":
            inflated = (
                f"In {name} the pairs of backgrounds were chosen by {referee}{others} on the same photos "
                f"that it is measured on: {INFLATED}"
            )
            found.append(MeasuredReferee(referee, (inflated,), "inflated"))
            continue
        conditional = (
            f"In {name} the pairs of backgrounds are those where {referee} itself{others} does best and "
            "worst: they reflect its weaknesses; other models may have others."
        )
        if chose and discovery.split == "cross":
            narrow = (
                f"In {name} {referee} chose the pairs of each half of the photos on the other half, so its "
                "interval is too narrow: report the one in the notes of the benchmark."
            )
            found.append(MeasuredReferee(referee, (conditional, narrow), "narrow"))
        else:
            found.append(MeasuredReferee(referee, (conditional,)))
    if discovery.split == "cross":
        found += [
            MeasuredReferee(
                record.name, (f"In {name} {record.name} is a mitigated referee: {_NARROW}",), "narrow"
            )
            for record in run.info.models
            if _is_mitigated(record) and record.spec in discovery.referees
        ]
    return found


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
