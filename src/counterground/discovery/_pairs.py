"""How pairs are chosen: each class's best and worst background, in one tally or in many at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from counterground.discovery._photos import Flags, Floats, Ints, Tally, ratio

Choose = Literal["best", "shrunken"]
"""``best``: by accuracy, as the paper does; ``shrunken``: by the part of the accuracy that is not noise."""


@dataclass(frozen=True)
class Choice:
    """Positions of the backgrounds chosen for each class, arrays ``[permutations, classes]``.

    ``drop`` is the difference of their accuracies (a fraction), ``kept`` whether it is large enough.
    """

    common: Ints
    counter: Ints
    drop: Floats
    kept: Flags

    def drop_in(self, photos: Tally) -> Floats:
        """Return the mean drop of these pairs on some photos, 0 if no class is kept; ``[permutations]``."""
        drops = _at(photos.accuracy, self.common) - _at(photos.accuracy, self.counter)
        return ratio(np.where(self.kept, drops, 0).sum(-1), self.kept.sum(-1))

    def weights(self, backgrounds: int) -> Floats:
        """Return the weights of accuracies in the mean drop, ``[permutations, classes, backgrounds]``."""
        every = np.arange(backgrounds)
        signs = (self.common[..., None] == every).astype(np.float64) - (self.counter[..., None] == every)
        return ratio(signs * self.kept[..., None], self.kept.sum(-1)[:, None, None])


def choose_pairs(tally: Tally, eligible: Flags, *, min_drop: float, choose: Choose, lots: Floats) -> Choice:
    """Choose each class's best and worst background.

    Ties are decided by the closeness of the true name (see ``photos_seen``), then by more photos, then by
    lot. A class is kept by its unshrunken accuracies, even if shrunken ones made the choice: ``min_drop`` has
    one meaning.

    Args:
        tally: tally of the photos that choose, ``[permutations, classes, backgrounds]``.
        eligible: the backgrounds with enough photos, same shape.
        min_drop: a class is kept if its accuracy differs by more than this fraction (paper section 2: 0.05).
        choose: way to choose.
        lots: random numbers ``[classes, backgrounds]``.
    """
    score = tally.accuracy if choose == "best" else shrunken_accuracy(tally, eligible)
    closeness = ratio(tally.closeness, tally.photos)
    common = _first(eligible, (score, closeness, tally.photos, lots))
    counter = _first(eligible, (-score, -closeness, tally.photos, lots))
    drop = (_at(tally.accuracy, common) - _at(tally.accuracy, counter)).round(9)
    return Choice(common, counter, drop, (common != counter) & (drop > min_drop))


def shrunken_accuracy(tally: Tally, eligible: Flags) -> Floats:
    """Return empirical Bayes estimates of accuracies, as differences from the mean of their class.

    An estimate is the effect of a background on all classes plus its further effect on one class, the latter
    shrunk by the share of its variance that sampling explains. That share comes from the scatter between the
    blocks of a cell, so photos that are not independent do not count as if they were.
    """
    photos = np.where(eligible, tally.photos, 0.0)
    accuracy = np.where(eligible, tally.accuracy, 0.0)
    mean = ratio(accuracy.sum(-1, keepdims=True), eligible.sum(-1, keepdims=True))
    of_class = ratio((photos * accuracy).sum(-1, keepdims=True), photos.sum(-1, keepdims=True))
    variance = of_class * (1 - of_class)
    away = np.where(eligible, accuracy - mean, 0.0)
    of_label = ratio((photos * away).sum(-2, keepdims=True), photos.sum(-2, keepdims=True))
    further = np.where(eligible, away - of_label, 0.0)

    scatter = np.where(eligible, tally.squares - tally.photos * tally.accuracy**2, 0).sum((-1, -2))
    expected = np.where(eligible, (tally.blocks - 1) * variance, 0).sum((-1, -2))
    inflation = np.where(expected > 0, ratio(scatter, expected), 1.0)[..., None, None]
    sampling = np.where(eligible, inflation * ratio(variance, photos), 0.0)
    cells = eligible.sum((-1, -2))
    free = np.maximum(cells - eligible.any(-1).sum(-1) - eligible.any(-2).sum(-1) + 1, 1)
    chance = ratio(sampling.sum((-1, -2)) * free, cells)
    between = np.maximum(0, (further**2).sum((-1, -2)) - chance)[..., None, None] / free[..., None, None]
    return np.where(eligible, of_label, 0.0) + ratio(between, between + sampling) * further


def _first(eligible: Flags, keys: Sequence[Floats]) -> Ints:
    """Return the position with the highest first key, among equals the highest second, and so on."""
    among = eligible
    for key in keys:
        values = np.where(among, key, -np.inf)
        among = among & (values == values.max(-1, keepdims=True))
    place: Ints = among.argmax(-1)
    return place


def _at(values: Floats, places: Ints) -> Floats:
    return np.take_along_axis(values, places[..., None], -1)[..., 0]
