"""What each method changed: accuracies, cost and gain, as ``mitigation.json`` holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from counterground.metrics import (
    Contrast,
    Design,
    Estimate,
    ScoreKey,
    compare_models,
    score_contrast,
    tests_against,
)
from counterground.mitigation._bench import Bench
from counterground.mitigation._method import obstacle
from counterground.mitigation._trial import Tried
from counterground.results import (
    Accuracies,
    ExportedHead,
    MethodRecord,
    MitigationRecord,
    PartRecord,
    Run,
    regroup,
    side_names,
)

HEADS = "heads"
_BY_LABELS = "the lower of common and counter accuracy, averaged over classes"
_WITHOUT = "accuracy, averaged over classes"
_WORSE = 0.01  # of accuracy; a smaller difference is not worth a note


def record_of(
    bench: Bench,
    run: Run,
    tried: Sequence[Tried],
    *,
    left_out: dict[str, str],
    notes: Sequence[str],
) -> MitigationRecord:
    """Return what each method changed."""
    own, clean = run.info.models[0].name, run.predictions
    contrast, benchmark = bench.divided.contrast, bench.run.benchmark
    design = benchmark.design
    sides = {model.setting.model: model.of(contrast) for model in regroup(run.estimates(contrast))}
    changes, tests = _changes(clean, contrast, own, design)
    worst = run.scores().filter(pl.col("metric") == "worst_group_accuracy")
    lowest = dict(worst.select("model", "value").iter_rows())

    def accuracies(model: str) -> Accuracies:
        return Accuracies(
            common=sides[model].left,
            counter=sides[model].right,
            drop=sides[model].difference,
            worst_group=lowest.get(model),
        )

    methods, doubts = [], []
    for each in tried:
        name = f"{own} + {each.method.name}"
        methods.append(_method_record(each, bench, name, mitigated=accuracies(name), changes=changes[name]))
        doubts += _doubts(each, bench, name, sides[name].left.value)
    return MitigationRecord(
        model=own,
        benchmark=f"{benchmark.name}@{benchmark.version[:8]}",
        contrast=str(contrast),
        parts=[PartRecord(**sizes) for sizes in bench.divided.rotation.sizes(bench.run.features.readable)],
        seed=bench.seed,
        tests=tests,
        unmitigated=accuracies(own),
        methods=methods,
        left_out=left_out,
        notes=[*notes, *doubts],
    )


def _doubts(tried: Tried, bench: Bench, name: str, judged: float | None) -> list[str]:
    """Return a note if the exported head is at least a point less accurate than the heads that were judged.

    It is scored on the common photos that it was fitted on, which flatters it. If it is less accurate even
    so, the table does not describe it.
    """
    if judged is None or obstacle(tried.final):
        return []
    contrast, design = bench.divided.contrast, bench.run.benchmark.design
    answers = bench.run.predictions(name, lambda rows: bench.logits(tried.final, rows))
    (model,) = regroup(score_contrast(answers, contrast, design=design))
    own = model.of(contrast).left.value
    if own is None or own > judged - _WORSE:
        return []
    note = (
        f"The exported head of {tried.method.name} recognises {100 * own:.1f} % of the "
        f"{side_names(contrast)[0]} that it was fitted on, fewer than the {100 * judged:.1f} % of the heads "
        "that were judged: it costs more than the table says."
    )
    return [note]


def _method_record(
    tried: Tried,
    bench: Bench,
    model: str,
    *,
    mitigated: Accuracies,
    changes: Mapping[str, Estimate],
) -> MethodRecord:
    method, used, reason = tried.method, tried.method.group_labels, obstacle(tried.final)
    chosen = tried.tried > 1
    fitted = np.flatnonzero(bench.run.features.readable & (bench.run.true >= 0))
    head = ExportedHead(
        file=f"{HEADS}/{method.name}-all-photos.safetensors",
        setting=tried.final_setting,
        photos=len(fitted),
        clusters=len(np.unique(bench.divided.rotation.clusters[fitted])),
    )
    return MethodRecord(
        name=method.name,
        title=method.title,
        source=method.source,
        model=model,
        group_labels={
            "fit": "used" if used == "fit" else "not used",
            "choose": "used" if used != "none" and chosen else "not used",
        },
        chosen_by=(_BY_LABELS if used != "none" else _WITHOUT) if chosen else None,
        tried=tried.tried,
        settings=list(tried.settings),
        mitigated=mitigated,
        cost=changes["cost"],
        gain=changes["gain"],
        head=None if reason else head,
        not_exported=reason,
        cpu_seconds=tried.seconds,
    )


def _changes(
    predictions: pl.DataFrame, contrast: Contrast, own: str, design: Design
) -> tuple[dict[str, dict[str, Estimate]], int]:
    """Return the unmitigated model's contrast and sides minus those of each other model.

    And how many tests of pairs of models their p-values are corrected for.
    """
    keys = {contrast.side_keys[0]: "cost", contrast.difference_key: "gain"}
    changes: dict[str, dict[str, Estimate]] = {}
    every = compare_models(predictions, contrast=contrast, design=design)
    for row in tests_against(every, own).iter_rows(named=True):
        if name := keys.get(ScoreKey.of(row)):
            value, low, high = (
                None if end is None else -end for end in (row["value"], row["high"], row["low"])
            )
            figure = Estimate(
                value, low, high, row["n"], p_corrected=row["p_corrected"], family=row["family"]
            )
            changes.setdefault(row["model"], {})[name] = figure
    return changes, len(every) - every["p_value"].null_count()
