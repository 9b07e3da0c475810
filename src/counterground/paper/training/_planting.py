"""The planted correlation of captions, cut-outs and backgrounds, as numbers only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Draw:
    """One training example before it is painted; class indices and a label index."""

    caption: int
    cutout: int
    background: int


@dataclass(frozen=True)
class Planting:
    """How captions, cut-outs and backgrounds go together in training.

    Attributes:
        planted: label index planted on each class.
        labels: number of background labels.
        follow: fraction of examples whose background is the one planted on the *caption's* class; the rest
            have one of the other labels. None draws the background independently of everything.
        disagree: fraction of captions that name another class than the cut-out's, like the label noise of
            MultiColoredMNIST (paper, section 6): it makes the background the more reliable feature.
    """

    planted: tuple[int, ...]
    labels: int
    follow: float | None
    disagree: float

    def draw(self, rng: np.random.Generator) -> Draw:
        """Draw one example; captions are uniform over the classes."""
        classes = len(self.planted)
        caption = cutout = int(rng.integers(classes))
        if rng.random() < self.disagree:
            cutout = _other_than(caption, classes, rng)
        if self.follow is None:
            return Draw(caption, cutout, int(rng.integers(self.labels)))
        background = self.planted[caption]
        if rng.random() >= self.follow:
            background = _other_than(background, self.labels, rng)
        return Draw(caption, cutout, background)


def planted_labels(classes: int, labels: int, seed: int) -> tuple[int, ...]:
    """Return a label index for each class: a seeded permutation with labels as evenly frequent as can be."""
    return tuple(int(label) for label in np.random.default_rng(seed).permutation(np.arange(classes) % labels))


def _other_than(value: int, count: int, rng: np.random.Generator) -> int:
    return int((value + 1 + rng.integers(count - 1)) % count)
