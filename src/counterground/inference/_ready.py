"""An encoder made ready for a run: its runtime chosen, one photo tried, its head built."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from counterground.files import cache_dir
from counterground.inference._fitting import FittedHeads, Fitting
from counterground.inference._heads import Head, build_head
from counterground.inference._predict import predict
from counterground.inference.encoding import (
    EncodingJob,
    choose_runtime,
    feature_store,
    plan_encoding,
    require_readable,
    try_model,
)
from counterground.inference.request import Request
from counterground.inference.store import Features, FeatureStore
from counterground.models import Encoder, ImageEncoder, NamedModel
from counterground.results import ModelRecord


@dataclass(frozen=True)
class ReadyEncoder:
    """An encoder, the head over the candidates, and what to encode of the request's photos.

    A head that is to be fitted is a `Fitting` until `fitted`; ``training`` is what to encode of other photos
    for it; ``refused`` says why another runtime was not used.
    """

    request: Request
    model: Encoder
    head: Head | FittedHeads | Fitting
    job: EncodingJob
    training: EncodingJob | None = None
    refused: str | None = None

    def fitted(self) -> ReadyEncoder:
        """Return the same encoder with its head fitted; the photos for it must have been encoded.

        Raises:
            UsageError: too few photos could be read.
            CounterGroundError: no photo could be read.
        """
        if not isinstance(self.head, Fitting):
            return self
        features = (self.training or self.job).features()
        require_readable(features)
        shown = self.request.settings.show_progress
        return replace(self, head=self.head.fit(features, show_progress=shown))

    def sharing(self, others: Sequence[ReadyEncoder]) -> ReadyEncoder:
        """Return the same encoder with the jobs of one of ``others`` that fills the same store, if any."""
        same = [other for other in others if other.job.store.folder == self.job.store.folder]
        if not same:
            return self
        training = self.training and next((each.training for each in same if each.training), self.training)
        return replace(self, job=same[0].job, training=training)

    def features(self) -> Features:
        """Return the features of all photos, which must have been encoded.

        Raises:
            CounterGroundError: no photo can be read.
        """
        features = self.job.features()
        require_readable(features)
        return features

    def record(self, given: NamedModel) -> ModelRecord:
        """Join what is known of the model, its runtime and its head; a fitted head makes it another model."""
        model, head, warnings = self.model, self.head, list(self.model.description.get("warnings", ()))
        description = {**model.description, "runtime": model.runtime}
        if self.refused:
            description["runtime_refused"] = self.refused
        kind, fingerprint = model.kind, model.fingerprint
        if not isinstance(head, Fitting):
            warnings += head.warnings
        if isinstance(head, FittedHeads):
            description["head"] = head.account
            written = json.dumps(head.account, sort_keys=True)
            kind = ImageEncoder.kind
            fingerprint = hashlib.sha256(f"{fingerprint}\n{model.head}\n{written}".encode()).hexdigest()
        description["warnings"] = warnings
        return ModelRecord(
            name=given.name, spec=given.spec, kind=kind, fingerprint=fingerprint, description=description
        )

    def predictions(self, features: Features) -> pl.DataFrame:
        """Return the predictions for the readable photos."""
        request = self.request
        assert not isinstance(self.head, Fitting)
        labels = request.labels(self.model.display_name, self.model.head)
        return predict(request.benchmark, features, self.head, request.candidates, labels)


def make_ready(request: Request, model: Encoder) -> ReadyEncoder:
    """Try one photo, then build the head, so that errors are reported before hours of encoding.

    Raises:
        UsageError: a classifier has no output for a name, or a head cannot be fitted.
        CounterGroundError: the model fails, or returns something other than features.
    """
    candidates, settings = request.candidates, request.settings
    fitting = Fitting.plan(request, model) if model.head else None
    photos = request.benchmark.photos["photo_id"].n_unique()
    model, refused = choose_runtime(
        model, photos, settings.runtime, lambda each: bool(_plan(request, each).missing)
    )
    job = _plan(request, model)
    try_model(model, job)
    if fitting is not None:
        training = None
        if request.training:
            training = _plan(replace(request, benchmark=request.training.photos), model, job.store)
        return ReadyEncoder(request, model, fitting, job, training, refused)
    texts = candidates.spellings or candidates.texts
    head = build_head(model, candidates.space, texts, request.templates, cache_dir() / "heads")
    return ReadyEncoder(request, model, head, job, refused=refused)


def _plan(request: Request, model: Encoder, store: FeatureStore | None = None) -> EncodingJob:
    batch_size = request.settings.batch_size
    store = store or feature_store(model, cache_dir() / "features", batch_size)
    return plan_encoding(model, request.benchmark, store, batch_size)
