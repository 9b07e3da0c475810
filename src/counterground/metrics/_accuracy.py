"""Accuracies, the drop from common to counter photos, the worst class and group, calibration."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from counterground.metrics._codes import Codes, Floats, Strata, as_flags, same_length

BINS = 15


class ClassAccuracies(NamedTuple):
    """Per class, sorted by index: ``classes``, ``accuracy`` (fractions), ``n`` photos; each ``[c]``."""

    classes: npt.NDArray[np.int64]
    accuracy: Floats
    n: npt.NDArray[np.int64]


def class_accuracy(correct: npt.ArrayLike, class_index: npt.ArrayLike) -> ClassAccuracies:
    """Return the accuracy of each class that has photos, ``ACC(label)`` in section 4 of the paper.

    Args:
        correct: ``[n]`` Booleans.
        class_index: ``[n]`` integers.

    Raises:
        ValueError: the columns have different lengths, or hold other values or nulls.
    """
    flags = as_flags(correct)
    strata = Strata.of(class_index, None, len(flags))
    n = np.bincount(strata.by_class, minlength=len(strata.classes))
    hits = np.bincount(strata.by_class, weights=flags, minlength=len(strata.classes))
    return ClassAccuracies(strata.classes, hits / n, n.astype(np.int64))


def balanced_mean(classwise: npt.ArrayLike) -> float | None:
    """Return the unweighted mean of class-wise values (appendix C.2) without NaN; None if none remain."""
    values = np.asarray(classwise, dtype=np.float64)
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else None


def balanced_accuracy(correct: npt.ArrayLike, class_index: npt.ArrayLike) -> float | None:
    """Return the unweighted mean of class-wise accuracies (fraction); None without photos.

    Args and errors are those of ``class_accuracy``.
    """
    return balanced_mean(class_accuracy(correct, class_index).accuracy)


def plain_accuracy(correct: npt.ArrayLike) -> float | None:
    """Return the share of photos predicted right (fraction; tables 11 and 12); None without photos.

    Args:
        correct: ``[n]`` Booleans.

    Raises:
        ValueError: a value is null or not a Boolean.
    """
    flags = as_flags(correct)
    return float(flags.mean()) if flags.size else None


def within_top_k(true_rank: npt.ArrayLike, k: int = 5) -> npt.NDArray[np.bool_]:
    """Return ``[n]`` Booleans: the true class ranks under ``k``, counted from 0.

    A null or negative rank means that the true name did not compete: such a photo counts as wrong.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}.")
    ranks = np.asarray(true_rank, dtype=np.float64)
    return np.asarray((ranks >= 0) & (ranks < k))


def top_k_accuracy(
    true_rank: npt.ArrayLike, k: int = 5, class_index: npt.ArrayLike | None = None
) -> float | None:
    """Return the share of photos whose true class is among the ``k`` highest (fraction); None without photos.

    Args:
        true_rank: ``[n]`` ranks from 0 (predicted right); null or negative if the true name did not compete.
        k: how many of the highest scores count.
        class_index: ``[n]`` integers; if given, the unweighted mean over classes is returned.

    Raises:
        ValueError: ``k`` is below 1, or the columns have different lengths.
    """
    hits = within_top_k(true_rank, k)
    return plain_accuracy(hits) if class_index is None else balanced_accuracy(hits, class_index)


def tied(top2_gap: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Return ``[n]`` Booleans: the two highest scores are equal. A null gap (one competitor) is not a tie."""
    return np.asarray(np.asarray(top2_gap, dtype=np.float64) == 0.0)


def tie_rate(top2_gap: npt.ArrayLike) -> float | None:
    """Return the share of photos whose two highest scores are exactly equal (fraction); None without photos.

    Args:
        top2_gap: ``[n]`` differences of the two highest scores; null if only one name competed.
    """
    return plain_accuracy(tied(top2_gap))


class ClassDrops(NamedTuple):
    """Per class, sorted by index: accuracies of the groups and their difference ``[c]`` (fractions).

    NaN if the class has no photo in the group, never 0.
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
        group: ``[n]`` of ``common``, ``counter`` or null; None: no photo has one.

    Raises:
        ValueError: the columns have different lengths, or hold other values.
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

    None if no class has both. A fraction: 0.30 is a drop of 30 points. Args and errors are those of
    ``class_drops``.
    """
    return balanced_mean(class_drops(correct, class_index, group).drop)


def worst_group_accuracy(
    correct: npt.ArrayLike, class_index: npt.ArrayLike, group: npt.ArrayLike | None
) -> float | None:
    """Return the lowest accuracy of a class x group cell (fraction).

    Cells without photos are left out. None if one of the groups has no photo at all: the worst group of a
    benchmark without counter photos is unknown. Args and errors are those of ``class_drops``.
    """
    drops = class_drops(correct, class_index, group)
    if np.isnan(drops.common).all() or np.isnan(drops.counter).all():
        return None
    return float(np.nanmin(np.concatenate([drops.common, drops.counter])))


def expected_calibration_error(
    confidence: npt.ArrayLike, correct: npt.ArrayLike, bins: int = BINS
) -> float | None:
    """Return the expected calibration error (fraction), over photos; None without photos.

    Confidence falls in ``bins`` bins of equal width, open below and closed above; the error is the mean over
    bins, weighted by photos, of the absolute difference between mean confidence and accuracy.

    Args:
        confidence: ``[n]`` probabilities of the predicted class.
        correct: ``[n]`` Booleans.
        bins: number of bins.

    Raises:
        ValueError: a confidence is null or not a probability, or the columns have different lengths.
    """
    flags = as_flags(correct)
    if not flags.size:
        return None
    values = np.asarray(confidence, dtype=np.float64)
    same_length(len(flags), values, "confidence")
    sums = np.bincount(confidence_bins(values, bins), weights=values - flags, minlength=bins)
    return float(np.abs(sums).sum() / len(flags))


def confidence_bins(confidence: npt.ArrayLike, bins: int = BINS) -> Codes:
    """Return the bin of each confidence, ``[n]`` in 0 .. bins - 1; rounding past 0 or 1 is tolerated."""
    values = np.asarray(confidence, dtype=np.float64)
    if not ((values >= -1e-6) & (values <= 1 + 1e-6)).all():
        raise ValueError("'confidence' must hold a probability between 0 and 1 for every photo.")
    edges = np.linspace(0, 1, bins + 1)
    return np.clip(np.searchsorted(edges, values, side="left") - 1, 0, bins - 1).astype(np.intp)
