"""Where a comparison of runs, or of runs with the paper, cannot be trusted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from counterground.catalogue import Finding
from counterground.comparison._published import LABEL_SPACE
from counterground.comparison._run_points import why_not_paper
from counterground.comparison._selection import REFEREE, selection_of
from counterground.metrics import CLASSIFICATION, COMPETING, DROP, SETTING
from counterground.published import PaperSetting
from counterground.results import Run, setting_text

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
