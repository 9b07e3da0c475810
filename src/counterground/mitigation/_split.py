"""The sides of photos, and three sets of their clusters: to fit on, to choose on, to judge on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import polars as pl

from counterground.errors import UsageError
from counterground.metrics import Contrast, independent_clusters, selection
from counterground.photos import Benchmark
from counterground.text import and_more, counted

PARTS = 3
_TRIES = 20
_NAMED = 3


class TooFewClusters(UsageError):  # noqa: N818 - an error by what it says
    """A class or a side has too few clusters; ``classes`` are such classes, empty if it is a side."""

    def __init__(self, message: str, classes: list[str]) -> None:
        super().__init__(message)
        self.classes = classes


class Fold(NamedTuple):
    """Rows of the manifest, ascending: what a method is fitted, chosen and judged on."""

    fit: np.ndarray
    choose: np.ndarray
    judge: np.ndarray


@dataclass(frozen=True)
class Rotation:
    """Three parts of the photos that take turns, so that every photo is judged once.

    Attributes:
        part: ``[n]``, 0 to 2: the part of each photo, and the fold that judges it. Photos of one cluster, or
            with the same content, are in one part.
        clusters: ``[n]``, the number of each photo's set of such photos.
        lacking: ``common ox`` and the like, of which a part has no photo.
    """

    part: np.ndarray
    clusters: np.ndarray
    lacking: tuple[str, ...] = ()

    def folds(self, readable: np.ndarray) -> list[Fold]:
        """Return the folds, each with the photos that could be read."""
        rows = [np.flatnonzero((self.part == part) & readable) for part in range(PARTS)]
        return [Fold(rows[judge - 1], rows[judge - 2], rows[judge]) for judge in range(PARTS)]

    def sizes(self, readable: np.ndarray) -> list[dict[str, int]]:
        """Return photos and clusters of each part, of the photos that could be read."""
        masks = [(self.part == part) & readable for part in range(PARTS)]
        return [
            {"photos": int(mask.sum()), "clusters": len(np.unique(self.clusters[mask]))} for mask in masks
        ]


def rotate_clusters(photos: pl.DataFrame, column: str, side: np.ndarray, seed: int) -> Rotation:
    """Divide clusters into three parts, each of which has photos of every class and of both sides.

    As far as clusters allow, each also has photos of every class on each side, and of each background.

    Args:
        photos: photos of the manifest.
        column: what names the cluster of each.
        side: ``[n]``, ``common``, ``counter`` or None.
        seed: seed for what is drawn.

    Raises:
        TooFewClusters: a class or a side has too few, or they cannot be divided this way.
    """
    clusters = independent_clusters(photos, column)
    table = photos.select("class_name", "background", side=pl.Series(side.tolist(), dtype=pl.String))
    strata = [_strata(table.select(columns), clusters) for columns in _KINDS]
    presence = np.hstack([counts for counts, _ in strata])
    names = [name for _, known in strata for name in known]
    kind = np.repeat(np.arange(len(_KINDS)), [len(known) for _, known in strata])
    known = np.array(["" not in name for name in names])
    needed, wished = np.flatnonzero((kind < 2) & known), np.flatnonzero((kind == 2) & known)
    without, part = needed[(presence[:, needed] > 0).sum(axis=0) < PARTS].tolist(), clusters
    if not without:
        rng = np.random.default_rng(seed)
        tries = [_assign(presence, np.concatenate([needed, wished]), rng) for _ in range(_TRIES)]
        part = min(tries, key=lambda each: [len(_lacking(presence, each, of)) for of in (needed, wished)])
        without = _lacking(presence, part, needed)
    if without:
        missing = [" ".join(names[each]) for each in without]
        raise TooFewClusters(
            "A method is fitted, chosen and judged on different clusters, and there are too few for "
            f"{PARTS} parts with photos of {and_more(missing, _NAMED)} in "
            "each: add photos of other clusters, or leave them out.",
            [names[each][0] for each in without if kind[each] == 0],
        )
    lacking = _lacking(presence, part, wished)
    return Rotation(part[clusters], clusters, tuple(" ".join(names[each]) for each in lacking))


_KINDS = (["class_name"], ["side"], ["side", "class_name"], ["side", "class_name", "background"])


def _strata(values: pl.DataFrame, clusters: np.ndarray) -> tuple[np.ndarray, list[tuple[str, ...]]]:
    """Return the photos of each cluster in each stratum ``[c, s]``, and the values that make the stratum."""
    filled = values.fill_null("")
    names = filled.unique().sort(values.columns)
    codes = filled.join(names.with_row_index("code"), on=values.columns, how="left", maintain_order="left")
    counts = np.zeros((clusters.max() + 1, len(names)), dtype=np.int64)
    np.add.at(counts, (clusters, codes["code"].to_numpy()), 1)
    return counts, names.rows()


def _lacking(presence: np.ndarray, part: np.ndarray, strata: np.ndarray) -> list[int]:
    """Return the strata of which a part has no photo."""
    held = [presence[part == each].sum(axis=0) for each in range(PARTS)]
    return [int(each) for each in strata if min(of[each] for of in held) == 0]


def _assign(presence: np.ndarray, wanted: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the part of each cluster; those of the scarcest strata are placed first.

    A cluster goes to the part that lacks most of its strata, the scarcest counting most; otherwise, to the
    part in which its strata have the fewest photos.

    Args:
        presence: ``[c, s]``, photos of each cluster in each stratum.
        wanted: strata that every part must have.
        rng: breaks ties.
    """
    there = presence[:, wanted] > 0
    left = there.sum(axis=0).astype(np.float64)
    scarcity = np.where(there, 1 / np.maximum(left, 1), 0).max(axis=1, initial=0)
    part = np.zeros(len(presence), dtype=np.int64)
    held = np.zeros((PARTS, presence.shape[1]))
    total = presence.sum(axis=0)
    for cluster in np.lexsort((rng.random(len(presence)), -scarcity)):
        lacks = (held[:, wanted] == 0) & there[cluster]
        brings = (lacks / np.maximum(left, 1)).sum(axis=1)
        crowded = (held / np.maximum(total, 1)) @ presence[cluster]
        order = np.lexsort((rng.random(PARTS), held.sum(axis=1), crowded.round(9), -brings.round(9)))
        part[cluster] = order[0]
        held[order[0]] += presence[cluster]
        left -= there[cluster]
    return part


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
    contrast, side = _sides(benchmark)
    notes, few = [], list[str]()

    def note(names: Collection[str], why: str) -> str:
        every = counted(len(names) + len(benchmark.classes), "class")
        return f"{len(names)} of {every} left out, {why}: {', '.join(sorted(names))}."

    if classes == "pairs":
        names = benchmark.photos["class_name"]
        both = set(names.filter(side == "common")) & set(names.filter(side == "counter"))
        if lacking := set(benchmark.classes.names) - both:
            benchmark = _without(benchmark, lacking)
            notes.append(note(lacking, f"without photos on both sides of {contrast.name}"))
    while True:
        contrast, side = _sides(benchmark)
        try:
            rotation = rotate_clusters(benchmark.photos, benchmark.design.clusters[0], side, seed)
        except TooFewClusters as error:
            if not error.classes or set(benchmark.photos["class_name"]) <= set(error.classes):
                raise
            benchmark = _without(benchmark, error.classes)
            few += error.classes
            continue
        if few:
            notes.append(note(few, f"because their photos are in too few clusters for {PARTS} parts"))
        return Divided(benchmark, contrast, side, rotation, tuple(notes))


def _without(benchmark: Benchmark, names: Collection[str]) -> Benchmark:
    """Return a benchmark without the photos and the names of some classes."""
    space = benchmark.classes
    kept = [index for index, name in enumerate(space.names) if name not in names]
    place = {index: at for at, index in enumerate(kept)}
    candidates = space.candidates and {
        place[index]: tuple(place[other] for other in competing if other in place) or (place[index],)
        for index, competing in space.candidates.items()
        if index in place
    }
    smaller = replace(
        space,
        names=tuple(space.names[index] for index in kept),
        imagenet=tuple(space.imagenet[index] for index in kept),
        candidates=candidates,
        members=space.members and tuple(space.members[index] for index in kept),
    )
    photos = benchmark.photos.filter(pl.col("class_index").is_in(kept))
    moved = pl.col("class_index").replace_strict(place, return_dtype=photos.schema["class_index"])
    return replace(benchmark, photos=photos.with_columns(moved), classes=smaller)


def _sides(benchmark: Benchmark) -> tuple[Contrast, np.ndarray]:
    """Return the benchmark's own contrast, and the side of each photo: common, counter or None.

    A photo on both sides has none, unless one side has no other photos, as the right one of ``all -
    place=land``: it then keeps its photos, and the other side has the rest.

    Raises:
        UsageError: no class has photos on both, or both have the same photos.
    """
    contrast, photos = benchmark.design.contrasts[0], benchmark.photos
    every, sides = pl.repeat(True, pl.len()), [selection(each, photos.schema) for each in contrast.sides]
    both = photos.select(
        left=every & sides[0].fill_null(value=False), right=every & sides[1].fill_null(value=False)
    )
    left, right = both["left"].to_numpy(), both["right"].to_numpy()
    side = np.full(len(photos), None, dtype=object)
    side[left], side[right], side[left & right] = "common", "counter", None
    if not (right & ~left).any():
        side[right] = "counter"
    elif not (left & ~right).any():
        side[left] = "common"
    classes = photos["class_index"].to_numpy()
    if not set(classes[left]) & set(classes[right]) or (left == right).all():
        raise UsageError(
            f"{benchmark.name} has no class with photos on both sides of {contrast}, so there is no drop "
            "to make smaller. To choose common and counter backgrounds: counterground discover BENCHMARK "
            "--referee MODEL --split cross --out PAIRS"
        )
    return contrast, side
