"""Which runtime encodes a model's photos: one that agrees with eager PyTorch on the first of them."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from counterground.errors import CounterGroundError, error_message
from counterground.files import cache_dir, write_text
from counterground.inference._encode import decode_photo, encode_fn, map_blocks
from counterground.photos import Benchmark

if TYPE_CHECKING:
    from counterground.models import Encoder, Runtime

TOLERANCE = 1e-4
"""Largest difference from eager PyTorch in any number of any photo. Logits span about 10: the order of
names can change only where two are closer than twice this."""


def choose_runtime(model: Encoder, benchmark: Benchmark, batch_size: int) -> None:
    """Let a runtime encode the photos that gives the numbers of eager PyTorch faster, if the model has one.

    It is compared on the first block of photos that it meets. The difference is kept in the cache, so that a
    resumed run goes on as it began, and is in ``model.description``: ``runtime``, ``runtime_difference``, and
    ``runtimes_refused`` with the reasons. Where a runtime differs by more or fails, eager PyTorch stays.
    """
    if not model.runtimes:
        return
    model.run_by(None)
    refused = {}
    for runtime in model.runtimes:
        parts = (model.fingerprint, runtime.name, str(batch_size), str(TOLERANCE), platform.machine())
        key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
        found = _remembered(model, runtime, benchmark, batch_size, cache_dir() / "runtimes" / f"{key}.json")
        if found.refused is None:
            model.run_by(runtime)
            used = {"runtime": runtime.name, "runtime_difference": found.difference}
            model.description = {**model.description, **used}
            return
        refused[runtime.name] = found.refused
    model.description = {**model.description, "runtimes_refused": refused}


@dataclass(frozen=True)
class _Compared:
    """Largest difference from eager PyTorch, and why a runtime is not to be used; None if it is."""

    difference: float | None
    refused: str | None


def _remembered(
    model: Encoder, runtime: Runtime, benchmark: Benchmark, batch_size: int, path: Path
) -> _Compared:
    try:
        return _Compared(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # not there, or damaged
        found = _compare(model, runtime, benchmark, batch_size)
        if found.difference is not None:
            write_text(path, json.dumps(asdict(found)) + "\n")
        return found


def _compare(model: Encoder, runtime: Runtime, benchmark: Benchmark, batch_size: int) -> _Compared:
    """Encode the first block by eager PyTorch and by ``runtime``, which is left in use if both agree."""
    function = encode_fn(model, batch_size)
    first = benchmark.photos.unique("photo_id", maintain_order=True).head(batch_size)
    named = [(photo, benchmark.photo_path(path)) for photo, path in first["photo_id", "path"].iter_rows()]
    (decoded,) = map_blocks(partial(decode_photo, [function]), [named])
    block = [photo.prepared for (photo,) in decoded]
    readable = np.array([photo.reason is None for (photo,) in decoded])
    if not readable.any():
        return _Compared(None, "none of the first photos can be read")
    expected = function.encode(block)
    model.run_by(runtime)
    try:
        difference = float(np.abs(function.encode(block) - expected)[readable].max())
    except CounterGroundError as error:
        model.run_by(None)
        return _Compared(None, error_message(error))
    if difference <= TOLERANCE:
        return _Compared(difference, None)
    model.run_by(None)
    return _Compared(difference, f"differs by {difference:.2g} on the first photos")
