"""The photos that pages and figures show: where they are, on which side of a contrast, of which classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from counterground.benchmarks import list_benchmarks, open_benchmark
from counterground.errors import CounterGroundError
from counterground.findings import DROP_WORDS, Words
from counterground.metrics import DROP, GROUPS, Contrast, selection
from counterground.photos import AnyPhoto, Benchmark
from counterground.text import NOTHING

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


def on_sides(rows: pl.DataFrame, contrast: Contrast) -> pl.DataFrame:
    """Set ``group`` to the side each photo is on (``common`` is left); a photo on both appears twice.

    What counts in no class is left out: photos on no side, and strata with photos on one side only. For the
    drop, all rows are returned unchanged.

    Args:
        rows: photos or predictions, with the columns that the contrast reads.
        contrast: the contrast whose sides they are on.
    """
    if contrast == DROP:
        return rows
    both = pl.concat(
        rows.filter(selection(side, rows.schema)).with_columns(side=pl.lit(group))
        for group, side in zip(GROUPS, contrast.sides, strict=True)
    )
    if all(side.average is None for side in contrast.sides):
        within = contrast.of_classes().within
        both = both.drop_nulls(within).filter(pl.col("side").n_unique().over(within) == len(GROUPS))
    return both.with_columns(group="side").drop("side")


class ClassFacts(NamedTuple):
    """What the predictions say about a class: its name and the backgrounds of its groups."""

    name: str
    common: str
    counter: str

    @property
    def change(self) -> str:
        """``grass → sky``, or empty if no background is recorded."""
        return f"{self.common or NOTHING} → {self.counter or NOTHING}" if self.common or self.counter else ""


def class_facts(predictions: pl.DataFrame, words: Words = DROP_WORDS) -> dict[int, ClassFacts]:
    """Return name and backgrounds of every class from the predictions; for another contrast, its sides."""
    names = dict(predictions.select("class_index", "class_name").unique().sort("class_index").iter_rows())
    if not words.is_drop:
        return {index: ClassFacts(name, words.left, words.right) for index, name in names.items()}
    known = predictions.select("class_index", "group", "background").drop_nulls().unique().sort("background")
    cells = known.group_by("class_index", "group").agg(pl.col("background").str.join(", "))
    backgrounds = {(index, group): text for index, group, text in cells.iter_rows()}
    return {
        index: ClassFacts(name, *(backgrounds.get((index, group), "") for group in GROUPS))
        for index, name in names.items()
    }
