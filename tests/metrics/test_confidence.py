"""Intervals of another confidence than 95 %: for several statements, and for every look of a sequence."""

import numpy as np
import pytest
from scipy.stats import norm, t

from counterground.metrics import Confidence, drop_error, drop_interval, paired_test

RNG = np.random.default_rng(3)
N = 400
CLASS, GROUP = np.arange(N) % 5, np.where(np.arange(N) % 2, "counter", "common")
RIGHT = RNG.random(N) < np.where(GROUP == "common", 0.8, 0.65)
OTHER = RNG.random(N) < 0.7


@pytest.mark.parametrize("variance", [0.2**2, 0.05**2, 0.01**2])
@pytest.mark.parametrize("error", [0.05, 0.01])
def test_a_sequence_has_robbins_boundary(variance, error):
    # |S| < sqrt((V + r) log((V + r) / (r error^2))), r best for V = 1 / 0.1^2 (Howard et al. 2021, eq. 14).
    best = 1 / 0.1**2
    r = best / (-2 * np.log(error) + np.log(-2 * np.log(error)) + 1)
    v = 1 / variance
    boundary = np.sqrt((v + r) * np.log((v + r) / (r * error**2)))
    assert -norm.ppf(Confidence(error, anytime=True).tail(variance)) == pytest.approx(boundary / np.sqrt(v))


def test_an_ordinary_interval_leaves_out_half_of_the_error_at_each_end():
    assert Confidence().tail(0.1) == 0.025
    assert Confidence().shared_by(5).tail(0.1) == pytest.approx(0.005)


def test_the_p_value_of_a_brownian_path_is_rarely_small_at_any_look():
    """Intervals of a sequence leave 0 out in at most 5 % of paths without drift, ordinary ones in more."""
    rng = np.random.default_rng(0)
    information = np.geomspace(50, 20_000, 60)
    steps = np.sqrt(np.diff(information, prepend=0)) * rng.normal(size=(4000, 60))
    z = np.abs(np.cumsum(steps, axis=1)) / np.sqrt(information)
    anytime = [-norm.ppf(Confidence(anytime=True).tail(1 / each)) for each in information]
    assert (z > anytime).any(axis=1).mean() <= 0.05
    assert (z > 1.96).any(axis=1).mean() > 0.2


def test_intervals_grow_with_the_number_of_statements_and_with_looks():
    plain, shared, anytime = (
        drop_interval(RIGHT, CLASS, GROUP, confidence=confidence)
        for confidence in (Confidence(), Confidence().shared_by(10), Confidence(anytime=True))
    )
    assert plain.value == shared.value == anytime.value
    assert anytime.low < shared.low < plain.low < plain.high < shared.high < anytime.high


def test_a_paired_test_takes_the_confidence():
    wide = paired_test(RIGHT, OTHER, CLASS, GROUP, confidence=Confidence(0.01))
    usual = paired_test(RIGHT, OTHER, CLASS, GROUP)
    assert wide.difference == usual.difference
    assert wide.high - wide.low > 1.2 * (usual.high - usual.low)


def test_the_error_of_a_drop_is_that_of_its_interval():
    found = drop_error(RIGHT.astype(float), CLASS, GROUP)
    interval = drop_interval(RIGHT, CLASS, GROUP)
    assert found.common - found.counter == pytest.approx(interval.value)
    half = t.ppf(0.975, found.degrees) * np.sqrt(found.variance)
    assert (interval.high - interval.low) / 2 == pytest.approx(half, rel=0.03)
    assert (found.photos, found.clusters) == (N, N)
    assert drop_error(RIGHT.astype(float), CLASS, None) is None
