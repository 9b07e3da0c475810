"""Sentences that say where a comparison cannot be trusted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from counterground.comparison._published import COUNTERANIMAL, LABEL_SPACE, paper_row
from counterground.comparison._run_points import is_counteranimal, why_not_paper
from counterground.metrics import CLASSIFICATION, COMPETING, SETTING
from counterground.published import PaperSetting
from counterground.results import INFLATED, MeasuredReferee, Run, own_referees, setting_text

REFEREE = "CLIP-LAION400M-ViT/B/32"
"""The paper's referee (section 2), which chose the backgrounds of CounterAnimal."""

_ENCODERS, _GENERATIVE = "Encoders", "Generative models"
_DIFFERENCES = {
    "names": "write class names in different ways",
    "prompts": "use different prompts",
    "protocol": "are evaluated with different protocols",
    "answer_score": "score answers in different ways",
}


def comparability_warnings(runs: Mapping[str, Run], paper: PaperSetting | None = None) -> list[str]:
    """Return a sentence for each reason not to trust a comparison of these runs, or with the paper.

    Reasons are: different photos or versions of a benchmark; photos that only some runs could read; different
    names, prompts, label space, protocol, loading or precision; heads fitted on other photos or for fewer
    names; and models that chose the very pairs of backgrounds they are measured on.

    Args:
        runs: by name.
        paper: the setting of the paper's rows; None if they are not part of the comparison.
    """
    sentences = [*_photos(runs), *_referees(runs)]
    for together in _by_benchmark(runs).values():
        sentences += [*_settings(together), *_loading(together), *_names_that_competed(together)]
        sentences += [*_heads(together), *_fewer_names(together)]
    if paper is not None:
        sentences += _beside_the_paper(runs, paper)
    return list(dict.fromkeys(sentences))


def _by_benchmark(runs: Mapping[str, Run]) -> dict[str, dict[str, Run]]:
    groups: dict[str, dict[str, Run]] = {}
    for name, run in runs.items():
        groups.setdefault(run.info.benchmark.version, {})[name] = run
    return groups


def _photos(runs: Mapping[str, Run]) -> Iterator[str]:
    groups = _by_benchmark(runs)
    if len(groups) > 1:
        named = [(next(iter(group.values())).info.benchmark, group) for group in groups.values()]
        listed = "; ".join(f"{', '.join(group)} on {benchmark.name}" for benchmark, group in named)
        alike = len({benchmark.name for benchmark, _ in named}) == 1
        kind = "different versions of one benchmark" if alike else "different photos"
        yield f"These runs are on {kind} ({listed}): compare figures only within each."
    for group in groups.values():
        unread = {name: run.info.counts.unreadable for name, run in group.items()}
        if len(set(unread.values())) > 1:
            counted = ", ".join(f"{name}: {n}" for name, n in unread.items())
            yield f"Runs on one benchmark differ in how many photos they could not read ({counted})."


def _settings(runs: Mapping[str, Run]) -> Iterator[str]:
    """Settings that differ between encoders, or between generative models.

    Classifiers read neither names nor prompts, but which names compete matters for every model.
    """
    spaces: dict[str, list[str]] = {}
    for run_name, run in runs.items():
        for space in run.estimates()[COMPETING].unique(maintain_order=True):
            spaces.setdefault(str(space), []).append(run_name)
    if len(spaces) > 1:
        yield f"Models choose among different candidate names: {_values(spaces)}."
    for kind in (_ENCODERS, _GENERATIVE):
        found: dict[str, dict[str, list[str]]] = {name: {} for name in _DIFFERENCES}
        for run_name, run in runs.items():
            for setting in _settings_read(run):
                if _kind(setting) == kind:
                    for column, values in found.items():
                        text = setting_text(setting[column])
                        values.setdefault(text, []).append(run_name)
        for column, how in _DIFFERENCES.items():
            if len(found[column]) > 1:
                yield f"{kind} {how}: {_values(found[column])}."


def _kind(setting: Mapping[str, Any]) -> str:
    return _ENCODERS if setting["protocol"] == CLASSIFICATION else _GENERATIVE


def _settings_read(run: Run) -> list[dict[str, Any]]:
    """Return the settings of the run's models that read names, which classifiers do not."""
    reads = [record.name for record in run.info.models if record.reads_names]
    rows = run.estimates().filter(pl.col("model").is_in(reads)).select(SETTING).unique(maintain_order=True)
    return rows.to_dicts()


def _loading(runs: Mapping[str, Run]) -> Iterator[str]:
    precisions: dict[str, list[str]] = {}
    for name, run in runs.items():
        precisions.setdefault(run.info.precision, []).append(name)
    if len(precisions) > 1:
        yield f"Models run in different precision: {_values(precisions)}."


def _names_that_competed(runs: Mapping[str, Run]) -> Iterator[str]:
    versions: dict[tuple[str, str], dict[str, list[str]]] = {}
    for name, run in runs.items():
        space = run.info.candidates
        group = versions.setdefault((space.name, run.info.names), {})
        group.setdefault(space.version, []).append(name)
    for (space_name, _), group in versions.items():
        if len(group) > 1:
            several = " and ".join(", ".join(names) for names in group.values())
            yield f"The {space_name} names of {several} differ, although they have the same name."


def _heads(runs: Mapping[str, Run]) -> Iterator[str]:
    fitted: dict[str, list[str]] = {}
    for name, run in runs.items():
        if any("head" in record.description for record in run.info.models):
            train = run.info.train
            on = f"{train.name}@{train.version[:8]}" if train else "parts of the benchmark itself"
            fitted.setdefault(on, []).append(name)
    if len(fitted) > 1:
        yield f"Heads are fitted on different photos: {_values(fitted)}."


def _fewer_names(runs: Mapping[str, Run]) -> Iterator[str]:
    """Fitted heads never answer a name without training photos, though it competes for other models."""
    spaces: dict[str, dict[int, list[str]]] = {}
    for run in runs.values():
        space = run.info.candidates
        for record in run.info.models:
            known = (record.stated("head", dict) or {}).get("classes", space.size)
            known = known if isinstance(known, int) else space.size
            spaces.setdefault(f"{space.name} {space.version}", {}).setdefault(known, []).append(record.name)
    for by_number in spaces.values():
        most = max(by_number)
        for number, names in sorted(by_number.items()):
            if number < most:
                yield (
                    f"Heads answer only names that have training photos: {', '.join(dict.fromkeys(names))} "
                    f"chose among {number:,} names, others among {most:,}."
                )


def _referees(runs: Mapping[str, Run]) -> Iterator[str]:
    for name, run in runs.items():
        for referee in measured_referees(run, name):
            yield from referee.sentences


def measured_referees(run: Run, name: str) -> list[MeasuredReferee]:
    """Return the models of a run that chose its pairs, the paper's too; sentences call the run ``name``."""
    found = own_referees(run, name)
    for record in run.info.models:
        row = paper_row(record)
        if row and row.main_model == REFEREE and _has_counteranimals_pairs(run):
            sentence = (
                f"In {name} {record.name} is the model that chose CounterAnimal's backgrounds, on these "
                f"same photos: {INFLATED}"
            )
            found.append(MeasuredReferee(record.name, (sentence,), "inflated"))
    return found


def chosen_on_its_photos(run: Run) -> bool:
    """Return whether the pairs of a run were chosen on its own photos: ``--split none``, CounterAnimal."""
    discovery = run.info.benchmark.discovery
    return (discovery is not None and discovery.split == "none") or _has_counteranimals_pairs(run)


def _has_counteranimals_pairs(run: Run) -> bool:
    """Return whether the pairs are CounterAnimal's, or were chosen among them, where each class has two."""
    discovery = run.info.benchmark.discovery
    if discovery is not None:
        return (discovery.origin or "").casefold() == COUNTERANIMAL
    return is_counteranimal(run) or not why_not_paper(run)


def _beside_the_paper(runs: Mapping[str, Run], paper: PaperSetting) -> Iterator[str]:
    yield (
        f"The paper's backgrounds were chosen by {REFEREE} on the photos of the table: selection inflates "
        "its drop; the effect on related models (ViT/B/32, LAION400M) is not known."
    )
    for name, run in runs.items():
        if why := why_not_paper(run):
            yield f"{name}: {why} It is not listed among the paper's models."
            continue
        for setting in _settings_read(run):
            if setting[COMPETING] != LABEL_SPACE[paper.setup]:
                continue  # in a table of its own
            if setting["names"] != "wordnet":
                yield (
                    f"{name} writes names as {setting['names']}; the reproduction that agrees with the "
                    "paper within 0.2 points for 11 of 15 CLIPs used the WordNet names (--names wordnet)."
                )
            if setting["prompts"] == "openai" and paper.prompts != "openai":
                yield (
                    f"{name} uses 80 prompts, but the paper's rows beside it use one; this moves CLIPs "
                    "relative to the line of the ImageNet models: "
                    f"{_with_80_prompts(setting[COMPETING])}."
                )
            elif setting["prompts"] == "simple" and paper.prompts == "openai":
                yield f"{name} uses one prompt, but the paper's rows beside it use 80: leave out --setting."


def _with_80_prompts(candidates: str) -> str:
    """Say how to compare a run of 80 prompts with the paper, which has them for 1 vs. 1000 only."""
    if candidates == "imagenet":
        return "counterground compare --setting openai-prompts compares with its Table 10"
    return "it has no table of 80 prompts for these names, so evaluate with --prompts simple"


def _values(found: Mapping[str, list[str]]) -> str:
    return "; ".join(f"{value} in {', '.join(dict.fromkeys(names))}" for value, names in found.items())
