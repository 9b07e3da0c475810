"""The record of a run: what ``run.json`` says, and what deserves a warning."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from counterground.errors import CounterGroundError, UsageError
from counterground.inference._request import Request
from counterground.inference._store import ReadStatus
from counterground.inference.generative import GenerativeOutput
from counterground.metrics import (
    DROP,
    Design,
    check_contrast,
    cluster_columns,
    proportion_interval,
)
from counterground.models import library_versions
from counterground.photos import (
    Benchmark,
    similar_imagenet_name,
)
from counterground.predictions import CandidateLabels, other_names
from counterground.results import (
    BenchmarkRecord,
    CandidatesRecord,
    CountsRecord,
    ModelRecord,
    RunInfo,
    open_run,
)
from counterground.text import and_more, counted

# This many equal answers, or this share of exact ties, are no accident.
_ENOUGH, _TIES = 10, 0.01
_BIASED = 0.1  # excess of a position's share over what it would be without a bias
_NAMED = 10  # names that a warning lists
_ANSWERS = ("path", "model", "prompts", "question", "answer", "named")
_LIBRARIES = (
    *("numpy", "open_clip_torch", "pillow", "polars", "scikit-learn", "scipy", "timm", "torch"),
    *("torchvision", "transformers"),
)


@dataclass(frozen=True)
class ModelOutcome:
    """The results of one model on a benchmark; ``generative`` if it is a generative one."""

    record: ModelRecord
    predictions: pl.DataFrame
    read: ReadStatus
    device: str
    generative: GenerativeOutput | None = None

    @property
    def rows_per_photo(self) -> int:
        """The number of rows of a photo: one for each prompt of a generative model."""
        return 1 if self.generative is None else len(self.generative.asked)


def run_info(
    request: Request, outcomes: Sequence[ModelOutcome], predictions: pl.DataFrame, unreadable: pl.DataFrame
) -> RunInfo:
    """Collect everything needed to repeat the run; its hash and seconds are filled in by the caller."""
    import torch

    benchmark, settings, candidates = request.benchmark, request.settings, request.candidates
    software, python, libraries = _software()
    warned = {
        each.record.name: list(_model_warnings(each, candidates, benchmark.design)) for each in outcomes
    }
    asked = {each.record.name: each.generative for each in outcomes if each.generative}
    ties = predictions.group_by("model").agg((pl.col("top2_gap") == 0).sum())
    return RunInfo(
        command=request.asked.command,
        settings=request.asked.given(),
        counterground_version=software,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        python=python,
        platform=f"{platform.platform()}, {os.cpu_count()} cores",
        libraries=libraries,
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
        warnings=list(_warnings(request, unreadable)),
        model_warnings={name: texts for name, texts in warned.items() if texts},
        counts=CountsRecord(
            photos=len(benchmark.photos),
            unreadable=len(unreadable),
            converted_to_rgb=max(int(outcome.read.converted.sum()) for outcome in outcomes),
            ties=dict(ties.sort("model").iter_rows()),
            unmatched={name: of.unmatched for name, of in asked.items() if of.unmatched is not None},
        ),
        seconds=0.0,
        templates=list(request.templates),
        texts=list(candidates.texts),
        positions={name: list(of.positions) for name, of in asked.items() if of.positions},
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


def refuse_other_models(out: Path, records: Sequence[ModelRecord], candidates: CandidateLabels) -> None:
    """Refuse a folder with a run of the same request whose models were others, as after another epoch.

    A specification names a file and not what is in it; that of a referee is known by the candidates that it
    chose. A run by other versions of the software is made anew: their fingerprints differ as well.

    Raises:
        CounterGroundError: a model, or the referee, had other weights, code or preprocessing.
    """
    if not (out / "run.json").exists():
        return
    before = open_run(out).info
    if (before.counterground_version, before.python, before.libraries) != _software():
        return
    then = {record.name: record.fingerprint for record in before.models}
    changed = [record.name for record in records if then.get(record.name) != record.fingerprint]
    if before.candidates.version != candidates.version():
        changed = ["the referee that chose the candidate names"]
    if changed:
        raise CounterGroundError(
            f"{out} holds a run with other weights, code or preprocessing of {changed[0]} "
            f"({before.created}). Choose another --out, or replace it with --overwrite. What was encoded is "
            "kept."
        )


def _software() -> tuple[str, str, dict[str, str]]:
    installed = {name: each for name, each in library_versions(*_LIBRARIES).items() if each != "unknown"}
    return installed.pop("counterground"), platform.python_version(), installed


def _warnings(request: Request, unreadable: pl.DataFrame) -> Iterator[str]:
    benchmark, candidates = request.benchmark, request.candidates
    if others := other_names(benchmark, candidates.space.name):
        yield others
    yield from _other_question(request)
    yield from _unfit_contrasts(request)
    yield from request.training.warnings if request.training else ()
    if len(unreadable):
        yield (
            f"{len(unreadable)} of {counted(len(benchmark.photos), 'photo')} could not be read, some perhaps "
            "only for some of the models, and are left out for all; unreadable.csv lists them with reasons."
        )
    if request.multiple_choice:  # the right option is always there
        return
    seen = benchmark.photos.join(unreadable, on="path", how="anti").group_by("class_index").len()
    if absent := sum(photos for index, photos in seen.iter_rows() if not _chance(candidates, index)):
        yield f"The true class of {counted(absent, 'photo')} is not a candidate: counted as wrong."


def _model_warnings(outcome: ModelOutcome, candidates: CandidateLabels, design: Design) -> Iterator[str]:
    """Yield a model's own warnings, signs that it confuses classes, and warnings about its answers."""
    yield from outcome.record.description.get("warnings", ())
    predictions, output = outcome.predictions, outcome.generative
    answers = predictions["predicted_index"].drop_nulls()
    ties = int((predictions["top2_gap"] == 0).sum())
    if len(answers) >= _ENOUGH and answers.n_unique() == 1 < predictions["true_index"].n_unique():
        yield (
            f"This model does not distinguish classes: all {len(answers):,} answers are "
            f"{candidates.space.names[answers[0]]!r}."
        )
    elif ties > _TIES * len(predictions) and not (output and output.positions):  # votes tie more often
        yield (
            f"This model does not distinguish all classes: {ties:,} of "
            f"{counted(len(predictions), 'answer')} tie exactly with another class."
        )
    for each in output.positions if output else ():
        if max(each.chosen) - 1 / each.options > _BIASED:
            yield f"The order of the options matters: {each.sentence}."
    if output and output.unmatched:
        yield (
            f"{output.unmatched} of {counted(len(predictions), 'answer')} name no candidate class or option "
            "and count as wrong; answers.parquet holds them."
        )
    if output or "head" in outcome.record.description:
        return
    # The names may not be those of the outputs.
    photos = predictions["class_index"].value_counts().iter_rows()
    chance = sum(n * _chance(candidates, index) for index, n in photos) / len(predictions)
    accuracy = proportion_interval(predictions["correct"], **cluster_columns(predictions, design))
    if accuracy.value is not None and accuracy.high is not None and accuracy.high < chance:
        yield (
            f"{100 * accuracy.value:.1f} % of the answers are right, and guessing would give "
            f"{100 * chance:.1f} %: are the class names in the order of its outputs?"
        )


def _chance(candidates: CandidateLabels, class_index: int) -> float:
    """Return the probability that a guess among the candidates for a class is right."""
    competing = candidates.indices(class_index)
    return 1 / len(competing) if candidates.true_index[class_index] in competing else 0.0
