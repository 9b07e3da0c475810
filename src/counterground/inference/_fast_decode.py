"""How much scaled decoding changes a model's output, measured on some of its photos decoded both ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from counterground.inference._ready import ReadyEncoder
from counterground.inference.encoding import decodes_fast, run_encoding
from counterground.inference.request import Request

_PHOTOS = 64


def measure_fast_decode(request: Request, encoders: Sequence[ReadyEncoder]) -> None:
    """Encode a random sample of the photos both ways, and write the difference into the descriptions.

    ``fast_decode`` holds how many ``photos`` could be read, how many of them get the ``same_answer``, and
    the ``largest_difference`` of any feature; it is None for a model whose photos are decoded in full.
    """
    benchmark = request.benchmark
    few = benchmark.photos.unique("photo_id", maintain_order=True)
    few = few.sample(min(_PHOTOS, len(few)), seed=0)
    request = replace(request, benchmark=replace(benchmark, photos=few))
    full = replace(request, settings=replace(request.settings, fast_decode=False))
    fast = [each for each in encoders if decodes_fast(each.model)]
    pairs = [(each.look_at(request), each.look_at(full)) for each in fast]
    run_encoding([each for pair in pairs for each in (pair[0].job, pair[1].job)], show_progress=False)
    for each in encoders:
        each.model.description = {**each.model.description, "fast_decode": None}
    for fast_one, exact in pairs:
        model = exact.model
        model.description = {**model.description, "fast_decode": _difference(fast_one, exact)}


def _difference(fast: ReadyEncoder, exact: ReadyEncoder) -> dict[str, Any]:
    scaled, full = fast.job.features(), exact.job.features()
    both = scaled.readable & full.readable
    if not both.any():
        return {"photos": 0, "same_answer": 0, "largest_difference": None}
    answers = fast.predictions(scaled).join(exact.predictions(full), on="path", suffix="_full")
    return {
        "photos": len(answers),
        "same_answer": int((answers["predicted_index"] == answers["predicted_index_full"]).sum()),
        "largest_difference": float(np.abs(scaled.matrix[both] - full.matrix[both]).max()),
    }
