"""The record of a run: what ``run.json`` says, what deserves a warning, and the folder it is written to."""

from __future__ import annotations

import os
import platform
import subprocess
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from counterground._version import __version__
from counterground.errors import CounterGroundError
from counterground.files import check_writable, write_parquet, write_text
from counterground.inference._candidates import Competition
from counterground.inference._encode import Features
from counterground.inference._request import Request
from counterground.photos import Benchmark, LabelSpace
from counterground.results import (
    BenchmarkRecord,
    CountsRecord,
    LabelSpaceRecord,
    Run,
    RunInfo,
    open_run,
    warning_about,
)

if TYPE_CHECKING:
    from counterground.inference._evaluate import Outcome

_ANSWERS = ("path", "model", "prompts", "question", "answer", "named")
_LIBRARIES = ("numpy", "open_clip_torch", "pillow", "polars", "scipy", "timm", "torch", "torchvision")


def check_free(out: Path, asked: str) -> None:
    """Refuse a folder that is not ours to write, before any photo is read.

    Raises:
        CounterGroundError: ``out`` holds a run of another request, or cannot be written.
    """
    if (out / "run.json").exists():
        info = open_run(out).info
        if info.request != asked:
            raise CounterGroundError(
                f"{out} holds another run ({info.benchmark.name}, {len(info.models)} models, {info.created})."
                " Choose another --out, or delete that folder."
            )
    check_writable(out)


def run_info(
    request: Request, outcomes: Sequence[Outcome], predictions: pl.DataFrame, unreadable: pl.DataFrame
) -> RunInfo:
    """Collect everything needed to repeat the run; its hash and seconds are filled in by the caller."""
    import torch

    benchmark, settings, contest = request.benchmark, request.settings, request.contest
    return RunInfo(
        counterground_version=__version__,
        git=_git_hash(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        python=platform.python_version(),
        platform=f"{platform.platform()}, {os.cpu_count()} cores",
        libraries={name: version(name) for name in _used(outcomes)},
        device=next((outcome.device for outcome in outcomes if outcome.device != "remote"), "remote"),
        precision=settings.precision,
        batch_size=settings.batch_size,
        threads=torch.get_num_threads(),
        benchmark=BenchmarkRecord.of(benchmark),
        label_space=LabelSpaceRecord(
            name=contest.space.name,
            size=len(contest.space),
            source=contest.source,
            version=contest.version(),
        ),
        names=settings.names,
        prompts=settings.prompts,
        as_published=settings.as_published,
        models=[outcome.record for outcome in outcomes],
        warnings=_warnings(request, outcomes, unreadable),
        counts=_counts(benchmark, outcomes, predictions, unreadable),
        seconds=0.0,
        templates=list(request.templates),
        texts=list(contest.texts),
        protocol=settings.protocol,
        loss=settings.loss,
        article=settings.article,
        aliases={name: list(words) for name, words in request.aliases.items()},
    )


def unreadable_photos(benchmark: Benchmark, features: Sequence[Features]) -> pl.DataFrame:
    """Return ``path, photo_id, reason`` of the photos that could not be read for every model.

    A photo that one model could not get is left out for all: models are compared on the same photos.
    """
    reasons: dict[int, str] = {}
    for each in features:
        reasons = {**each.reasons, **reasons}
    rows = sorted(reasons)
    listed = pl.Series("reason", [reasons[row] for row in rows], dtype=pl.String)
    return benchmark.photos[rows].select("path", "photo_id").with_columns(listed)


def spoken_answers(outcomes: Sequence[Outcome]) -> pl.DataFrame | None:
    """Return what models said in their own words, and the class that was read from it; None if none did."""
    spoken = [each.spoken.answers for each in outcomes if each.spoken and each.spoken.answers is not None]
    return pl.concat(spoken).select(_ANSWERS) if spoken else None


def write_run(
    run: Run, space: LabelSpace, unreadable: pl.DataFrame, answers: pl.DataFrame | None = None
) -> None:
    """Write the files of a run, each atomically; ``run.json`` goes first and comes last."""
    (run.path / "run.json").unlink(missing_ok=True)
    (run.path / "answers.parquet").unlink(missing_ok=True)
    if answers is not None:
        write_parquet(run.path / "answers.parquet", answers)
    write_text(run.path / "unreadable.csv", unreadable.write_csv())
    space.save(run.path / "label_space.json")
    write_parquet(run.path / "predictions.parquet", run.predictions)
    write_parquet(run.path / "scores.parquet", run.scores)
    write_text(run.path / "run.json", run.info.model_dump_json(indent=2) + "\n")


def _counts(
    benchmark: Benchmark, outcomes: Sequence[Outcome], predictions: pl.DataFrame, unreadable: pl.DataFrame
) -> CountsRecord:
    ties = predictions.group_by("model").agg((pl.col("top2_gap") == 0).sum())
    return CountsRecord(
        photos=len(benchmark.photos),
        unreadable=len(unreadable),
        converted_to_rgb=max(int(outcome.features.converted.sum()) for outcome in outcomes),
        ties=dict(ties.sort("model").iter_rows()),
        unmatched=_unmatched(outcomes),
    )


def _unmatched(outcomes: Sequence[Outcome]) -> dict[str, int]:
    return {
        each.record.spec: each.spoken.unmatched
        for each in outcomes
        if each.spoken and each.spoken.unmatched is not None
    }


def _used(outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    """Distributions whose versions are recorded: transformers only where a model uses it."""
    uses = any("transformers" in each.record.description.get("libraries", {}) for each in outcomes)
    return (*_LIBRARIES, "transformers") if uses and _installed("transformers") else _LIBRARIES


def _installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


def _warnings(request: Request, outcomes: Sequence[Outcome], unreadable: pl.DataFrame) -> list[str]:
    warnings = [
        warning_about(outcome.record.spec, warning)
        for outcome in outcomes
        for warning in outcome.record.description.get("warnings", [])
    ]
    photos = len(outcomes[0].features.readable)
    if len(unreadable):
        warnings.append(
            f"{len(unreadable)} of {photos} photos could not be read and are in no figure; "
            "unreadable.csv lists them with reasons."
        )
    partly = len(unreadable) - min(len(outcome.features.reasons) for outcome in outcomes)
    if partly:
        warnings.append(f"{partly} of them could be read for some models; they are left out for all.")
    absent = _absent(request, unreadable)
    if absent:
        warnings.append(f"For {absent} photos the true name does not compete; they are counted as wrong.")
    duplicates = _written_alike(request.contest)
    if duplicates and any(outcome.record.kind != "classifier" for outcome in outcomes):
        warnings.append(
            f"Names that stand for several classes ({', '.join(duplicates[:3])}"
            f"{', ...' if len(duplicates) > 3 else ''}): their equal scores go to the first index."
        )
    return [*warnings, *_spoken_warnings(request, outcomes)]


def _spoken_warnings(request: Request, outcomes: Sequence[Outcome]) -> list[str]:
    """What the reader of answers in words must know, and options that changed nothing."""
    warnings = []
    for outcome in outcomes:
        spoken, spec = outcome.spoken, outcome.record.spec
        rows = 0 if spoken is None else len(spoken.predictions)
        if spoken and spoken.unmatched:
            warnings.append(
                warning_about(
                    spec,
                    f"{spoken.unmatched} of {rows} answers name no class that competes; they are counted "
                    "as wrong. answers.parquet holds them.",
                )
            )
        if spoken and spoken.several:
            warnings.append(
                warning_about(
                    spec, f"{spoken.several} of {rows} answers name several classes; the first counts."
                )
            )
    settings = request.settings
    asked = settings.protocol or settings.aliases or (settings.loss, settings.article) != ("mean", "a")
    if asked and all(outcome.spoken is None for outcome in outcomes):
        warnings.append(
            "No model answers in words: --protocol, --loss, --article and --aliases change nothing."
        )
    return warnings


def _absent(request: Request, unreadable: pl.DataFrame) -> int:
    """How many photos that were read have a true name that does not compete for them."""
    seen = request.benchmark.photos.join(unreadable, on="path", how="anti")
    counts = seen.group_by("class_index").len()
    contest = request.contest
    return sum(
        count
        for index, count in counts.iter_rows()
        if contest.true_index[index] not in contest.candidates(index)
    )


def _written_alike(contest: Competition) -> list[str]:
    return sorted(text for text, count in Counter(contest.texts).items() if count > 1)


def _git_hash() -> str | None:
    """Commit of the checkout this runs from, or None for an installed package."""
    root = Path(__file__).parents[3]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return None
