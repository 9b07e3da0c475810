"""The strata that estimates on one set of photos share: classes, cells, and the two sides of contrasts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from counterground.metrics._codes import GROUPS, Codes, Strata, cluster_codes
from counterground.metrics._design import DESIGN, DROP, Contrast, Design, attributes
from counterground.metrics._expression import Side, selection
from counterground.metrics._sampling import ALPHA, Average, Partition, Sampling
from counterground.metrics._settings import PHOTO_COLUMNS

IDENTITY = ("path", "photo_id", "class_index", "group", "cluster")


@dataclass(frozen=True)
class Sides:
    """The two sides of a contrast among some photos: averages over strata of one partition.

    Attributes:
        partition: the strata of both sides.
        left: strata of the left side that count; empty if the photos do not show the side.
        right: the same for the right side.
        classes: the class of each stratum of left and of right, as positions among those of the photos; None
            if strata span classes.
        left_out: strata with photos on one side only, which do not count.
    """

    partition: Partition
    left: Average
    right: Average
    classes: tuple[Codes, Codes] | None
    left_out: int

    @property
    def strata(self) -> int:
        """How many strata count, on either side."""
        return len(self.left.strata)

    @cached_property
    def one_by_one(self) -> tuple[Codes, Codes, Codes]:
        """The classes that have one stratum on each side, and the left and right strata of each."""
        if self.classes is None:
            return (np.zeros(0, dtype=np.intp),) * 3
        once = [np.flatnonzero(np.bincount(of) == 1) for of in self.classes]
        shared = np.intersect1d(once[0], once[1])
        orders = [np.argsort(of, kind="stable") for of in self.classes]
        at = [
            order[np.searchsorted(of, shared, sorter=order)]
            for of, order in zip(self.classes, orders, strict=True)
        ]
        return shared, self.left.strata[at[0]], self.right.strata[at[1]]

    def averages(self, place: int | None = None) -> list[Average] | None:
        """Return left and right, for all classes or one; None if the photos do not show both."""
        both = [self.left, self.right]
        if place is not None:
            if self.classes is None:
                return None
            chosen = [np.flatnonzero(of == place) for of in self.classes]
            both = [
                Average(side.strata[rows], side.weights[rows])
                for side, rows in zip(both, chosen, strict=True)
            ]
        return both if all(side.weights.sum() > 0 for side in both) else None


class Cells(NamedTuple):
    """The cells of a design that have photos: their values ``[k]``, and which stratum each is."""

    values: list[tuple[str, ...]]
    strata: Codes
    partition: Partition


class Stratification:
    """The strata that estimates on one set of photos share; models that saw these photos share one object.

    Args:
        class_index: ``[n]`` integers.
        group: ``[n]`` of ``common``, ``counter`` or null; None: no photo has one.
        cluster: ``[n]``; null is a cluster of its own; None: every photo is.
        crossed: ``[n]`` clusters of a second way of clustering (``Design.clusters``); None: there is one way.
        alpha: how often an interval may miss the truth.
        photos: ``[n]`` rows that describe the photos, which ``fingerprint`` identifies.
        design: the design whose cells and shares count.

    Raises:
        ValueError: the columns have different lengths, or hold other values.
    """

    def __init__(
        self,
        class_index: npt.ArrayLike,
        group: npt.ArrayLike | None,
        cluster: npt.ArrayLike | None,
        *,
        crossed: npt.ArrayLike | None = None,
        alpha: float = ALPHA,
        photos: pl.DataFrame | None = None,
        fingerprint: bytes = b"",
        design: Design = DESIGN,
    ) -> None:
        n = len(np.asarray(class_index))
        self.photos, self.fingerprint, self.design = photos, fingerprint, design
        self.strata = Strata.of(class_index, group, n)
        second = None if crossed is None else cluster_codes(crossed, n)
        self.sampling = Sampling(*cluster_codes(cluster, n), crossed=second, alpha=alpha)
        self.c = len(self.strata.classes)
        self._sides: dict[tuple[str, str, tuple[str, ...]], Sides] = {}
        self._by_class_on: dict[str, Partition] = {}

    @cached_property
    def by_class(self) -> Partition:
        """A stratum for each class that has photos."""
        return Partition(self.sampling, self.strata.by_class, self.c)

    def by_class_on(self, side: Side) -> Partition:
        """A stratum for each class, of the photos on a side."""
        key = str(side)
        if key not in self._by_class_on:
            codes = np.where(self.on(side), self.strata.by_class, -1)
            self._by_class_on[key] = Partition(self.sampling, codes, self.c)
        return self._by_class_on[key]

    @property
    def by_cell(self) -> Partition:
        """A stratum for each class and group, at ``2 * class + group``."""
        return self.sides(DROP).partition

    @cached_property
    def whole(self) -> Partition:
        """All photos as one stratum."""
        return Partition(self.sampling, np.zeros(self._n, dtype=np.intp), 1)

    @cached_property
    def cells(self) -> Cells:
        """The cells of the design; photos that lack a value of one of its columns are in none."""
        if self.design.cells == DESIGN.cells:
            filled, names = np.flatnonzero(self.by_cell.photos), self.class_names()
            named: list[tuple[str, ...]] = [(names[cell // 2], GROUPS[cell % 2]) for cell in filled.tolist()]
            return Cells(named, filled, self.by_cell)
        codes, values = self._combined(self.design.cells)
        return Cells(values, np.arange(len(values)), Partition(self.sampling, codes, len(values)))

    def sides(self, contrast: Contrast) -> Sides:
        """Return the strata of a contrast's sides; for a selection, those that have photos on both sides.

        Raises:
            ValueError: the photos lack a column that it names.
        """
        key = (contrast.left, contrast.right, contrast.within)
        if key not in self._sides:
            averages = any(side.average is not None for side in contrast.sides)
            self._sides[key] = self._unpaired(contrast) if averages else self._paired(contrast)
        return self._sides[key]

    @property
    def _n(self) -> int:
        return len(self.strata.group)

    def _paired(self, contrast: Contrast) -> Sides:
        """Sides that are selections: a stratum and a side at ``2 * stratum + side``."""
        stratum, size = self._strata(contrast.within)
        on = [np.flatnonzero(self.on(side) & (stratum >= 0)) for side in contrast.sides]
        codes = np.concatenate([2 * stratum[rows] + side for side, rows in enumerate(on)])
        partition = Partition(self.sampling, codes, 2 * size, np.concatenate(on))
        there = partition.photos.reshape(-1, 2) > 0
        both = np.flatnonzero(there.all(axis=1))
        of_class = self._class_of(stratum, size, both) if "class_name" in contrast.within else None
        classes = None if of_class is None else np.unique(of_class, return_inverse=True)[1]
        left, right = (Average.alike(2 * both + side, classes) for side in (0, 1))
        left_out = int(there.any(axis=1).sum()) - len(both)
        return Sides(partition, left, right, None if of_class is None else (of_class, of_class), left_out)

    def _unpaired(self, contrast: Contrast) -> Sides:
        """Sides of which at least one is an average over cells: each has its own strata."""
        codes: list[Codes] = []
        photos: list[Codes] = []
        found: list[tuple[Codes, npt.NDArray[np.float64], Codes | None]] = []
        start = 0
        for side in contrast.sides:
            columns = self.design.cells if side.average else contrast.within
            stratum, size = self._strata(columns)
            rows = np.flatnonzero(self.on(side) & (stratum >= 0))
            codes.append(stratum[rows] + start)
            photos.append(rows)
            filled = np.unique(stratum[rows])
            weights = self._shares(side.average) if side.average else np.ones(len(filled))
            of_class = self._class_of(stratum, size, filled) if "class_name" in columns else None
            found.append((filled + start, weights, of_class))
            start += size
        partition = Partition(self.sampling, np.concatenate(codes), start, np.concatenate(photos))
        left, right = (Average(strata[weights > 0], weights[weights > 0]) for strata, weights, _ in found)
        of_left, of_right = (None if of is None else of[weights > 0] for _, weights, of in found)
        classes = None if of_left is None or of_right is None else (of_left, of_right)
        return Sides(partition, left, right, classes, 0)

    def named_average(self, name: str) -> Average | None:
        """Return the average over cells by named shares; None if a cell that counts has no photo."""
        weights = self._shares(name)
        counted = np.flatnonzero(weights > 0)
        return Average(self.cells.strata[counted], weights[counted]) if len(counted) else None

    def _shares(self, name: str) -> npt.NDArray[np.float64]:
        """The shares of the cells; zeros if a cell that counts has no photo."""
        shares, held = self.design.weights[name], self.cells.values
        if any(share > 0 and cell not in held for cell, share in shares.items()):
            return np.zeros(len(held))
        return np.array([shares.get(cell, 0.0) for cell in held])

    def on(self, side: Side) -> npt.NDArray[np.bool_]:
        """Return which photos are on a side, ``[n]``.

        Raises:
            ValueError: the photos lack a column that it names.
        """
        frame = self._frame([condition.column for condition in side.conditions])
        chosen = frame.select(selection(side, frame.schema)).to_series().to_numpy()
        return np.broadcast_to(chosen, self._n)

    def _frame(self, columns: list[str]) -> pl.DataFrame:
        """The columns of the photos that a selection reads; groups are always known."""
        values = np.array([*GROUPS, None], dtype=object)[self.strata.group]
        group = pl.Series("group", values.tolist(), dtype=pl.String)
        held = {} if self.photos is None else {c: self.photos[c] for c in columns if c in self.photos.columns}
        frame = pl.DataFrame({**held, "group": group})
        if missing := [column for column in columns if column not in frame.columns]:
            raise ValueError(f"The photos have no column {missing[0]!r}.")
        return frame

    def _strata(self, columns: tuple[str, ...]) -> tuple[Codes, int]:
        """Strata of the combinations of columns ``[n]``, -1 where a value is missing, and how many."""
        if columns == ("class_name",):
            return self.strata.by_class, self.c
        codes, values = self._combined(columns)
        return codes, len(values)

    def _combined(self, columns: tuple[str, ...]) -> tuple[Codes, list[tuple[str, ...]]]:
        """Code the combinations of columns that occur, ordered by the values of the first, then the next."""
        code, inside = np.zeros(self._n, dtype=np.intp), np.ones(self._n, dtype=bool)
        levels = [self._column(name) for name in columns]
        for codes, values in levels:
            code = code * max(1, len(values)) + codes
            inside &= codes >= 0
        found, compact = np.unique(code[inside], return_inverse=True)
        named: list[tuple[str, ...]] = [() for _ in found]
        for _, values in reversed(levels):
            found, place = np.divmod(found, max(1, len(values)))
            named = [(values[at], *rest) for at, rest in zip(place.tolist(), named, strict=True)]
        result = np.full(self._n, -1, dtype=np.intp)
        result[inside] = compact
        return result, named

    def _column(self, name: str) -> tuple[Codes, list[str]]:
        """Codes of a column's values, -1 for null, and the values; classes and groups in their own order."""
        if name == "group":
            group = self.strata.group
            return np.where(group < len(GROUPS), group, -1), list(GROUPS)
        if name == "class_name":
            return self.strata.by_class, self.class_names()
        column = self._frame([name])[name]
        ranks = column.rank("dense").cast(pl.Int64).fill_null(0).to_numpy()
        return np.asarray(ranks - 1, dtype=np.intp), column.drop_nulls().unique().sort().to_list()

    def class_names(self) -> list[str]:
        """Names of the classes, in the order of ``strata.classes``."""
        if self.photos is None or "class_name" not in self.photos.columns:
            return [str(index) for index in self.strata.classes]
        first = np.unique(self.strata.by_class, return_index=True)[1]
        return [str(name) for name in self.photos["class_name"][first.tolist()]]

    def _class_of(self, stratum: Codes, size: int, strata: Codes) -> Codes:
        """The class of each of some strata, none of which spans classes."""
        of = np.zeros(size, dtype=np.intp)
        inside = stratum >= 0
        of[stratum[inside]] = self.strata.by_class[inside]
        return of[strata]


def cluster_columns(rows: pl.DataFrame, design: Design, given: Collection[str] = ()) -> dict[str, Any]:
    """Return the clusters of photos as keywords: ``cluster``, and ``crossed`` if a design has two ways.

    Clusters that have copies of one photo (``photo_id``) are one.
    Of clusters that are ``given``, as in accuracy at one site, others are not in question: photos of it are
    independent.

    Raises:
        ValueError: the photos lack a column of clusters.
    """
    if missing := [name for name in design.clusters if name not in rows.columns]:
        raise ValueError(f"The photos have no column {missing[0]!r}, whose values are clusters.")
    ways = [column for column in design.clusters if column not in given] or ["photo_id"]
    # Several models may have answered, each once for a photo. Of composites, these are joined already.
    known = "photo_id" in rows.columns and "background_cluster" not in rows.columns
    copies = known and rows["photo_id"].n_unique() < rows["path"].n_unique()
    return {
        name: independent_clusters(rows, column).tolist() if copies else rows[column].to_list()
        for name, column in zip(("cluster", "crossed"), ways, strict=False)
    }


def independent_clusters(photos: pl.DataFrame, column: str) -> npt.NDArray[np.int32]:
    """Return a number for each photo: photos of one cluster, or of one content, are linked and share it.

    A photo without a cluster forms its own.

    Args:
        photos: photos of a manifest, or their predictions.
        column: what names the cluster of each: the first one of the design's ``clusters``.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    photo = pl.coalesce("photo_id", "path")
    numbered = photos.select(
        cluster=pl.format("cluster {}", column).fill_null(pl.format("photo {}", photo)).rank("dense") - 1,
        content=photo.rank("dense") - 1,
    )
    cluster, content = (numbered[name].cast(pl.Int64).to_numpy() for name in numbered.columns)
    n = len(photos)
    links = coo_array((np.ones(n), (cluster, n + content)), shape=(2 * n, 2 * n))
    return np.asarray(connected_components(links, directed=False)[1][cluster])


class Stratifications:
    """Stratifications of tables of predictions, made once for models that saw the same photos.

    Their fingerprints are of photos and of what the design calls clusters: errors by other clusters cannot be
    subtracted from each other.
    """

    def __init__(self, alpha: float = ALPHA, design: Design = DESIGN) -> None:
        self._alpha, self._design = alpha, design
        self._known: dict[bytes, Stratification] = {}

    def of(self, rows: pl.DataFrame) -> Stratification:
        """Return the stratification of the rows of one model; equal photos give the same object."""
        further = attributes(rows.schema)
        photos = rows.select(*(name for name in PHOTO_COLUMNS if name in rows.columns), *further)
        identity = [name for name in (*IDENTITY, *further) if name in photos.columns]
        hashes = photos.select(identity).hash_rows(seed=0)
        clusters = json.dumps(self._design.clusters).encode()
        key = hashlib.sha256(clusters + hashes.to_numpy().tobytes()).digest()
        if key not in self._known:
            index = photos["class_index"].to_numpy()
            self._known[key] = Stratification(
                index,
                photos["group"].to_list(),
                **cluster_columns(photos, self._design),
                alpha=self._alpha,
                photos=photos,
                fingerprint=key,
                design=self._design,
            )
        return self._known[key]
