"""Power of a test, against the integral that defines it."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import ndtr
from scipy.stats import chi2, norm, t

from counterground.metrics import ContrastError, Stratification, contrast_error
from counterground.metrics._distributions import noncentral_t_sf


@pytest.mark.parametrize("drop", [0.1, 0.25, 0.5, 0.62, 0.8])
def test_power_with_one_degree_of_freedom_is_its_integral(drop):
    """Also far from 0, where the series of a noncentral t fails: its standard error here is 0.02."""
    error = ContrastError(
        left=drop, right=0.0, covariance=np.eye(2) * 2e-4, degrees=1, known=1, photos=100, clusters=2
    )
    border = t.ppf(0.975, 1)
    # The error that is estimated is 0.02 times the absolute value of a normal variable.
    exact, _ = quad(lambda z: norm.pdf(z) * (2 * ndtr(max(0.0, z + drop / 0.02) / border) - 1), -8, 8)
    assert error.power_of_difference() == pytest.approx(exact, abs=0.02)


@pytest.mark.parametrize("value", [32.0, 40.0, 48.0])
def test_far_from_0_a_noncentral_t_is_its_integral(value):
    exact, _ = quad(lambda u: norm.sf(value * np.sqrt(u / 20) - 40) * chi2.pdf(u, 20), 0, 100)
    assert noncentral_t_sf(20, 40.0, value) == pytest.approx(exact, abs=0.05)


def test_there_is_no_error_of_a_drop_where_no_class_has_both_groups():
    assert contrast_error(Stratification([0, 1, 1], ["common", "counter", None], None), [1, 0, 1]) is None
