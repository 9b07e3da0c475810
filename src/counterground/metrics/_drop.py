"""The drop from common to counter photos, and the worst class and group."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from counterground.metrics._accuracy import balanced_mean
from counterground.metrics._codes import Floats, Strata, as_flags


class ClassDrops(NamedTuple):
    """Per class, sorted by index: accuracies of the groups and their difference ``[c]`` (fractions).

    NaN where the class has no photo in the group; never 0.
    """

    classes: npt.NDArray[np.int64]
    common: Floats
    counter: Floats
    drop: Floats


def class_drops(
    correct: npt.ArrayLike, class_index: npt.ArrayLike, group: npt.ArrayLike | None
) -> ClassDrops:
    """Return the class-wise accuracies on common and on counter photos and the drop (section 4).

    Args:
        correct: ``[n]`` Booleans.
        class_index: ``[n]`` integers.
        group: ``[n]`` of ``common``, ``counter`` or null.
    """
    flags = as_flags(correct)
    strata = Strata.of(class_index, group, len(flags))
    inside = strata.by_cell >= 0
    hits = np.bincount(strata.by_cell[inside], weights=flags[inside], minlength=2 * len(strata.classes))
    sizes = strata.cell_sizes
    accuracy = np.full(sizes.shape, np.nan)
    np.divide(hits.reshape(-1, 2), sizes, out=accuracy, where=sizes > 0)
    return ClassDrops(strata.classes, accuracy[:, 0], accuracy[:, 1], accuracy[:, 0] - accuracy[:, 1])


def mean_drop(
    correct: npt.ArrayLike, class_index: npt.ArrayLike, group: npt.ArrayLike | None
) -> float | None:
    """Return the mean of class-wise drops (appendix C.2) over the classes that have both groups.

    None where no class has both. A fraction: 0.30 is a drop of 30 points.
    """
    return balanced_mean(class_drops(correct, class_index, group).drop)


def worst_group_accuracy(
    correct: npt.ArrayLike, class_index: npt.ArrayLike, group: npt.ArrayLike | None
) -> float | None:
    """Return the lowest accuracy of a class x group cell (fraction).

    Cells without photos are left out. None where one of the groups has no photo at all: the worst group of a
    benchmark without counter photos is unknown.
    """
    drops = class_drops(correct, class_index, group)
    if np.isnan(drops.common).all() or np.isnan(drops.counter).all():
        return None
    return float(np.nanmin(np.concatenate([drops.common, drops.counter])))
