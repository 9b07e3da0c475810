"""The commands as functions: ``cg.evaluate("stamps", "efficientnet-lite0", out="runs/first")``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import polars as pl

from counterground.arguments import Positive, Whole, checked, texts
from counterground.benchmarks import open_apart, open_benchmark
from counterground.comparison import (
    Comparison,
    chosen_on_its_photos,
    full_comparison,
    measured_referees,
)
from counterground.composites import KINDS, SwapSettings, swap_backgrounds
from counterground.decision import Assumptions, Check, Costs, Limits, Plan, check_run, plan_photos
from counterground.discovery import Discovery, discover_pairs, read_discovery
from counterground.errors import UsageError
from counterground.http import obeys_offline
from counterground.inference import Engine, Settings, evaluate_models
from counterground.masks import Masks, MaskSettings, with_masks
from counterground.masks import make_masks as make_masks_of
from counterground.metrics import SCORES_SCHEMA, Contrast, Scale
from counterground.models import (
    AnyModel,
    AnyModels,
    Precision,
    Protocol,
    RuntimeChoice,
    check_specs,
    named_models,
)
from counterground.photos import Benchmark, sample_photos
from counterground.published import SettingName
from counterground.results import (
    AnyRuns,
    Run,
    ScoresTable,
    format_view,
    open_runs,
    scores_of,
    select_models,
)

if TYPE_CHECKING:
    from counterground.mitigation import Mitigated, Mitigation

AnyBenchmark = Benchmark | Path | str
"""An opened benchmark, a built-in name, a folder, a manifest, or a pool."""

_SCORE_COLUMNS = tuple(SCORES_SCHEMA)
# Those that a pilot run replaces, with their defaults.
_ASSUMED = {"classes": 20, "photos": 20, "cluster_size": 1.0, "accuracy": 80.0, "icc": 0.1}
_MARGIN = 2.0


@checked
@obeys_offline
def evaluate(
    benchmark: AnyBenchmark,
    models: AnyModels,
    *,
    out: Path | str,
    label_space: str | None = None,
    referee: str | None = None,
    names: str = "openai",
    prompts: str = "simple",
    protocol: Protocol | None = None,
    loss: Literal["mean", "sum"] = "mean",
    article: Literal["a", "correct"] = "a",
    aliases: str | None = None,
    options: int = 4,
    device: str = "auto",
    precision: Precision = "fp32",
    batch_size: int = 32,
    runtime: RuntimeChoice = "auto",
    offline: bool = False,
    show_progress: bool = False,
    report: bool = True,
    photos: bool = True,
    limit: int | None = None,
    train: AnyBenchmark | None = None,
    engine: Engine = "local",
    workers: int | None = None,
    gpus_per_worker: float | None = None,
    overwrite: bool = False,
) -> Run:
    """Evaluate one or more models on a benchmark and write the run, with its report, into a folder.

    An interrupted run resumes: features and answers are kept in the cache.

    Args:
        benchmark: a built-in name, a folder, a manifest, a pool, or an opened benchmark.
        models: one model, several, or a dict of names to models. A model is a specification
            (``"torchvision:resnet50"``, or with a name ``"mine=torchvision:resnet50"``), a network in memory
            with its preprocessing, ``(network, preprocess)``, ``(network, preprocess, class_names)``,
            ``(network, preprocess, HeadSpec)`` or ``(clip, preprocess, tokenizer)``, a `Classifier`,
            `DualEncoder`, `ImageEncoder` or `Generative` (see ``counterground.models``), or a function
            without arguments that returns one of these. Networks are left unchanged.
        out: the folder of the run.
        label_space: ``benchmark``, ``imagenet``, ``confusable`` or a file; None for ``imagenet`` if every
            class has an ImageNet index, else ``benchmark``.
        referee: the model that chooses the confusable names.
        names: how ImageNet classes are written in prompts: ``openai``, ``wordnet`` or a file.
        prompts: ``simple`` ("A photo of {}."), ``openai`` (80 templates) or a file.
        protocol: how generative models are asked; None for ``answer-loss``, or ``free-form`` if a model gives
            no losses; for a benchmark with its own questions, ``multiple-choice``.
        loss: mean or sum over the tokens of an answer.
        article: ``a`` before every name, as in the paper, or the ``correct`` one.
        aliases: a JSON file of other class names, for generative models.
        options: how many options a question has under multiple choice, if the benchmark has none.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: ``fp32``, ``bf16`` or ``fp16``, for the image side.
        batch_size: photos per forward pass.
        runtime: what runs image encoders: ``eager`` PyTorch, ``onnx``, ``compile``, or ``auto`` (on a CPU and
            for many photos ONNX Runtime, if it gives eager PyTorch's numbers).
        offline: never use the network, nor let other threads use it meanwhile.
        show_progress: show bars on standard error.
        report: write ``report.html``.
        photos: include small copies of photos in the report; False for a page to be shared without them.
        limit: cap on the number of photos, spread over classes and backgrounds, for a quick trial.
        train: the labelled photos that heads are fitted on (``?head=knn``), except those that are evaluated;
            None for the benchmark itself, with each photo predicted by a head that saw none of its cluster.
        engine: ``ray`` encodes photos on the workers of a Ray cluster (that of ``RAY_ADDRESS``, else one
            started on this machine), with the same results. Generative models run in this process.
        workers: cap on the number of workers; None for as many as there is room for.
        gpus_per_worker: GPUs per worker, possibly a fraction; None for one if models run on ``cuda``.
        overwrite: replace another run in ``out``.

    Raises:
        UsageError: something that is not a model, one name for two models, an unknown name list, prompt file,
            label space or device, options that do not go together, a value out of range, a model that cannot
            be asked under the protocol, or an ``out`` that is, lies in or holds the benchmark.
        CounterGroundError: weights that cannot be obtained, photos none of which can be read, or an ``out``
            that cannot be written or holds another run.
    """
    if referee and label_space != "confusable":
        raise UsageError(
            "--referee chooses confusable names: add --label-space confusable, or leave out --referee."
        )
    models = _found(models)
    if isinstance(referee, str):  # anything else is refused by the setting itself
        check_specs([referee])
    settings = Settings(
        label_space=label_space,
        referee=referee,
        names=names,
        prompts=prompts,
        protocol=protocol,
        loss=loss,
        article=article,
        aliases=aliases,
        options=options,
        device=device,
        precision=precision,
        batch_size=batch_size,
        runtime=runtime,
        offline=offline,
        show_progress=show_progress,
        engine=engine,
        workers=workers,
        gpus_per_worker=gpus_per_worker,
    )
    opened = _opened(benchmark, show_progress, out)
    if limit is not None:
        opened = sample_photos(opened, limit)
    # Read first, so that a damaged record is reported before the models run.
    discovery = read_discovery(Path(benchmark)) if report and not isinstance(benchmark, Benchmark) else None
    photos_to_fit_on = None if train is None else _opened(train, show_progress, out)
    run = evaluate_models(opened, models, settings, Path(out), train=photos_to_fit_on, overwrite=overwrite)
    if report:
        write_report(run, run.path / "report.html", discovery=discovery, benchmarks=[opened], photos=photos)
    return run


def _refuse_confusable(label_space: str | None) -> None:
    """Refuse confusable names where no referee can choose them."""
    if label_space == "confusable":
        raise UsageError(
            "No referee chooses confusable names here: use label_space 'benchmark', 'imagenet' or a file, "
            "such as the label_space.json of a run of evaluate that chose them."
        )


def _refuse_licences(accepted: str | Sequence[str], masks: str | Path | None) -> None:
    """Refuse accepted licences where no model is named that could need one."""
    if accepted and masks is None:
        raise UsageError(
            "--accept-licence is for the weights of a model that makes masks: name the model with --masks, "
            "or leave the licence out."
        )


@checked
@obeys_offline
def mitigate(
    benchmark: AnyBenchmark,
    model: AnyModel,
    methods: str | Mitigation | Sequence[str | Mitigation],
    *,
    out: Path | str,
    masks: str | Path | None = None,
    accept_licences: str | Sequence[str] = (),
    classes: Literal["all", "pairs"] = "all",
    seed: Whole = 0,
    limit: int | None = None,
    overwrite: bool = False,
    label_space: str | None = None,
    names: str = "openai",
    prompts: str = "simple",
    device: str = "auto",
    precision: Precision = "fp32",
    batch_size: int = 32,
    runtime: RuntimeChoice = "auto",
    offline: bool = False,
    show_progress: bool = False,
    warn: Callable[[str], object] = warnings.warn,
) -> Mitigated:
    """Make a model rely less on the background, and measure what that costs.

    The folder is a run of the model and of each mitigated one (``MODEL + METHOD``), with ``mitigation.json``,
    and the mitigated heads. Each photo is judged by a head that was fitted and chosen on
    other clusters; those in ``heads/`` are fitted on all photos.

    Args:
        benchmark: photos on both sides of the benchmark's own contrast, by default common and counter; see
            ``evaluate``.
        model: one dual encoder or classifier; see ``evaluate``.
        methods: one method or several, by name or as a `counterground.mitigation.Mitigation`; ``all`` for
            every one that this model and benchmark support.
        out: the folder.
        masks: where masks of the objects come from, as in ``swap``; None for the benchmark's own. Some
            methods need one for every photo.
        accept_licences: licences of a mask model's weights that you accept.
        classes: classes that take part, with photos and names: ``all``, or ``pairs`` for those with photos on
            both sides. Classes with too few clusters are left out either way, and a note says which.
        seed: seed for the three parts of clusters, and for what methods draw.
        limit: cap on the number of photos, spread over classes and backgrounds, for a quick trial.
        overwrite: replace another run in ``out``.
        label_space: see ``evaluate``, also for all that follow; ``confusable`` has no referee here.
        names: how ImageNet classes are written in prompts.
        prompts: the prompt templates of the unmitigated model.
        device: where the model runs.
        precision: precision of the image side.
        batch_size: photos per forward pass.
        runtime: what runs the image encoder.
        offline: never use the network, nor let other threads use it meanwhile.
        show_progress: show bars on standard error.
        warn: called with one line for a method that cannot be loaded.

    Raises:
        UsageError: an unknown method, or one that this model or benchmark does not support; no photos to
            compare; too few clusters; or see ``evaluate``.
        CounterGroundError: a method fails, or see ``evaluate``.
    """
    from counterground.mitigation import mitigate_model

    _refuse_licences(accept_licences, masks)
    _refuse_confusable(label_space)
    _found(model)
    settings = Settings(
        label_space=label_space,
        names=names,
        prompts=prompts,
        device=device,
        precision=precision,
        batch_size=batch_size,
        runtime=runtime,
        offline=offline,
        show_progress=show_progress,
    )
    opened = _opened(benchmark, show_progress, out)
    # Masks are made of the sample only, and found among all photos: a name may fit several of them.
    are_made = masks is not None and not Path(masks).exists()
    if limit is not None and (masks is None or are_made):
        opened = sample_photos(opened, limit)
    if masks is not None:
        opened = with_masks(opened, masks, accept_licences=accept_licences, show_progress=show_progress)
        if limit is not None and not are_made:
            opened = sample_photos(opened, limit)
    return mitigate_model(
        opened,
        model,
        methods,
        settings,
        Path(out),
        masks=None if masks is None else str(masks),
        classes=classes,
        seed=seed,
        overwrite=overwrite,
        warn=warn,
    )


@checked
@obeys_offline
def discover(
    benchmark: AnyBenchmark,
    referee: AnyModels,
    *,
    out: Path | str,
    min_drop: float = 5.0,
    min_photos: Positive | None = None,
    split: Literal["half", "swap", "none"] = "half",
    choose: Literal["best", "shrunken"] = "best",
    seed: Whole = 0,
    write_anyway: bool = False,
    overwrite: bool = False,
    label_space: str | None = None,
    names: str = "openai",
    prompts: str = "simple",
    device: str = "auto",
    precision: Precision = "fp32",
    batch_size: int = 32,
    runtime: RuntimeChoice = "auto",
    offline: bool = False,
    show_progress: bool = False,
) -> Discovery:
    """Find each class's best (common) and worst (counter) background for a referee (paper section 2).

    If the pairs drop by no more than chance explains, the result's ``benchmark`` is None and none is written:
    see ``exceeds_chance`` and ``sentence``.

    Args:
        benchmark: photos with backgrounds; see ``evaluate``.
        referee: the model that decides, or several, whose mean accuracy decides; see ``evaluate``.
        out: where the benchmark of the pairs is written.
        min_drop: keep classes whose accuracy differs between backgrounds by more percentage points than this.
        min_photos: photos a background needs, in each half, to be considered; None for half of what the
            median background of a class has, at least 2.
        split: ``half`` chooses on one half of the photos and keeps the other; ``swap`` keeps all photos, with
            each half in the pairs that the other half chose; ``none`` chooses and reports on all of them,
            which inflates the referee's drop.
        choose: ``best`` by accuracy (the paper's way); ``shrunken`` by the effect of a background on all
            classes, plus its further effect on one class as far as that is not noise.
        seed: seed for the halves and the permutations.
        write_anyway: write the benchmark even if the pairs are no more than chance.
        overwrite: replace another discovery in ``out``.
        label_space: see ``evaluate``, also for all that follow.
        names: how ImageNet classes are written in prompts.
        prompts: the prompt templates.
        device: where the referee runs.
        precision: precision of the image side.
        batch_size: photos per forward pass.
        runtime: what runs image encoders.
        offline: never use the network, nor let other threads use it meanwhile.
        show_progress: show bars on standard error.

    Raises:
        UsageError: an unknown model, split or way to choose, a drop outside 0 to 100, ``out`` holds something
            else, or see ``evaluate``.
        CounterGroundError: photos without backgrounds, no class with enough photos on two, or see
            ``evaluate``.
    """
    referee = _found(referee)
    specs = [each.spec for each in named_models(referee) if each.made is None]
    settings = Settings(
        label_space=label_space,
        referee=specs[0] if specs else None,
        names=names,
        prompts=prompts,
        device=device,
        precision=precision,
        batch_size=batch_size,
        runtime=runtime,
        offline=offline,
        show_progress=show_progress,
    )
    return discover_pairs(
        _opened(benchmark, show_progress, out),
        referee,
        settings,
        Path(out),
        min_drop=min_drop,
        min_photos=min_photos,
        split=split,
        choose=choose,
        seed=seed,
        write_anyway=write_anyway,
        overwrite=overwrite,
    )


@checked
@obeys_offline
def swap(
    benchmark: AnyBenchmark,
    models: AnyModels,
    *,
    out: Path | str,
    masks: str | Path | None = None,
    mask_settings: MaskSettings | None = None,
    accept_licences: str | Sequence[str] = (),
    kinds: str | Sequence[str] = KINDS,
    labels: str | Sequence[str] = (),
    backgrounds_per_label: int = 4,
    foregrounds: int | None = None,
    placement: Literal["hold", "draw"] = "hold",
    seed: Whole = 0,
    examples: Whole = 0,
    label_space: str | None = None,
    names: str = "openai",
    prompts: str = "simple",
    protocol: Protocol | None = None,
    loss: Literal["mean", "sum"] = "mean",
    article: Literal["a", "correct"] = "a",
    aliases: str | None = None,
    options: int = 4,
    device: str = "auto",
    precision: Precision = "fp32",
    batch_size: int = 32,
    runtime: RuntimeChoice = "auto",
    offline: bool = False,
    show_progress: bool = False,
    report: bool = True,
    photos: bool = True,
    engine: Engine = "local",
    workers: int | None = None,
    gpus_per_worker: float | None = None,
    overwrite: bool = False,
) -> Run:
    """Evaluate models on composites: the same objects on other backgrounds show what backgrounds cause.

    The run is like any other; its ``effects()`` says what backgrounds cause. Composites are made in memory
    and not kept.

    Args:
        benchmark: photos with masks of their objects and labels of their backgrounds; see ``evaluate``.
        models: see ``evaluate``.
        out: the folder of the run.
        masks: where masks come from (`masks.with_masks`): a folder of PNGs or one from ``make_masks``, COCO
            annotations, ``grabcut``, or a model; None for the benchmark's own.
        mask_settings: how masks are read and made; only with ``masks``.
        accept_licences: licences of a mask model's weights that you accept.
        kinds: kinds of composites, from ``counterground.composites.KINDS``.
        labels: backgrounds that objects are put on; empty: all that have enough photos.
        backgrounds_per_label: photos of each label for each object, and number of any other draws.
        foregrounds: number of photos whose objects are used, spread over classes and groups; None for all or,
            if several photos show the same cut-out, for two of each.
        placement: ``hold`` an object's size and position, or ``draw`` them from photos of its class.
        seed: seed for all draws; the same seed gives the same composites.
        examples: number of objects, at most 200, whose composites are drawn into ``examples.png``.
        label_space: see ``evaluate``, also for all that follow.
        names: how ImageNet classes are written in prompts.
        prompts: the prompt templates.
        protocol: how generative models are asked.
        loss: mean or sum over the tokens of an answer.
        article: article before names.
        aliases: a JSON file of other class names.
        options: how many options a question has under multiple choice.
        device: where models run.
        precision: precision of the image side.
        batch_size: photos per forward pass.
        runtime: what runs image encoders.
        offline: never use the network, nor let other threads use it meanwhile.
        show_progress: show bars on standard error.
        report: write ``report.html``.
        photos: include small copies of photos in it.
        engine: ``local`` or ``ray``.
        workers: workers of the Ray cluster.
        gpus_per_worker: GPUs per worker.
        overwrite: replace another run in ``out``.

    Raises:
        MissingExtraError: OpenCV is not installed.
        UsageError: an unknown kind, label or source of masks, a benchmark with questions of its own or of
            composites, or see ``evaluate``.
        CounterGroundError: no photo has a usable mask, too few backgrounds, or see ``evaluate``.
    """
    if mask_settings is not None and masks is None:
        raise UsageError(
            "mask_settings say how masks are read or made: name their source with masks ('manifest' for the "
            "benchmark's own), or leave the settings out."
        )
    _refuse_licences(accept_licences, masks)
    chosen = SwapSettings(
        kinds=tuple(texts("kinds", kinds)),
        labels=tuple(texts("labels", labels)),
        backgrounds_per_label=backgrounds_per_label,
        foregrounds=foregrounds,
        placement=placement,
        seed=seed,
    )
    _refuse_confusable(label_space)
    models = _found(models)
    settings = Settings(
        label_space=label_space,
        names=names,
        prompts=prompts,
        protocol=protocol,
        loss=loss,
        article=article,
        aliases=aliases,
        options=options,
        device=device,
        precision=precision,
        batch_size=batch_size,
        runtime=runtime,
        offline=offline,
        show_progress=show_progress,
        engine=engine,
        workers=workers,
        gpus_per_worker=gpus_per_worker,
    )
    opened = _opened(benchmark, show_progress, out)
    if masks is not None:
        opened = with_masks(
            opened,
            masks,
            settings=mask_settings,
            accept_licences=accept_licences,
            show_progress=show_progress,
        )
    run, composites = swap_backgrounds(
        opened,
        models,
        settings,
        Path(out),
        chosen,
        masks=None if masks is None else str(masks),
        examples=examples,
        overwrite=overwrite,
    )
    if report:
        write_report(run, run.path / "report.html", benchmarks=[composites], photos=photos)
    return run


@checked
def make_masks(
    benchmark: AnyBenchmark,
    source: Path | str,
    *,
    out: Path | str,
    settings: MaskSettings | None = None,
    accept_licences: str | Sequence[str] = (),
    overwrite: bool = False,
    show_progress: bool = False,
) -> Masks:
    """Read or make a mask for each photo, check it, and write one PNG per photo and a table into a folder.

    Args:
        benchmark: see ``evaluate``.
        source: ``manifest`` (masks that the benchmark names), ``alpha`` (of the photos), a folder of PNGs
            named after the photos, a COCO JSON file (polygons, RLE, panoptic), ``boxes``, ``grabcut``
            (rough), ``rembg:NAME`` or ``hf:NAME`` (models).
        out: the folder of the masks; an interrupted call continues there.
        settings: how masks are read, made and judged; None for the defaults.
        accept_licences: licences of weights that you accept, by name.
        overwrite: replace other masks in ``out``.
        show_progress: show a bar on standard error.

    Raises:
        UsageError: an unknown source, a licence that is not accepted, or ``out`` holds something else.
        CounterGroundError: a file of the source is damaged, or weights cannot be obtained.
        MissingExtraError: a package is not installed.
    """
    return make_masks_of(
        _opened(benchmark, show_progress, out),
        source,
        out,
        settings=settings,
        accept_licences=accept_licences,
        overwrite=overwrite,
        show_progress=show_progress,
    )


@checked
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
    if by is not None and not isinstance(by, str):
        raise UsageError(f"by is one name, not {type(by).__name__}: Run.by takes several columns.")
    opened = open_runs(runs, least=1)
    named = len(opened) > 1
    _refuse_mixed(by, contrast, effects=effects)
    return scores_of(opened, by=by, contrast=contrast, effects=effects, named=named).rows


def _refuse_mixed(by: str | None, contrast: str | Contrast | None, *, effects: bool) -> None:
    if effects and contrast is not None:
        raise UsageError("Effects are contrasts of their own: leave out the contrast.")
    if (contrast is not None or effects) and by not in (None, "class"):
        raise UsageError(f"Contrasts are shown over all classes or by class: leave out by {by}.")


@checked
def format_scores(
    runs: AnyRuns | pl.DataFrame,
    format: Literal["table", "csv", "json", "markdown", "latex"] = "table",  # noqa: A002 - as the option
    *,
    by_class: bool = False,
    contrast: str | Contrast | None = None,
) -> str | ScoresTable:
    """Write the scores of runs for a person or a program, as ``counterground scores`` does.

    Args:
        runs: runs or their folders, or some rows of what ``scores`` returned without ``by`` and
            ``effects``.
        format: ``table`` fits the terminal or notebook it is shown in; ``markdown`` and ``latex`` give
            percent with 95 % intervals, ``csv`` and ``json`` fractions.
        by_class: one row per model and class; classes have names if runs are given.
        contrast: only one contrast, as in ``scores``; needs runs.

    Raises:
        UsageError: no run, one given twice, an unknown format, runs with different classes, an unknown
            contrast, options that do not go together, or a frame without the columns of scores.
        CounterGroundError: a run cannot be read.
    """
    if isinstance(runs, pl.DataFrame):
        if contrast is not None:
            raise UsageError("A contrast is computed from runs: give them instead of a frame.")
        if missing := [name for name in _SCORE_COLUMNS if name not in runs.columns]:
            raise UsageError(
                f"The frame has no column {', '.join(missing)}: give rows of what scores(runs) returns, with "
                "all columns, or the runs."
            )
        return format_view(ScoresTable(runs, "class" if by_class else None), format)
    opened = open_runs(runs, least=1)
    by = "class" if by_class else None
    return format_view(scores_of(opened, by=by, contrast=contrast, named=len(opened) > 1), format)


@checked
def compare(
    runs: AnyRuns = (),
    *,
    published: bool | None = None,
    against: str | None = None,
    baseline: Literal["imagenet", "clip", "lvlm", "other"] = "imagenet",
    scale: Scale = "probit",
    setting: SettingName | None = None,
    contrast: str | Contrast | None = None,
) -> Comparison:
    """Compare runs with each other and with the paper: paired tests, ranks, effective robustness, warnings.

    Args:
        runs: runs or their folders; none for only the paper's models and their 2025 reproduction.
        published: include the paper's models; None includes them if there are no runs or a setting is given.
        against: compare every model only with this one.
        baseline: the family that the line of effective robustness is fitted to.
        scale: ``probit`` or ``logit``.
        setting: which tables of the paper: ``one-prompt`` (3 and 4), ``openai-prompts`` (10 and 4),
            ``1-vs-20`` (13 and 14) or ``unbalanced`` (11 and 12); None takes those of 1 vs. 20 for runs with
            20 names, otherwise those of one prompt.
        contrast: what runs are compared on, as in ``scores``; by default the benchmark's own. The paper's
            numbers are for the drop only.

    Raises:
        UsageError: there is nothing to compare, a run is given twice, a model, family, scale, setting or
            contrast is unknown, or a setting is given without the paper, or a contrast other than the drop
            with it.
        CounterGroundError: a run cannot be read.
    """
    opened = open_runs(runs)
    beside_paper = (not opened or setting is not None) if published is None else published
    return full_comparison(
        opened,
        published=beside_paper,
        against=against,
        baseline=baseline,
        scale=scale,
        setting=setting,
        contrast=contrast,
    )


@checked
def plan(
    run: Run | Path | str | None = None,
    *,
    drop: float,
    power: float = 0.8,
    clusters: int | None = None,
    against: str | None = None,
    classes: int = 20,
    photos: int = 20,
    cluster_size: float = 1.0,
    accuracy: float = 80.0,
    icc: float = 0.1,
    seconds_per_photo: float = 5.0,
    calls_per_photo: float | None = None,
    price: float | None = None,
) -> Plan:
    """Return how many photos are needed to detect a drop, and what the photos at hand can detect.

    Args:
        run: a pilot run or its folder (for composites, the background effect replaces the drop); None to plan
            from assumptions.
        drop: the drop to detect, in percentage points.
        power: the probability of detecting it, above 0.05 and below 1.
        clusters: the number of observers or background photographs, at least 4; None: it grows with the
            photos.
        against: a model of the run; each other model's drop is then compared with its drop.
        classes: without a run, the number of classes.
        photos: without a run, the number of photos of each class in each group.
        cluster_size: without a run, the number of photos of each cluster.
        accuracy: without a run, the accuracy on common photos, in percent.
        icc: without a run, the intra-cluster correlation of correctness, from 0 to below 1.
        seconds_per_photo: seconds that a person takes to label one photo.
        calls_per_photo: calls per photo of a model behind an HTTP API; None: as in the run.
        price: price of a call, in any currency; None: as in the model's specification.

    Raises:
        UsageError: an impossible value, a run with an assumption, a price without calls, an unknown model,
            several runs, or a run without a drop.
        CounterGroundError: the run cannot be read.
    """
    source: Run | Assumptions
    if run is None:
        source = Assumptions(classes, photos, cluster_size, accuracy / 100, icc)
    else:
        source = _one_run(run)
        given = (classes, photos, cluster_size, accuracy, icc)
        for (name, default), value in zip(_ASSUMED.items(), given, strict=True):
            if value != default:
                raise UsageError(
                    f"{name} is for planning without a run, and {source.path} has its own value: leave out "
                    "one."
                )
    costs = Costs(seconds_per_photo, calls_per_photo, price)
    referees = measured_referees(source, str(source.path)) if isinstance(source, Run) else []
    return plan_photos(
        source, drop / 100, power, clusters=clusters, against=against, costs=costs, referees=referees
    )


@checked
def check(
    run: Run | Path | str,
    *,
    max_drop: float | None = None,
    min_accuracy: float | None = None,
    not_worse_than: Run | Path | str | None = None,
    margin: float = _MARGIN,
    models: str | Sequence[str] = (),
) -> Check:
    """Check the models of a run against limits: pass, fail or undecided.

    For a run on composites, the background effect replaces the drop.

    Args:
        run: a run or its folder.
        max_drop: the largest drop that passes, in percentage points.
        min_accuracy: the smallest accuracy that passes, averaged over classes, in percent.
        not_worse_than: a run on the same photos; the drop may exceed that of its model of the same name, or
            of its only one, by at most ``margin``.
        margin: for ``not_worse_than``, in percentage points.
        models: names or specifications of the models to check; empty: all.

    Raises:
        UsageError: no limit, an impossible limit, a margin without ``not_worse_than``, several runs, an
            unknown model, no drop, or a base on other photos.
        CounterGroundError: a run cannot be read.
    """
    limits = Limits(
        None if max_drop is None else max_drop / 100,
        None if min_accuracy is None else min_accuracy / 100,
        margin / 100,
    )
    if margin != _MARGIN and not_worse_than is None:
        raise UsageError("--margin is what --not-worse-than allows: add it, or leave out --margin.")
    chosen = texts("models", models)
    opened = _one_run(run)
    if chosen:
        opened = select_models({opened.path: opened}, chosen)[opened.path]
    base = None if not_worse_than is None else _one_run(not_worse_than)
    return check_run(
        opened,
        limits,
        base,
        referees=measured_referees(opened, str(opened.path)),
        base_referees=[] if base is None else measured_referees(base, str(base.path)),
        on_these_photos=any(chosen_on_its_photos(each) for each in (opened, base) if each is not None),
    )


@checked
def write_report(
    runs: AnyRuns,
    out: Path | str,
    *,
    discovery: Discovery | Path | str | None = None,
    benchmarks: AnyBenchmark | Sequence[AnyBenchmark] = (),
    photos: bool = True,
    photo_budget: float = 15.0,
    contrast: str | Contrast | None = None,
    warn: Callable[[str], object] | None = None,
) -> Path:
    """Write one self-contained HTML file about runs and return its path.

    Args:
        runs: runs or their folders; for those of ``swap`` and ``mitigate``, the section on their photos says
            what the background causes and what would make the drop smaller.
        out: the file, or an existing folder (the file is then ``report.html`` in it).
        discovery: how the benchmark's pairs were chosen, or the folder that ``discover`` wrote.
        benchmarks: one or several that hold the photos of the runs; built-in ones need not be given.
        photos: include small copies of photos.
        photo_budget: megabytes (10^6 bytes of the page) that photos may take.
        contrast: what the page is about, as in ``scores``; by default the first one of each benchmark.
        warn: called with one line for each benchmark whose photos the page should show and cannot.

    Raises:
        UsageError: no runs, a run given twice, an unknown contrast, a file that does not end in .html, a
            budget that is not positive, a folder that ``discover`` did not write or whose pairs are not those
            of any run, or a benchmark without any photo of the runs.
        CounterGroundError: a run cannot be read, or the file cannot be written.
    """
    from counterground.reporting import write_report as write_page

    opened = open_runs(runs)
    if isinstance(benchmarks, Iterable) and not isinstance(benchmarks, str):
        given = list(benchmarks)
    else:
        given = [benchmarks]
    held = [open_benchmark(benchmark) for benchmark in given]
    for benchmark in held:
        if not any(
            benchmark.photos["photo_id"].is_in(run.photos["photo_id"].implode()).any() for run in opened
        ):
            raise UsageError(
                f"{benchmark.root} has no photo of these runs: name the benchmark that was evaluated."
            )
    return write_page(
        opened,
        Path(out),
        discovery=_opened_discovery(discovery),
        benchmarks=held,
        photos=photos,
        photo_budget=photo_budget,
        contrast=contrast,
        warn=warn,
    )


def _opened_discovery(discovery: Discovery | Path | str | None) -> Discovery | None:
    if discovery is None or isinstance(discovery, Discovery):
        return discovery
    found = read_discovery(Path(discovery))
    if found is None:
        raise UsageError(f"{discovery} was not written by discover: discovery.json is missing.")
    return found


def _one_run(run: Run | Path | str) -> Run:
    opened = open_runs(run)
    if len(opened) != 1:
        raise UsageError(f"This is about one run, not {len(opened)}: give one at a time.")
    return opened[0]


def _found(models: AnyModels) -> AnyModels:
    """Check that models exist before a benchmark is opened, which may take long; return them.

    Raises:
        UsageError: something that is not a model, or an unknown one.
    """
    if isinstance(models, Iterator):  # it can be read only once
        models = list(models)
    check_specs([each.spec for each in named_models(models) if each.made is None])
    return models


def _opened(benchmark: AnyBenchmark, show_progress: bool, out: Path | str) -> Benchmark:
    return open_apart(benchmark, out, show_progress=show_progress)
