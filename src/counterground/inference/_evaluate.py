"""Evaluate models on a benchmark: photos to features to predictions to scores, into one folder."""

from __future__ import annotations

import hashlib
import json
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from counterground.errors import CounterGroundError, UsageError
from counterground.files import cache_dir
from counterground.inference._encode import EncodingJob, run_encoding
from counterground.inference._heads import Head, encode_texts
from counterground.inference._predict import (
    ReadyEncoder,
    candidate_masks,
    class_mean_scores,
    make_ready,
    predict,
)
from counterground.inference._ray import check_ray, encode_on_ray
from counterground.inference._record import (
    ModelOutcome,
    generated_answers,
    refuse_other_models,
    run_info,
    unreadable_photos,
)
from counterground.inference._request import Request, Training, load_requested
from counterground.inference._store import Features
from counterground.inference._try_model import encode_photos
from counterground.inference.generative import check_generative, evaluate_generative, refuse_encoder
from counterground.models import (
    AnyModel,
    AnyModels,
    DualEncoder,
    Encoder,
    Generative,
    Model,
    NamedModel,
    calls_users_code,
    check_specs,
    freed_memory_kept,
    named_models,
)
from counterground.photos import Benchmark, prompt_templates
from counterground.predictions import (
    CandidateLabels,
    requested_labels,
    with_confusable,
)
from counterground.results import InterventionRecord, ModelRecord, Run, check_free, write_run
from counterground.settings import ModelSettings, Settings

_Group = list[tuple[NamedModel, ReadyEncoder | ModelOutcome]]
# Models are loaded and run together until their weights take this much (bytes).
_WEIGHTS_TOGETHER = 2 * 2**30


def evaluate_models(
    benchmark: Benchmark,
    models: AnyModels,
    settings: ModelSettings,
    out: Path,
    *,
    train: Benchmark | None = None,
    intervention: InterventionRecord | None = None,
    overwrite: bool = False,
) -> Run:
    """Evaluate models on a benchmark and write ``run.json``, predictions and scores into ``out``.

    Features are cached by content, so a stopped run continues where it was, and another label space, prompt
    set or grouping decodes no photo again. The same holds for losses and answers of generative models. Heads
    (``?head=``) are fitted on the photos of ``train`` that are not evaluated. Without ``train`` they are
    fitted on parts of the benchmark, each photo predicted by one that saw no photo of its cluster.
    ``intervention`` records how photos that are composites were made. ``overwrite`` replaces another run in
    ``out``.

    Raises:
        UsageError: an unknown model, name list, prompt file or label space, a model that cannot be asked
            under the protocol, a head that cannot be fitted, or an ``out`` that holds files that are not a
            run.
        CounterGroundError: weights that are not available, no readable photo, an ``out`` that cannot be
            written or holds another run.
    """
    started = time.monotonic()
    asked, settings = settings, settings.running()
    if settings.engine == "ray":
        check_ray()
    given = named_models(models)
    if not given:
        raise UsageError(
            "No model was named. Add -m MODEL (`counterground models` lists them), or --predictions FILE."
        )
    referee = settings.chooser
    check_specs([each.spec for each in given if each.made is None] + ([referee] if referee else []))
    training = Training.of(train, benchmark) if train else None
    request = replace(make_request(benchmark, given, settings), training=training, asked=asked)
    request_hash = request.hash()
    check_free(out, request_hash, overwrite=overwrite)
    if referee:
        request = replace(request, candidates=_choose_confusable(request, referee))
    check_generative(request)
    waiting, outcomes = deque(given), list[ModelOutcome]()
    with freed_memory_kept():
        while waiting:
            outcomes += _evaluate_group(request, waiting)
    if not overwrite:
        refuse_other_models(out, [outcome.record for outcome in outcomes], request.candidates)
    answers = generated_answers(outcomes)
    more = {"request": request_hash, "intervention": intervention}
    return finish_run(request, outcomes, out, started, more, answers=answers)


def finish_run(
    request: Request,
    outcomes: Sequence[ModelOutcome],
    out: Path,
    started: float,
    more: dict[str, Any],
    *,
    answers: pl.DataFrame | None = None,
    warnings: Sequence[str] = (),
) -> Run:
    """Check that every photo is accounted for, score the predictions and write the run.

    Args:
        request: the evaluation as requested.
        outcomes: outcome of each model.
        out: the folder of the run.
        started: ``time.monotonic()`` when the work began.
        more: further fields of ``run.json``.
        answers: texts of generative models.
        warnings: further warnings.
    """
    benchmark = request.benchmark
    unreadable = unreadable_photos(benchmark, [outcome.read for outcome in outcomes])
    read = ~pl.col("path").is_in(unreadable["path"].implode())
    predictions = pl.concat([outcome.predictions.filter(read) for outcome in outcomes])
    rows_per_photo = sum(outcome.rows_per_photo for outcome in outcomes)
    if len(predictions) != rows_per_photo * (len(benchmark.photos) - len(unreadable)):
        raise CounterGroundError(
            f"{len(predictions)} predictions of {len(outcomes)} models and {len(unreadable)} unreadable "
            f"photos do not add up to {len(benchmark.photos)}. This is a bug in CounterGround; please report "
            "it."
        )
    info = run_info(request, outcomes, predictions, unreadable)
    seconds = round(time.monotonic() - started, 2)
    info = info.model_copy(update={**more, "seconds": seconds, "warnings": [*info.warnings, *warnings]})
    run = Run(out, info, predictions)
    write_run(run, request.candidates.space, unreadable, answers, [benchmark.left_out])
    return run


def make_request(benchmark: Benchmark, models: tuple[NamedModel, ...], settings: Settings) -> Request:
    """Read the files that the settings name, and check that they fit the benchmark."""
    candidates = requested_labels(benchmark, settings)
    return Request(benchmark, models, settings, candidates, prompt_templates(settings.prompts))


def _evaluate_group(request: Request, waiting: deque[NamedModel]) -> list[ModelOutcome]:
    """Take as many models as fit in memory together; each photo is decoded once for all of them.

    What a user's function returns runs alone: functions may load several checkpoints into one network, or
    set a global variable that several models read.
    """
    group: _Group = []
    weights = 0
    while waiting and weights < _WEIGHTS_TOGETHER:
        own = calls_users_code(waiting[0])
        if own and group:
            break
        given = waiting.popleft()
        started = _start(request, given, load_requested(given, request.settings))
        if isinstance(started, ReadyEncoder):
            started = started.sharing([each for _, each in group if isinstance(each, ReadyEncoder)])
        group.append((given, started))
        weights += _WEIGHTS_TOGETHER if own else _weight_bytes(started)
    encode_all(request, [(given, each) for given, each in group if isinstance(each, ReadyEncoder)])
    outcomes = []
    for given, each in group:
        if isinstance(each, ReadyEncoder):
            ready, features = each.fitted(), each.features()
            predictions, device = ready.predictions(features), ready.model.device
            outcomes.append(ModelOutcome(ready.record(given), predictions, features.status, device))
        else:
            outcomes.append(each)
    return outcomes


def encode_all(request: Request, ready: Sequence[tuple[NamedModel, ReadyEncoder]]) -> None:
    """Encode what encoders miss, here or on a cluster, training photos of their heads included."""
    _encode(request, [(given, each.model, each.job) for given, each in ready])
    training = [(given, each.model, each.training) for given, each in ready if each.training]
    _encode(request, training)


def _encode(request: Request, jobs: Sequence[tuple[NamedModel, Encoder, EncodingJob]]) -> None:
    """Do each job once: encoders that differ only in their heads share it."""
    distinct = {id(job): (given, model, job) for given, model, job in jobs}.values()
    settings, encode = request.settings, None
    if settings.engine == "ray":
        encode = partial(encode_on_ray, [(given, model) for given, model, _ in distinct], settings)
    run_encoding([job for *_, job in distinct], settings.show_progress, encode)


def _start(request: Request, given: NamedModel, model: Model) -> ReadyEncoder | ModelOutcome:
    """Prepare a loaded model. Encoders run together; a generative model is evaluated at once."""
    if not isinstance(model, Generative):
        assert isinstance(model, Encoder)
        refuse_encoder(request, given.name)
        return make_ready(request, model)
    output = evaluate_generative(request, model)
    record = ModelRecord(
        name=given.name,
        spec=given.spec,
        kind=model.kind,
        fingerprint=model.fingerprint,
        description={**model.description, "asked": output.asked},
    )
    return ModelOutcome(record, output.predictions, output.read, model.device, output)


def _weight_bytes(started: ReadyEncoder | ModelOutcome) -> int:
    """Return the bytes a model occupies until its group has run; one of unknown size ends the group."""
    if isinstance(started, ModelOutcome):
        return 0
    parameters = started.model.description.get("parameters")
    return 4 * parameters if isinstance(parameters, int) else _WEIGHTS_TOGETHER


def _choose_confusable(request: Request, referee: str) -> CandidateLabels:
    model = load_requested(referee, request.settings)
    if isinstance(model, Generative):
        raise UsageError(
            f"{referee} is a generative model, which does not score every name; use a CLIP or a "
            "classifier as --referee."
        )
    assert isinstance(model, Encoder)
    if model.head is not None:
        raise UsageError(f"{referee}: confusable names are chosen by a model's own head, not a fitted one.")
    ready = make_ready(request, model)
    encode_all(request, [(NamedModel(referee, referee), ready)])
    assert isinstance(ready.head, Head)
    means = class_mean_scores(request.benchmark, ready.features(), ready.head)
    return with_confusable(request.candidates, means, referee)


@dataclass(frozen=True)
class HeadOutcome:
    """One head of an `EncoderRun`: its name in the tables, its predictions, and what describes it.

    ``about`` is JSON-ready and enters the record of the model; ``digest`` distinguishes heads of one name.
    """

    name: str
    predictions: pl.DataFrame
    about: Mapping[str, Any]
    digest: str


@dataclass(frozen=True)
class EncoderRun:
    """The features of a benchmark's photos under one encoder, for a run of several heads; see `encoder_run`.

    Attributes:
        given: the model as it was named.
        ready: the model, its request and its head.
        features: features of every photo, in manifest order.
        out: the folder of the run.
        hash: hash of the whole request.
        started: ``time.monotonic()`` when the work began.
    """

    given: NamedModel
    ready: ReadyEncoder
    features: Features
    out: Path
    hash: str
    started: float
    _texts: dict[str, np.ndarray] = field(default_factory=dict, init=False, repr=False)

    @property
    def benchmark(self) -> Benchmark:
        """The photos."""
        return self.ready.request.benchmark

    @property
    def model(self) -> Encoder:
        """The encoder, loaded."""
        return self.ready.model

    @property
    def head(self) -> Head:
        """Its own head."""
        assert isinstance(self.ready.head, Head)
        return self.ready.head

    @property
    def candidates(self) -> CandidateLabels:
        """The names that compete."""
        return self.ready.request.candidates

    @property
    def templates(self) -> tuple[str, ...]:
        """The prompts of its head."""
        return self.ready.request.templates

    def encode(self, benchmark: Benchmark) -> Features:
        """Return features of other photos; they are stored like any others.

        Raises:
            CounterGroundError: see `encode_photos`.
        """
        settings = self.ready.request.settings
        return encode_photos(
            self.model,
            benchmark,
            cache_dir() / "features",
            batch_size=settings.batch_size,
            show_progress=settings.show_progress,
        )

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return text embeddings ``[t, dim]`` of a dual encoder; each text is encoded once in a run.

        Raises:
            CounterGroundError: the model fails, or encodes no texts.
        """
        if not isinstance(self.model, DualEncoder):
            raise CounterGroundError(f"{self.model.display_name} encodes no texts.")
        if new := [text for text in dict.fromkeys(texts) if text not in self._texts]:
            self._texts.update(zip(new, encode_texts(self.model, new), strict=True))
        return np.stack([self._texts[text] for text in texts])

    def predictions(self, name: str, score: Callable[[np.ndarray], np.ndarray]) -> pl.DataFrame:
        """Return predictions for the readable photos under another head.

        Args:
            name: name of the model in the tables.
            score: rows of the manifest ``[m]`` -> logits ``[m, k]`` float32.
        """
        request, rows = self.ready.request, np.flatnonzero(self.features.readable)
        return predict(self.benchmark, [(rows, score, 1.0)], request.candidates, request.labels(name))

    @cached_property
    def true(self) -> np.ndarray:
        """``[n]``: index of each photo's true name, -1 if it does not compete."""
        return np.asarray(self._competing[1][self._classes])

    def correct(self, scores: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return ``[m]`` Booleans: whether the candidate with the highest score is the true name.

        Args:
            scores: ``[m, k]``.
            rows: ``[m]``, the photos' rows of the manifest.
        """
        competing = np.where(self._competing[0][self._classes[rows]], scores, np.float32(-np.inf))
        return np.asarray(competing.argmax(axis=1) == self.true[rows])

    def write(self, outcomes: Sequence[HeadOutcome], warnings: Sequence[str]) -> Run:
        """Write a run of the model itself and of these heads, with further warnings.

        Raises:
            CounterGroundError: it cannot be written.
        """
        own = self.ready.record(self.given)
        read, device = self.features.status, self.model.device
        models = [ModelOutcome(own, self.ready.predictions(self.features), read, device)]
        for each in outcomes:
            description = {**own.description, **each.about}
            fingerprint = hashlib.sha256(f"{own.fingerprint}\n{each.digest}".encode()).hexdigest()
            record = own.model_copy(
                update={"name": each.name, "description": description, "fingerprint": fingerprint}
            )
            models.append(ModelOutcome(record, each.predictions, read, device))
        return finish_run(
            self.ready.request, models, self.out, self.started, {"request": self.hash}, warnings=warnings
        )

    @cached_property
    def _classes(self) -> np.ndarray:
        return np.asarray(self.benchmark.photos["class_index"].to_numpy())

    @cached_property
    def _competing(self) -> tuple[np.ndarray, np.ndarray]:
        """Which names compete for each class ``[c, k]``, and which is its own ``[c]``."""
        return candidate_masks(self.candidates, np.unique(self._classes), len(self.benchmark.classes))


def encoder_run(
    benchmark: Benchmark,
    model: AnyModel,
    settings: ModelSettings,
    out: Path,
    *,
    about: Mapping[str, Any],
    overwrite: bool = False,
) -> EncoderRun:
    """Encode the photos of a benchmark with one dual encoder or classifier, for a run of several heads.

    Args:
        benchmark: the photos.
        model: one model.
        settings: how the model is run.
        out: the folder of the run.
        about: JSON-ready, what else distinguishes this run.
        overwrite: replace another run in ``out``.

    Raises:
        UsageError: several models, a model without a head of its own, or see `evaluate_models`.
        CounterGroundError: see `evaluate_models`.
    """
    started = time.monotonic()
    named = named_models(model)
    if len(named) != 1:
        raise UsageError(f"One model at a time, not {len(named)}.")
    (given,) = named
    if given.made is None:
        check_specs([given.spec])
    request = replace(make_request(benchmark, named, settings.running()), asked=settings)
    asked = f"{request.hash()}\n{json.dumps(about, sort_keys=True)}"
    request_hash = hashlib.sha256(asked.encode()).hexdigest()
    check_free(out, request_hash, overwrite=overwrite)
    loaded = load_requested(given, request.settings)
    if not isinstance(loaded, Encoder) or loaded.head is not None:
        raise UsageError(
            f"{given.name} has no head of its own over the names: give a dual encoder (CLIP) or a "
            "classifier, without ?head=."
        )
    refuse_encoder(request, given.name)
    ready = make_ready(request, loaded)
    encode_all(request, [(given, ready)])
    if not overwrite:
        refuse_other_models(out, [ready.record(given)], ready.request.candidates)
    return EncoderRun(given, ready, ready.features(), out, request_hash, started)
