"""Which photos are on which side of a contrast, and which strata have photos on one side only."""

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
    both = _sided(rows, contrast)
    if _has_strata(contrast):
        within = contrast.of_classes().within
        both = both.drop_nulls(within).filter(pl.col("side").n_unique().over(within) == len(GROUPS))
    return both.with_columns(group="side").drop("side")


def strata_left_out(photos: pl.DataFrame, contrast: Contrast) -> list[str]:
    """Name the strata with photos on one side only, and the side: ``landbird · boat (only place=water)``."""
    if contrast == DROP or not contrast.within or not _has_strata(contrast):
        return []
    sides = dict(zip(GROUPS, contrast.titles, strict=True))
    strata = _sided(photos, contrast).drop_nulls(contrast.within).group_by(contrast.within)
    alone = strata.agg(pl.col("side").unique()).filter(pl.col("side").list.len() == 1).sort(contrast.within)
    return [f"{' · '.join(values)} (only {sides[side[0]]})" for *values, side in alone.iter_rows()]


def _sided(rows: pl.DataFrame, contrast: Contrast) -> pl.DataFrame:
    sides = [
        rows.filter(selection(side, rows.schema)).with_columns(side=pl.lit(group))
        for group, side in zip(GROUPS, contrast.sides, strict=True)
    ]
    return pl.concat(sides)


def _has_strata(contrast: Contrast) -> bool:
    return all(side.average is None for side in contrast.sides)


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
    table = (
        predictions.select("class_index", "class_name", "group", "background")
        .unique()
        .sort("class_index", "group", "background", nulls_last=True)
    )
    names: dict[int, str] = {}
    backgrounds: dict[tuple[int, str], list[str]] = {}
    for index, name, group, background in table.iter_rows():
        names.setdefault(index, name)
        if group in GROUPS and background is not None:
            backgrounds.setdefault((index, group), []).append(background)
    if not words.is_drop:
        return {index: ClassFacts(name, words.left, words.right) for index, name in names.items()}
    return {
        index: ClassFacts(name, *(", ".join(backgrounds.get((index, group), [])) for group in GROUPS))
        for index, name in names.items()
    }
