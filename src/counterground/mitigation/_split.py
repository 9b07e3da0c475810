"""Three disjoint sets of clusters: a method is fitted on one, chosen on the next, judged on the last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl

from counterground.errors import UsageError
from counterground.metrics import independent_clusters
from counterground.text import counted

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
    kinds = [_Kind.of(table, clusters, *columns) for columns in _KINDS]
    presence = np.hstack([kind.presence for kind in kinds])
    width = np.cumsum([0, *(kind.presence.shape[1] for kind in kinds)])
    needed, wished = np.arange(width[2]), np.arange(width[2], width[3])
    names = [name for kind in kinds for name in kind.names]
    known = np.array(["" not in name for name in names])
    needed, wished = needed[known[needed]], wished[known[wished]]
    classes = width[1]
    if scarce := [each for each in needed if (presence[:, each] > 0).sum() < PARTS]:
        raise TooFewClusters(
            "A method is fitted, chosen and judged on different clusters, and "
            f"{_listed([names[each] for each in scarce])} are in fewer "
            f"than {PARTS} clusters: add photos of other clusters, or leave them out.",
            [names[each][0] for each in scarce if each < classes],
        )
    rng = np.random.default_rng(seed)
    tries = [_assign(presence, np.concatenate([needed, wished]), rng) for _ in range(_TRIES)]
    part = min(tries, key=lambda each: [len(_lacking(presence, each, of)) for of in (needed, wished)])
    without, partly = (_lacking(presence, part, of) for of in (needed, wished))
    if without:
        raise TooFewClusters(
            f"The clusters cannot be divided into {PARTS} parts of which each has "
            f"{_listed([names[each] for each in without])}: add photos of other clusters, or leave them out.",
            [names[each][0] for each in without if each < classes],
        )
    return Rotation(part[clusters], clusters, tuple(" ".join(names[each]) for each in partly))


_KINDS = (("class_name",), ("side",), ("side", "class_name"), ("side", "class_name", "background"))


class _Kind(NamedTuple):
    """Photos of each cluster in each stratum ``[c, s]``, and the values that make the stratum."""

    presence: np.ndarray
    names: list[tuple[str, ...]]

    @classmethod
    def of(cls, table: pl.DataFrame, clusters: np.ndarray, *columns: str) -> _Kind:
        filled = table.select(pl.col(columns).fill_null(""))
        names = filled.unique().sort(columns)
        codes = filled.join(names.with_row_index("code"), on=columns, how="left", maintain_order="left")
        found = np.zeros((clusters.max() + 1, len(names)), dtype=np.int64)
        np.add.at(found, (clusters, codes["code"].to_numpy()), 1)
        return cls(found, names.rows())


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


def _listed(strata: list[tuple[str, ...]]) -> str:
    """Name kinds of photos such as "common ox": the first few, and how many more there are."""
    named = ", ".join(f"{' '.join(each)} photos" for each in strata[:_NAMED])
    more = len(strata) - _NAMED
    return f"{named} and {counted(more, 'other kind')}" if more > 0 else named
