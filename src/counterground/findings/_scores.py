"""What the scores of runs allow to say, benchmark by benchmark: for tables without tests of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from counterground.catalogue import Finding, ordered
from counterground.comparison import Selection, selection_of
from counterground.findings._rules import Facts, judge
from counterground.findings._values import judge_values
from counterground.findings._words import Words
from counterground.metrics import CLASSIFICATION, KEYS, Contrast, corrected_differences
from counterground.results import (
    ModelScores,
    Run,
    ScoresTable,
    join_frames,
    one_contrast,
    picked_from,
    regroup,
    scores_of,
)


def judge_scores(runs: Sequence[Run], contrast: str | Contrast | None = None) -> list[Finding]:
    """Return what can be said about the models of runs, those of each benchmark by themselves.

    Args:
        runs: one run or several.
        contrast: what is judged; by default the first contrast of each benchmark.
    """
    by_version: dict[str, list[Run]] = {}
    for run in runs:
        by_version.setdefault(run.info.benchmark.version, []).append(run)
    found = []
    for group in by_version.values():
        judged = one_contrast(group, contrast) if contrast else group[0].design.contrasts[0]
        paths = {str(run.path): run for run in group}
        rows = join_frames(group, [run.estimates(judged) for run in group], named=True)
        models = [(model, paths[str(model.setting.run)]) for model in regroup(rows)]
        found += judge(facts_of(models, Words(judged)))
    return ordered(found)


def judged_scores(
    runs: Sequence[Run],
    *,
    by: str | None = None,
    contrast: str | Contrast | None = None,
    effects: bool = False,
    named: bool = False,
) -> ScoresTable:
    """Return `results.scores_of` with what can be said about the models; not by cell."""
    table = scores_of(runs, by=by, contrast=contrast, effects=effects, named=named)
    if by in (None, "class"):
        return replace(table, findings=tuple(judge_scores(runs, contrast)))
    if by == "cell":
        return table
    paths = {str(run.path): run for run in runs}
    models = [
        (model.label, paths.get(str(model.setting.run), runs[0]).answers[model.setting[: len(KEYS)]])
        for model in regroup(table.scores)
    ]
    found = judge_values(models, str(table.by))
    if by != table.by:  # the table of photos has a name of its own for the column
        found = [replace(each, numbers={**each.numbers, "column": by}) for each in found]
    return replace(table, findings=tuple(found))


def facts_of(models: Sequence[tuple[ModelScores, Run]], words: Words) -> Facts:
    """Return what scores and records say of labelled models of one benchmark, each with its run."""
    of_models = {id(run): run for _, run in models}
    selections = {key: selection_of(run) for key, run in of_models.items()}
    effects = {
        model.label: selections[id(run)].effects[model.setting.model]
        for model, run in models
        if model.setting.model in selections[id(run)].effects
    }
    here, known = (
        [getattr(each, name) for each in selections.values()] for name in ("on_these_photos", "is_known")
    )
    facts = Facts(
        [model for model, _ in models],
        words,
        {model.label: run.info.candidates.chance for model, run in models},
        Selection(effects, any(here), all(known)) if words.about_backgrounds else Selection(),
        of_composites=models[0][1].info.intervention is not None,
        generative=frozenset(m.label for m, _ in models if m.setting.protocol != CLASSIFICATION),
    )
    answers = {model.label: run.answers[model.setting[: len(KEYS)]] for model, run in models}
    judged = [model.label for model in facts.judged]
    sides = [answers[label].sides(words.contrast) for label in judged]
    corrected = corrected_differences(sides, picked_from(list(of_models.values()), words.contrast))
    return replace(facts, corrected=dict(zip(judged, corrected, strict=True)))
