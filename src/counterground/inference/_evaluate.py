"""Evaluate models on a benchmark: photos to features to predictions to scores, into one folder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from counterground.errors import CounterGroundError, UsageError
from counterground.files import cache_dir
from counterground.inference._candidates import (
    Competition,
    competition,
    default_label_space,
    with_confusable,
)
from counterground.inference._encode import Features, encode_photos
from counterground.inference._heads import Head, build_head
from counterground.inference._predict import class_mean_scores, predict
from counterground.inference._progress import tell_calls
from counterground.inference._record import check_free, run_info, spoken_answers, unreadable_photos, write_run
from counterground.inference._request import Request
from counterground.inference._settings import Settings
from counterground.inference.generative._generative import (
    Spoken,
    check_askable,
    check_number_of_names,
    evaluate_generative,
)
from counterground.inference.generative._protocol import read_aliases
from counterground.inference.generative._words import calls_to_make
from counterground.metrics import score_predictions
from counterground.models import Encoder, Generative, Model, check_specs, expand_specs, expected_kind
from counterground.photos import Benchmark, prompt_templates
from counterground.results import ModelRecord, Run


@dataclass(frozen=True)
class Outcome:
    """What one model gave on a benchmark; ``spoken`` where it is a generative one."""

    record: ModelRecord
    predictions: pl.DataFrame
    features: Features
    device: str
    spoken: Spoken | None = None

    @property
    def rows(self) -> int:
        """How many rows a photo has: one for each way of asking."""
        return 1 if self.spoken is None else len(self.spoken.asked)


def evaluate_models(benchmark: Benchmark, models: Sequence[str], settings: Settings, out: Path) -> Run:
    """Evaluate models on a benchmark and write ``run.json``, predictions and scores into ``out``.

    Features are kept in the cache by content, so a run that was stopped goes on where it was, and another
    label space, prompt set or grouping decodes no photo again. Losses and answers of generative models are
    kept likewise.

    Raises:
        UsageError: an unknown model, name list, prompt file or label space, or a model that cannot be asked
            under the protocol.
        CounterGroundError: weights that cannot be had, photos none of which can be read,
            an ``out`` that cannot be written or holds another run.
    """
    started = time.monotonic()
    specs = tuple(dict.fromkeys(expand_specs(models)))
    if not specs:
        raise UsageError("No model was named. Add -m MODEL; `counterground models` lists them.")
    referee = settings.referee if settings.label_space == "confusable" else None
    check_specs([*specs, *([referee] if referee else [])])
    contest = competition(benchmark, settings.label_space or default_label_space(benchmark), settings.names)
    aliases = read_aliases(Path(settings.aliases), contest.space.names) if settings.aliases else {}
    request = Request(benchmark, specs, settings, contest, prompt_templates(settings.prompts), aliases)
    asked = request.hash()
    check_free(out, asked)
    if referee:
        request = replace(request, contest=_choose_confusable(request, referee))
    _check_generative(request)
    outcomes = [_evaluate_one(request, spec) for spec in specs]
    unreadable = unreadable_photos(benchmark, [outcome.features for outcome in outcomes])
    predictions = pl.concat([outcome.predictions for outcome in outcomes])
    predictions = predictions.join(unreadable, on="path", how="anti", maintain_order="left")
    rows = sum(outcome.rows for outcome in outcomes)
    if len(predictions) != rows * (len(benchmark.photos) - len(unreadable)):
        raise CounterGroundError(
            f"{len(predictions)} predictions of {len(specs)} models and {len(unreadable)} unreadable photos "
            f"do not add up to {len(benchmark.photos)}. This is a fault of CounterGround; please report it."
        )
    info = run_info(request, outcomes, predictions, unreadable)
    seconds = round(time.monotonic() - started, 2)
    run = Run(
        out,
        info.model_copy(update={"request": asked, "seconds": seconds}),
        predictions,
        score_predictions(predictions),
    )
    write_run(run, request.contest.space, unreadable, spoken_answers(outcomes))
    return run


def _check_generative(request: Request) -> None:
    """Refuse what no generative model can be asked, and say what calls will cost, before any other work."""
    for spec in request.specs:
        if expected_kind(spec) != "generative":
            continue
        if not spec.startswith(("http:", "https:")):
            check_number_of_names(request, spec)
            continue
        model = request.settings.load(spec)
        assert isinstance(model, Generative)
        _tell_calls(request, model)


def _tell_calls(request: Request, model: Generative) -> None:
    """Say how many answers are still to be asked for and what they cost, where words are asked for."""
    ways = check_askable(request, model)
    if request.settings.show_progress and ways[0].answer is None:
        tell_calls(model.spec, *calls_to_make(request, model, ways), model.price)


def _evaluate_one(request: Request, spec: str) -> Outcome:
    model = request.settings.load(spec)
    if isinstance(model, Generative):
        if model.price is not None and expected_kind(spec) is None:  # else it was told before all work
            _tell_calls(request, model)
        spoken = evaluate_generative(request, model)
        record = _record(model, asked=spoken.asked)
        return Outcome(record, spoken.predictions, spoken.features, model.device, spoken)
    features, head = _encode(model, request)
    predictions = predict(request.benchmark, features, head, request.contest, request.labels(spec))
    return Outcome(_record(model), predictions, features, model.device)


def _record(model: Model, **more: Any) -> ModelRecord:
    return ModelRecord(
        spec=model.spec,
        kind=model.kind,
        fingerprint=model.fingerprint,
        description={**model.description, **more},
    )


def _choose_confusable(request: Request, referee: str) -> Competition:
    model = request.settings.load(referee)
    if isinstance(model, Generative):
        raise UsageError(
            f"{referee} answers in words and has no similarity to all names; use a CLIP or a classifier as "
            "--referee."
        )
    features, head = _encode(model, request)
    return with_confusable(request.contest, class_mean_scores(request.benchmark, features, head), referee)


def _encode(model: Model, request: Request) -> tuple[Features, Head]:
    """Build the head first: a name the model cannot score is told before an hour of photos."""
    assert isinstance(model, Encoder)
    contest, settings = request.contest, request.settings
    head = build_head(model, contest.space, contest.texts, request.templates, cache_dir() / "heads")
    features = encode_photos(
        model,
        request.benchmark,
        cache_dir() / "features",
        batch_size=settings.batch_size,
        show_progress=settings.show_progress,
    )
    return features, head
