"""All of a benchmark's photos by one model, for what needs features and no run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from counterground.inference.encoding._encode import (
    feature_store,
    plan_encoding,
    require_readable,
    run_encoding,
)
from counterground.inference.encoding._try_model import try_model
from counterground.inference.store import Features
from counterground.photos import Benchmark

if TYPE_CHECKING:
    from counterground.models import Encoder


def encode_photos(
    model: Encoder, benchmark: Benchmark, store_root: Path, *, batch_size: int, show_progress: bool
) -> Features:
    """Return the model's features of every photo of the benchmark, reading what is stored.

    Photos with the same content are encoded once. Blocks hold ``batch_size`` contents in manifest order; the
    last one is padded, because features change in the seventh digit with the size of a batch.

    Raises:
        CounterGroundError: no photo can be read, or see `try_model`.
    """
    store = feature_store(model, store_root, batch_size)
    job = plan_encoding(model, benchmark, store, batch_size)
    try_model(model, job)
    run_encoding([job], show_progress)
    features = job.features()
    require_readable(features)
    return features
