"""The commands as functions: ``cg.evaluate("stamps", "efficientnet-lite0", out="runs/first")``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import polars as pl

from counterground.benchmarks import open_benchmark
from counterground.comparison import Comparison, full_comparison
from counterground.comparison import reproduce as reproduce_paper
from counterground.construction.discover import Discovery, discover_pairs, read_discovery
from counterground.errors import MissingExtraError, UsageError
from counterground.files import check_apart
from counterground.inference import Settings, evaluate_models
from counterground.metrics import Scale
from counterground.models import AnyModels, Precision, Protocol
from counterground.photos import Benchmark, sample_photos
from counterground.published import SettingName
from counterground.results import Run, ScoresView, class_names, join_backgrounds, join_scores, open_run
from counterground.results import bibliography as bibliography_of
from counterground.results import format_scores as written_scores
from counterground.results import model_cards as model_cards_of

if TYPE_CHECKING:
    from counterground.construction.export import CardFacts, ExportReport, ShardSize

AnyBenchmark = Benchmark | Path | str
"""An opened benchmark, a built-in name, a folder, a manifest, or a pool."""

AnyRuns = Run | Path | str | Sequence[Run | Path | str]
"""One run or several, opened or by their folders."""


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
    device: str = "auto",
    precision: Precision = "fp32",
    batch_size: int = 32,
    as_published: bool = False,
    offline: bool = False,
    show_progress: bool = False,
    report: bool = True,
    photos: bool = True,
    limit: int | None = None,
    overwrite: bool = False,
    warn: Callable[[str], object] = warnings.warn,
) -> Run:
    """Evaluate one or more models on a benchmark and write the run, with its report, into a folder.

    An interrupted run resumes: features and answers are kept in the cache.

    Args:
        benchmark: a built-in name, a folder, a manifest, a pool, or an opened benchmark.
        models: one model, several, or a dict of names to models. A model is a specification
            (``"torchvision:resnet50"``, or with a name ``"mine=torchvision:resnet50"``), a network in memory
            with its preprocessing, ``(network, preprocess)``, ``(network, preprocess, class_names)`` or
            ``(clip, preprocess, tokenizer)``, a `Classifier`, `DualEncoder` or `Generative` (see
            ``counterground.models``), or a function without arguments that returns one of these. Networks
            are left as they were.
        out: the folder of the run.
        label_space: ``benchmark``, ``imagenet``, ``confusable`` or a file; None for ``imagenet`` where every
            class has an ImageNet index, else ``benchmark``.
        referee: the model that chooses the confusable names.
        names: how ImageNet classes are written in prompts: ``openai``, ``wordnet`` or a file.
        prompts: ``simple`` ("A photo of {}."), ``openai`` (80 templates) or a file.
        protocol: how generative models are asked; None for ``answer-loss``, or ``free-form`` where a model
            gives no losses.
        loss: mean or sum over the tokens of an answer.
        article: ``a`` before every name, as in the paper, or the ``correct`` one.
        aliases: a JSON file of other names of classes, for generative models.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        precision: ``fp32``, ``bf16`` or ``fp16``, for the image side.
        batch_size: photos in a forward pass.
        as_published: load models as the paper seems to have done.
        offline: never use the network.
        show_progress: show bars on standard error.
        report: write ``report.html``.
        photos: include small copies of photos in it; False for a page to be shared without them.
        limit: use so many photos only, spread over classes and backgrounds: a quick trial.
        overwrite: replace another run in ``out``.
        warn: called with one line if the report needs a package that is not installed.

    Raises:
        UsageError: something that is not a model, a name for two models, an unknown name list, prompt file or
            label space, a model that cannot be asked under the protocol, or an ``out`` that is, lies in or
            holds the benchmark.
        CounterGroundError: weights that cannot be had, photos none of which can be read, or an ``out`` that
            cannot be written or holds another run.
    """
    if referee and label_space != "confusable":
        raise UsageError(
            "--referee chooses confusable names: add --label-space confusable, or leave out --referee."
        )
    settings = Settings(
        label_space=label_space,
        referee=referee,
        names=names,
        prompts=prompts,
        protocol=protocol,
        loss=loss,
        article=article,
        aliases=aliases,
        device=device,
        precision=precision,
        batch_size=batch_size,
        as_published=as_published,
        offline=offline,
        show_progress=show_progress,
    )
    opened = _opened(benchmark, show_progress, out)
    if limit is not None:
        opened = sample_photos(opened, limit)
    run = evaluate_models(opened, models, settings, Path(out), overwrite=overwrite)
    if report:
        discovery = None if isinstance(benchmark, Benchmark) else read_discovery(Path(benchmark))
        _write_page(run, opened, discovery, warn, photos=photos)
    return run


def _write_page(
    run: Run,
    benchmark: Benchmark,
    discovery: Discovery | None,
    warn: Callable[[str], object],
    *,
    photos: bool,
) -> None:
    path = run.path / "report.html"
    try:
        write_report(run, path, discovery=discovery, benchmarks=[benchmark], photos=photos)
    except MissingExtraError as error:
        warn(f"{path} was not written: {error} Then: counterground report {run.path} --out {path}")


def discover(
    benchmark: AnyBenchmark,
    referee: AnyModels,
    *,
    out: Path | str,
    min_drop: float = 5.0,
    min_photos: int = 2,
    split: Literal["half", "none"] = "half",
    seed: int = 0,
    overwrite: bool = False,
    label_space: str | None = None,
    names: str = "openai",
    prompts: str = "simple",
    device: str = "auto",
    precision: Precision = "fp32",
    batch_size: int = 32,
    as_published: bool = False,
    offline: bool = False,
    show_progress: bool = False,
) -> Discovery:
    """Find each class's best (common) and worst (counter) background for a referee (paper section 2).

    Args:
        benchmark: photos with backgrounds; see ``evaluate``.
        referee: the model that decides; see ``evaluate``.
        out: where the benchmark of the pairs is written.
        min_drop: keep classes whose accuracy differs between backgrounds by more percentage points than this.
        min_photos: photos a background needs, in each half, to be considered.
        split: ``half`` chooses on one half of the photos and keeps the other; ``none`` chooses and reports on
            all of them, which inflates the referee's drop.
        seed: decides the halves.
        overwrite: replace another discovery in ``out``.
        label_space: see ``evaluate``, as for all that follow.
        names: how ImageNet classes are written in prompts.
        prompts: the prompt templates.
        device: where the referee runs.
        precision: of the image side.
        batch_size: photos in a forward pass.
        as_published: load the referee as the paper seems to have done.
        offline: never use the network.
        show_progress: show bars on standard error.

    Raises:
        UsageError: an unknown model or split, several models, a drop outside 0 to 100, or ``out`` holds
            something else.
        CounterGroundError: photos without backgrounds, or no class whose accuracy differs enough.
    """
    settings = Settings(
        label_space=label_space,
        referee=referee if isinstance(referee, str) else None,
        names=names,
        prompts=prompts,
        device=device,
        precision=precision,
        batch_size=batch_size,
        as_published=as_published,
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
        seed=seed,
        overwrite=overwrite,
    )


def export(
    benchmark: AnyBenchmark,
    *,
    out: Path | str,
    formats: str | Sequence[str],
    shared: bool = True,
    all_licences: bool = False,
    licence_for_unknown: str | None = None,
    attribution_for_unknown: str | None = None,
    card: CardFacts | None = None,
    shard_size: ShardSize | None = None,
    overwrite: bool = False,
    show_progress: bool = False,
) -> ExportReport:
    """Write a benchmark or a pool as folders that others can read, with a data card and all credits.

    Args:
        benchmark: a built-in name, a folder, a manifest, a pool, or an opened benchmark.
        out: the folder; with several formats each gets one of its own inside it.
        formats: one or several of ``counterground.construction.export.FORMATS``.
        shared: for others: photos are left out whose licence is unknown or forbids sharing.
        all_licences: in a shared export too, on your own responsibility.
        licence_for_unknown: the licence ("cc-by") of photos that state none: for photos of your own.
        attribution_for_unknown: the credit line of those that have none.
        card: what the data card says beyond the photos; None for what the pool knows of its making.
        shard_size: of WebDataset and Hugging Face shards.
        overwrite: replace another export in ``out``.
        show_progress: show a bar on standard error.

    Raises:
        UsageError: an unknown format or licence, or ``out`` holds something else, or the benchmark itself.
        CounterGroundError: no photo may be passed on; a file is missing or changed; it cannot be written.
    """
    from counterground.construction.export import export as export_benchmark
    from counterground.construction.export import known_facts

    opened = _opened(benchmark, show_progress, out)
    return export_benchmark(
        opened,
        Path(out),
        formats=[formats] if isinstance(formats, str) else list(formats),
        shared=shared,
        all_licences=all_licences,
        licence_for_unknown=licence_for_unknown,
        attribution_for_unknown=attribution_for_unknown,
        card=known_facts(opened) if card is None else card,
        shard_size=shard_size,
        overwrite=overwrite,
        show_progress=show_progress,
    )


def scores(runs: AnyRuns, *, by: Literal["background"] | None = None) -> pl.DataFrame:
    """Return the scores of runs (fractions, with 95 % intervals), as in ``scores.parquet``.

    With several runs, a first column ``run`` has the folder of each.

    Args:
        runs: runs or their folders.
        by: ``background`` for the accuracy on each background, which needs no common and counter photos.

    Raises:
        UsageError: another ``by``.
    """
    if by not in (None, "background"):
        raise UsageError(f"Scores are by background or, with by=None, by class and over all, not by {by!r}.")
    opened = _opened_runs(runs)
    join = join_backgrounds if by == "background" else join_scores
    return join(opened, named=len(opened) > 1)


def format_scores(
    runs: AnyRuns | pl.DataFrame,
    format: Literal["table", "csv", "json", "markdown", "latex"] = "table",  # noqa: A002 - as the option
    *,
    by_class: bool = False,
) -> str | ScoresView:
    """Write the scores of runs for a person or a program, as ``counterground scores`` does.

    Args:
        runs: runs or their folders, or some rows of what ``scores`` returned.
        format: ``table`` fits the terminal or notebook it is shown in; ``markdown`` and ``latex`` give
            percent with 95 % intervals, ``csv`` and ``json`` fractions.
        by_class: one row per model and class; classes have names where runs are given.

    Raises:
        UsageError: an unknown format, or runs with different classes.
    """
    if isinstance(runs, pl.DataFrame):
        return written_scores(runs, format, by_class)
    opened = _opened_runs(runs)
    joined = join_scores(opened, named=len(opened) > 1)
    return written_scores(joined, format, by_class, class_names(opened) if by_class else None)


def compare(
    runs: AnyRuns = (),
    *,
    published: bool | None = None,
    against: str | None = None,
    baseline: Literal["imagenet", "clip", "lvlm", "other"] = "imagenet",
    scale: Scale = "probit",
    setting: SettingName | None = None,
) -> Comparison:
    """Compare runs with each other and with the paper: paired tests, ranks, effective robustness, warnings.

    Args:
        runs: runs or their folders; none for the paper's models and their 2025 reproduction alone.
        published: include the paper's models; None includes them if there are no runs, or a setting.
        against: compare every model with this one only.
        baseline: the family that the line of effective robustness is fitted to.
        scale: ``probit`` or ``logit``.
        setting: which tables of the paper: ``one-prompt`` (3 and 4), ``openai-prompts`` (10 and 4),
            ``1-vs-20`` (13 and 14) or ``unbalanced`` (11 and 12); None takes those of 1 vs. 20 for runs with
            20 names, otherwise those of one prompt. ``Comparison.by_setting`` has all four side by side.

    Raises:
        UsageError: there is nothing to compare, or a model, family, scale or setting is unknown.
    """
    opened = _opened_runs(runs)
    beside_paper = (not opened or setting is not None) if published is None else published
    return full_comparison(
        opened,
        published=beside_paper,
        against=against,
        baseline=baseline,
        scale=scale,
        setting=setting,
    )


def reproduce(runs: AnyRuns = ()) -> pl.DataFrame:
    """Put values of runs on CounterAnimal beside the paper's rows: printed, ours, difference, known notes.

    ``counterground compare --reproduce`` does the same.

    Args:
        runs: runs or their folders; none takes the values of the 2025 reproduction.

    Raises:
        UsageError: no run was measured on CounterAnimal.
    """
    return reproduce_paper(_opened_runs(runs))


def write_report(
    runs: AnyRuns,
    out: Path | str,
    *,
    comparison: Comparison | None = None,
    discovery: Discovery | Path | str | None = None,
    benchmarks: Sequence[AnyBenchmark] = (),
    photos: bool = True,
    photo_budget: float = 15.0,
) -> Path:
    """Write one self-contained HTML file about runs and return its path.

    Args:
        runs: runs or their folders.
        out: the file, or an existing folder (the file is then ``report.html`` in it).
        comparison: what ``compare`` returned for these runs; made here by default.
        discovery: how the benchmark's pairs were chosen, or the folder that ``discover`` wrote.
        benchmarks: benchmarks that hold the photos of the runs; built-in ones are found without.
        photos: include small copies of photos.
        photo_budget: megabytes (10^6 bytes of the page) that photos may take.

    Raises:
        UsageError: no runs, a run given twice, a file that does not end in .html, a budget that is not
            positive, a folder that ``discover`` did not write, a benchmark without any photo of the runs, or
            no altair for the chart (extra ``report``).
        CounterGroundError: a run cannot be read, or the file cannot be written.
    """
    from counterground.report import write_report as write_page

    opened = _opened_runs(runs)
    held = [_opened(benchmark, show_progress=False) for benchmark in benchmarks]
    seen = {photo for run in opened for photo in run.predictions["photo_id"]}
    for benchmark in held:
        if seen.isdisjoint(benchmark.photos["photo_id"]):
            raise UsageError(
                f"{benchmark.root} has no photo of these runs: name the benchmark that was evaluated."
            )
    return write_page(
        opened,
        Path(out),
        comparison=comparison,
        discovery=_opened_discovery(discovery),
        benchmarks=held,
        photos=photos,
        photo_budget=photo_budget,
    )


def bibliography(runs: AnyRuns) -> str:
    """Return BibTeX of what must be cited for these runs, each entry with a line that says for what."""
    return bibliography_of(_opened_runs(runs))


def model_cards(runs: AnyRuns) -> dict[str, str]:
    """Return the model card of each model of these runs: Markdown with a YAML front matter."""
    return model_cards_of(_opened_runs(runs))


def _opened_discovery(discovery: Discovery | Path | str | None) -> Discovery | None:
    if discovery is None or isinstance(discovery, Discovery):
        return discovery
    found = read_discovery(Path(discovery))
    if found is None:
        raise UsageError(f"{discovery} was not written by discover: discovery.json is missing.")
    return found


def _opened_runs(runs: AnyRuns) -> list[Run]:
    listed = [runs] if isinstance(runs, (Run, Path, str)) else list(runs)
    return [run if isinstance(run, Run) else open_run(run) for run in listed]


def _opened(benchmark: AnyBenchmark, show_progress: bool, out: Path | str | None = None) -> Benchmark:
    """Open a benchmark; ``out`` must be apart from it: what lies among photos is read with them."""
    if isinstance(benchmark, Benchmark):
        opened = benchmark
    elif not isinstance(benchmark, str | Path):
        raise UsageError(
            f"A benchmark is a name, a folder, a manifest or a Benchmark, not {type(benchmark).__name__}: "
            "make one of a frame with Benchmark.from_frame(frame)."
        )
    else:
        opened = open_benchmark(benchmark, show_progress=show_progress)
        if out is not None and Path(benchmark).is_dir():
            check_apart(Path(out), Path(benchmark), "the benchmark")
    if out is not None and _has_class_folders(opened):
        check_apart(Path(out), opened.root, "the folder of the photos")
    return opened


def _has_class_folders(benchmark: Benchmark) -> bool:
    """Whether each class has a folder at the top, so that another folder there would be read as a class."""
    top = pl.col("path").str.split("/").list.first()
    folders = benchmark.photos.select("class_index", top.alias("top")).unique()
    alone = not (folders["class_index"].is_duplicated().any() or folders["top"].is_duplicated().any())
    return alone and len(folders) > 1
