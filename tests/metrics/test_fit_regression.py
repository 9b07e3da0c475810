"""Ordinary least squares and rank correlation against statsmodels and SciPy."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import spearmanr

from counterground.metrics import ordinary_least_squares, rank_correlation


@pytest.mark.parametrize(("n", "k", "seed"), [(4, 1, 0), (28, 3, 1), (20, 3, 2), (200, 6, 3)])
def test_every_figure_is_that_of_statsmodels(n, k, seed):
    rng = np.random.default_rng(seed)
    terms = {f"x{place}": rng.normal(size=n) * 10**place for place in range(k - 1)}
    terms["flag"] = rng.permutation(np.arange(n) % 2 == 0)
    y = 3 + sum(0.5 * values for values in terms.values()) + rng.normal(size=n)
    theirs = sm.OLS(y, sm.add_constant(np.column_stack([v.astype(float) for v in terms.values()]))).fit()
    ours = ordinary_least_squares(y, terms, name="drop")
    assert ours.formula == " + ".join(["drop ~ 1", *terms])
    figures = np.array([c[1:] for c in ours.coefficients])
    assert figures[:, 0] == pytest.approx(theirs.params)
    assert figures[:, 1] == pytest.approx(theirs.bse)
    assert figures[:, 2:4] == pytest.approx(theirs.conf_int())
    assert figures[:, 4] == pytest.approx(theirs.pvalues)
    assert ours.r_squared == pytest.approx(theirs.rsquared)
    assert ours.residual_sd == pytest.approx(np.sqrt(theirs.mse_resid))
    assert (ours.n, ours.df) == (n, theirs.df_resid)
    assert ours["flag"] == ours.coefficients[-1]


@pytest.mark.parametrize("seed", range(4))
def test_rank_correlation_is_that_of_scipy_with_ties(seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 8, 45)
    y = x + rng.integers(0, 6, 45)
    found = rank_correlation(x, y)
    assert found.value == pytest.approx(spearmanr(x, y).statistic)
    z = np.arctanh(found.value)
    half = 1.959964 * np.sqrt((1 + found.value**2 / 2) / 42)
    assert np.arctanh([found.low, found.high]) == pytest.approx([z - half, z + half])


def test_the_interval_of_a_rank_correlation_covers_what_it_should():
    rng = np.random.default_rng(0)
    rho = 0.6
    truth = 6 / np.pi * np.arcsin(rho / 2)
    covered = 0
    for _ in range(1000):
        x = rng.normal(size=45)
        found = rank_correlation(x, rho * x + np.sqrt(1 - rho**2) * rng.normal(size=45))
        covered += found.low <= truth <= found.high
    assert 0.92 <= covered / 1000 <= 0.975
