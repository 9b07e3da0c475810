"""How much of an observed drop is due to the background, how much to size and position, and what is left."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from counterground.metrics._codes import Codes
from counterground.metrics._estimate import Estimate
from counterground.metrics._registry import Answers
from counterground.metrics.design import Contrast, ScoreKey, Side
from counterground.metrics.intervals import (
    Average,
    InfluenceEstimate,
    Partition,
    Sides,
    Stratification,
    difference_interval,
    estimate_of,
    plain_interval,
    ratio_limits,
)

OBSERVED = Contrast("observed_drop", "swap=original & group=common", "swap=original & group=counter")
"""The drop of the photos as they are."""
BACKGROUND = Contrast(
    "background_effect", "swap=other|same & group=common", "swap=other|same & group=counter"
)
"""The effect of common instead of counter backgrounds, on the same foregrounds."""
SIZE = Contrast("size_effect", "swap=placed_common", "swap=placed_counter")
"""The effect of the sizes and positions of common instead of counter photos, on the same background."""

_PARTS = (BACKGROUND, OBSERVED, SIZE)
_ON_LABELS = (Side.parse("swap=same"), Side.parse("swap=other"))


class Decomposition:
    """The background effect of some composites, and the drop's parts over the classes that show all of them.

    All three are differences of accuracies on rows of one table, so a foreground or a background photograph
    influences all of them. The rest, ``observed - background - size``, has the variance of the sum of these
    influences. Without rows for size and position, these are part of the rest. Foregrounds on their own
    labels only, or on others only, show no background effect (see `same_foregrounds`).

    Args:
        photos: the composites, by class.
        classes: positions of the classes that may count.
    """

    def __init__(self, photos: Stratification, classes: Codes) -> None:
        self._sides: dict[Contrast, Sides] = {}
        self.classes = self._with_background = classes
        for contrast in _PARTS:
            sides = photos.sides(contrast)
            shown = sides.averages() is not None and (contrast is not BACKGROUND or same_foregrounds(photos))
            shared = np.intersect1d(self.classes, _classes(sides)) if shown else self.classes[:0]
            if len(shared):  # a part that shares no class with those before it is not shown
                self._sides[contrast], self.classes = sides, shared
            if contrast is BACKGROUND:
                self._with_background = self.classes
        if {BACKGROUND, OBSERVED} <= self._sides.keys():
            self._joint = Partition.beside([each.partition for each in self._sides.values()])

    def parts(self, answers: Answers) -> dict[ScoreKey, Estimate]:
        """Return what the photos show of ``observed_drop``, ``background_effect``, ``size_effect``.

        The background effect is over all classes that show it. If the others are over fewer,
        ``background_part`` is what it is over these. If the first two are shown, ``rest`` and
        ``background_share`` follow. The latter is the background's share of the observed drop, None if the
        drop is not clearly above 0.
        """
        shown = [contrast for contrast in (OBSERVED, BACKGROUND, SIZE) if contrast in self._sides]
        parts: dict[ScoreKey, Estimate] = {}
        if BACKGROUND in shown:
            parts[BACKGROUND.difference_key] = self._part(answers, BACKGROUND, self._with_background)
        for contrast in shown:
            name = "background_part" if contrast is BACKGROUND else contrast.name
            if contrast is not BACKGROUND or (
                OBSERVED in shown and len(self.classes) < len(self._with_background)
            ):
                parts[ScoreKey(name, OBSERVED.name)] = self._part(answers, contrast, self.classes)
        if {BACKGROUND, OBSERVED} <= self._sides.keys():
            parts |= self._rest(answers)
        return parts

    def _averages(self, sides: Sides, classes: Codes, start: int = 0) -> list[Average]:
        rows = np.isin(_classes(sides), classes)
        every = np.arange(len(classes))
        return [Average.alike(side.strata[rows] + start, every) for side in (sides.left, sides.right)]

    def _part(self, answers: Answers, contrast: Contrast, classes: Codes) -> Estimate:
        sides = self._sides[contrast]
        averages, partition = self._averages(sides, classes), sides.partition
        # A photo as it is repeats nothing: if its object and its background are of one cluster, the interval
        # is that of the same photos in a run without composites.
        counted = partition.uncrossed if contrast is OBSERVED else partition
        left, right = answers.means(counted).weighted(averages)
        return difference_interval(left, right, partition.count(averages))

    def _rest(self, answers: Answers) -> dict[ScoreKey, Estimate]:
        averages, start = [], 0
        for sides in self._sides.values():
            averages += self._averages(sides, self.classes, start)
            start += sides.partition.size
        means, n = answers.means(self._joint).weighted(averages), self._joint.count(averages)
        background, observed, *size = (
            left.minus(right, n=n) for left, right in zip(means[::2], means[1::2], strict=True)
        )
        rest = observed.minus(background, n=n)
        for part in size:
            rest = rest.minus(part, n=n)
        drop = self._part(answers, OBSERVED, self.classes)
        return {
            # It is the sum of as many differences of accuracies as there are parts.
            ScoreKey("rest", OBSERVED.name): plain_interval(rest, len(self._sides)),
            ScoreKey("background_share", OBSERVED.name): _share(background, observed, drop),
        }


def same_foregrounds(photos: Stratification) -> bool:
    """Return whether all labels have the same foregrounds: each is on its own label and on the others.

    Otherwise, a difference between labels would be one between foregrounds, too.
    """
    return all(photos.by_class_on(side).photos.any() for side in _ON_LABELS)


def _share(background: InfluenceEstimate, observed: InfluenceEstimate, drop: Estimate) -> Estimate:
    """Return the background's share of the observed drop; unknown unless the drop's interval is above 0."""
    limits = ratio_limits(background, observed) if (drop.low or 0.0) > 0 else (None, None)
    value = None if limits[0] is None else background.value / observed.value
    return replace(estimate_of(observed, limits), value=value)


def _classes(sides: Sides) -> Codes:
    """The class of each stratum of a contrast within classes, whose sides have the same classes."""
    assert sides.classes is not None
    return sides.classes[0]
