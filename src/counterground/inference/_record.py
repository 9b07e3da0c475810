"""The record of a run: what ``run.json`` says, what deserves a warning, and the folder it is written to."""

from __future__ import annotations

import os
import platform
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import polars as pl

from counterground._version import __version__
from counterground.errors import CounterGroundError, UsageError
from counterground.files import check_only, check_writable, write_parquet, write_text
from counterground.inference._candidates import CandidateLabels, other_names
from counterground.inference._request import Request
from counterground.inference._store import ReadStatus
from counterground.inference.generative import GenerativeOutput
from counterground.metrics import (
    DROP,
    SCORES_METADATA,
    Design,
    check_contrast,
    cluster_columns,
    proportion_interval,
)
from counterground.photos import (
    LABEL_SPACE_FILE,
    Benchmark,
    LabelSpace,
    similar_imagenet_name,
)
from counterground.results import (
    RUN_FILES,
    BenchmarkRecord,
    CandidatesRecord,
    CountsRecord,
    ModelRecord,
    Run,
    RunInfo,
    open_run,
)
from counterground.text import and_more, counted

# This many equal answers, or this share of exact ties, are no accident.
_ENOUGH, _TIES = 10, 0.01
_BIASED = 0.1  # excess of a position's share over what it would be without a bias
_NAMED = 10  # names that a warning lists
_ANSWERS = ("path", "model", "prompts", "question", "answer", "named")
_BESIDE = (
    "answers.parquet",
    "examples.png",
    "report.html",
    "mitigation.*",
    "heads/*-all-photos.safetensors",
)
_LIBRARIES = ("numpy", "open_clip_torch", "pillow", "polars", "scipy", "timm", "torch", "torchvision")


@dataclass(frozen=True)
class ModelOutcome:
    """The results of one model on a benchmark; ``generative`` if it is a generative one.

    ``indistinct`` counts the class texts that have the features of another one.
    """

    record: ModelRecord
    predictions: pl.DataFrame
    read: ReadStatus
    device: str
    generative: GenerativeOutput | None = None
    indistinct: int = 0

    @property
    def rows_per_photo(self) -> int:
        """The number of rows of a photo: one for each prompt of a generative model."""
        return 1 if self.generative is None else len(self.generative.asked)


def check_free(out: Path, request_hash: str, *, overwrite: bool) -> None:
    """Refuse a folder that must not be written to, before any photo is read.

    Raises:
        UsageError: ``out`` holds files that are not a run.
        CounterGroundError: ``out`` holds a run of another request and ``overwrite`` is not set, or ``out``
            cannot be written.
    """
    if not all((out / name).exists() for name in ("run.json", "predictions.parquet")):
        check_only(out, RUN_FILES, "a run")  # a study has a run.json, too
    if (out / "run.json").exists() and not overwrite:
        info = open_run(out).info
        if info.request != request_hash:
            raise CounterGroundError(
                f"{out} holds another run ({info.benchmark.name}, {counted(len(info.models), 'model')}, "
                f"{info.created}). Choose another --out (scores, compare and report take several runs), or "
                "replace it with --overwrite."
            )
    check_writable(out)


def refuse_other_models(out: Path, records: Sequence[ModelRecord], candidates: CandidateLabels) -> None:
    """Refuse a folder with a run of the same request whose models were others, as after another epoch.

    A specification names a file and not what is in it; that of a referee is known by the candidates that it
    chose. Other versions of the software give other fingerprints as well: such a run is made anew.

    Raises:
        CounterGroundError: a model, or the referee, had other weights, code or preprocessing.
    """
    if not (out / "run.json").exists():
        return
    before = open_run(out).info
    software = (before.counterground_version, before.python, before.libraries)
    if software != (
        __version__,
        platform.python_version(),
        {name: _version(name) for name in _used(records)},
    ):
        return
    instead = "Choose another --out, or replace it with --overwrite. What was encoded is kept."
    if before.candidates.version != candidates.version():
        raise CounterGroundError(
            f"{out} holds a run with other candidate names, chosen by a referee with other weights, code or "
            f"preprocessing ({before.created}). {instead}"
        )
    then = {record.name: record for record in before.models}
    for now in records:
        other = then.get(now.name, now)
        runtimes = {record.description.get("runtime") for record in (other, now)}
        if len(runtimes) == 1 and other.fingerprint != now.fingerprint:
            raise CounterGroundError(
                f"{out} holds a run with other weights, code or preprocessing of {now.name} "
                f"({before.created}). {instead}"
            )


def run_info(
    request: Request, outcomes: Sequence[ModelOutcome], predictions: pl.DataFrame, unreadable: pl.DataFrame
) -> RunInfo:
    """Collect everything needed to repeat the run; its hash and seconds are filled in by the caller."""
    import torch

    benchmark, settings, candidates = request.benchmark, request.settings, request.candidates
    return RunInfo(
        command=request.asked.command,
        settings=request.asked.given(),
        counterground_version=__version__,
        git=_git_hash(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        python=platform.python_version(),
        platform=f"{platform.platform()}, {os.cpu_count()} cores",
        libraries={name: _version(name) for name in _used([outcome.record for outcome in outcomes])},
        device=next((outcome.device for outcome in outcomes if outcome.device != "remote"), "remote"),
        precision=settings.precision,
        batch_size=settings.batch_size,
        threads=torch.get_num_threads(),
        benchmark=BenchmarkRecord.of(benchmark),
        candidates=CandidatesRecord(
            name=candidates.space.name,
            size=len(candidates.space),
            source=candidates.source,
            version=candidates.version(),
            fewest=_fewest_candidates(request, outcomes),
        ),
        names=settings.names,
        prompts=settings.prompts,
        models=[outcome.record.with_roles(benchmark.discovery) for outcome in outcomes],
        warnings=_warnings(request, outcomes, predictions, unreadable),
        model_warnings=_model_warnings(outcomes, candidates, benchmark.design),
        counts=_counts(benchmark, outcomes, predictions, unreadable),
        seconds=0.0,
        templates=list(request.templates),
        texts=list(candidates.texts),
        aliases={name: list(words) for name, words in request.aliases.items()},
        positions={
            outcome.record.name: list(outcome.generative.positions)
            for outcome in outcomes
            if outcome.generative and outcome.generative.positions
        },
        train=BenchmarkRecord.of(request.training.given) if request.training else None,
    )


def unreadable_photos(benchmark: Benchmark, read: Sequence[ReadStatus]) -> pl.DataFrame:
    """Return ``path, photo_id, reason`` of the photos that some model could not read.

    These are left out for all models, which are compared on the same photos.
    """
    reasons: dict[int, str] = {}
    for each in read:
        reasons = {**each.reasons, **reasons}
    rows = sorted(reasons)
    listed = pl.Series("reason", [reasons[row] for row in rows], dtype=pl.String)
    return benchmark.photos[rows].select("path", "photo_id").with_columns(listed)


def generated_answers(outcomes: Sequence[ModelOutcome]) -> pl.DataFrame | None:
    """Return the answers that models generated, and the class each of them names; None without any."""
    outputs = [outcome.generative for outcome in outcomes if outcome.generative]
    tables = [output.answers for output in outputs if output.answers is not None]
    return pl.concat(tables).select(_ANSWERS) if tables else None


def write_run(
    run: Run,
    space: LabelSpace,
    unreadable: pl.DataFrame,
    answers: pl.DataFrame | None = None,
) -> None:
    """Write the files of a run, each atomically; ``run.json`` is removed first and written last.

    Other files of an earlier run in the folder are removed.
    """
    for pattern in ("run.json", *_BESIDE):  # the others are replaced
        for file in run.path.glob(pattern):
            file.unlink(missing_ok=True)
    tables = {"predictions.parquet": run.predictions, "scores.parquet": run.all_scores()}
    if answers is not None:
        tables["answers.parquet"] = answers
    write_text(run.path / "unreadable.csv", unreadable.write_csv())
    space.save(run.path / LABEL_SPACE_FILE)
    metadata = {
        "predictions.parquet": run.info.as_metadata,
        "scores.parquet": SCORES_METADATA,
    }
    for name, table in tables.items():
        write_parquet(run.path / name, table, metadata.get(name))
    write_text(run.path / "run.json", run.info.model_dump_json(indent=2))


def _counts(
    benchmark: Benchmark,
    outcomes: Sequence[ModelOutcome],
    predictions: pl.DataFrame,
    unreadable: pl.DataFrame,
) -> CountsRecord:
    ties = predictions.group_by("model").agg((pl.col("top2_gap") == 0).sum())
    return CountsRecord(
        photos=len(benchmark.photos),
        unreadable=len(unreadable),
        converted_to_rgb=max(int(outcome.read.converted.sum()) for outcome in outcomes),
        ties=dict(ties.sort("model").iter_rows()),
        unmatched=_unmatched(outcomes),
    )


def _unmatched(outcomes: Sequence[ModelOutcome]) -> dict[str, int]:
    return {
        outcome.record.name: outcome.generative.unmatched
        for outcome in outcomes
        if outcome.generative and outcome.generative.unmatched is not None
    }


def _used(records: Sequence[ModelRecord]) -> tuple[str, ...]:
    """Return distributions whose versions are recorded: transformers and scikit-learn only if used."""
    descriptions = [record.description for record in records]
    uses = any("transformers" in description.get("libraries", {}) for description in descriptions)
    fits = any("head" in description for description in descriptions)
    return (
        *_LIBRARIES,
        *(["transformers"] if uses and _installed("transformers") else []),
        *(["scikit-learn"] if fits else []),
    )


@cache
def _version(distribution: str) -> str:
    return version(distribution)


def _installed(distribution: str) -> bool:
    try:
        _version(distribution)
    except PackageNotFoundError:
        return False
    return True


def _unfit_contrasts(request: Request) -> Iterator[str]:
    """Name contrasts of the benchmark that its photos do not show, as after a typing error."""
    if request.benchmark.sampled:  # the other photos may show them
        return
    for contrast in request.benchmark.design.contrasts:
        try:
            if contrast != DROP:
                check_contrast(contrast, request.benchmark.photos)
        except UsageError as error:
            yield f"The contrast {contrast.name!r} does not fit these photos. {error}"


def _fewest_candidates(request: Request, outcomes: Sequence[ModelOutcome]) -> int | None:
    if request.multiple_choice:
        return min(int(min(each.generative.asked[0]["options"])) for each in outcomes if each.generative)
    competing = request.candidates.space.candidates
    return None if competing is None else min(map(len, competing.values()))


def _warnings(
    request: Request,
    outcomes: Sequence[ModelOutcome],
    predictions: pl.DataFrame,
    unreadable: pl.DataFrame,
) -> list[str]:
    others = other_names(request.benchmark, request.candidates.space.name)
    warnings = [*([others] if others else []), *_other_question(request), *_unfit_contrasts(request)]
    warnings += request.training.warnings if request.training else []
    photos = len(outcomes[0].read.readable)
    if len(unreadable):
        warnings.append(
            f"{len(unreadable)} of {counted(photos, 'photo')} could not be read and are left out; "
            "unreadable.csv lists them with reasons."
        )
    never = set.intersection(*(set(outcome.read.reasons) for outcome in outcomes))
    partly = len(unreadable) - len(never)
    if partly:
        warnings.append(f"{partly} of them could be read for some models; they are left out for all models.")
    absent = _absent(request, unreadable)
    if absent:
        warnings.append(f"The true class of {counted(absent, 'photo')} is not a candidate: counted as wrong.")
    reads_names = any(outcome.record.reads_names for outcome in outcomes)
    duplicates = _duplicate_texts(request.candidates, predictions)
    if duplicates and reads_names:
        more = ", ..." if len(duplicates) > 3 else ""
        warnings.append(
            f"Duplicate class names ({', '.join(duplicates[:3])}{more}): ties count for the lower index."
        )
    return [*warnings, *_unused_settings(request, outcomes)]


def _unused_settings(request: Request, outcomes: Sequence[ModelOutcome]) -> list[str]:
    """Warn of settings that were chosen and that no model of the run uses."""
    settings = request.settings
    kinds = {outcome.record.kind for outcome in outcomes}
    names = any(outcome.record.reads_names for outcome in outcomes) or settings.chooser is not None
    used = {
        "train": any("head" in outcome.record.description for outcome in outcomes),
        **dict.fromkeys(("protocol", "loss", "article", "aliases"), "generative" in kinds),
        "options": request.multiple_choice,
        "names": names,
        "prompts": "dual_encoder" in kinds or names,
    }
    chosen = {*request.asked.given(), *(["train"] if request.training else [])} & used.keys()
    without = [f"{name}" for name, of_use in used.items() if name in chosen and not of_use]
    return [f"No model of this run uses {', '.join(without)}."] if without else []


def _other_question(request: Request) -> list[str]:
    """Warn if a name that ImageNet does not know, perhaps a typo, decided which names compete."""
    own = request.benchmark.classes
    unknown = [name for name, index in zip(own.names, own.imagenet, strict=True) if index is None]
    decided = request.settings.decides_names
    if not unknown or own.members is not None or request.multiple_choice or decided:
        return []
    similar = {name: found for name in unknown[:_NAMED] if (found := similar_imagenet_name(name))}
    if len(unknown) == len(own) != len(similar):
        return []  # the user's own classes: "bird" is no typo for "briard", unless all look like typos
    shown = [f"{name} (did you mean {similar[name]!r}?)" if name in similar else name for name in unknown]
    are = "is not an ImageNet class" if len(unknown) == 1 else "are not ImageNet classes"
    sentence = (
        f"{and_more(shown, _NAMED)} {are}, so the {counted(len(own), 'class')} of the benchmark compete only "
        "among themselves: accuracies are not comparable with those among ImageNet's 1000 names."
    )
    return [sentence]


def _model_warnings(
    outcomes: Sequence[ModelOutcome], candidates: CandidateLabels, design: Design
) -> dict[str, list[str]]:
    """Return by model its own warnings, signs that it confuses classes, and warnings about its answers."""
    found = {}
    for outcome in outcomes:
        warnings = list(outcome.record.description.get("warnings", []))
        if signs := _signs_of_confusion(outcome, candidates):
            warnings.append(f"This model does not distinguish all classes: {'; '.join(signs)}.")
        if outcome.generative is not None:
            warnings += _answer_warnings(outcome.generative)
        elif "head" not in outcome.record.description:
            warnings += _below_chance(outcome, candidates, design)
        if warnings:
            found[outcome.record.name] = warnings
    return found


def _signs_of_confusion(outcome: ModelOutcome, candidates: CandidateLabels) -> list[str]:
    """Return the signs that a model does not distinguish classes: equal texts, one answer, exact ties."""
    signs = []
    predictions = outcome.predictions
    if outcome.indistinct:
        signs.append(
            f"{outcome.indistinct} of {counted(len(set(candidates.all_texts)), 'class text')} have the "
            "features of another one (check the tokenizer and its end token)"
        )
    answers = predictions["predicted_index"].drop_nulls()
    if len(answers) >= _ENOUGH and answers.n_unique() == 1 < predictions["true_index"].n_unique():
        signs.append(f"all {len(answers):,} answers are {candidates.space.names[answers[0]]!r}")
    ties = int((predictions["top2_gap"] == 0).sum())
    chosen = outcome.generative is not None and outcome.generative.positions  # votes tie more often
    if ties > _TIES * len(predictions) and not chosen:
        signs.append(f"{ties:,} of {counted(len(predictions), 'answer')} tie exactly with another class")
    return signs


def _below_chance(outcome: ModelOutcome, candidates: CandidateLabels, design: Design) -> list[str]:
    """Warn about names that may not be those of the outputs: guessing would be right more often."""
    predictions = outcome.predictions
    photos = predictions["class_index"].value_counts().iter_rows()
    chance = sum(n * _chance(candidates, index) for index, n in photos) / len(predictions)
    accuracy = proportion_interval(predictions["correct"], **cluster_columns(predictions, design))
    if accuracy.value is None or accuracy.high is None or accuracy.high >= chance:
        return []
    right = (
        f"{100 * accuracy.value:.1f} % of the answers are right, and guessing would give {100 * chance:.1f} %"
    )
    return [f"{right}: are the class names in the order of its outputs?"]


def _chance(candidates: CandidateLabels, class_index: int) -> float:
    """Return the probability that a guess among the candidates for a class is right."""
    competing = candidates.indices(class_index)
    return 1 / len(competing) if candidates.true_index[class_index] in competing else 0.0


def _answer_warnings(output: GenerativeOutput) -> list[str]:
    warnings = [
        f"The order of the options matters: {each.sentence}."
        for each in output.positions
        if max(each.chosen) - 1 / each.options > _BIASED
    ]
    if unparsable := sum(each.unparsable for each in output.positions):
        answers = counted(sum(each.options * each.asked for each in output.positions), "answer")
        warnings.append(
            f"{unparsable} of {answers} are not the letter of an option and count for none; for "
            f"{counted(output.unmatched or 0, 'photo')} no answer could be read, which counts as wrong. "
            "answers.parquet holds them."
        )
    answers = counted(len(output.predictions), "answer")
    if output.unmatched and not output.positions:
        warnings.append(
            f"{output.unmatched} of {answers} name no candidate class and count as wrong; "
            "answers.parquet holds them."
        )
    if output.unclear and output.answers is not None:
        warnings.append(
            f"{output.unclear} of {counted(len(output.answers), 'answer')} begin with neither yes nor no and "
            "count as no; answers.parquet holds them."
        )
    if output.several:
        warnings.append(f"{output.several} of {answers} name several classes; the first counts.")
    return warnings


def _absent(request: Request, unreadable: pl.DataFrame) -> int:
    """Return how many of the photos that were read have a true class that is not a candidate."""
    if request.multiple_choice:  # the right option is always there
        return 0
    seen = request.benchmark.photos.join(unreadable, on="path", how="anti")
    counts = seen.group_by("class_index").len()
    candidates = request.candidates
    return sum(
        count
        for index, count in counts.iter_rows()
        if candidates.true_index[index] not in candidates.indices(index)
    )


def _duplicate_texts(candidates: CandidateLabels, predictions: pl.DataFrame) -> list[str]:
    """Return texts that several names share, if a photo is of one of them or was predicted as one."""
    seen = {*predictions["true_index"].unique(), *predictions["predicted_index"].unique()} - {None}
    texts = {candidates.texts[index] for index in seen}
    return sorted(text for text, count in Counter(candidates.texts).items() if count > 1 and text in texts)


@cache
def _git_hash() -> str | None:
    """Return the commit of the checkout this process runs from, or None for an installed package."""
    root = Path(__file__).parents[3]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return None
