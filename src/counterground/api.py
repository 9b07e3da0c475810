"""The commands as functions: ``cg.evaluate("stamps", "efficientnet-lite0", out="runs/first")``."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Literal

import polars as pl

from counterground.benchmarks import open_apart, open_benchmark
from counterground.comparison import Comparison, full_comparison
from counterground.composites import swap_backgrounds
from counterground.decision import Check, Plan, check_run, plan_photos
from counterground.discovery import Discovery, discover_pairs, read_discovery
from counterground.errors import CounterGroundError, UsageError
from counterground.files import given_path
from counterground.findings import judged_scores
from counterground.http import offline
from counterground.inference import evaluate_models
from counterground.masks import with_masks
from counterground.metrics import Contrast, Scale
from counterground.models import AnyModel, AnyModels, check_specs, named_models
from counterground.photos import Benchmark, sample_photos, without_classes
from counterground.predictions import evaluate_predictions
from counterground.published import SettingName
from counterground.results import AnyRuns, Run, ScoresTable, open_runs, scores_of, select_models
from counterground.settings import (
    KINDS,
    CheckSettings,
    CompareSettings,
    DiscoverSettings,
    EvaluateSettings,
    MaskSettings,
    MitigateSettings,
    PlanSettings,
    ReportSettings,
    SwapSettings,
)
from counterground.sharing import (
    Audit,
    ResultFormat,
    audit_bundle,
    read_board,
    share_run,
    write_board,
    write_results,
)

if TYPE_CHECKING:
    from counterground.mitigation import Mitigated, Mitigation

AnyBenchmark = Benchmark | Path | str
"""An opened benchmark, a built-in name, a folder, a manifest, or a pool."""


def _folder(out: Path | str | None) -> Path:
    """Return the folder of results: a new temporary one if none is given."""
    return Path(mkdtemp(prefix="counterground-")) if out is None else given_path(os.fspath(out))


def evaluate(
    data: AnyBenchmark,
    models: AnyModels = (),
    *,
    predictions: Path | str | None = None,
    out: Path | str | None = None,
    map: Mapping[str, str] | None = None,  # noqa: A002 - as the option
    label_space: str | None = None,
    referee: str | None = None,
    names: str = "openai",
    prompts: str = "simple",
    limit: int | None = None,
    train: AnyBenchmark | None = None,
    device: str = "auto",
    batch_size: int = 32,
    report: bool = True,
    overwrite: bool = False,
    show_progress: bool = False,
    settings: EvaluateSettings | None = None,
) -> Run:
    """Evaluate one or more models on a benchmark and write the run, with its report, into a folder.

    An interrupted run resumes: features and answers are kept in the cache.

    Args:
        data: a built-in name, a folder, a manifest, a pool, or an opened benchmark.
        models: one model, several, or a dict of names to models. A model is a specification
            (``"torchvision:resnet50"``, or with a name ``"mine=torchvision:resnet50"``), a network in memory
            with its preprocessing, ``(network, preprocess)``, ``(network, preprocess, class_names)``,
            ``(network, preprocess, HeadSpec)`` or ``(clip, preprocess, tokenizer)``, a `Classifier`,
            `DualEncoder`, `ImageEncoder` or `Generative` (see ``counterground.models``), or a function
            without arguments that returns one of these. Networks are left unchanged.
        predictions: instead of models, a file of predictions that exist: CSV, Parquet or JSON lines with
            columns such as ``path`` and ``prediction``, or what ``counterground.predictions.FORMATS`` reads.
            No model library is imported.
        out: the folder of the run; None for a new temporary one (``run.path``).
        map: which column of a table is which: column of the manifest -> its name there.
        label_space: ``benchmark``, ``imagenet``, ``confusable`` or a file; None for ``imagenet`` if every
            class has an ImageNet index, else ``benchmark``.
        referee: the model that chooses the confusable names.
        names: how ImageNet classes are written in prompts: ``openai``, ``wordnet`` or a file.
        prompts: ``simple`` ("A photo of {}."), ``openai`` (80 templates) or a file.
        limit: cap on the number of photos, spread over classes and backgrounds, for a quick trial.
        train: the labelled photos that heads are fitted on (``?head=knn``), except those that are evaluated;
            None for ``data`` itself, with each photo predicted by a head that saw none of its cluster.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        batch_size: photos per forward pass.
        report: write ``report.html``.
        overwrite: replace another run in ``out``.
        show_progress: show bars on standard error.
        settings: these and rarer settings; an argument that is not at its default replaces what they say.

    Raises:
        UsageError: something that is not a model, one name for two models, an unknown name list, prompt file,
            label space or device, settings that do not go together, a value out of range, a model that cannot
            be asked under the protocol, or an ``out`` that is, lies in or holds the benchmark.
        CounterGroundError: weights that cannot be obtained, photos none of which can be read, or an ``out``
            that cannot be written or holds another run.
    """
    chosen = EvaluateSettings.of(
        settings,
        map=map,
        predictions=None if predictions is None else Path(predictions),
        label_space=label_space,
        referee=referee,
        names=names,
        prompts=prompts,
        limit=limit,
        device=device,
        batch_size=batch_size,
        report=report,
        overwrite=overwrite,
        show_progress=show_progress,
    )
    if chosen.predictions is not None and models:
        raise UsageError("Models and --predictions are two ways to the same table: give one of them.")
    with offline(forbid=chosen.offline):
        models = _known(models)
        if chosen.referee:
            check_specs([chosen.referee])
        out = _folder(out)
        whole = open_apart(
            data,
            out,
            columns=chosen.columns_of_photos,
            skip_bad_rows=chosen.skip_bad_rows,
            files=chosen.predictions is None,
            show_progress=chosen.show_progress,
        )
        opened = without_classes(whole, chosen.drop_classes)
        if chosen.limit is not None:
            opened = sample_photos(opened, chosen.limit)
        # Read first, so that a damaged record is reported before the models run.
        discovery = None if isinstance(data, Benchmark) or not chosen.report else read_discovery(Path(data))
        fit_on = chosen.train if train is None else train
        if chosen.predictions is not None:
            run = evaluate_predictions(opened, chosen, out, whole=whole)
        else:
            run = evaluate_models(
                opened,
                models,
                chosen,
                out,
                train=None if fit_on is None else _opened(fit_on, out, chosen.show_progress),
                overwrite=chosen.overwrite,
            )
        if chosen.report:
            _report(
                run,
                run.path / "report.html",
                discovery=discovery,
                benchmarks=[opened],
                photos=chosen.photos,
            )
        return run


def mitigate(
    data: AnyBenchmark,
    model: AnyModel,
    methods: str | Mitigation | Sequence[str | Mitigation],
    *,
    out: Path | str | None = None,
    masks: str | None = None,
    classes: Literal["all", "pairs"] = "all",
    seed: int = 0,
    label_space: str | None = None,
    limit: int | None = None,
    device: str = "auto",
    overwrite: bool = False,
    show_progress: bool = False,
    settings: MitigateSettings | None = None,
    warn: Callable[[str], object] = warnings.warn,
) -> Mitigated:
    """Make a model rely less on the background, and measure what that costs.

    The folder is a run of the model and of each mitigated one (``MODEL + METHOD``), with ``mitigation.json``,
    and the mitigated heads. Each photo is judged by a head that was fitted and chosen on
    other clusters; those in ``heads/`` are fitted on all photos.

    Args:
        data: photos on both sides of the benchmark's own contrast, by default common and counter; see
            ``evaluate``.
        model: one dual encoder or classifier; see ``evaluate``.
        methods: one method or several, by name or as a `counterground.mitigation.Mitigation`; ``all`` for
            every one that this model and benchmark support.
        out: the folder; None for a new temporary one.
        masks: where masks of the objects come from, as in ``swap``; None for the benchmark's own. Some
            methods need one for every photo.
        classes: classes that take part, with photos and names: ``all``, or ``pairs`` for those with photos on
            both sides. Classes with too few clusters are left out either way, and a note says which.
        seed: seed for the three parts of clusters, and for what methods draw.
        label_space: see ``evaluate``, also for all that follow; ``confusable`` has no referee here.
        limit: cap on the number of photos.
        device: where the model runs.
        overwrite: replace another run in ``out``.
        show_progress: show bars on standard error.
        settings: these and rarer settings; an argument that is not at its default replaces what they say.
        warn: called with one line for a method that cannot be loaded.

    Raises:
        UsageError: an unknown method, or one that this model or benchmark does not support; no photos to
            compare; too few clusters; or see ``evaluate``.
        CounterGroundError: a method fails, or see ``evaluate``.
    """
    from counterground.mitigation import mitigate_model

    chosen = MitigateSettings.of(
        settings,
        masks=masks,
        classes=classes,
        seed=seed,
        label_space=label_space,
        limit=limit,
        device=device,
        overwrite=overwrite,
        show_progress=show_progress,
    )
    _refuse_licences(chosen)
    with offline(forbid=chosen.offline):
        _known(model)
        out = _folder(out)
        opened = _opened(data, out, chosen.show_progress)
        # Masks are made of the sample only, and found among all photos: a name may fit several of them.
        sample_first = chosen.masks is None or not Path(chosen.masks).exists()
        if chosen.limit is not None and sample_first:
            opened = sample_photos(opened, chosen.limit)
        opened = _with_masks(opened, chosen)
        if chosen.limit is not None and not sample_first:
            opened = sample_photos(opened, chosen.limit)
        return mitigate_model(opened, model, methods, chosen, out, warn=warn)


def discover(
    data: AnyBenchmark,
    referee: AnyModels,
    *,
    out: Path | str | None = None,
    split: Literal["half", "cross", "none"] = "half",
    min_drop: float = 0.05,
    min_photos: int | None = None,
    seed: int = 0,
    write_anyway: bool = False,
    label_space: str | None = None,
    device: str = "auto",
    find_backgrounds: bool = False,
    overwrite: bool = False,
    show_progress: bool = False,
    settings: DiscoverSettings | None = None,
) -> Discovery:
    """Find each class's best (common) and worst (counter) background for a referee (paper section 2).

    If the pairs drop by no more than chance explains, the result's ``benchmark`` is None and none is written:
    see ``exceeds_chance`` and ``sentence``.

    Args:
        data: photos with backgrounds; see ``evaluate``.
        referee: the model that decides, or several, whose mean accuracy decides; see ``evaluate``.
        out: where the benchmark of the pairs is written; None for a new temporary folder.
        split: ``half`` chooses on one half of the photos and keeps the other; ``cross`` keeps all photos,
            with each half in the pairs that the other half chose; ``none`` chooses and reports on all of
            them, which inflates the referee's drop.
        min_drop: keep classes whose accuracy differs between backgrounds by more than this (a fraction).
        min_photos: photos a background needs, in each half, to be considered; None for half of what the
            median background of a class has, at least 2.
        seed: seed for the halves and the permutations.
        write_anyway: write the benchmark even if the pairs are no more than chance.
        label_space: see ``evaluate``, also for all that follow.
        device: where the referee runs.
        find_backgrounds: find groups of photos with like backgrounds instead of reading labels.
        overwrite: replace another discovery in ``out``.
        show_progress: show bars on standard error.
        settings: these and rarer settings; an argument that is not at its default replaces what they say.

    Raises:
        UsageError: an unknown model, split or way to choose, a drop outside 0 to 1, ``out`` holds something
            else, or see ``evaluate``.
        CounterGroundError: photos without backgrounds, no class with enough photos on two, or see
            ``evaluate``.
    """
    chosen = DiscoverSettings.of(
        settings,
        split=split,
        min_drop=min_drop,
        min_photos=min_photos,
        seed=seed,
        write_anyway=write_anyway,
        label_space=label_space,
        device=device,
        find_backgrounds=find_backgrounds,
        overwrite=overwrite,
        show_progress=show_progress,
    )
    with offline(forbid=chosen.offline):
        referee = _known(referee)
        out = _folder(out)
        opened = _with_masks(_opened(data, out, chosen.show_progress), chosen)
        return discover_pairs(opened, referee, chosen, out)


def swap(
    data: AnyBenchmark,
    models: AnyModels,
    *,
    out: Path | str | None = None,
    masks: str | None = None,
    kinds: str | Sequence[str] = KINDS,
    backgrounds_per_label: int = 4,
    foregrounds: int | None = None,
    seed: int = 0,
    label_space: str | None = None,
    device: str = "auto",
    report: bool = True,
    overwrite: bool = False,
    show_progress: bool = False,
    settings: SwapSettings | None = None,
) -> Run:
    """Evaluate models on composites: the same objects on other backgrounds show what backgrounds cause.

    The run is like any other; its ``effects()`` says what backgrounds cause. Composites are made in memory
    and not kept.

    Args:
        data: photos with masks of their objects and labels of their backgrounds; see ``evaluate``.
        models: see ``evaluate``.
        out: the folder of the run; None for a new temporary one.
        masks: where masks come from (`masks.with_masks`): a folder of PNGs or one from ``make_masks``, COCO
            annotations, ``grabcut``, or a model; None for the benchmark's own.
        kinds: kinds of composites, from ``counterground.composites.KINDS``.
        backgrounds_per_label: photos of each label for each object, and number of any other draws.
        foregrounds: number of photos whose objects are used, spread over classes and groups; None for all or,
            if several photos show the same cut-out, for two of each.
        seed: seed for all draws; the same seed gives the same composites.
        label_space: see ``evaluate``, also for all that follow.
        device: where models run.
        report: write ``report.html``.
        overwrite: replace another run in ``out``.
        show_progress: show bars on standard error.
        settings: these and rarer settings; an argument that is not at its default replaces what they say.

    Raises:
        MissingExtraError: OpenCV is not installed.
        UsageError: an unknown kind, label or source of masks, a benchmark of
            composites, or see ``evaluate``.
        CounterGroundError: no photo has a usable mask, too few backgrounds, or see ``evaluate``.
    """
    chosen = SwapSettings.of(
        settings,
        masks=masks,
        kinds=kinds,
        backgrounds_per_label=backgrounds_per_label,
        foregrounds=foregrounds,
        seed=seed,
        label_space=label_space,
        device=device,
        report=report,
        overwrite=overwrite,
        show_progress=show_progress,
    )
    _refuse_licences(chosen)
    with offline(forbid=chosen.offline):
        models = _known(models)
        out = _folder(out)
        opened = _with_masks(_opened(data, out, chosen.show_progress), chosen)
        run, composites = swap_backgrounds(opened, models, chosen, out)
        if chosen.report:
            _report(run, run.path / "report.html", benchmarks=[composites], photos=chosen.photos)
        return run


def _refuse_licences(chosen: SwapSettings | MitigateSettings) -> None:
    """Refuse accepted licences where no model is named that could need one."""
    if chosen.accept_licences and chosen.masks is None:
        raise UsageError(
            "--accept-licence is for the weights of a model that makes masks: name the model with --masks, "
            "or leave the licence out."
        )


def _with_masks(opened: Benchmark, chosen: DiscoverSettings | SwapSettings | MitigateSettings) -> Benchmark:
    if chosen.masks is None:
        return opened
    how = MaskSettings(accept_licences=chosen.accept_licences, show_progress=chosen.show_progress)
    return with_masks(opened, chosen.masks, settings=how)


def scores(
    runs: AnyRuns,
    *,
    by: str | None = None,
    contrast: str | Contrast | None = None,
    effects: bool = False,
) -> pl.DataFrame:
    """Return the scores of runs (fractions, with 95 % intervals), as in ``scores.parquet``.

    With several runs, a first column ``run`` has the folder of each.

    Args:
        runs: runs or their folders.
        by: None for the scores over all classes; ``class`` for those of each; ``background`` or another
            attribute of the photos for the accuracy on each of its values, which needs no common and counter
            photos; ``cell`` for that of each cell.
        contrast: only the rows of one contrast: its name, or an expression such as ``"place=water -
            place=land within class_name"``.
        effects: what backgrounds cause, for runs of composites; the rows are those of
            ``metrics.swap_effects``.

    Raises:
        UsageError: no run, one given twice, an unknown ``by`` or contrast, options that do not go
            together, or effects of a run that is not of composites.
        CounterGroundError: a run cannot be read.
    """
    opened = open_runs(runs, least=1)
    return scores_of(opened, by=by, contrast=contrast, effects=effects, named=len(opened) > 1).rows


def format_scores(
    runs: AnyRuns,
    format: Literal["table", "csv", "json", "markdown", "latex"] = "table",  # noqa: A002 - as the option
    *,
    by_class: bool = False,
    contrast: str | Contrast | None = None,
) -> str | ScoresTable:
    """Write the scores of runs for a person or a program, as ``counterground scores`` does.

    Args:
        runs: runs or their folders.
        format: ``table`` fits the terminal or notebook it is shown in; ``markdown`` and ``latex`` give
            percent with 95 % intervals, ``csv`` and ``json`` fractions.
        by_class: one row per model and class.
        contrast: only one contrast, as in ``scores``.

    Raises:
        UsageError: no run, one given twice, an unknown format, runs with different classes, or an unknown
            contrast.
        CounterGroundError: a run cannot be read.
    """
    opened = open_runs(runs, least=1)
    by = "class" if by_class else None
    view = judged_scores(opened, by=by, contrast=contrast, named=len(opened) > 1)
    return view if format == "table" else view.write(format)


def compare(
    runs: AnyRuns = (),
    *,
    against: str | None = None,
    contrast: str | Contrast | None = None,
    published: bool = False,
    setting: SettingName | None = None,
    baseline: Literal["imagenet", "clip", "lvlm", "other"] = "imagenet",
    scale: Scale = "probit",
    settings: CompareSettings | None = None,
) -> Comparison:
    """Compare runs with each other and with the paper: paired tests, ranks, effective robustness, warnings.

    Args:
        runs: runs or their folders; none for only the paper's models and their 2025 reproduction.
        against: compare every model only with this one.
        contrast: what runs are compared on, as in ``scores``; by default the benchmark's own. The paper's
            numbers are for the drop only.
        published: include the paper's models, as if there are no runs or a setting is given.
        setting: which tables of the paper: ``one-prompt`` (3 and 4), ``openai-prompts`` (10 and 4),
            ``1-vs-20`` (13 and 14) or ``unbalanced`` (11 and 12); None takes those of 1 vs. 20 for runs with
            20 names, otherwise those of one prompt.
        baseline: the family that the line of effective robustness is fitted to.
        scale: ``probit`` or ``logit``.
        settings: all of these; an argument that is not at its default replaces what they say.

    Raises:
        UsageError: there is nothing to compare, a run is given twice, a model, family, scale, setting or
            contrast is unknown, or a contrast other than the drop with the paper.
        CounterGroundError: a run cannot be read.
    """
    chosen = CompareSettings.of(
        settings, against=against, published=published, setting=setting, baseline=baseline, scale=scale
    )
    opened = open_runs(runs)
    return full_comparison(
        opened,
        published=chosen.published or not opened or chosen.setting is not None,
        against=chosen.against,
        baseline=chosen.baseline,
        scale=chosen.scale,
        setting=chosen.setting,
        contrast=contrast or chosen.contrast,
    )


def plan(
    run: Run | Path | str | None = None,
    *,
    drop: float | None = None,
    contrast: str | Contrast | None = None,
    by: str | None = None,
    power: float = 0.8,
    against: str | None = None,
    clusters: int | None = None,
    classes: int = 20,
    photos: int = 20,
    cluster_size: float = 1.0,
    accuracy: float = 0.8,
    icc: float = 0.1,
    settings: PlanSettings | None = None,
) -> Plan:
    """Return how many photos are needed to detect a drop, and what the photos at hand can detect.

    Args:
        run: a pilot run or its folder; None to plan
            from assumptions.
        drop: the drop to detect (a fraction); required here or in ``settings``.
        contrast: what the drop is of, as in ``scores``; by default the first one of the benchmark.
        by: a column; a row for each of its values, whose accuracy is then ``drop`` below that of the others.
        power: the probability of detecting it, above 0.05 and below 1.
        against: a model of the run; each other model's drop is then compared with its drop.
        clusters: the number of observers or background photographs, at least 4; None: it grows with the
            photos.
        classes: without a run, the number of classes.
        photos: without a run, the number of photos of each class in each group.
        cluster_size: without a run, the number of photos of each cluster.
        accuracy: without a run, the accuracy on common photos (a fraction).
        icc: without a run, the intra-cluster correlation of correctness, from 0 to below 1.
        settings: these and rarer settings; an argument that is not at its default replaces what they say.

    Raises:
        UsageError: an impossible value, a run with an assumption, a price without calls, an unknown model,
            several runs, or a run without a drop.
        CounterGroundError: the run cannot be read.
    """
    assumed = {
        "classes": classes,
        "photos": photos,
        "cluster_size": cluster_size,
        "accuracy": accuracy,
        "icc": icc,
    }
    chosen = PlanSettings.of(
        settings, drop=drop, by=by, power=power, against=against, clusters=clusters, **assumed
    )
    source = None if run is None else _one_run(run)
    if source is not None and (own := [name for name in assumed if name in chosen.given()]):
        raise UsageError(
            f"{own[0]} is for planning without a run, and {source.path} has its own value: leave out one."
        )
    return plan_photos(source, chosen, contrast=contrast or chosen.contrast)


def check(
    run: Run | Path | str,
    *,
    max_drop: float | None = None,
    min_accuracy: float | None = None,
    by: str | None = None,
    contrast: str | Contrast | None = None,
    baseline: Run | Path | str | None = None,
    margin: float = 0.02,
    undecided: Literal["fail", "pass"] | None = None,
    detectable: float | None = None,
    models: str | Sequence[str] = (),
    settings: CheckSettings | None = None,
) -> Check:
    """Check the models of a run against limits: pass, fail or undecided.

    Args:
        run: a run or its folder.
        max_drop: the largest drop that passes (a fraction).
        min_accuracy: the smallest accuracy that passes, averaged over classes (a fraction).
        by: a column, every value of which must keep ``min_accuracy``.
        contrast: what a drop is of, as in ``scores``; by default the first one of the benchmark.
        baseline: a run on the same photos; the drop may exceed that of its model of the same name, or
            of its only one, by at most ``margin``.
        margin: for ``baseline`` (a fraction).
        undecided: what an undecided verdict becomes; ``pass`` needs ``detectable``.
        detectable: how far beyond a limit would have been found to fail with power 80 % (a fraction).
        models: names or specifications of the models to check; empty: all.
        settings: all of these; an argument that is not at its default replaces what they say.

    Raises:
        UsageError: no limit, an impossible limit, a margin without ``baseline``, several runs, an
            unknown model, no drop, or a base on other photos.
        CounterGroundError: a run cannot be read.
    """
    chosen = CheckSettings.of(
        settings,
        max_drop=max_drop,
        min_accuracy=min_accuracy,
        by=by,
        margin=margin,
        undecided=undecided,
        detectable=detectable,
        models=models,
    )
    base = baseline or chosen.baseline
    if "margin" in chosen.given() and base is None:
        raise UsageError("--margin is what --baseline allows: add it, or leave out --margin.")
    opened = _one_run(run)
    if chosen.models:
        opened = select_models({opened.path: opened}, chosen.models)[opened.path]
    base = None if base is None else _one_run(base)
    return check_run(opened, chosen, base, contrast=contrast or chosen.contrast)


def report(
    runs: AnyRuns,
    out: Path | str,
    *,
    discovery: Discovery | Path | str | None = None,
    benchmarks: AnyBenchmark | Sequence[AnyBenchmark] = (),
    contrast: str | Contrast | None = None,
    photos: bool = True,
    photo_budget: float = 15.0,
    settings: ReportSettings | None = None,
    warn: Callable[[str], object] | None = None,
) -> Path:
    """Write one self-contained HTML file about runs and return its path.

    Args:
        runs: runs or their folders; for those of ``swap`` and ``mitigate``, the section on their photos says
            what the background causes and what would make the drop smaller.
        out: the file, or an existing folder (the file is then ``report.html`` in it).
        discovery: how the benchmark's pairs were chosen, or the folder that ``discover`` wrote.
        benchmarks: one or several that hold the photos of the runs; built-in ones need not be given.
        contrast: what the page is about, as in ``scores``; by default the first one of each benchmark.
        photos: include small copies of photos.
        photo_budget: megabytes (10^6 bytes of the page) that photos may take.
        settings: all of these; an argument that is not at its default replaces what they say.
        warn: called with one line for each benchmark whose photos the page should show and cannot.

    Raises:
        UsageError: no runs, a run given twice, an unknown contrast, a file that does not end in .html, a
            budget that is not positive, a folder that ``discover`` did not write or whose pairs are not those
            of any run, or a benchmark without any photo of the runs.
        CounterGroundError: a run cannot be read, or the file cannot be written.
    """
    from counterground.reporting import write_report

    chosen = ReportSettings.of(settings, photos=photos, photo_budget=photo_budget)
    opened = open_runs(runs)
    given = benchmarks or chosen.benchmarks
    listed = given if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    held = [open_benchmark(each) for each in listed]
    for benchmark in held:
        if not any(
            benchmark.photos["photo_id"].is_in(run.photos["photo_id"].implode()).any() for run in opened
        ):
            raise UsageError(
                f"{benchmark.root} has no photo of these runs: name the benchmark that was evaluated."
            )
    return write_report(
        opened,
        given_path(os.fspath(out)),
        discovery=_opened_discovery(discovery or chosen.discovery),
        benchmarks=held,
        photos=chosen.photos,
        photo_budget=chosen.photo_budget,
        contrast=contrast or chosen.contrast,
        warn=warn,
    )


_report = report  # which an argument of other functions shadows


def _opened_discovery(discovery: Discovery | Path | str | None) -> Discovery | None:
    if discovery is None or isinstance(discovery, Discovery):
        return discovery
    found = read_discovery(Path(discovery))
    if found is None:
        raise UsageError(f"{discovery} was not written by discover: discovery.json is missing.")
    return found


def share(
    run: Run | Path | str,
    out: Path | str,
    *,
    model: str | None = None,
    format: ResultFormat = "bundle",  # noqa: A002 - as the option
) -> Path:
    """Write a run of one model as a bundle that others can check, without photos and paths; return its path.

    Args:
        run: a run of ``evaluate`` on all photos of its benchmark, or its folder.
        out: the folder to write.
        model: which of several models.
        format: ``bundle``, or results alone: ``every-eval-ever``, ``hub`` (evaluation results of the Hugging
            Face hub) or ``timm`` (its CSV).

    Raises:
        UsageError: a run of something else or of several models.
        CounterGroundError: a run cannot be read, or ``out`` cannot be written or holds another run.
    """
    opened, folder = _one_run(run), given_path(os.fspath(out))
    if model is not None:
        opened = select_models({opened.path: opened}, [model])[opened.path]
    if format == "bundle":
        return share_run(opened, folder).path
    return write_results(opened, format, folder)


def audit(
    bundle: Path | str,
    data: AnyBenchmark,
    *,
    photos: int = 60,
    model: str | None = None,
    salt: str = "",
    device: str = "auto",
    show_progress: bool = False,
) -> Audit:
    """Run the model of a bundle again on photos that nobody chose, and write ``audit.json`` into it.

    Args:
        bundle: the folder that ``share`` wrote.
        data: its benchmark, with photos; see ``evaluate``.
        photos: how many are drawn, by the hash of the bundle; all if there are fewer.
        model: the model, if the bundle names a file, code or an address, which never runs by itself.
        salt: text that enters the draw, such as the commit that received the bundle. Without it, whoever made
            the bundle could try alterations until the draw misses them.
        device: where the model runs.
        show_progress: show bars on standard error.

    Raises:
        UsageError: a model that cannot be run again photo by photo, or see ``evaluate``.
        CounterGroundError: the bundle does not add up or is about other photos or names, the model has other
            weights, or see ``evaluate``.
    """
    folder = given_path(os.fspath(bundle))
    return audit_bundle(
        folder, data, photos=photos, model=model, salt=salt, device=device, show_progress=show_progress
    )


def board(folder: Path | str, out: Path | str) -> Path:
    """Check all bundles below a folder, write them and the paper's models as one page, and return its path.

    Raises:
        UsageError: no folder, or a file that does not end in .html.
        CounterGroundError: a bundle does not add up, or contradicts another one.
    """
    entries, problems = read_board(given_path(os.fspath(folder)))
    for problem in problems:
        raise CounterGroundError(problem)
    return write_board(entries, given_path(os.fspath(out)))


def _one_run(run: Run | Path | str) -> Run:
    opened = open_runs(run)
    if len(opened) != 1:
        raise UsageError(f"This is about one run, not {len(opened)}: give one at a time.")
    return opened[0]


def _known(models: AnyModels) -> AnyModels:
    """Check that models exist before a benchmark is opened, which may take long; return them.

    Raises:
        UsageError: something that is not a model, or an unknown one.
    """
    if isinstance(models, Iterator):  # it can be read only once
        models = list(models)
    check_specs([each.spec for each in named_models(models) if each.made is None])
    return models


def _opened(benchmark: AnyBenchmark, out: Path, show_progress: bool) -> Benchmark:
    return open_apart(benchmark, out, show_progress=show_progress)
