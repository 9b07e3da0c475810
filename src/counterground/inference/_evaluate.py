"""Evaluate models on a benchmark: photos to features to predictions to scores, into one folder."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from counterground.decision import Until, score_stopped
from counterground.errors import CounterGroundError, UsageError
from counterground.files import cache_dir
from counterground.inference._candidates import (
    CandidateLabels,
    candidate_labels,
    check_candidates,
    default_label_space,
    read_aliases,
    with_confusable,
)
from counterground.inference._encode import Features, feature_store, plan_encoding, run_encoding, try_model
from counterground.inference._heads import Head, build_head
from counterground.inference._predict import class_mean_scores, predict
from counterground.inference._record import (
    ModelOutcome,
    check_free,
    generated_answers,
    run_info,
    unreadable_photos,
    write_run,
)
from counterground.inference._request import Request
from counterground.inference._runtime import choose_runtime
from counterground.inference._settings import Settings
from counterground.inference._stop_early import stop_early
from counterground.inference.generative import check_generative, evaluate_generative
from counterground.metrics import score_predictions
from counterground.models import (
    AnyModels,
    Encoder,
    Generative,
    Model,
    NamedModel,
    check_specs,
    left_unchanged,
    named_models,
)
from counterground.photos import Benchmark, prompt_templates
from counterground.results import ModelRecord, Run


def evaluate_models(
    benchmark: Benchmark,
    models: AnyModels,
    settings: Settings,
    out: Path,
    *,
    until: Until | None = None,
    overwrite: bool = False,
) -> Run:
    """Evaluate models on a benchmark and write ``run.json``, predictions and scores into ``out``.

    Features are kept in the cache by content, so a run that was stopped continues where it was, and another
    label space, prompt set or grouping decodes no photo again. The same holds for losses and answers of
    generative models. ``until`` stops as soon as it is decided on which side of its limit each drop is.
    ``overwrite`` replaces another run in ``out``.

    Raises:
        UsageError: an unknown model, name list, prompt file or label space, a model that cannot be asked
            under the protocol, or an ``out`` that holds files that are not a run.
        CounterGroundError: weights that cannot be had, photos none of which can be read,
            an ``out`` that cannot be written or holds another run.
    """
    started = time.monotonic()
    given = named_models(models)
    if not given:
        raise UsageError("No model was named. Add -m MODEL; `counterground models` lists them.")
    referee = settings.referee if settings.label_space == "confusable" else None
    check_specs([each.spec for each in given if each.made is None] + ([referee] if referee else []))
    request = replace(_request(benchmark, given, settings), until=until)
    request_hash = request.hash()
    check_free(out, request_hash, overwrite=overwrite)
    if referee:
        request = replace(request, candidates=_choose_confusable(request, referee))
    check_generative(request)
    stopping = None
    if until:
        benchmark, stopping = stop_early(request, until)
        request = replace(request, benchmark=benchmark)
    outcomes = [_evaluate_one(request, each) for each in given]
    unreadable = unreadable_photos(benchmark, [outcome.features for outcome in outcomes])
    read = ~pl.col("path").is_in(unreadable["path"].implode())
    predictions = pl.concat([outcome.predictions.filter(read) for outcome in outcomes])
    rows_per_photo = sum(outcome.rows_per_photo for outcome in outcomes)
    if len(predictions) != rows_per_photo * (len(benchmark.photos) - len(unreadable)):
        raise CounterGroundError(
            f"{len(predictions)} predictions of {len(given)} models and {len(unreadable)} unreadable photos "
            f"do not add up to {len(benchmark.photos)}. This is a bug in CounterGround; please report it."
        )
    info = run_info(request, outcomes, predictions, unreadable)
    seconds = round(time.monotonic() - started, 2)
    run = Run(
        out,
        info.model_copy(update={"request": request_hash, "seconds": seconds, "stopping": stopping}),
        predictions,
        score_stopped(predictions) if until else score_predictions(predictions),
    )
    write_run(run, request.candidates.space, unreadable, generated_answers(outcomes))
    return run


def _request(benchmark: Benchmark, models: tuple[NamedModel, ...], settings: Settings) -> Request:
    """Read the files that the settings name, and see that they fit the benchmark."""
    label_space = settings.label_space or default_label_space(benchmark)
    candidates = candidate_labels(benchmark, label_space, settings.names)
    if label_space != "confusable":  # else the referee chooses them
        check_candidates(benchmark, candidates)
    aliases = read_aliases(Path(settings.aliases), candidates.space.names) if settings.aliases else {}
    return Request(benchmark, models, settings, candidates, prompt_templates(settings.prompts), aliases)


def _evaluate_one(request: Request, given: NamedModel) -> ModelOutcome:
    with left_unchanged(given.made):
        model = request.settings.load(given)
        if isinstance(model, Generative):
            output = evaluate_generative(request, model)
            record = _record(given, model, asked=output.asked)
            return ModelOutcome(record, output.predictions, output.features, model.device, output)
        features, head = _encode(model, request)
    predictions = predict(
        request.benchmark, features, head, request.candidates, request.labels(model.display_name)
    )
    record = _record(given, model)
    return ModelOutcome(record, predictions, features, model.device, indistinct=head.indistinct())


def _record(given: NamedModel, model: Model, **more: Any) -> ModelRecord:
    return ModelRecord(
        name=given.name,
        spec=given.spec,
        kind=model.kind,
        fingerprint=model.fingerprint,
        description={**model.description, **more},
    )


def _choose_confusable(request: Request, referee: str) -> CandidateLabels:
    model = request.settings.load(referee)
    if isinstance(model, Generative):
        raise UsageError(
            f"{referee} is a generative model, which has no similarity to all names; use a CLIP or a "
            "classifier as --referee."
        )
    features, head = _encode(model, request)
    return with_confusable(request.candidates, class_mean_scores(request.benchmark, features, head), referee)


def _encode(model: Model, request: Request) -> tuple[Features, Head]:
    """Try one photo and build the head first: mistakes are reported before hours of encoding."""
    assert isinstance(model, Encoder)
    candidates, settings = request.candidates, request.settings
    choose_runtime(model, request.benchmark, settings.batch_size)
    store = feature_store(model, cache_dir() / "features", settings.batch_size)
    job = plan_encoding(model, request.benchmark, store, settings.batch_size)
    try_model(model, job)
    head = build_head(model, candidates.space, candidates.texts, request.templates, cache_dir() / "heads")
    return run_encoding(job, settings.show_progress), head
