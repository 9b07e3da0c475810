"""What all methods share: features of photos and their parts, the folds, and the sides that photos are on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from counterground.errors import UsageError
from counterground.inference import EncoderRun
from counterground.metrics import balanced_accuracy
from counterground.mitigation._classes import Classes, Divided
from counterground.mitigation._inputs import features_of, parts_of_photos
from counterground.mitigation._method import FitData, Input, MitigatedHead
from counterground.mitigation._split import PARTS, Fold
from counterground.models import DualEncoder


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
        """The folds, with the photos that could be read.

        Raises:
            UsageError: without unreadable photos, a part has no photo of a side.
        """
        folds = self.divided.rotation.folds(self.run.features.readable)
        for name in ("common", "counter"):
            if not all((self.side[fold.judge] == name).any() for fold in folds):
                raise UsageError(
                    f"No {name} photo of one of the {PARTS} parts can be read: replace the photos that "
                    "cannot be read, or add photos of other clusters."
                )
        return folds

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
        values = [balanced_accuracy(correct[mask], classes[mask]) for mask in masks if mask.any()]
        return min(value for value in values if value is not None)
