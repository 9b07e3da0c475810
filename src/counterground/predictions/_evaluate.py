"""Predictions that exist, on a benchmark that says what is true: into a run like any other."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from counterground.files import file_sha256
from counterground.photos import Benchmark
from counterground.plugins import Registry
from counterground.predictions._answers import INSPECT, LMMS_EVAL, PIPELINE
from counterground.predictions._candidates import (
    requested_labels,
)
from counterground.predictions._detectors import MEGA_DETECTOR, SPECIES_NET
from counterground.predictions._formats import PredictionFormat, read_predictions
from counterground.predictions._table import scored_predictions
from counterground.predictions._tables import TABLE
from counterground.results import (
    BenchmarkRecord,
    CandidatesRecord,
    CountsRecord,
    ModelRecord,
    Run,
    RunInfo,
    check_free,
    write_run,
)
from counterground.settings import EvaluateSettings

_BUILT_IN = (SPECIES_NET, MEGA_DETECTOR, LMMS_EVAL, INSPECT, PIPELINE, TABLE)  # tables are anything else
FORMATS = Registry("counterground.predictions", PredictionFormat, {each.name: each for each in _BUILT_IN})
"""Formats of predictions, by name."""


def evaluate_predictions(
    benchmark: Benchmark, settings: EvaluateSettings, out: Path, *, whole: Benchmark
) -> Run:
    """Score the predictions of ``settings.predictions`` and write a run into ``out``.

    A photo that a model has no prediction for is left out for all models and listed in ``unreadable.csv``.
    Predictions for photos that ``whole``, which ``benchmark`` is a part of, does not have, and rows that were
    skipped, are counted and listed in ``left_out.csv``.

    Raises:
        UsageError: no such file or column, names that are no candidate labels, or see `requested_labels`.
        CounterGroundError: a damaged file, see `scored_predictions`, or an ``out`` that holds something else
            or cannot be written.
    """
    started = time.monotonic()
    file = Path(settings.predictions or "")
    labels = requested_labels(benchmark, settings)
    given, form = read_predictions(file, settings.columns_of_predictions, FORMATS)
    digest = file_sha256(file)
    parts = (benchmark.version, digest, labels.version(), json.dumps(settings.given(), sort_keys=True))
    request = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    check_free(out, request, overwrite=settings.overwrite)
    scored = scored_predictions(benchmark, whole.photos, given, labels, settings)
    info = RunInfo(
        settings=settings.given(),
        counterground_version=version("counterground"),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        python=platform.python_version(),
        platform=platform.platform(),
        libraries={name: version(name) for name in ("numpy", "polars", "scipy")},
        benchmark=BenchmarkRecord.of(benchmark),
        candidates=CandidatesRecord(
            name=labels.space.name, size=len(labels.space), source=labels.source, version=labels.version()
        ),
        names=settings.names,
        prompts=settings.prompts,
        models=[
            ModelRecord(
                name=name,
                spec=name,
                kind="predictions",
                fingerprint=hashlib.sha256(f"{digest}\n{name}".encode()).hexdigest(),
                description={"predictions": file.name, "format": form},
            )
            for name in scored.models
        ],
        warnings=scored.warnings,
        counts=CountsRecord(
            photos=len(benchmark.photos), unreadable=len(scored.unreadable), converted_to_rgb=0, ties={}
        ),
        request=request,
        seconds=round(time.monotonic() - started, 2),
    )
    run = Run(out, info, scored.table)
    return write_run(run, labels.space, scored.unreadable, left_out=[benchmark.left_out, scored.left_out])
