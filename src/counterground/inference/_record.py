"""The record of a run: what ``run.json`` says, what deserves a warning, and the folder it is written to."""

from __future__ import annotations

import os
import platform
import subprocess
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from counterground._version import __version__
from counterground.atomic import check_writable, write_parquet, write_text
from counterground.errors import CounterGroundError
from counterground.inference._competition import Competition
from counterground.inference._encode import Features
from counterground.inference._request import Request
from counterground.inference._run import (
    BenchmarkRecord,
    CountsRecord,
    LabelSpaceRecord,
    Run,
    RunInfo,
    open_run,
)
from counterground.photos import Benchmark, LabelSpace

if TYPE_CHECKING:
    from counterground.inference._evaluate import Outcome

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
        libraries={name: version(name) for name in _LIBRARIES},
        device=outcomes[0].device,
        precision=settings.precision,
        batch_size=settings.batch_size,
        threads=torch.get_num_threads(),
        benchmark=BenchmarkRecord(
            name=benchmark.name,
            version=benchmark.version,
            n_photos=len(benchmark.photos),
            notes=list(benchmark.notes),
        ),
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
        warnings=_warnings(contest, outcomes, predictions, unreadable),
        counts=_counts(benchmark, outcomes, predictions, unreadable),
        seconds=0.0,
        templates=list(request.templates),
        texts=list(contest.texts),
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


def write_run(run: Run, space: LabelSpace, unreadable: pl.DataFrame) -> None:
    """Write the files of a run, each atomically; ``run.json`` goes first and comes last."""
    (run.path / "run.json").unlink(missing_ok=True)
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
    )


def _warnings(
    contest: Competition, outcomes: Sequence[Outcome], predictions: pl.DataFrame, unreadable: pl.DataFrame
) -> list[str]:
    warnings = [
        f"{outcome.record.spec}: {warning}"
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
    absent = predictions["true_rank"].null_count() // len(outcomes)
    if absent:
        warnings.append(f"For {absent} photos the true name does not compete; they are counted as wrong.")
    duplicates = _written_alike(contest)
    if duplicates and any(outcome.record.kind == "dual_encoder" for outcome in outcomes):
        warnings.append(
            f"Names that stand for several classes ({', '.join(duplicates[:3])}"
            f"{', ...' if len(duplicates) > 3 else ''}): their equal scores go to the first index."
        )
    return warnings


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
