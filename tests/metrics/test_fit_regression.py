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


@pytest.mark.parametrize(
    ("y", "terms", "said"),
    [
        ([1, 2, 3, 4], {"a": [1, 2, 3, 4], "b": [2, 4, 6, 8]}, "do not vary independently"),
        ([1, 2, 3, 4], {"a": [7, 7, 7, 7]}, "do not vary independently"),
        ([1, 2], {"a": [1, 2]}, "more than 2 rows, not 2"),
        ([1, 2, 3], {"a": [1, 2]}, "there are 3 rows"),
        ([1, np.nan, 3], {"a": [1, 2, 3]}, "lacks 1 of its 3 numbers"),
    ],
)
def test_what_cannot_be_fitted_is_refused(y, terms, said):
    with pytest.raises(ValueError, match=said):
        ordinary_least_squares(y, terms)


def test_an_unknown_term_is_named():
    fit = ordinary_least_squares([1, 2, 4], {"a": [1, 2, 3]})
    with pytest.raises(KeyError, match="'b' is not a term of y ~ 1 \\+ a"):
        fit["b"]


def test_an_outcome_that_does_not_vary_has_no_share_explained():
    fit = ordinary_least_squares([2, 2, 2, 2], {"a": [1, 2, 3, 5]})
    assert fit.r_squared is None
    assert fit["a"].value == pytest.approx(0, abs=1e-12)


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


def test_undefined_correlations_are_none():
    assert rank_correlation([1, 1, 1, 1, 1], [1, 2, 3, 4, 5]) == (None, None, None)
    assert rank_correlation([1, 2, 3], [1, 3, 2])[1:] == (None, None)
    same = rank_correlation([1, 2, 3, 4, 5], [2, 4, 6, 8, 9])
    assert same.value == pytest.approx(1)
    assert same[1:] == (None, None)
    with pytest.raises(ValueError, match="differ in shape"):
        rank_correlation([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="a number in every place"):
        rank_correlation([1, np.nan], [1, 2])
