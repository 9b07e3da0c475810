"""Three disjoint sets of clusters: a method is fitted on one, chosen on the next, judged on the last."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl

from counterground.errors import UsageError, needs_extra
from counterground.inference import independent_clusters
from counterground.text import counted

PARTS = 3
_TRIES = 50
_NAMED = 3


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
            with one content, are in one part.
        clusters: ``[n]``, numbers of such sets.
    """

    part: np.ndarray
    clusters: np.ndarray

    def folds(self, readable: np.ndarray) -> list[Fold]:
        """Return the folds, each with the photos that could be read."""
        rows = [np.flatnonzero((self.part == part) & readable) for part in range(PARTS)]
        return [Fold(rows[judge - 1], rows[judge - 2], rows[judge]) for judge in range(PARTS)]

    def sizes(self) -> list[dict[str, int]]:
        """Return photos and clusters of each part."""
        masks = [self.part == part for part in range(PARTS)]
        return [
            {"photos": int(mask.sum()), "clusters": len(np.unique(self.clusters[mask]))} for mask in masks
        ]


def rotate_clusters(photos: pl.DataFrame, side: np.ndarray, seed: int) -> Rotation:
    """Divide clusters into three parts, so that each has photos of every class on each side.

    Args:
        photos: of the manifest.
        side: ``[n]``, ``common``, ``counter`` or None.
        seed: for what is drawn.

    Raises:
        UsageError: a class has too few clusters on a side, or they cannot be divided so.
    """
    with needs_extra("heads"):
        import sklearn  # noqa: F401

    clusters = independent_clusters(photos)
    named = photos.select("class_name", side=pl.Series(side.tolist(), dtype=pl.String))
    sides = named.select(pl.concat_str("side", "class_name", separator=" ")).to_series()
    others = photos.select(pl.format("{} {}", "class_name", pl.col("background").fill_null(""))).to_series()
    strata, code = np.unique(sides.fill_null(others).to_numpy().astype(str), return_inverse=True)
    wanted = np.unique(code[side != np.array(None)])
    counts = [len(np.unique(clusters[code == each])) for each in wanted]
    if scarce := [strata[each] for each, count in zip(wanted, counts, strict=True) if count < PARTS]:
        raise UsageError(
            f"A method is fitted, chosen and judged on different clusters, and {_listed(scarce)} have fewer "
            f"than {PARTS}: add photos of other clusters, or leave these classes out."
        )
    best, lacking = None, wanted
    for attempt in range(_TRIES):
        part = _parts(code, clusters, seed + attempt)
        missing = np.unique(
            np.concatenate([np.setdiff1d(wanted, code[part == each]) for each in range(PARTS)])
        )
        if best is None or len(missing) < len(lacking):
            best, lacking = part, missing
        if not len(lacking):
            break
    if len(lacking):
        raise UsageError(
            f"The clusters cannot be divided into {PARTS} parts that all have {_listed(strata[lacking])}: add "
            "photos of other clusters, or leave these classes out."
        )
    assert best is not None
    return Rotation(best, clusters)


def _parts(strata: np.ndarray, clusters: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.model_selection import StratifiedGroupKFold

    part = np.zeros(len(strata), dtype=np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of strata with fewer photos than parts
        splits = StratifiedGroupKFold(PARTS, shuffle=True, random_state=seed)
        for number, (_, rows) in enumerate(splits.split(strata[:, None], strata, clusters)):
            part[rows] = number
    return part


def _listed(strata: list[str] | np.ndarray) -> str:
    """Name photos such as "common ox", so many that a reader sees what is meant."""
    named = ", ".join(f"{each} photos" for each in strata[:_NAMED])
    more = len(strata) - _NAMED
    return f"{named} and {counted(more, 'other kind')}" if more > 0 else named
