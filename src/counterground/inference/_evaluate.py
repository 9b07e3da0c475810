"""Evaluate models on a benchmark: photos to features to predictions to scores, into one folder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from counterground.atomic import cache_dir
from counterground.errors import CounterGroundError, UsageError
from counterground.inference._competition import (
    Competition,
    competition,
    default_label_space,
    with_confusable,
)
from counterground.inference._encode import Features, encode_photos
from counterground.inference._heads import Head, build_head
from counterground.inference._predict import class_mean_scores, predict
from counterground.inference._record import check_free, run_info, unreadable_photos, write_run
from counterground.inference._run import ModelRecord, Run
from counterground.inference._settings import Settings
from counterground.metrics import score_predictions
from counterground.models import Model, expand_specs
from counterground.photos import Benchmark, prompt_templates


@dataclass(frozen=True)
class Outcome:
    """What one model gave on a benchmark."""

    record: ModelRecord
    predictions: pl.DataFrame
    features: Features
    device: str


def evaluate_models(benchmark: Benchmark, models: Sequence[str], settings: Settings, out: Path) -> Run:
    """Evaluate models on a benchmark and write ``run.json``, predictions and scores into ``out``.

    Features are kept in the cache by content, so a run that was stopped goes on where it was, and another
    label space, prompt set or grouping decodes no photo again.

    Raises:
        UsageError: an unknown model, name list, prompt file or label space.
        CounterGroundError: weights that cannot be had, photos none of which can be read,
            an ``out`` that cannot be written or holds another run.
    """
    started = time.monotonic()
    specs = list(dict.fromkeys(expand_specs(models)))
    if not specs:
        raise UsageError("No model was named. Add -m MODEL; `counterground models` lists them.")
    expand_specs([settings.referee] if settings.referee else [])
    templates = prompt_templates(settings.prompts)
    contest = competition(benchmark, settings.label_space or default_label_space(benchmark), settings.names)
    check_free(out, benchmark, settings, specs)
    if settings.label_space == "confusable":
        contest = _choose_confusable(benchmark, settings, contest, templates)
    outcomes = [_evaluate_one(benchmark, spec, settings, contest, templates) for spec in specs]
    predictions = pl.concat([outcome.predictions for outcome in outcomes])
    info = run_info(benchmark, settings, contest, outcomes, time.monotonic() - started)
    run = Run(out, info, predictions, score_predictions(predictions))
    write_run(run, contest.space, unreadable_photos(benchmark, outcomes[0].features))
    return run


def _evaluate_one(
    benchmark: Benchmark, spec: str, settings: Settings, contest: Competition, templates: Sequence[str]
) -> Outcome:
    model = settings.load(spec)
    features, head = _encode(model, benchmark, settings, contest, templates)
    labels = {
        "model": spec,
        "names": settings.names,
        "prompts": settings.prompts,
        "protocol": "classification" + (", as published" if settings.as_published else ""),
        "label_space": contest.space.name,
    }
    predictions = predict(benchmark, features, head, contest, labels)
    if len(predictions) + len(features.reasons) != len(benchmark.photos):
        raise CounterGroundError(
            f"{spec}: {len(predictions)} predictions and {len(features.reasons)} unreadable photos do not "
            f"add up to {len(benchmark.photos)}. This is a fault of CounterGround; please report it."
        )
    record = ModelRecord(
        spec=spec, kind=model.kind, fingerprint=model.fingerprint, description=model.description
    )
    return Outcome(record, predictions, features, model.device)


def _choose_confusable(
    benchmark: Benchmark, settings: Settings, contest: Competition, templates: Sequence[str]
) -> Competition:
    assert settings.referee is not None, "Settings asks for a referee"
    model = settings.load(settings.referee)
    features, head = _encode(model, benchmark, settings, contest, templates)
    return with_confusable(contest, class_mean_scores(benchmark, features, head), settings.referee)


def _encode(
    model: Model, benchmark: Benchmark, settings: Settings, contest: Competition, templates: Sequence[str]
) -> tuple[Features, Head]:
    """Build the head first: a name the model cannot score is told before an hour of photos."""
    head = build_head(model, contest.space, contest.texts, templates, cache_dir() / "heads")
    features = encode_photos(
        model,
        benchmark,
        cache_dir() / "features",
        batch_size=settings.batch_size,
        show_progress=settings.show_progress,
    )
    return features, head
