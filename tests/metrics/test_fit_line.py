"""The line of effective robustness against statsmodels, and what happens at 0 and 1."""

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logit, ndtri

from counterground.metrics import EDGE, fit_line, from_scale, outside, to_scale

SCALES = {"probit": ndtri, "logit": logit}


def drawn(seed, n):
    rng = np.random.default_rng(seed)
    common = rng.uniform(0.3, 0.95, n)
    return common, np.clip(common - rng.uniform(0.02, 0.3, n), 0.02, 0.98)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("seed", "n"), [(0, 3), (1, 5), (2, 15), (3, 200)])
def test_the_line_is_that_of_statsmodels(scale, seed, n):
    common, counter = drawn(seed, n)
    g = SCALES[scale]
    theirs = sm.OLS(g(counter), sm.add_constant(g(common))).fit()
    ours = fit_line(common, counter, scale=scale)
    assert [ours.intercept, ours.slope] == pytest.approx(theirs.params)
    assert [ours.intercept_low, ours.intercept_high] == pytest.approx(theirs.conf_int()[0])
    assert [ours.slope_low, ours.slope_high] == pytest.approx(theirs.conf_int()[1])
    assert ours.residual_sd == pytest.approx(np.sqrt(theirs.mse_resid))
    assert ours.r_squared == pytest.approx(theirs.rsquared)
    assert (ours.n, ours.clipped) == (n, 0)


@pytest.mark.parametrize("scale", SCALES)
def test_predictions_and_what_intervals_are_made_of_are_those_of_statsmodels(scale):
    common, counter = drawn(4, 12)
    g = SCALES[scale]
    theirs = sm.OLS(g(counter), sm.add_constant(g(common))).fit()
    at = np.array([0.2, 0.5, 0.77, 0.97])
    frame = theirs.get_prediction(sm.add_constant(g(at))).summary_frame(alpha=0.05)
    ours = fit_line(common, counter, scale=scale)
    assert ours.predict(at) == pytest.approx(from_scale(frame["mean"], scale))
    error = ours.standard_error(g(at))
    assert error == pytest.approx(frame["mean_se"].to_numpy())
    for spread, columns in ((error, "mean_ci"), (np.hypot(error, ours.residual_sd), "obs_ci")):
        for sign, end in ((-1, "lower"), (1, "upper")):
            limit = ours.at(g(at)) + sign * ours.critical * spread
            assert limit == pytest.approx(frame[f"{columns}_{end}"].to_numpy())


def test_an_accuracy_of_0_or_1_moves_by_half_a_photo_where_photos_are_counted():
    assert from_scale(to_scale([0.0, 1.0], "probit", [20, 50]), "probit") == pytest.approx([0.025, 0.99])
    assert from_scale(to_scale([0.0, 1.0], "logit", [1, 2]), "logit") == pytest.approx([0.5, 0.75])
    assert from_scale(to_scale([0.0, 1.0], "logit"), "logit") == pytest.approx([EDGE, 1 - EDGE])
    assert from_scale(to_scale([0.0], "probit", [np.nan]), "probit") == pytest.approx([EDGE])
    assert outside([0.0, 0.5, 1.0, 0.0004]).tolist() == [True, False, True, True]
    assert outside([0.0004], [5000]).tolist() == [False]


def test_a_fit_through_0_and_1_is_finite_and_says_how_many_were_moved():
    fit = fit_line([0.2, 0.6, 1.0], [0.0, 0.4, 0.9], photos_common=[30, 30, 30], photos_counter=[30, 30, 30])
    assert np.isfinite([fit.slope, fit.intercept]).all()
    assert fit.clipped == 2
    ends = ndtri([1 / 60, 0.4, 0.9]), ndtri([0.2, 0.6, 1 - 1 / 60])
    assert fit.slope == pytest.approx(np.polyfit(ends[1], ends[0], 1)[0])


@given(st.lists(st.floats(0.01, 0.99), min_size=1, max_size=20), st.sampled_from(list(SCALES)))
def test_there_and_back(accuracies, scale):
    assert from_scale(to_scale(accuracies, scale), scale) == pytest.approx(accuracies)


def test_points_on_a_line_leave_nothing():
    common = np.array([0.3, 0.5, 0.8, 0.9])
    fit = fit_line(common, from_scale(0.2 + 1.3 * to_scale(common, "logit"), "logit"), scale="logit")
    assert (fit.intercept, fit.slope) == pytest.approx((0.2, 1.3))
    assert fit.residual_sd == pytest.approx(0, abs=1e-9)
