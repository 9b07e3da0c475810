"""Intervals of another confidence than 95 %, as for several statements together."""

import numpy as np
import pytest
from array_tests import paired_test
from scipy.stats import t

from counterground.metrics import Stratification, contrast_error, drop_interval

RNG = np.random.default_rng(3)
N = 400
CLASS, GROUP = np.arange(N) % 5, np.where(np.arange(N) % 2, "counter", "common")
RIGHT = RNG.random(N) < np.where(GROUP == "common", 0.8, 0.65)
OTHER = RNG.random(N) < 0.7


def test_a_paired_test_takes_alpha():
    wide = paired_test(RIGHT, OTHER, CLASS, GROUP, alpha=0.01)
    usual = paired_test(RIGHT, OTHER, CLASS, GROUP)
    assert wide.value == usual.value
    assert wide.high - wide.low > 1.2 * (usual.high - usual.low)


def test_the_error_of_a_drop_is_that_of_its_interval():
    found = contrast_error(Stratification(CLASS, GROUP, None), RIGHT)
    interval = drop_interval(RIGHT, CLASS, GROUP)
    assert found.left - found.right == pytest.approx(interval.value)
    half = t.ppf(0.975, found.degrees) * np.sqrt(found.variance)
    assert (interval.high - interval.low) / 2 == pytest.approx(half, rel=0.03)
    assert (found.photos, found.clusters) == (N, N)
    assert contrast_error(Stratification(CLASS, None, None), RIGHT) is None
