"""What the scores of runs allow to say, benchmark by benchmark: for tables without tests of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from counterground.catalogue import Finding, ordered
from counterground.comparison import Selection, selection_of
from counterground.findings._rules import Facts, judge
from counterground.findings._words import Words
from counterground.metrics import CLASSIFICATION, KEYS, Contrast, corrected_differences
from counterground.results import Run, ScoresTable, join_frames, one_contrast, picked_from, regroup, scores_of


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
        judged = one_contrast(group, contrast or group[0].design.contrasts[0])
        found += judge(_facts(group, judged))
    return ordered(found)


def judged_scores(
    runs: Sequence[Run],
    *,
    by: str | None = None,
    contrast: str | Contrast | None = None,
    effects: bool = False,
    named: bool = False,
) -> ScoresTable:
    """Return `results.scores_of` with what can be said about the models; not by a column."""
    table = scores_of(runs, by=by, contrast=contrast, effects=effects, named=named)
    return (
        table if by not in (None, "class") else replace(table, findings=tuple(judge_scores(runs, contrast)))
    )


def _facts(runs: Sequence[Run], contrast: Contrast) -> Facts:
    paths = {str(run.path): run for run in runs}
    models = regroup(join_frames(runs, [run.estimates(contrast) for run in runs], named=True))
    of = {model.label: paths[str(model.setting.run)] for model in models}
    chosen = {path: selection_of(run) for path, run in paths.items()}
    effects = {
        model.label: effect
        for model in models
        if (effect := chosen[str(model.setting.run)].effects.get(model.setting.model))
    }
    facts = Facts(
        models,
        Words(contrast),
        {label: run.info.candidates.chance for label, run in of.items()},
        Selection(
            effects,
            any(each.on_these_photos for each in chosen.values()),
            all(each.is_known for each in chosen.values()),
        ),
        of_composites=runs[0].info.intervention is not None,
        generative=frozenset(m.label for m in models if m.setting.protocol != CLASSIFICATION),
    )
    if facts.lead is None:
        return facts
    keys = [tuple(getattr(model.setting, name) for name in KEYS) for model in facts.judged]
    sides = [
        of[model.label].answers[key].sides(contrast) for model, key in zip(facts.judged, keys, strict=True)
    ]
    corrected = corrected_differences(sides, picked_from(runs, contrast))
    return replace(facts, corrected=dict(zip((m.label for m in facts.judged), corrected, strict=True)))
