"""Mitigate one model: fit, choose and judge each method on different clusters, and write a run of all."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from counterground.comparison import COUNTERANIMAL, REFEREE
from counterground.errors import UsageError
from counterground.files import write_parquet, write_text
from counterground.inference import default_space, encoder_run
from counterground.metrics import (
    SCORES_METADATA,
    SETTING,
    Contrast,
    Design,
    Estimate,
    ScoreKey,
    compare_models,
    score_contrast,
    tests_against,
)
from counterground.mitigation._method import MitigatedHead, Mitigation, obstacle, write_head
from counterground.mitigation._split import PARTS, Divided, divide
from counterground.mitigation._trial import Bench, Tried, mask_contents, outcome_of, try_method, why_no_parts
from counterground.mitigation.methods import ALL, find_mitigations
from counterground.models import AnyModel
from counterground.photos import Benchmark
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
    classes, seed, masks = settings.classes, settings.seed, settings.masks
    benchmark.check_backgrounds()
    named = [methods] if isinstance(methods, str | Mitigation) else list(methods)
    chosen = find_mitigations(named, warn)
    divided = divide(benchmark, classes, seed)
    if divided.notes:  # as if all classes had stayed
        settings = replace(settings, label_space=settings.label_space or default_space(benchmark))
    about = {"methods": [each.name for each in chosen], "seed": seed}
    about |= {} if classes == "all" else {"classes": classes}
    about |= {} if masks is None else {"masks": masks}
    separate = any("masks" in each.needs for each in chosen) and not why_no_parts(divided.benchmark)
    about |= {"mask_contents": mask_contents(divided.benchmark)} if separate else {}
    run = encoder_run(divided.benchmark, model, settings, out, about=about, overwrite=settings.overwrite)
    bench = Bench(run, divided, seed, separate, classes, masks)
    tried, left_out = _try_all(chosen, bench, named)
    notes = [*divided.notes, *_notes(divided)]
    written = run.write([outcome_of(each, bench) for each in tried], [_WARNING, *notes])
    record = record_of(bench, written, tried, left_out=left_out, notes=notes)
    _write(written, record, {each.method.name: each.final for each in tried})
    return Mitigated(written, record)


def _try_all(
    methods: Sequence[Mitigation], bench: Bench, named: Sequence[str | Mitigation]
) -> tuple[list[Tried], dict[str, str]]:
    """Fit and choose each method that can be used; return why the others cannot.

    Raises:
        UsageError: none can be used, or one that was requested by name cannot.
    """
    usable, left_out = _usable(methods, bench, refuse=[each for each in named if each != ALL])
    tried: list[Tried] = []
    shown = bench.run.ready.request.settings.show_progress
    with progress_bar("Methods", total=len(usable), shown=shown) as bar:
        for method in usable:
            try:
                tried.append(try_method(method, bench))
            except UsageError as error:
                if method.name in named or method in named:
                    raise
                left_out[method.name] = str(error)
            bar.advance(1)
    if not tried:
        reasons = " ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise UsageError(f"No method can be used here. {reasons}")
    return tried, left_out


def _write(run: Run, record: MitigationRecord, heads: Mapping[str, MitigatedHead]) -> None:
    """Write the heads, the scores and, last, the record."""
    for each in record.methods:
        if each.head is not None:
            about = {"method": each.name, "model": record.model, "benchmark": record.benchmark}
            write_head(heads[each.name], run.path / each.head.file, {**about, **_provenance(each.head)})
    own = run.estimates().filter(model=record.model).row(0, named=True)
    changes = record.rows.drop_nulls("versus").with_columns(
        pl.lit(own[name], pl.String).alias(name) for name in SETTING
    )
    write_parquet(run.path / "scores.parquet", pl.concat([run.all_scores(), changes]), SCORES_METADATA)
    content = json.loads(record.model_dump_json())
    write_text(run.path / MITIGATION_FILE, json.dumps(content, indent=2, ensure_ascii=False))


def _usable(
    methods: Sequence[Mitigation], bench: Bench, refuse: Sequence[str | Mitigation]
) -> tuple[list[Mitigation], dict[str, str]]:
    """Return the methods that this model and benchmark can use, and why not the others.

    Raises:
        UsageError: one of the latter was requested by name.
    """
    lacking = {}
    data, name = bench.data, bench.run.model.display_name
    if bench.run.head.starts is not None:
        raise UsageError(
            f"{bench.run.benchmark.name} has classes with several names each, and a mitigated head has one "
            "column for each class: use a label space with one name a class, such as --label-space "
            "benchmark, and a dual encoder if an ImageNet classifier has several outputs for such a class."
        )
    if data.encode_texts is None:
        lacking["texts"] = f"a model with texts, and {name} is a {bench.run.model.kind.replace('_', ' ')}"
    if not data.background_names:
        lacking["backgrounds"] = f"labels of backgrounds, and {bench.run.benchmark.name} has none"
    if data.background_features is None:
        lacking["masks"] = why_no_parts(bench.run.benchmark) or "masks"
    usable, left_out = [], {}
    for method in methods:
        missing = sorted(need for need in method.needs if need in lacking)
        if not missing:
            usable.append(method)
            continue
        reason = f"needs {lacking[missing[0]]}."
        unmasked = missing[0] == "masks" and not bench.run.benchmark.photos["mask"].count()
        if method.name in refuse or method in refuse:
            give = "Name their source with --masks, leave" if unmasked else "Leave"
            raise UsageError(
                f"{method.name} {reason} {give} it out, or take --method all for those that can be used."
            )
        left_out[method.name] = f"{reason} Name their source with --masks." if unmasked else reason
    return usable, left_out


def _notes(divided: Divided) -> list[str]:
    """Say what selected the photos, what parts share, and which photos a part lacks."""
    notes, lacking = [], divided.rotation.lacking
    discovery = divided.benchmark.discovery
    chose = discovery.referee if discovery is not None and discovery.split == "none" else ""
    elsewhere = (
        "Pairs chosen on other photos do not have this fault: counterground discover --split half, or swap."
    )
    if (discovery.origin if discovery else divided.benchmark.name).casefold() == COUNTERANIMAL:
        chose, elsewhere = REFEREE, "Only new photos do not have this fault."
    if chose:
        notes.append(
            f"{chose} chose which backgrounds are common and counter on these very photos: "
            "chance inflates its drop, so a change to the model may look like a gain without being one. "
            f"{elsewhere}"
        )
    if discovery is not None and discovery.split == "cross":
        notes.append(
            "The pairs of each half of these photos were chosen on the other half, so the errors of the two "
            f"halves are correlated: intervals of {discovery.referee}, with any head, are too narrow, and "
            "those of models that find the same photos hard may be."
        )
    first, *others = divided.benchmark.design.clusters
    if others:
        notes.append(
            f"Parts are divided by the column {first} alone: photos of one {' or '.join(others)} may be in "
            "several parts, so that heads have seen the backgrounds that they are judged on."
        )
    if lacking:
        notes.append(
            f"Clusters are too few for each of the {PARTS} parts to have every class on each side: one part "
            f"or more lacks {and_more(lacking, _NAMED)}."
        )
    return notes


def _provenance(head: ExportedHead) -> dict[str, Any]:
    return {
        "setting": head.setting,
        "fitted_on": f"all {head.photos} photos of {head.clusters} clusters",
        "judged": "no: accuracies in mitigation.json are those of heads fitted on a third of the clusters",
    }
