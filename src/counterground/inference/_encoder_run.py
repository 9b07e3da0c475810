"""A run of one encoder under several heads: photos are encoded once, and all heads use these features."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from counterground.errors import CounterGroundError, UsageError
from counterground.files import cache_dir
from counterground.inference._evaluate import encode_all, finish_run, make_request
from counterground.inference._heads import Head, encode_texts
from counterground.inference._predict import candidate_masks, predict_scored
from counterground.inference._ready import ReadyEncoder, make_ready
from counterground.inference._record import ModelOutcome, check_free, refuse_other_models
from counterground.inference.encoding import encode_photos
from counterground.inference.generative import refuse_encoder
from counterground.inference.request import CandidateLabels, load_requested
from counterground.inference.store import Features
from counterground.models import (
    AnyModel,
    DualEncoder,
    Encoder,
    NamedModel,
    check_specs,
    named_models,
)
from counterground.photos import Benchmark
from counterground.results import Run
from counterground.settings import ModelSettings


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
        return predict_scored(self.benchmark, rows, score, request.candidates, request.labels(name))

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
        models = [
            ModelOutcome(
                own, self.ready.predictions(self.features), read, device, indistinct=self.head.indistinct()
            )
        ]
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
