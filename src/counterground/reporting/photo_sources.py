"""Where the photos of a run are now: looked up by content in the benchmarks at hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from counterground.benchmarks import list_benchmarks, open_benchmark
from counterground.errors import CounterGroundError
from counterground.photos import AnyPhoto, Benchmark

if TYPE_CHECKING:
    from counterground.results import Run


class PhotoSource(NamedTuple):
    """The file of a photo, and its credit."""

    file: AnyPhoto
    licence: str | None
    attribution: str | None
    source: str | None


def photo_sources(benchmarks: Sequence[Benchmark]) -> dict[str, PhotoSource]:
    """Return the photos of benchmarks by ``photo_id``, each from the first benchmark that holds it."""
    found: dict[str, PhotoSource] = {}
    columns = ("photo_id", "path", "licence", "attribution", "source")
    for benchmark in benchmarks:
        for identity, path, *about in benchmark.photos.select(columns).iter_rows():
            if identity not in found:
                found[identity] = PhotoSource(benchmark.photo_source(path), *about)
    return found


def built_in_benchmarks(runs: Sequence[Run]) -> list[Benchmark]:
    """Return the built-in benchmarks that runs were made on and that need not be fetched first."""
    here = {info.name for info in list_benchmarks(warn=lambda _: None) if info.is_ready()}
    found = []
    for name in dict.fromkeys(run.info.benchmark.name for run in runs):
        if name.partition("?")[0] in here:
            try:
                found.append(open_benchmark(name))
            except CounterGroundError:
                # A damaged copy costs the page its photos, not its numbers. The page says so.
                continue
    return found
