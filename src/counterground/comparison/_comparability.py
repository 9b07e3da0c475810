"""Where a comparison is unfair, in sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import polars as pl

from counterground.comparison._matching import paper_row
from counterground.comparison._run_points import is_counteranimal, why_not_paper
from counterground.comparison._settings import SETTING
from counterground.results import Run

REFEREE = "CLIP-LAION400M-ViT/B/32"
_PAIRS_OF = ", pairs of "
_SAME_PHOTOS = "on these very photos"
_AS_PUBLISHED = ", as published"
_HOW = {
    "names": "write class names in different ways",
    "prompts": "use different prompts",
}


def unfairness(runs: Mapping[str, Run], *, published: bool) -> list[str]:
    """Return a sentence for each reason not to trust a comparison of these runs, or with the paper.

    Told are: other photos or another version of a benchmark, photos that only some could read; other names,
    prompts, label space, ways of asking, loading or precision; and models that chose the very pairs of
    backgrounds they are measured on.

    Args:
        runs: by the name that tells them apart.
        published: whether the paper's rows stand beside them.
    """
    sentences = [*_photos(runs), *_referees(runs)]
    for together in _by_benchmark(runs).values():
        sentences += [*_settings(together), *_loading(together), *_label_spaces(together)]
    if published:
        sentences += _beside_the_paper(runs)
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
        listed = "; ".join(f"{_listed(group)} on {benchmark.name}" for benchmark, group in named)
        alike = len({benchmark.name for benchmark, _ in named}) == 1
        kind = "different versions of one benchmark" if alike else "different photos"
        yield f"These runs are on {kind} ({listed}): figures are compared within each only."
    for group in groups.values():
        unread = {name: run.info.counts.unreadable for name, run in group.items()}
        if len(set(unread.values())) > 1:
            counted = ", ".join(f"{name}: {n}" for name, n in unread.items())
            yield f"Runs on one benchmark could not read the same photos (unread {counted})."


def _settings(runs: Mapping[str, Run]) -> Iterator[str]:
    """Settings that differ between encoders, or between models that answer in words.

    Classifiers read neither names nor prompts, but which names compete matters for every model.
    """
    spaces: dict[str, list[str]] = {}
    for run_name, run in runs.items():
        for space in run.scores["label_space"].unique(maintain_order=True):
            spaces.setdefault(str(space), []).append(run_name)
    if len(spaces) > 1:
        yield f"Models let different names compete: {_values(spaces)}."
    kinds: tuple[tuple[str, Callable[[str], bool]], ...] = (
        ("Encoders", lambda protocol: protocol.startswith("classification")),
        ("Models that answer in words", lambda protocol: not protocol.startswith("classification")),
    )
    for kind, of_kind in kinds:
        found: dict[str, dict[str, list[str]]] = {name: {} for name in SETTING}
        for run_name, run in runs.items():
            for setting in _asked(run):
                if not of_kind(setting["protocol"]):
                    continue
                for column in SETTING:
                    found[column].setdefault(setting[column], []).append(run_name)
        for column, how in _HOW.items():
            if len(found[column]) > 1:
                yield f"{kind} {how}: {_values(found[column])}."
        ways = {way.removesuffix(_AS_PUBLISHED): names for way, names in found["protocol"].items()}
        if len(ways) > 1:
            yield f"{kind} are asked in different ways: {_values(ways)}."


def _asked(run: Run) -> list[dict[str, str]]:
    """The settings of the run's models that read names."""
    reads = [record.spec for record in run.info.models if record.kind != "classifier"]
    rows = run.scores.filter(pl.col("model").is_in(reads)).select(SETTING).unique(maintain_order=True)
    return [{name: str(row[name]) for name in SETTING} for row in rows.iter_rows(named=True)]


def _loading(runs: Mapping[str, Run]) -> Iterator[str]:
    loaded: dict[str, list[str]] = {}
    precisions: dict[str, list[str]] = {}
    for name, run in runs.items():
        loaded.setdefault("as published" if run.info.as_published else "as trained", []).append(name)
        precisions.setdefault(run.info.precision, []).append(name)
    if len(loaded) > 1:
        yield f"Models are loaded in different ways: {_values(loaded)}."
    if len(precisions) > 1:
        yield f"Models run in different precision: {_values(precisions)}."


def _label_spaces(runs: Mapping[str, Run]) -> Iterator[str]:
    versions: dict[tuple[str, str], dict[str, list[str]]] = {}
    for name, run in runs.items():
        space = run.info.label_space
        group = versions.setdefault((space.name, run.info.names), {})
        group.setdefault(space.version, []).append(name)
    for (space_name, _), group in versions.items():
        if len(group) > 1:
            several = " and ".join(", ".join(names) for names in group.values())
            yield f"The {space_name} names of {several} differ, though they are called the same."


def _referees(runs: Mapping[str, Run]) -> Iterator[str]:
    for name, run in runs.items():
        benchmark = run.info.benchmark
        for referee in benchmark.name.split(_PAIRS_OF)[1:]:
            if referee not in {record.spec for record in run.info.models}:
                continue
            if any(_SAME_PHOTOS in note and referee in note for note in benchmark.notes):
                yield (
                    f"In {name} the pairs of backgrounds were chosen by {referee} on the very photos it is "
                    "measured on: its drop counts what chance made large, which no other model's does."
                )
            else:
                yield (
                    f"In {name} the pairs of backgrounds are those where {referee} itself does best and "
                    "worst: they were made for its habits and not for those of the other models."
                )
        for record in run.info.models:
            row = paper_row(record)
            if row and row.model == REFEREE and (is_counteranimal(run) or not why_not_paper(run)):
                yield (
                    f"In {name} {record.spec} is the model that chose CounterAnimal's backgrounds, on these "
                    "very photos: its drop counts what chance made large, which no other model's does."
                )


def _beside_the_paper(runs: Mapping[str, Run]) -> Iterator[str]:
    yield (
        f"The paper's backgrounds were chosen by {REFEREE} on the photos of the table: its drop counts what "
        "chance made large; what that does to its kin (ViT/B/32, LAION400M) is not known."
    )
    for name, run in runs.items():
        if why := why_not_paper(run):
            yield f"{name}: {why} It has no place among the paper's models."
            continue
        for setting in _asked(run):
            if setting["names"] != "wordnet":
                yield (
                    f"{name} writes names as {setting['names']}; the reproduction that met the paper within "
                    "0.2 points wrote the WordNet names (--names wordnet)."
                )
            if setting["prompts"] == "openai":
                yield f"{name} uses 80 prompts, the paper's rows beside it one (its Table 10 has 80)."
        yield from _referee_loading(name, run)


def _referee_loading(name: str, run: Run) -> Iterator[str]:
    rows = [paper_row(record) for record in run.info.models]
    if not run.info.as_published and any(row and row.model == REFEREE for row in rows):
        yield (
            f"{name} loads {REFEREE} as it was trained (QuickGELU), the paper seems to have loaded it with "
            "GELU: --as-published does the same."
        )


def _listed(names: Mapping[str, Run]) -> str:
    return ", ".join(names)


def _values(found: Mapping[str, list[str]]) -> str:
    return "; ".join(f"{value} in {', '.join(dict.fromkeys(names))}" for value, names in found.items())
