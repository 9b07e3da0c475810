"""Which object goes on which background: drawn with a seed, equally many of each label for each object."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

import numpy as np
import polars as pl

from counterground.benchmarks import cutouts_shown
from counterground.composites._recipe import (
    OBJECT,
    SIDE,
    VERSION,
    Composite,
    MaskedPhoto,
    Placement,
    has_background,
    has_cutout,
)
from counterground.errors import CounterGroundError, UsageError, did_you_mean
from counterground.metrics import GROUPS, independent_clusters, swap_design
from counterground.photos import (
    Benchmark,
    UnreadablePhoto,
    load_photo,
    photo_id,
    photo_size,
    read_mask,
)
from counterground.progress import progress_bar
from counterground.settings import SwapSettings
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
        placement: how large its object is, and where.
        cutout: which cut-out it shows; None if each photo has an object of its own.
        kin: number of the set of photos that it belongs to: those of its cluster, and copies of any of these.
    """

    row: Mapping[str, Any]
    masked: MaskedPhoto
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
    kin = independent_clusters(photos, "cluster")
    first = pl.coalesce(pl.col("cluster").drop_nulls().first(), pl.col("path").first())
    photos = photos.with_columns(kin=kin).with_columns(cluster=first.over("kin"))
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


def without_objects(benchmark: Benchmark, *, show_progress: bool = False) -> tuple[Benchmark, list[str]]:
    """Return the photos that can be cut apart without their objects, the holes filled, and who is left out.

    Their ``object_area``, ``object_across`` and ``object_down`` say where the object was.
    """
    usable, notes = usable_photos(benchmark, show_progress=show_progress)
    places = pl.DataFrame(
        [(photo.path, *photo.placement) for photo in usable],
        {"path": pl.String} | dict.fromkeys(("object_area", "object_across", "object_down"), pl.Float64),
        orient="row",
    )
    made = {photo.path: Composite(None, photo.masked) for photo in usable}
    ids = pl.DataFrame({"path": list(made), "photo_id": [recipe.photo_id for recipe in made.values()]})
    held = benchmark.photos.drop("photo_id", *places.columns[1:], strict=False)
    photos = held.join(ids, on="path").join(places, on="path")
    return replace(benchmark, photos=photos, made=made), notes


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
    if pixels.shape[::-1] != size:
        return "with a mask of another size"
    inside = (pixels >= OBJECT).astype(np.float64)
    area = float(inside.sum() / inside.size)
    if not 0 < area <= _MOST or not has_background(pixels):
        return "with a mask that is empty, or leaves next to nothing of the background"
    masked = MaskedPhoto(photo, row["photo_id"], mask, content)
    if not has_cutout(masked):
        return "with an object too thin or too small to be cut out"
    across, down = (
        float(inside.sum(axis=axis) @ (np.arange(side) + 0.5)) / inside.sum() / side
        for axis, side in enumerate(size)
    )
    return UsablePhoto(row, masked, Placement(area, across, down), cutout, kin)


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


_OF_LABELS = ("same", "other")
_TEXTS = (
    *("background", "group", "own_group", "background_class", "background_cluster"),
    *("mask", "licence", "attribution"),
)
_PER_CUTOUT = 2


def plan_swap(benchmark: Benchmark, settings: SwapSettings, *, show_progress: bool = False) -> Benchmark:
    """Return the composites of a benchmark's photos: one row each, made when they are read.

    Photos without a usable mask give neither an object nor a background; notes name and count them.

    Raises:
        UsageError: an unknown label.
        CounterGroundError: no photo has a usable mask, or there are too few backgrounds.
    """
    usable, notes = usable_photos(benchmark, show_progress=show_progress)
    if not usable:
        raise CounterGroundError(
            f"No photo of {benchmark.name} has a mask that can be used: add --masks, such as a folder "
            f"of PNGs, COCO annotations, or what `counterground data masks` makes. {' '.join(notes[:1])}"
        )
    drawn = _Draw(benchmark, usable, settings)
    rows = list(drawn.rows())
    if not rows:
        raise CounterGroundError(
            f"None of these composites can be made of {benchmark.name}: {' '.join(drawn.notes)}"
        )
    frame = pl.DataFrame([row for row, _ in rows], infer_schema_length=None)
    frame = frame.with_columns(pl.col(_TEXTS).cast(pl.String))
    objects, backgrounds = set(frame["foreground"]), set(frame["background_photo"]) - {"grey"}
    made_of = (
        f"Photos are composites (version {VERSION}, seed {settings.seed}) of the benchmark "
        f"{benchmark.name!r}: objects of {counted(len(objects), 'photo')}, backgrounds of "
        f"{len(backgrounds):,}."
    )
    first, *others = benchmark.design.clusters
    crossed = [
        f"Objects and backgrounds have the clusters of the column {first} alone: those of photos of one "
        f"{other} count as independent, so intervals may be too narrow."
        for other in others
    ]
    return Benchmark(
        f"{benchmark.name}, swapped",
        benchmark.root,
        frame,
        benchmark.classes,
        (*benchmark.notes, made_of, *notes, *drawn.notes, *crossed),
        benchmark.discovery,
        swap_design(frame),
        benchmark.masks_root,
        {row["path"]: recipe for row, recipe in rows if recipe is not None},
    )


_Row = tuple[dict[str, Any], Composite | None]


class _Deck:
    """Photos to draw: each as often as the others, and from many clusters before two from one.

    A photo is never drawn for one with the same value of ``kin``.
    """

    def __init__(
        self, photos: Sequence[UsablePhoto], rng: np.random.Generator, kin: Callable[[UsablePhoto], Hashable]
    ) -> None:
        self._photos, self._rng, self._kin = photos, rng, kin
        self._related = Counter(map(kin, photos))
        self._waiting: deque[UsablePhoto] = deque()

    def available(self, owner: UsablePhoto) -> int:
        """Return how many photos may be drawn for a photo."""
        return len(self._photos) - self._related[self._kin(owner)]

    def draw(self, n: int, owner: UsablePhoto) -> list[UsablePhoto]:
        """Return ``n`` different photos that may be drawn for the owner; that many must be available."""
        taken: list[UsablePhoto] = []
        passed: list[UsablePhoto] = []
        while len(taken) < n:
            if not self._waiting:
                self._waiting.extend(self._shuffled())
            card = self._waiting.popleft()
            if self._kin(card) == self._kin(owner) or card in taken:
                passed.append(card)
            else:
                taken.append(card)
        self._waiting.extendleft(reversed(passed))
        return taken

    def _shuffled(self) -> list[UsablePhoto]:
        order = [self._photos[place] for place in self._rng.permutation(len(self._photos))]
        return sorted(order, key=_turns(order, _kin).__getitem__)


class _Draw:
    """The composites of some photos, drawn once; ``notes`` say what cannot be drawn."""

    def __init__(self, benchmark: Benchmark, usable: Sequence[UsablePhoto], settings: SwapSettings) -> None:
        self._settings, self._usable, self._n = settings, usable, settings.backgrounds_per_label
        self._groups, disputed = groups_of_labels(benchmark.photos)
        self.notes: list[str] = []
        self.labels = self._labels()
        self.foregrounds = self._foregrounds()
        classes = {photo.row["class_index"]: photo.row["class_name"] for photo in self.foregrounds}
        self._of_label = {label: self._deck(f"label {label}", background=label) for label in self.labels}
        self._of_class = {index: self._deck(f"class {index}", class_index=index) for index in classes}
        self._any = self._deck("any")
        content = attrgetter("masked.photo_id")  # a copy would put the object where it was
        self._donors = {
            (index, group): self._deck(f"{group} {index}", kin=content, class_index=index, group=group)
            for index in classes
            for group in GROUPS
        }
        # By class: on how many of its other photos an object is put, and how many placements it has by group.
        self._mixes = {index: self._fewest(index, deck) for index, deck in self._of_class.items()}
        self._places = {
            index: self._fewest(index, *(self._donors[index, group] for group in GROUPS)) for index in classes
        }
        if disputed:
            self.notes.append(
                "Backgrounds of a class with photos of both groups are neither common nor counter: "
                f"{and_more([f'{name} on {label}' for name, label in disputed], NAMED)}."
            )
        if self.labels and not self._groups:
            self.notes.append(
                "No background is common or counter for a class: there is no background effect over classes, "
                "only those of single backgrounds. `counterground discover` chooses pairs."
            )

    def rows(self) -> Iterator[_Row]:
        """Yield the row of each composite, and how it is made: None for a photo as it is."""
        kinds = self._settings.kinds
        for own in self.foregrounds:
            single = {
                "original": None,
                "pasted": Composite(own.masked, own.masked, refill=False),
                "refilled": Composite(own.masked, own.masked),
                "grey": Composite(own.masked, None),
                "background_only": Composite(None, own.masked),
            }
            for kind, recipe in single.items():
                if kind in kinds:
                    yield self._row(own, kind, None if kind == "grey" else own, recipe)
            index = own.row["class_index"]
            drawn = [
                ("same" if label == own.label else "other", self._of_label[label], self._n)
                for label in self.labels
            ]
            drawn += [
                ("mixed_same", self._of_class[index], self._mixes[index]),
                ("mixed_rand", self._any, self._mixes[index]),
            ]
            for kind, deck, n in drawn:
                if kind in kinds:
                    for behind in deck.draw(n, own):
                        yield self._row(own, kind, behind, Composite(own.masked, behind.masked))
            for group in GROUPS if "placed_common" in kinds else ():
                for turn, donor in enumerate(self._donors[index, group].draw(self._places[index], own)):
                    recipe = Composite(own.masked, own.masked, placement=donor.placement)
                    yield self._row(own, f"placed_{group}", own, recipe, turn=turn, donor=donor)

    def _labels(self) -> list[str]:
        """Return the backgrounds with enough photos besides those of any one cluster."""
        if not set(_OF_LABELS) & set(self._settings.kinds):
            return []
        clusters: dict[str, Counter[int]] = {}
        for photo in self._usable:
            if photo.label is not None:
                clusters.setdefault(photo.label, Counter())[photo.kin] += 1
        for label in self._settings.labels:
            if label not in clusters:
                raise UsageError(
                    f"No usable photo shows the background {label!r}; there are {', '.join(clusters)}."
                    f"{did_you_mean(label, clusters)}"
                )
        wanted = sorted(set(self._settings.labels) or clusters)
        enough = {label: clusters[label].total() - max(clusters[label].values()) for label in wanted}
        kept = [label for label in wanted if enough[label] >= self._n]
        counts = ", ".join(f"{label} ({count})" for label, count in enough.items())
        if len(kept) < 2 and "other" in self._settings.kinds:
            raise CounterGroundError(
                f"Fewer than 2 backgrounds have {counted(self._n, 'usable photo')} besides those of one "
                f"cluster: {counts or 'none has a label'}. Name more -X labels, lower "
                "--backgrounds-per-label, add photos of other backgrounds and clusters, or leave same and "
                "other out of --kinds."
            )
        if len(kept) < len(wanted):
            self.notes.append(
                f"Backgrounds with fewer than {self._n} usable photos besides those of one cluster are left "
                f"out (--backgrounds-per-label); there are {counts}."
            )
        return kept

    def _foregrounds(self) -> list[UsablePhoto]:
        """Return the photos whose objects are used, in order of their paths."""
        usable = self._usable
        if self.labels:
            usable = [photo for photo in usable if photo.label in self.labels]
            if left := [photo.path for photo in self._usable if photo.label not in self.labels]:
                self.notes.append(
                    f"No object is taken from {counted(len(left), 'photo')} without a label or on other "
                    f"backgrounds: {and_more(left, NAMED)}."
                )
        rng = self._rng("foregrounds")
        order = [usable[place] for place in rng.permutation(len(usable))]
        # One of each class, group and cut-out before two of any.
        turn = _turns(order, lambda photo: (photo.row["class_index"], photo.cutout, photo.row["group"]))
        order = sorted(order, key=turn.__getitem__)
        turn = _turns(order, lambda photo: (photo.row["class_index"], photo.cutout))
        order = sorted(order, key=turn.__getitem__)
        n = self._settings.foregrounds
        if n is not None:
            order = order[:n]
        elif any(photo.cutout for photo in order):
            order = [photo for photo in order if photo.cutout is None or turn[photo] < _PER_CUTOUT]
        return sorted(order, key=lambda photo: photo.path)

    def _fewest(self, class_index: int, *decks: _Deck) -> int:
        """Return how many photos of each deck can be drawn for each object of a class."""
        objects = [photo for photo in self.foregrounds if photo.row["class_index"] == class_index]
        return min([self._n, *(deck.available(photo) for deck in decks for photo in objects)])

    def _row(
        self,
        own: UsablePhoto,
        kind: str,
        behind: UsablePhoto | None,
        recipe: Composite | None,
        *,
        turn: int = 0,
        donor: UsablePhoto | None = None,
    ) -> _Row:
        """Describe a composite. Rows of one background follow each other in the order of paths."""
        label = behind.label if behind else None
        path = f"swap/{behind.path if behind else 'grey'}/{kind}/{own.path}" + f"@{turn + 1}" * (turn > 0)
        held = kind != "background_only" and (recipe is None or recipe.placement is None)
        row = {
            "path": own.path if recipe is None else path,
            "photo_id": own.row["photo_id"] if recipe is None else recipe.photo_id,
            "class_index": own.row["class_index"],
            "class_name": own.row["class_name"],
            "background": label,
            "group": None if label is None else self._groups.get((own.row["class_index"], label)),
            "cluster": own.cutout or own.cluster,
            "mask": own.row["mask"] if held else None,
            "licence": _both("licence", own, behind),
            "attribution": _both("attribution", own, behind),
            "source": f"object of {own.path}, background of {behind.path if behind else 'none'}",
            "swap": kind,
            "foreground": own.path,
            "background_photo": behind.path if behind else "grey",
            "background_cluster": source.cluster if (source := donor or behind) else None,
            "background_class": behind.row["class_name"] if behind else None,
            "own_group": own.row["group"],
        }
        return row, recipe

    def _deck(self, key: str, kin: Callable[[UsablePhoto], Hashable] | None = None, **values: Any) -> _Deck:
        """Return the usable photos with these values, to be drawn."""
        chosen = [
            photo for photo in self._usable if all(photo.row[name] == value for name, value in values.items())
        ]
        return _Deck(chosen, self._rng(key), kin or _kin)

    def _rng(self, *key: str) -> np.random.Generator:
        text = json.dumps([self._settings.seed, *key])
        return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]))


def _kin(photo: UsablePhoto) -> int:
    return photo.kin


def _turns(photos: Sequence[UsablePhoto], cell: Callable[[UsablePhoto], Hashable]) -> dict[UsablePhoto, int]:
    """Return how many photos of its cell come before each photo."""
    seen: Counter[Hashable] = Counter()
    turns = {}
    for photo in photos:
        turns[photo] = seen[cell(photo)]
        seen[cell(photo)] += 1
    return turns


def _both(column: str, own: UsablePhoto, behind: UsablePhoto | None) -> str | None:
    """Return what both photos state; None unless all of them state it."""
    stated = [photo.row[column] for photo in (own, behind) if photo]
    return None if None in stated else "; ".join(dict.fromkeys(stated))
