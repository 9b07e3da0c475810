"""Which photos of a benchmark can be cut apart: those whose mask fits, and why the others cannot."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from counterground.benchmarks import cutouts_shown
from counterground.composites._recipe import (
    OBJECT,
    SIDE,
    MaskedPhoto,
    Placement,
    has_background,
    has_cutout,
)
from counterground.metrics import independent_clusters
from counterground.photos import (
    Benchmark,
    ObjectPlace,
    UnreadablePhoto,
    load_photo,
    object_place,
    photo_id,
    photo_size,
    read_mask,
)
from counterground.progress import progress_bar
from counterground.text import and_more, counted

CUTOUT = "cutout"
"""The attribute that says which cut-out a photo shows, if several photos show the same one."""
_MOST = 0.95  # of a photo: with a larger object there is no background to speak of
NAMED = 3


@dataclass(frozen=True, eq=False)
class UsablePhoto:
    """A photo whose object can be cut out.

    Attributes:
        row: its row of the manifest, ``cluster`` being what the design names.
        masked: its files.
        place: how large its object is and how far from the middle.
        placement: where its object is.
        cutout: which cut-out it shows; None if each photo has an object of its own.
        kin: number of the set of photos that it belongs to: those of its cluster, and copies of any of these.
    """

    row: Mapping[str, Any]
    masked: MaskedPhoto
    place: ObjectPlace
    placement: Placement
    cutout: str | None
    kin: int

    @property
    def path(self) -> str:
        """Its path in the manifest."""
        return str(self.row["path"])

    @property
    def label(self) -> str | None:
        """Its background."""
        found: str | None = self.row["background"]
        return found

    @property
    def cluster(self) -> str:
        """The cluster of its background; a photo without one is its own."""
        return str(self.row["cluster"] or self.path)

    @property
    def object_cluster(self) -> str:
        """The cluster of its object."""
        return self.cutout or self.cluster


def usable_photos(
    benchmark: Benchmark, *, show_progress: bool = False
) -> tuple[list[UsablePhoto], list[str]]:
    """Return the photos that can be cut apart, in order, and sentences that name and count the others."""
    photos, by = benchmark.photos, benchmark.design.clusters[0]
    photos = photos.with_columns(cluster=pl.col(by).cast(pl.String))
    if CUTOUT in photos.columns:
        cutouts: Sequence[str | None] = photos[CUTOUT].cast(pl.String).to_list()  # numbers, too
    else:
        shown = cutouts_shown(photos)
        cutouts = [None] * len(photos) if shown is None else shown.to_list()
    kin = independent_clusters(photos, "cluster").tolist()
    rows = list(zip(photos.iter_rows(named=True), cutouts, kin, strict=True))
    usable: list[UsablePhoto] = []
    reasons: dict[str, list[str]] = defaultdict(list)
    with (
        ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as threads,
        progress_bar("Reading masks", "photos", shown=show_progress) as bar,
    ):
        for done, (found, (row, *_)) in enumerate(
            zip(threads.map(lambda each: _usable(benchmark, *each), rows), rows, strict=True), 1
        ):
            if isinstance(found, UsablePhoto):
                usable.append(found)
            else:
                reasons[found].append(row["path"])
            bar.update(done, len(rows))
    return usable, [
        f"{len(paths):,} of {counted(len(rows), 'photo')} left out, {why}: {and_more(paths, NAMED)}."
        for why, paths in sorted(reasons.items())
    ]


def _usable(benchmark: Benchmark, row: Mapping[str, Any], cutout: str | None, kin: int) -> UsablePhoto | str:
    """Return a photo with what is known of its object, or why it cannot be used."""
    if row["mask"] is None:
        return "without a mask"
    photo, mask = benchmark.photo_path(row["path"]), benchmark.mask_path(row["mask"])
    try:
        size = photo_size(photo)
        # A damaged photo would be missing later, on some labels only.
        load_photo(photo, expect_id=row["photo_id"], at_least=SIDE)
        content = photo_id(mask)
        pixels = read_mask(mask, expect_id=content)
    except UnreadablePhoto as error:
        return f"with an unreadable {'mask' if error.path == mask else 'photo'} ({error.reason})"
    place = object_place(pixels)
    if pixels.shape[::-1] != size:
        return "with a mask of another size"
    if not 0 < place.area <= _MOST or not has_background(pixels):
        return "with a mask that is empty, or leaves next to nothing of the background"
    masked = MaskedPhoto(photo, row["photo_id"], mask, content)
    if not has_cutout(masked):
        return "with an object too thin or too small to be cut out"
    inside = (pixels >= OBJECT).astype(np.float64)
    across, down = (
        float(inside.sum(axis=axis) @ (np.arange(side) + 0.5)) / inside.sum() / side
        for axis, side in enumerate(size)
    )
    return UsablePhoto(row, masked, place, Placement(place.area, across, down), cutout, kin)


def groups_of_labels(
    photos: pl.DataFrame,
) -> tuple[dict[tuple[int, str], str], list[tuple[str, str]]]:
    """Return which of a class's backgrounds are common or counter, and the names of those that are both."""
    pairs = photos.drop_nulls(["group", "background"]).group_by("class_index", "class_name", "background")
    found = pairs.agg(pl.col("group").unique()).sort("class_index", "background")
    groups, both = {}, []
    for index, name, label, seen in found.iter_rows():
        if len(seen) == 1:
            groups[index, label] = seen[0]
        else:
            both.append((name, label))
    return groups, both
