"""Where a comparison of runs, or of runs with the paper, cannot be trusted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

from counterground.benchmarks import benchmark_names
from counterground.catalogue import Finding
from counterground.comparison._points import is_counteranimal, why_not_paper
from counterground.comparison._published import COUNTERANIMAL, LABEL_SPACE, paper_row
from counterground.metrics import CLASSIFICATION, COMPETING, DROP, SETTING
from counterground.published import PaperSetting
from counterground.results import ModelRecord, Run, setting_text

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


_READ = {
    "names": "ways of writing class names",
    "prompts": "prompts",
    "protocol": "protocols",
    "answer_score": "scores of answers",
}
_Values = dict[str, dict[str, dict[str, None]]]


def comparability(runs: Mapping[str, Run], paper: PaperSetting | None = None) -> list[Finding]:
    """Return each reason not to trust a comparison of these runs, or with the paper.

    Reasons are: different photos or versions of a benchmark; photos that only some runs could read; different
    names, prompts, label space, protocol, loading or precision; heads fitted on other photos or for fewer
    names; and models that chose the very pairs of backgrounds they are measured on.

    Args:
        runs: by name.
        paper: the setting of the paper's rows; None if they are not part of the comparison.
    """
    by_version: dict[str, dict[str, Run]] = {}
    for name, run in runs.items():
        by_version.setdefault(run.info.benchmark.version, {})[name] = run
    found = []
    if len(by_version) > 1:
        named = (
            f"{', '.join(group)} on {next(iter(group.values())).info.benchmark.name}"
            for group in by_version.values()
        )
        found.append(Finding("other_photos", "", {"values": tuple(named)}))
    for run in runs.values():
        found += selection_of(run).findings(DROP.name)
    for group in by_version.values():
        for what, values in _values(group).items():
            if len(values) > 1:
                listed = tuple(f"{value} in {', '.join(names)}" for value, names in values.items())
                found.append(Finding("settings_differ", what, {"values": listed}))
    if paper is not None:
        found.append(Finding("chose_here", REFEREE, {"noun": DROP.name}))
        found += [each for name, run in runs.items() for each in _beside_the_paper(name, run, paper)]
    return list({str(each): each for each in found}.values())


def _values(runs: Mapping[str, Run]) -> _Values:
    """Return what should be alike in runs on one benchmark: the runs, or models, by each value."""
    found: _Values = {}

    def tell(what: str, value: object, who: str) -> None:
        found.setdefault(what, {}).setdefault(str(value), {})[who] = None

    for name, run in runs.items():
        info, space = run.info, run.info.candidates
        tell("Numbers of unreadable photos", info.counts.unreadable, name)
        for competing in run.estimates()[COMPETING].unique(maintain_order=True):
            tell("Candidate names", competing, name)
        for setting in _settings_read(run):
            kind = "encoders" if setting["protocol"] == CLASSIFICATION else "generative models"
            for column, plural in _READ.items():
                tell(f"In {kind}, {plural}", setting_text(setting[column]), name)
        tell("Precisions", info.precision, name)
        tell(f"The {space.name} names as {info.names}", f"version {space.version[:8]}", name)
        if any("head" in record.description for record in info.models):
            train = info.train
            on = f"{train.name}@{train.version[:8]}" if train else "parts of the benchmark itself"
            tell("Photos that heads are fitted on", on, name)
        for record in info.models:
            # A fitted head never answers a name without training photos.
            known = (record.stated("head", dict) or {}).get("classes", space.size)
            tell(f"Numbers of {space.name} names that models can answer", known, record.name)
    return found


def _settings_read(run: Run) -> list[dict[str, Any]]:
    """Return the settings of the run's models that read names, which classifiers do not."""
    reads = [record.name for record in run.info.models if record.reads_names]
    rows = run.estimates().filter(pl.col("model").is_in(reads)).select(SETTING).unique(maintain_order=True)
    return rows.to_dicts()


def _beside_the_paper(name: str, run: Run, paper: PaperSetting) -> Iterator[Finding]:
    if why := why_not_paper(run):
        yield Finding("left_out", name, {"place": "the paper's models", "reason": why})
        return
    for setting in _settings_read(run):
        names, prompts, competing = setting["names"], setting["prompts"], setting[COMPETING]
        if competing != LABEL_SPACE[paper.setup]:
            continue  # in a table of its own
        if names != "wordnet":
            remedy = "its figures fit --names wordnet best"
            yield Finding("unlike_paper", name, {"what": f"names ({names})", "remedy": remedy})
        if (prompts == "openai") != (paper.prompts == "openai") and prompts in ("openai", "simple"):
            remedy = "leave out --setting"
            if prompts == "openai":
                alike = competing == "imagenet"
                remedy = "add --setting openai-prompts" if alike else "evaluate with --prompts simple"
            yield Finding("unlike_paper", name, {"what": f"prompts ({prompts})", "remedy": remedy})
