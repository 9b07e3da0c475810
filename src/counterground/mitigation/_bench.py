"""What all methods share: features of photos and their parts, the folds, and the sides that photos are on."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from counterground.composites import Composite, MaskedPhoto
from counterground.errors import CounterGroundError, UsageError
from counterground.inference import EncoderRun, Features
from counterground.mitigation._method import FitData, Input, MitigatedHead
from counterground.mitigation._split import Classes, Divided, Fold
from counterground.models import DualEncoder
from counterground.photos import Benchmark, UnreadablePhoto, photo_id
from counterground.text import counted


@dataclass(frozen=True)
class Bench:
    """What all methods share.

    Attributes:
        run: the features, and the model's own head.
        divided: the clusters, divided into parts.
        seed: seed for what methods draw.
        separate: whether objects and backgrounds are needed apart, and masks allow it.
        classes: which classes take part, as requested.
        masks: where the masks come from, as requested; None for the manifest.
    """

    run: EncoderRun
    divided: Divided
    seed: int
    separate: bool
    classes: Classes
    masks: str | None

    @property
    def side(self) -> np.ndarray:
        """``[n]``, the side of each photo: common, counter or None."""
        return self.divided.side

    @cached_property
    def folds(self) -> list[Fold]:
        """The folds, with the photos that could be read."""
        return self.divided.rotation.folds(self.run.features.readable)

    @cached_property
    def inputs(self) -> dict[Input, np.ndarray]:
        """``[n, d]`` of the photos and, if they are needed and there are masks, of their parts."""
        found: dict[Input, np.ndarray] = {"photo": self.run.features.matrix}
        if self.separate:
            readable = self.run.features.readable
            for name, part in parts_of_photos(self.run.benchmark):
                found[name] = features_of(name, self.run.encode(part), readable)
        return found

    @cached_property
    def data(self) -> FitData:
        """All photos."""
        run, photos = self.run, self.run.benchmark.photos
        head, model = run.head, run.model
        width = self.inputs["photo"].shape[1]
        weights = np.eye(width, dtype=np.float32) if head.weights is None else head.weights
        texts = isinstance(model, DualEncoder)
        background = photos["background"]
        return FitData(
            features=self.inputs["photo"],
            class_index=self.run.true,
            background=np.array(background.to_list(), dtype=object),
            group=self.side,
            head=np.ascontiguousarray(weights[:, head.columns], dtype=np.float32),
            scale=float(head.scale),
            class_names=tuple(run.candidates.texts),
            background_names=tuple(background.drop_nulls().unique().sort()),
            encode_texts=run.encode_texts if texts else None,
            templates=run.templates if texts else (),
            background_features=self.inputs.get("background"),
            foreground_features=self.inputs.get("foreground"),
            seed=self.seed,
        )

    def part(self, rows: np.ndarray, *, labels: bool) -> FitData:
        """Return what a method is fitted on: some photos, with or without their backgrounds and groups."""
        data, rows = self.data, rows[self.run.true[rows] >= 0]
        unknown = np.full(len(rows), None, dtype=object)
        alone, removed = data.foreground_features, data.background_features
        return replace(
            data,
            features=data.features[rows],
            class_index=data.class_index[rows],
            head=data.head.copy(),  # as all arrays here: a method may change its own
            background=data.background[rows] if labels else unknown,
            group=data.group[rows] if labels else unknown,
            background_features=None if removed is None else removed[rows],
            foreground_features=None if alone is None else alone[rows],
        )

    def logits(self, head: MitigatedHead, rows: np.ndarray) -> np.ndarray:
        """Return ``[m, k]`` logits of some photos."""
        needed = {name: self.inputs[name][rows] for name in head.inputs}
        return head.logits(head.mix(needed))

    def worth(self, head: MitigatedHead, rows: np.ndarray, *, labels: bool) -> float:
        """Return how good a head is on the photos for choosing, with or without using their groups."""
        correct = self.run.correct(self.logits(head, rows), rows)
        classes, side = self.run.benchmark.photos["class_index"].to_numpy()[rows], self.side[rows]
        masks = [side == name for name in ("common", "counter")] if labels else [np.full(len(rows), True)]
        values = []
        for mask in masks:
            if mask.any():
                of_class = np.unique(classes[mask], return_inverse=True)[1]
                hits = np.bincount(of_class, weights=correct[mask])
                values.append(float((hits / np.bincount(of_class)).mean()))
        return min(values)


def why_no_parts(benchmark: Benchmark) -> str | None:
    """Return what is missing to separate objects from backgrounds, to follow "needs"; None if nothing is."""
    missing = benchmark.photos["mask"].null_count()
    if benchmark.made:
        return f"photos that are files, and those of {benchmark.name} are composites"
    if missing == len(benchmark.photos):
        return f"masks of the objects, and {benchmark.name} has none"
    if missing:
        return f"masks of all objects, and {counted(missing, 'photo')} of {benchmark.name} have none"
    return None


def mask_contents(benchmark: Benchmark) -> list[str]:
    """Return the SHA-256 of the mask of each photo, all of which have one.

    Raises:
        UsageError: a mask cannot be read.
    """
    with ThreadPoolExecutor() as threads:
        return list(threads.map(_content, map(benchmark.mask_path, benchmark.photos["mask"])))


def parts_of_photos(benchmark: Benchmark) -> Iterator[tuple[Input, Benchmark]]:
    """Yield what methods take besides the photos, with the same rows.

    Raises:
        UsageError: a mask cannot be read.
    """
    rows = benchmark.photos.select("path", "photo_id", "mask").rows()
    masked = {
        path: MaskedPhoto(benchmark.photo_path(path), photo, benchmark.mask_path(mask), content)
        for (path, photo, mask), content in zip(rows, mask_contents(benchmark), strict=True)
    }
    recipes: dict[Input, dict[str, Composite]] = {
        "foreground": {path: Composite(each, None) for path, each in masked.items()},
        "background": {path: Composite(None, each) for path, each in masked.items()},
    }
    for name, made in recipes.items():
        names = pl.Series("photo_id", [recipe.photo_id for recipe in made.values()])
        yield name, replace(benchmark, photos=benchmark.photos.with_columns(names), made=made)


def features_of(part: Input, features: Features, readable: np.ndarray) -> np.ndarray:
    """Return the features of a part, ``[n, d]``.

    Raises:
        CounterGroundError: a photo that can be read cannot be taken apart.
    """
    lost = np.flatnonzero(readable & ~features.readable)
    if len(lost):
        raise CounterGroundError(
            f"The {part} of {counted(len(lost), 'photo')} cannot be shown alone "
            f"({features.reasons[int(lost[0])]}): correct the masks, or leave out the methods that need them."
        )
    return features.matrix


def _content(mask: Path) -> str:
    try:
        return photo_id(mask)
    except UnreadablePhoto as error:
        raise UsageError(f"The mask {error.path} cannot be read: {error.reason}.") from error
