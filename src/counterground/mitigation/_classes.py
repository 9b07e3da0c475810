"""Which photos are on which side, and which classes have enough clusters to be divided into parts."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import polars as pl

from counterground.errors import UsageError
from counterground.metrics import Contrast, Side, selection
from counterground.mitigation._split import PARTS, Rotation, TooFewClusters, rotate_clusters
from counterground.photos import Benchmark, LabelSpace
from counterground.text import counted

Classes = Literal["all", "pairs"]
"""Which classes take part: all, or those with photos on both sides."""


@dataclass(frozen=True)
class Divided:
    """A benchmark whose clusters are divided into parts.

    Attributes:
        benchmark: benchmark with the classes that can be divided.
        contrast: the benchmark's own contrast.
        side: ``[n]``, the side of each photo: common, counter or None.
        rotation: the parts.
        notes: sentences that name and count the classes that were left out.
    """

    benchmark: Benchmark
    contrast: Contrast
    side: np.ndarray
    rotation: Rotation
    notes: tuple[str, ...]


def divide(benchmark: Benchmark, classes: Classes, seed: int) -> Divided:
    """Divide the clusters of a benchmark, without the classes that have too few of them.

    Classes that are left out lose their photos. Their names no longer compete under the label space
    ``benchmark``; the 1,000 names of ``imagenet`` all compete, whatever is left out.

    Raises:
        UsageError: no class is left, or a side has too few clusters.
    """
    of, notes = len(benchmark.photos["class_index"].unique()), []
    contrast, side = _sides(benchmark)
    if classes == "pairs":
        both = set.intersection(*(set(_names(benchmark, side == name)) for name in ("common", "counter")))
        if lacking := sorted(set(benchmark.label_space.names) - both):
            notes.append(
                _left_out(
                    lacking, len(benchmark.label_space), f"without photos on both sides of {contrast.name}"
                )
            )
            benchmark = _without(benchmark, lacking)
    few: list[str] = []
    scarce: TooFewClusters | None = None
    while True:
        try:
            contrast, side = _sides(benchmark)
            rotation = rotate_clusters(benchmark.photos, benchmark.design.clusters[0], side, seed)
        except TooFewClusters as error:
            left = _names(benchmark, np.full(len(benchmark.photos), True))
            if not error.classes or set(left) <= set(error.classes):
                raise
            benchmark, scarce = _without(benchmark, error.classes), error
            few += error.classes
            continue
        except UsageError:
            if scarce is None:
                raise
            raise scarce from None  # the classes that had photos on both sides were left out
        if few:
            notes.append(
                _left_out(sorted(few), of, f"because their photos are in too few clusters for {PARTS} parts")
            )
        return Divided(benchmark, contrast, side, rotation, tuple(notes))


def _names(benchmark: Benchmark, rows: np.ndarray) -> list[str]:
    return benchmark.photos.filter(pl.Series(rows))["class_name"].unique().to_list()


def _left_out(names: Collection[str], of: int, why: str) -> str:
    return f"{len(names)} of {counted(of, 'class')} left out, {why}: {', '.join(names)}."


def _without(benchmark: Benchmark, names: Collection[str]) -> Benchmark:
    """Return a benchmark without the photos and the names of some classes."""
    space = benchmark.label_space
    kept = [index for index, name in enumerate(space.names) if name not in names]
    place = {index: at for at, index in enumerate(kept)}
    candidates = space.candidates and {
        place[index]: tuple(place[other] for other in competing if other in place) or (place[index],)
        for index, competing in space.candidates.items()
        if index in place
    }
    smaller = LabelSpace(
        space.name,
        tuple(space.names[index] for index in kept),
        tuple(space.imagenet[index] for index in kept),
        candidates,
        space.members and tuple(space.members[index] for index in kept),
    )
    photos = benchmark.photos.filter(pl.col("class_index").is_in(kept))
    moved = pl.col("class_index").replace_strict(place, return_dtype=photos.schema["class_index"])
    return replace(benchmark, photos=photos.with_columns(moved), label_space=smaller)


def _sides(benchmark: Benchmark) -> tuple[Contrast, np.ndarray]:
    """Return the benchmark's own contrast, and the side of each photo: common, counter or None.

    A photo on both sides has none, unless one side has no other photos, as the right one of ``all -
    place=land``: it then keeps its photos, and the other side has the rest.

    Raises:
        UsageError: no class has photos on both, or both have the same photos.
    """
    contrast, photos = benchmark.design.contrasts[0], benchmark.photos
    left, right = (_on(side, photos) for side in contrast.sides)
    both = set(photos["class_index"].to_numpy()[left]) & set(photos["class_index"].to_numpy()[right])
    side = np.full(len(photos), None, dtype=object)
    side[left & ~right], side[right & ~left] = "common", "counter"
    if not (right & ~left).any():
        side[right] = "counter"
    elif not (left & ~right).any():
        side[left] = "common"
    if not both or (left == right).all():
        raise UsageError(
            f"{benchmark.name} has no class with photos on both sides of {contrast}, so there is no drop "
            "to make smaller. To choose common and counter backgrounds: counterground discover BENCHMARK "
            "--referee MODEL --split swap --out PAIRS"
        )
    return contrast, side


def _on(side: Side, photos: pl.DataFrame) -> np.ndarray:
    chosen = photos.select(selection(side, photos.schema)).to_series().fill_null(value=False).to_numpy()
    return np.asarray(np.broadcast_to(chosen, len(photos)))
