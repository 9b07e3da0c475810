"""A few photos of a benchmark, for a quick trial."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from counterground.errors import UsageError
from counterground.photos._benchmark import Benchmark

_CELL = ("class_index", "group", "background")


def sample_photos(benchmark: Benchmark, limit: int) -> Benchmark:
    """Return a benchmark with ``limit`` photos only: one of each class, group, background and cell first.

    The content of the photos decides which ones, and which classes if not all, so the same photos give the
    same sample. A note says that it is a sample. A benchmark with no more photos is returned as it is.

    Raises:
        UsageError: ``limit`` is below 1.
    """
    if limit < 1:
        raise UsageError(f"A trial needs at least 1 photo, not {limit}.")
    if limit >= len(benchmark.photos):
        return benchmark
    cell = tuple(dict.fromkeys((*_CELL, *benchmark.design.cells)))
    numbered = benchmark.photos.sort("photo_id", "path").with_columns(turn=pl.int_range(pl.len()).over(*cell))
    # Without this, the first classes of ImageNet would all be fish and birds.
    numbered = numbered.with_columns(drawn=pl.col("photo_id").min().over("class_index"))
    chosen = numbered.sort("turn", "drawn", *cell).head(limit).drop("turn", "drawn").sort("path")
    note = (
        f"A trial on {limit:,} of {len(benchmark.photos):,} photos (--limit): run it without --limit before "
        "you report a number."
    )
    return replace(benchmark, photos=chosen, notes=(*benchmark.notes, note), sampled=limit)
