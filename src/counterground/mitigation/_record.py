"""What each method changed: accuracies, cost, gain and side effects, as ``mitigation.json`` holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from counterground.metrics import (
    Contrast,
    Design,
    compare_models,
    score_contrast,
    score_predictions,
    tests_against,
)
from counterground.mitigation._bench import Bench
from counterground.mitigation._export import obstacle
from counterground.mitigation._method import Input
from counterground.mitigation._side_effects import SIZE, WATERMARK, with_object_size, with_watermark
from counterground.mitigation._trial import Tried, predictions_of
from counterground.results import (
    Accuracies,
    ExportedHead,
    Figure,
    MethodRecord,
    MitigationRecord,
    PartRecord,
    Run,
    side_names,
)

HEADS = "heads"
_EFFECTS = {
    "size": (SIZE, "accuracy on photos with a large object of their class less that with a small one"),
    "watermark": (WATERMARK, "accuracy on the photos less that on the same photos with a watermark"),
}
_BY_LABELS = "the lower of common and counter accuracy, averaged over classes"
_WITHOUT = "accuracy, averaged over classes"
_WORSE = 0.01  # of accuracy; a smaller difference is not worth a note


def record_of(
    bench: Bench,
    run: Run,
    tried: Sequence[Tried],
    *,
    left_out: dict[str, str],
    marked: Mapping[Input, np.ndarray] | None,
    notes: Sequence[str],
) -> MitigationRecord:
    """Return what each method changed."""
    own, clean = run.info.models[0].name, run.predictions
    contrast, benchmark = bench.divided.contrast, bench.run.benchmark
    design = benchmark.design
    main = _Effect.of(clean, contrast, own, design)
    effects, not_measured = {}, {}
    sized = with_object_size(clean)
    if isinstance(sized, str):
        not_measured["size"] = sized
    else:
        effects["size"] = _Effect.of(sized, SIZE, own, design)
    if marked is None:
        not_measured["watermark"] = "it was turned off (--no-watermark)"
    else:
        both = with_watermark(clean, _marked(bench, tried, marked), design.clusters)
        effects["watermark"] = _Effect.of(both, WATERMARK, own, design)
    worst = run.scores.filter(pl.col("metric") == "worst_group_accuracy", pl.col("class_index").is_null())
    lowest = dict(worst.select("model", "value").iter_rows())

    def accuracies(model: str) -> Accuracies:
        sides = main.sides[model]
        drops = {name: effect.sides[model]["difference"] for name, effect in effects.items()}
        return Accuracies(
            common=sides["left"],
            counter=sides["right"],
            drop=sides["difference"],
            worst_group=lowest.get(model),
            side_effects=drops,
        )

    methods, doubts = [], []
    for each in tried:
        name = f"{own} + {each.method.name}"
        changes = main.changes[name]
        relief = {at: effect.changes[name]["difference"] for at, effect in effects.items()}
        found = accuracies(name)
        methods.append(_method_record(each, bench, name, mitigated=found, changes=changes, relief=relief))
        doubts += _doubts(each, bench, name, found.common.value)
    return MitigationRecord(
        model=own,
        benchmark=f"{benchmark.name}@{benchmark.version[:8]}",
        contrast=str(contrast),
        parts=[PartRecord(**sizes) for sizes in bench.divided.rotation.sizes(bench.run.features.readable)],
        seed=bench.seed,
        tests=main.tests,
        unmitigated=accuracies(own),
        methods=methods,
        left_out=left_out,
        side_effects={name: _EFFECTS[name][1] for name in effects},
        not_measured=not_measured,
        notes=[*notes, *doubts],
    )


def _doubts(tried: Tried, bench: Bench, name: str, judged: float | None) -> list[str]:
    """Return a note if the exported head is at least a point less accurate than the heads that were judged.

    The exported head is scored on the common photos that it was fitted on, which flatters it; the others were
    judged on photos that they had not seen. If it is less accurate even so, the table does not describe it.
    """
    if judged is None or obstacle(tried.final):
        return []
    answers = bench.run.predictions(name, lambda rows: bench.logits(tried.final, rows, bench.inputs))
    own = _sides(answers, bench.divided.contrast, bench.run.benchmark.design)[name]["left"].value
    if own is None or own > judged - _WORSE:
        return []
    note = (
        f"The exported head of {tried.method.name} recognises {100 * own:.1f} % of the "
        f"{side_names(bench.divided.contrast)[0]} that it was fitted on, fewer than the "
        f"{100 * judged:.1f} % of the heads that were judged: it costs more than the table says."
    )
    return [note]


def _method_record(
    tried: Tried,
    bench: Bench,
    model: str,
    *,
    mitigated: Accuracies,
    changes: Mapping[str, Figure],
    relief: dict[str, Figure],
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
        cost=changes["left"],
        gain=changes["difference"],
        relief=relief,
        head=None if reason else head,
        not_exported=reason,
        cpu_seconds=tried.seconds,
    )


def _marked(bench: Bench, tried: Sequence[Tried], inputs: Mapping[Input, np.ndarray]) -> pl.DataFrame:
    """Predict the photos with a watermark by the model itself and by each method."""
    own, head = bench.run.model.display_name, bench.run.head
    features = inputs["photo"]
    frames = [bench.run.predictions(own, lambda rows: head.scale * head.scores(features[rows]))]
    frames += [predictions_of(each, bench, inputs, f"{own} + {each.method.name}") for each in tried]
    return pl.concat(frames)


@dataclass(frozen=True)
class _Effect:
    """A contrast of each model, and the unmitigated model's minus that of each other model.

    ``tests`` is how many tests of pairs of models the p-values are corrected for.
    """

    sides: dict[str, dict[str, Figure]]
    changes: dict[str, dict[str, Figure]]
    tests: int

    @classmethod
    def of(cls, predictions: pl.DataFrame, contrast: Contrast, own: str, design: Design) -> _Effect:
        keys = _keys(contrast)
        changes: dict[str, dict[str, Figure]] = {}
        every = compare_models(predictions, contrast=contrast, design=design)
        for row in tests_against(every, own).iter_rows(named=True):
            if name := keys.get((row["metric"], row["group"])):
                value, low, high = row["difference"], row["low"], row["high"]
                figure = Figure(
                    value=None if value is None else -value,
                    low=None if high is None else -high,
                    high=None if low is None else -low,
                    p_holm=row["p_holm"],
                )
                changes.setdefault(row["model_a"], {})[name] = figure
        sides = _sides(predictions, contrast, design)
        return cls(sides, changes, len(every) - every["p_value"].null_count())


def _keys(contrast: Contrast) -> dict[tuple[str, str | None], str]:
    """Return what the record calls the metrics and groups of a contrast."""
    left, right = contrast.side_keys
    return {left: "left", right: "right", contrast.difference_key: "difference"}


def _sides(predictions: pl.DataFrame, contrast: Contrast, design: Design) -> dict[str, dict[str, Figure]]:
    """Return accuracy on both sides, and the difference, of each model."""
    keys, sides = _keys(contrast), dict[str, dict[str, Figure]]()
    scores = score_contrast(predictions, contrast, design=design)
    if contrast.name == "drop":
        scores = score_predictions(predictions, by_class=False, design=design)
    for row in scores.filter(pl.col("class_index").is_null()).iter_rows(named=True):
        if name := keys.get((row["metric"], row["group"])):
            figure = Figure(value=row["value"], low=row["low"], high=row["high"])
            sides.setdefault(row["model"], {})[name] = figure
    return sides
