"""An encoder made ready for a run: its runtime chosen, one photo tried, its head built."""

from __future__ import annotations

from dataclasses import dataclass, replace

import polars as pl

from counterground.files import cache_dir
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
from counterground.models import Encoder


@dataclass(frozen=True)
class ReadyEncoder:
    """An encoder, the head over the candidates, and what is to be encoded of the request's photos."""

    request: Request
    model: Encoder
    head: Head
    job: EncodingJob

    def look_at(self, request: Request) -> ReadyEncoder:
        """Return the same for other photos, or another way of decoding them."""
        same = request.settings.fast_decode == self.request.settings.fast_decode
        job = _plan(request, self.model, self.job.store if same else None)
        return replace(self, request=request, job=job)

    def features(self) -> Features:
        """Return the features of all photos, which must have been encoded.

        Raises:
            CounterGroundError: no photo can be read.
        """
        features = self.job.features()
        require_readable(features)
        return features

    def predictions(self, features: Features) -> pl.DataFrame:
        """Return the predictions for the readable photos."""
        request = self.request
        labels = request.labels(self.model.display_name)
        return predict(request.benchmark, features, self.head, request.candidates, labels)


def make_ready(request: Request, model: Encoder) -> ReadyEncoder:
    """Try one photo, then build the head: mistakes are reported before hours of encoding.

    Raises:
        UsageError: a classifier has no output for a name.
        CounterGroundError: the model fails, or returns something else than features.
    """
    candidates, settings = request.candidates, request.settings
    choose_runtime(model, request.benchmark, settings.batch_size, settings.runtime)
    job = _plan(request, model)
    try_model(model, job)
    texts = candidates.spellings or candidates.texts
    head = build_head(model, candidates.space, texts, request.templates, cache_dir() / "heads")
    return ReadyEncoder(request, model, head, job)


def _plan(request: Request, model: Encoder, store: FeatureStore | None = None) -> EncodingJob:
    batch_size, fast = request.settings.batch_size, request.settings.fast_decode
    store = store or feature_store(model, cache_dir() / "features", batch_size, fast_decode=fast)
    return plan_encoding(model, request.benchmark, store, batch_size, fast_decode=fast)
