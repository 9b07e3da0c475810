"""Mitigate one model: fit, choose and judge each method on different clusters, and write a run of all."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from counterground.comparison import selection_of
from counterground.errors import UsageError
from counterground.files import write_parquet, write_text
from counterground.inference import encoder_run
from counterground.metrics import (
    SCORES_METADATA,
    SETTING,
    Estimate,
    ScoreKey,
    compare_models,
    score_contrast,
    tests_against,
)
from counterground.mitigation._method import MitigatedHead, Mitigation, obstacle, write_head
from counterground.mitigation._split import PARTS, Divided, divide
from counterground.mitigation._trial import Bench, Tried, mask_contents, outcome_of, try_method, why_no_parts
from counterground.mitigation.methods import find_mitigations
from counterground.models import AnyModel
from counterground.photos import Benchmark
from counterground.predictions import default_space
from counterground.progress import progress_bar
from counterground.results import (
    MITIGATION_FILE,
    Accuracies,
    ExportedHead,
    MethodRecord,
    MitigationRecord,
    PartRecord,
    Run,
    regroup,
    side_names,
)
from counterground.settings import MitigateSettings
from counterground.text import and_more, counted

_BY_LABELS = "the lower of common and counter accuracy, averaged over classes"
_WITHOUT = "accuracy, averaged over classes"
_WORSE = 0.01  # of accuracy; a smaller difference is not worth a note
_NAMED = 3
_WARNING = (
    "Heads of models called MODEL + METHOD were fitted and chosen on parts of this benchmark, each photo "
    "predicted by one that saw nothing of its cluster; how they do on other photos is another question."
)


@dataclass(frozen=True)
class Mitigated:
    """The run of a model and its mitigated versions, and what the methods did."""

    run: Run
    record: MitigationRecord

    def __repr__(self) -> str:
        """What the methods did, as on a terminal."""
        made = f"{counted(len(self.record.methods), 'method')} for {self.record.model}"
        return f"Run {self.run.path}: {made}\n{self.record}"

    def _repr_html_(self) -> str:
        return self.record._repr_html_()


def mitigate_model(
    benchmark: Benchmark,
    model: AnyModel,
    methods: str | Mitigation | Sequence[str | Mitigation],
    settings: MitigateSettings,
    out: Path,
    *,
    warn: Callable[[str], object] = warnings.warn,
) -> Mitigated:
    """Mitigate one model by several methods, and write the run, ``mitigation.json`` and the mitigated heads.

    Clusters are divided into three parts, which take turns: a method is fitted on one, its setting chosen on
    the next, and judged on the last, so that each photo is judged once. The heads of ``heads/`` are fitted on
    all photos, with the setting that was chosen most often, and are not what was judged.

    Args:
        benchmark: benchmark with photos on both sides of its own contrast.
        model: a dual encoder or a classifier.
        methods: names, ``all``, or methods.
        settings: which classes take part, the seed, and how the model is run. Classes with too few clusters
            are left out, and noted.
        out: the folder.
        warn: called with one line for each method of another package that cannot be loaded.

    Raises:
        UsageError: an unknown method, or one that this model or benchmark cannot use; no photos to compare;
            too few clusters, or too many backgrounds.
        CounterGroundError: see `evaluate_models`; a method fails.
    """
    benchmark.check_backgrounds()
    named = [methods] if isinstance(methods, str | Mitigation) else list(methods)
    chosen = find_mitigations(named, warn)
    divided = divide(benchmark, settings.classes, settings.seed)
    if divided.notes:  # as if all classes had stayed
        settings = replace(settings, label_space=settings.label_space or default_space(benchmark))
    asked = {"seed": settings.seed, "classes": settings.classes, "masks": settings.masks}
    asked = {name: value for name, value in asked.items() if value not in ("all", None)}
    separate = any("masks" in each.needs for each in chosen) and not why_no_parts(divided.benchmark)
    mask_ids = mask_contents(divided.benchmark) if separate else []
    about = {"methods": [each.name for each in chosen], **asked} | (
        {"mask_contents": mask_ids} if separate else {}
    )
    run = encoder_run(divided.benchmark, model, settings, out, about=about, overwrite=settings.overwrite)
    bench = Bench(run, divided, asked, mask_ids)
    tried, left_out = _try_all(chosen, bench, named)
    written = run.write([outcome_of(each, bench) for each in tried], [_WARNING, *divided.notes])
    record = _record_of(bench, written, tried, left_out)
    _write(written, record, {each.method.name: each.final for each in tried})
    return Mitigated(written, record)


def _try_all(
    methods: Sequence[Mitigation], bench: Bench, named: Sequence[str | Mitigation]
) -> tuple[list[Tried], dict[str, str]]:
    """Fit and choose each method that can be used; return why the others cannot.

    Raises:
        UsageError: none can be used, or one that was requested by name cannot.
    """
    lacking = _lacking(bench)
    left_out: dict[str, str] = {}
    tried: list[Tried] = []
    # What is asked for by name is refused before anything is fitted.
    methods = sorted(methods, key=lambda each: not set(each.needs) & lacking.keys())
    shown = bench.run.ready.request.settings.show_progress
    with progress_bar("Methods", total=len(methods), shown=shown) as bar:
        for method in methods:
            try:
                tried.append(try_method(method, bench, lacking))
            except UsageError as error:
                if method.name in named or method in named:
                    raise
                left_out[method.name] = str(error).removeprefix(f"{method.name} ")
            bar.advance(1)
    if not tried:
        reasons = " ".join(f"{name} {reason}" for name, reason in left_out.items())
        raise UsageError(f"No method can be used here. {reasons}")
    return tried, left_out


def _lacking(bench: Bench) -> dict[str, str]:
    """Return what this model and benchmark lack of what methods need, to follow "needs".

    Raises:
        UsageError: no method can be used, because of the names that compete.
    """
    data, run = bench.data, bench.run
    if run.head.starts is not None or data.head.shape[1] < 2:
        raise UsageError(
            f"{run.benchmark.name} has one class that competes, or classes with several names each; a "
            "mitigated head has one column for each of several classes: use a label space with one name a "
            "class, such as --label-space benchmark, and a dual encoder if an ImageNet classifier has "
            "several outputs for a class."
        )
    lacking = {}
    if data.encode_texts is None:
        lacking["texts"] = f"a model with texts, and {run.model.display_name} is a {run.model.kind}"
    if len(data.background_names) < 2:
        lacking["backgrounds"] = f"labels of two backgrounds, and {run.benchmark.name} has fewer"
    if data.background_features is None:
        lacking["masks"] = why_no_parts(run.benchmark) or "masks"
    return lacking


def _record_of(bench: Bench, run: Run, tried: Sequence[Tried], left_out: dict[str, str]) -> MitigationRecord:
    """Return what each method changed."""
    own, contrast, benchmark = run.info.models[0].name, bench.divided.contrast, bench.run.benchmark
    sides = {model.setting.model: model.of(contrast) for model in regroup(run.estimates(contrast))}
    changes, tests = _changes(bench, run)
    lowest = dict(run.scores().filter(metric="worst_group_accuracy").select("model", "value").iter_rows())
    accuracies = {
        model: Accuracies(common=of.left, counter=of.right, drop=of.difference, worst_group=lowest.get(model))
        for model, of in sides.items()
    }
    names = [f"{own} + {each.method.name}" for each in tried]
    return MitigationRecord(
        model=own,
        benchmark=f"{benchmark.name}@{benchmark.version[:8]}",
        contrast=str(contrast),
        parts=[PartRecord(**sizes) for sizes in bench.divided.rotation.sizes(bench.run.features.readable)],
        seed=bench.data.seed,
        tests=tests,
        unmitigated=accuracies[own],
        methods=[
            _method_record(each, bench, name, accuracies[name], changes[name])
            for each, name in zip(tried, names, strict=True)
        ],
        left_out=left_out,
        notes=[
            *_notes(bench.divided, run),
            *(
                note
                for each, name in zip(tried, names, strict=True)
                for note in _doubts(each, bench, sides[name].left.value)
            ),
        ],
    )


def _method_record(
    tried: Tried, bench: Bench, model: str, mitigated: Accuracies, changes: Mapping[str, Estimate]
) -> MethodRecord:
    method, used, reason = tried.method, tried.method.group_labels, obstacle(tried.final)
    chosen = tried.tried > 1
    fitted = np.flatnonzero(bench.run.features.readable & (bench.run.true >= 0))
    head = ExportedHead(
        file=f"heads/{method.name}-all-photos.safetensors",
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


def _changes(bench: Bench, run: Run) -> tuple[dict[str, dict[str, Estimate]], int]:
    """Return the unmitigated model's contrast and sides minus those of each other model.

    And how many tests of pairs of models their p-values are corrected for.
    """
    contrast = bench.divided.contrast
    keys = {contrast.side_keys[0]: "cost", contrast.difference_key: "gain"}
    changes: dict[str, dict[str, Estimate]] = {}
    every = compare_models(run.predictions, contrast=contrast, design=bench.run.benchmark.design)
    for row in tests_against(every, run.info.models[0].name).iter_rows(named=True):
        if name := keys.get(ScoreKey.of(row)):
            value, low, high = (
                None if end is None else -end for end in map(row.get, ("value", "high", "low"))
            )
            corrected = {name: row[name] for name in ("p_corrected", "family")}
            figure = Estimate(value, low, high, row["n"], **corrected)
            changes.setdefault(row["model"], {})[name] = figure
    return changes, len(every) - every["p_value"].null_count()


def _doubts(tried: Tried, bench: Bench, judged: float | None) -> list[str]:
    """Return a note if the exported head is at least a point less accurate than the heads that were judged.

    It is scored on the common photos that it was fitted on, which flatters it. If it is less accurate even
    so, the table does not describe it.
    """
    contrast, design = bench.divided.contrast, bench.run.benchmark.design
    if judged is None or obstacle(tried.final):
        return []
    answers = bench.run.predictions("exported", lambda rows: bench.logits(tried.final, rows))
    own = regroup(score_contrast(answers, contrast, design=design))[0].of(contrast).left.value
    if own is None or own > judged - _WORSE:
        return []
    note = (
        f"The exported head of {tried.method.name} recognises {100 * own:.1f} % of the "
        f"{side_names(contrast)[0]} that it was fitted on, fewer than the {100 * judged:.1f} % of the heads "
        "that were judged: it costs more than the table says."
    )
    return [note]


def _notes(divided: Divided, run: Run) -> list[str]:
    """Say which classes are left out, what selected the photos, what parts share, and what a part lacks."""
    notes = [*divided.notes, *(each.text for each in selection_of(run).findings("drop"))]
    first, *others = divided.benchmark.design.clusters
    if others:
        notes.append(
            f"Parts are divided by the column {first} alone: photos of one {' or '.join(others)} may be in "
            "several parts, so that heads have seen the backgrounds that they are judged on."
        )
    if lacking := divided.rotation.lacking:
        notes.append(
            f"Clusters are too few for each of the {PARTS} parts to have every class on each side: one part "
            f"or more lacks {and_more(lacking, _NAMED)}."
        )
    return notes


def _write(run: Run, record: MitigationRecord, heads: Mapping[str, MitigatedHead]) -> None:
    """Write the heads, the scores and, last, the record."""
    for each in record.methods:
        if each.head is not None:
            about = {
                "method": each.name,
                "model": record.model,
                "benchmark": record.benchmark,
                "setting": each.head.setting,
                "fitted_on": f"all {each.head.photos} photos of {each.head.clusters} clusters",
                "judged": "no: mitigation.json has accuracies of heads fitted on a third of the clusters",
            }
            write_head(heads[each.name], run.path / each.head.file, about)
    own = run.estimates().filter(model=record.model).row(0, named=True)
    changes = record.rows.drop_nulls("versus").with_columns(
        pl.lit(own[name], pl.String).alias(name) for name in SETTING
    )
    write_parquet(run.path / "scores.parquet", pl.concat([run.all_scores(), changes]), SCORES_METADATA)
    write_text(run.path / MITIGATION_FILE, record.model_dump_json(indent=2))
