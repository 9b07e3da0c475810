"""The line with errors in both variables: published data, a full likelihood, and simulation."""

import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.special import ndtr, ndtri
from scipy.stats import norm, t
from statsmodels.api import WLS, add_constant

from counterground.metrics import fit_line, fit_line_with_errors

# Pearson's data with York's weights; York et al. (2004) print the line.
X = np.array([0.0, 0.9, 1.8, 2.6, 3.3, 4.4, 5.2, 6.1, 6.5, 7.4])
Y = np.array([5.9, 5.4, 4.4, 4.6, 3.5, 3.7, 2.8, 2.8, 2.4, 1.5])
ERROR_X = 1 / np.sqrt([1000.0, 1000, 500, 800, 200, 80, 60, 20, 1.8, 1])
ERROR_Y = 1 / np.sqrt([1.0, 1.8, 4, 8, 20, 20, 70, 70, 100, 500])


def full_likelihood(x, y, sx, sy, r=0.0):
    """Slope, intercept and least chi-square over the line and all true places."""
    roots = np.array(
        [
            np.linalg.inv(np.linalg.cholesky([[a * a, rho * a * b], [rho * a * b, b * b]]))
            for a, b, rho in zip(sx, sy, np.broadcast_to(r, len(x)), strict=True)
        ]
    )

    def residuals(guess):
        intercept, slope, places = guess[0], guess[1], guess[2:]
        off = np.column_stack([x - places, y - intercept - slope * places])
        return np.einsum("nij,nj->ni", roots, off).ravel()

    start = np.concatenate([np.polyfit(x, y, 1)[::-1], x])
    found = least_squares(residuals, start, xtol=1e-14, ftol=1e-14, gtol=1e-14)
    return found.x[1], found.x[0], 2 * found.cost


def test_york_and_pearson_get_the_printed_line():
    # Larger errors change no slope, and leave no scatter to add.
    found = fit_line_with_errors(X, Y, 1.3 * ERROR_X, 1.3 * ERROR_Y)
    assert (found.slope, found.intercept) == pytest.approx((-0.480533407, 5.47991022), abs=1e-7)
    # A little above York's, which count the error of the adjusted places as information.
    for error, printed in ((found.slope_error, 0.057985), (found.intercept_error, 0.294971)):
        assert printed < error / 1.3 < 1.02 * printed
    assert found.scatter == 0
    assert found.chi_square * 1.3**2 == pytest.approx(8 * 1.4832941, abs=1e-4)
    # All variance about the line is known: a quarter counts as estimated from 8 degrees of freedom.
    half = t.ppf(0.975, 8 / 0.25) * found.slope_error
    assert (found.slope_low, found.slope_high) == pytest.approx((found.slope - half, found.slope + half))


@pytest.mark.parametrize("r", [0.0, 0.6, -0.4])
def test_slope_and_chi_square_are_those_of_the_full_likelihood(r):
    rng = np.random.default_rng(3)
    sx, sy = rng.uniform(0.05, 0.2, 12), rng.uniform(0.05, 0.2, 12)
    places = rng.normal(0, 0.6, 12)
    x = places + sx * rng.normal(size=12)
    y = 1 + 0.7 * places + 0.5 * sy * rng.normal(size=12)
    found = fit_line_with_errors(x, y, sx, sy, r)
    slope, intercept, chi_square = full_likelihood(x, y, sx, sy, r)
    assert found.chi_square == pytest.approx(chi_square)
    assert found.scatter == 0
    assert (found.slope, found.intercept) == pytest.approx((slope, intercept))


def test_scatter_is_what_brings_chi_square_to_its_degrees_of_freedom():
    found = fit_line_with_errors(X, Y, 0.3 * ERROR_X, 0.3 * ERROR_Y)
    assert found.chi_square > 8
    assert found.scatter > 0
    wider = np.hypot(0.3 * ERROR_Y, found.scatter)
    slope, intercept, chi_square = full_likelihood(X, Y, 0.3 * ERROR_X, wider)
    assert (found.slope, found.intercept) == pytest.approx((slope, intercept), rel=1e-6)
    assert chi_square == pytest.approx(8)


def test_without_errors_it_is_least_squares():
    common, counter = [0.5, 0.6, 0.7, 0.85, 0.9], [0.3, 0.45, 0.5, 0.75, 0.8]
    plain = fit_line(common, counter)
    tiny = np.full(5, 1e-9)
    found = fit_line_with_errors(ndtri(common), ndtri(counter), tiny, tiny)
    assert (found.slope, found.slope_low, found.slope_high) == pytest.approx(
        (plain.slope, plain.slope_low, plain.slope_high), rel=1e-6
    )
    assert found.scatter == pytest.approx(plain.residual_sd)
    assert found.predict(common) == pytest.approx(plain.predict(common), rel=1e-6)


def test_without_errors_of_x_errors_are_those_of_least_squares_with_known_weights():
    """Also where the points tell next to nothing of the slope: statsmodels' covariance is not rescaled."""
    x, y = np.array([0.1, 0.3, 0.5, 0.9]), np.array([0.3, 0.2, 0.6, 0.4])
    for sy in (np.array([1.0, 2.0, 3.0, 1.5]), np.array([40.0, 20.0, 30.0, 15.0])):
        found = fit_line_with_errors(x, y, np.zeros(4), sy)
        fit = WLS(y, add_constant(x), weights=sy**-2.0).fit()
        assert (found.intercept, found.slope) == pytest.approx(tuple(fit.params))
        errors = tuple(np.sqrt(np.diag(fit.normalized_cov_params)))
        assert (found.intercept_error, found.slope_error) == pytest.approx(errors)
        assert found.chi_square == pytest.approx((fit.resid**2 / sy**2).sum())


def test_noise_flattens_least_squares_and_not_this_line():
    rng, photos, slopes, held = np.random.default_rng(5), 150, [], []
    for _ in range(120):
        places = 0.9 + rng.normal(0, 0.3, 15)
        levels = ndtr(places), ndtr(1.2 * places - 0.6 + rng.normal(0, 0.03, 15))
        common, counter = (np.clip(rng.binomial(photos, p) / photos, 0.003, 0.997) for p in levels)
        errors = [np.sqrt(p * (1 - p) / photos) / norm.pdf(ndtri(p)) for p in (common, counter)]
        try:
            found = fit_line_with_errors(ndtri(common), ndtri(counter), *errors)
        except ValueError:
            continue
        plain = fit_line(common, counter)
        slopes.append((plain.slope, found.slope))
        held.append((plain.slope_low <= 1.2 <= plain.slope_high, found.slope_low <= 1.2 <= found.slope_high))
    assert len(slopes) > 110
    least_squares, both = np.mean(slopes, axis=0) - 1.2
    assert least_squares < -0.12
    assert abs(both) < 0.05
    plain, both = np.mean(held, axis=0)
    assert plain < 0.88
    assert both >= 0.9
