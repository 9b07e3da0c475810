"""Expected calibration error: how far confidence is from accuracy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from counterground.metrics._codes import Codes, as_flags, same_length

BINS = 15


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
        ValueError: a confidence is null or no probability.
    """
    flags = as_flags(correct)
    if not flags.size:
        return None
    values = np.asarray(confidence, dtype=np.float64)
    same_length(len(flags), values, "confidence")
    sums = np.bincount(confidence_bins(values, bins), weights=values - flags, minlength=bins)
    return float(np.abs(sums).sum() / len(flags))


def confidence_bins(confidence: npt.ArrayLike, bins: int = BINS) -> Codes:
    """Return the bin of each confidence, ``[n]`` in 0 .. bins - 1; rounding past 0 or 1 is forgiven."""
    values = np.asarray(confidence, dtype=np.float64)
    if not ((values >= -1e-6) & (values <= 1 + 1e-6)).all():
        raise ValueError("'confidence' must hold a probability between 0 and 1 for every photo.")
    edges = np.linspace(0, 1, bins + 1)
    return np.clip(np.searchsorted(edges, values, side="left") - 1, 0, bins - 1).astype(np.intp)
