"""The range and the ticks of probit axes."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from counterground.paper.figures._axes import (
    WIDEST_APART,
    accuracy,
    limits,
    on_axis,
    probit,
    shown_values,
    ticks,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
@example([1.0, 1.0])
@example([0.0])
@example([0.9967])
def test_an_axis_holds_its_points_and_its_ticks(accuracies):
    low, high = limits(accuracies)
    assert 0 < low < high < 1
    assert all(low < on_axis(value) < high for value in accuracies)
    found = ticks(low, high)
    assert found == sorted(found)
    assert all(low <= tick <= high for tick in found)
    assert min(len(found), len(ticks(low, high, WIDEST_APART))) > 1  # one tells no scale


def test_positions_are_normal_quantiles_and_back():
    values = np.linspace(0.001, 0.999, 60)
    np.testing.assert_allclose(probit(values), norm.ppf(values))
    np.testing.assert_allclose(accuracy(probit(values)), values)
    assert np.isfinite(probit([0.0, 1.0])).all()


def test_an_interval_may_run_off_an_axis_and_a_point_may_not():
    row = {"common": 0.995, "common_low": 0.5, "common_high": 0.999}
    assert shown_values([row], ["common"]) == [0.995, 0.5]
