"""Statistics over seeds: the mean, its interval and its p-value."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.stats import t as student


class OverSeeds(NamedTuple):
    """A mean, its 95 % t interval, and the two-sided p-value against a mean of 0; None: not known."""

    mean: float | None
    low: float | None
    high: float | None
    p: float | None


def interval(values: Any) -> OverSeeds:
    """Return the mean of one value per seed, with interval and p-value.

    One value has neither interval nor p-value, no value not even a mean; equal values have no p-value.
    """
    degrees = len(values) - 1
    mean = float(np.mean(values)) if len(values) else None
    if mean is None or not degrees:
        return OverSeeds(mean, None, None, None)
    error = float(np.std(values, ddof=1) / np.sqrt(len(values)))
    reach = float(student.ppf(0.975, degrees)) * error
    p = 2 * float(student.sf(abs(mean) / error, degrees)) if error > 0 else None
    return OverSeeds(mean, mean - reach, mean + reach, p)
