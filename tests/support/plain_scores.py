"""Accuracies and drops computed plainly, photo by photo: what the tables of scores must hold."""

from typing import NamedTuple

import numpy as np

from counterground.metrics._codes import Strata, as_flags
from counterground.metrics._registry import tied, within_top_k


class ClassAccuracies(NamedTuple):
    """Per class, sorted by index: ``classes``, ``accuracy`` (fractions), ``n`` photos; each ``[c]``."""

    classes: np.ndarray
    accuracy: np.ndarray
    n: np.ndarray


def class_accuracy(correct, class_index):
    """Return the accuracy of each class that has photos, ``ACC(label)`` in section 4 of the paper."""
    flags = as_flags(correct)
    strata = Strata.of(class_index, None, len(flags))
    n = np.bincount(strata.by_class, minlength=len(strata.classes))
    hits = np.bincount(strata.by_class, weights=flags, minlength=len(strata.classes))
    return ClassAccuracies(strata.classes, hits / n, n.astype(np.int64))


def balanced_mean(classwise):
    """Return the unweighted mean of class-wise values (appendix C.2) without NaN; None if none remain."""
    values = np.asarray(classwise, dtype=np.float64)
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else None


def balanced_accuracy(correct, class_index):
    """Return the unweighted mean of class-wise accuracies (fraction); None without photos."""
    return balanced_mean(class_accuracy(correct, class_index).accuracy)


def plain_accuracy(correct):
    """Return the share of photos predicted right (fraction; tables 11 and 12); None without photos."""
    flags = as_flags(correct)
    return float(flags.mean()) if flags.size else None


def top_k_accuracy(true_rank, k=5, class_index=None):
    """Return the share of photos whose true class is among the ``k`` highest."""
    hits = within_top_k(true_rank, k)
    return plain_accuracy(hits) if class_index is None else balanced_accuracy(hits, class_index)


def tie_rate(top2_gap):
    """Return the share of photos whose two highest scores are exactly equal."""
    return plain_accuracy(tied(top2_gap))


class ClassDrops(NamedTuple):
    """Per class, sorted by index: accuracies of the groups and their difference ``[c]`` (fractions)."""

    classes: np.ndarray
    common: np.ndarray
    counter: np.ndarray
    drop: np.ndarray


def class_drops(correct, class_index, group):
    """Return the class-wise accuracies on common and on counter photos and the drop (section 4)."""
    flags = as_flags(correct)
    strata = Strata.of(class_index, group, len(flags))
    inside = strata.by_cell >= 0
    hits = np.bincount(strata.by_cell[inside], weights=flags[inside], minlength=2 * len(strata.classes))
    sizes = strata.cell_sizes
    accuracy = np.full(sizes.shape, np.nan)
    np.divide(hits.reshape(-1, 2), sizes, out=accuracy, where=sizes > 0)
    return ClassDrops(strata.classes, accuracy[:, 0], accuracy[:, 1], accuracy[:, 0] - accuracy[:, 1])


def mean_drop(correct, class_index, group):
    """Return the mean of class-wise drops (appendix C.2) over the classes that have both groups."""
    return balanced_mean(class_drops(correct, class_index, group).drop)


def worst_group_accuracy(correct, class_index, group):
    """Return the lowest accuracy of a class x group cell (fraction)."""
    drops = class_drops(correct, class_index, group)
    if np.isnan(drops.common).all() or np.isnan(drops.counter).all():
        return None
    return float(np.nanmin(np.concatenate([drops.common, drops.counter])))
