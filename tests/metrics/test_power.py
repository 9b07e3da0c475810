"""Power of a test, against the integral that defines it."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import ndtr
from scipy.stats import norm, t

from counterground.metrics import DropError


@pytest.mark.parametrize("drop", [0.1, 0.25, 0.5, 0.62, 0.8])
def test_power_with_one_degree_of_freedom_is_its_integral(drop):
    """Also far from 0, where the series of a noncentral t fails: its standard error here is 0.02."""
    error = DropError(
        common=drop, counter=0.0, covariance=np.eye(2) * 2e-4, degrees=1, known=1, photos=100, clusters=2
    )
    border = t.ppf(0.975, 1)
    # The error that is estimated is 0.02 times the absolute value of a normal variable.
    exact, _ = quad(lambda z: norm.pdf(z) * (2 * ndtr(max(0.0, z + drop / 0.02) / border) - 1), -8, 8)
    assert error.power_of_difference() == pytest.approx(exact, abs=0.02)
