"""Measure every photo of a pool, each decoded once and only if its content is not known yet."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from counterground.atomic import cache_dir
from counterground.build.curate._pixels import PixelMeasures, measure
from counterground.build.curate._store import MEASURE_SCHEMA, MeasureStore
from counterground.errors import CounterGroundError
from counterground.inference import photo_progress
from counterground.photos import UnreadablePhoto, load_photo
from counterground.pool import Pool

# Photos that are decoded again, at most, after a kill.
_BLOCK = 64


@dataclass(frozen=True)
class Measured:
    """The pool's photos with their measures, in the order of ``Pool.photos``.

    ``frame`` has the columns of the photos, those of ``MEASURE_SCHEMA`` and ``unreadable``: why a photo
    cannot be read, null where it can. ``fresh`` counts the photos that were decoded now.
    """

    frame: pl.DataFrame
    fresh: int


@dataclass(frozen=True)
class _Job:
    photo: str
    path: str
    size: int | None


def measure_photos(pool: Pool, photos: pl.DataFrame, *, show_progress: bool) -> Measured:
    """Return the measures of all photos, decoding those whose content was not measured before."""
    store = MeasureStore(cache_dir() / "measures")
    known = store.read()
    before = set(known["photo_id"])
    jobs = [_Job(*row) for row in photos.select("photo_id", "path", "bytes").iter_rows()]
    seen: dict[str, str] = {}
    todo = []
    for job in jobs:
        found = _look(pool, job)
        if isinstance(found, str):
            seen[job.path] = found
        elif job.photo not in before:
            todo.append((job, found))
    fresh: dict[str, PixelMeasures] = {}
    with photo_progress("measuring", len(todo), shown=show_progress and bool(todo)) as advance:
        for block in _measured(todo):
            measures = {job.photo: found for job, found in block if isinstance(found, PixelMeasures)}
            store.put(measures)
            fresh |= measures
            seen |= {job.path: found for job, found in block if isinstance(found, str)}
            advance(len(block))
    rows = [(photo, *values) for photo, values in fresh.items()]
    new = pl.DataFrame(rows, schema=MEASURE_SCHEMA, orient="row")
    measures_of = pl.concat([known.filter(~pl.col("photo_id").is_in(list(fresh))), new])
    frame = _joined(photos, measures_of, seen)
    return Measured(frame, len(todo))


def _joined(photos: pl.DataFrame, measures: pl.DataFrame, unreadable: dict[str, str]) -> pl.DataFrame:
    reasons = pl.Series("unreadable", [unreadable.get(path) for path in photos["path"]], pl.String)
    joined = photos.drop("width", "height").join(measures, on="photo_id", how="left", maintain_order="left")
    # A readable copy elsewhere does not make this file readable.
    blank = [
        pl.when(reasons.is_null()).then(pl.col(name)).alias(name)
        for name in MEASURE_SCHEMA
        if name != "photo_id"
    ]
    return joined.with_columns(blank).with_columns(reasons)


def _look(pool: Pool, job: _Job) -> Path | str:
    """Return the file, or why it cannot be used; its size tells a changed file without reading it."""
    try:
        file = pool.photo_file(job.path)
        size = file.stat().st_size
    except CounterGroundError as error:
        return str(error).rstrip(".")
    except OSError as error:
        return (error.strerror or str(error)).lower()
    if job.size is not None and size != job.size:
        return "content changed since it was taken into the pool"
    return file


def _measured(todo: Sequence[tuple[_Job, Path]]) -> Iterator[list[tuple[_Job, PixelMeasures | str]]]:
    """Yield blocks of photos with their measures, or why they cannot be read; decoding runs in threads."""
    with ThreadPoolExecutor(min(32, os.cpu_count() or 1), thread_name_prefix="measure") as threads:
        try:
            for start in range(0, len(todo), _BLOCK):
                block = todo[start : start + _BLOCK]
                yield list(zip((job for job, _ in block), threads.map(_measure_one, block), strict=True))
        finally:
            threads.shutdown(wait=False, cancel_futures=True)


def _measure_one(job: tuple[_Job, Path]) -> PixelMeasures | str:
    try:
        return measure(load_photo(job[1], expect_id=job[0].photo).image)
    except UnreadablePhoto as error:
        return error.reason
