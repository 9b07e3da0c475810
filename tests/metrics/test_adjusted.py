"""Contrasts with covariates held: against statsmodels, in simulations, and what is refused."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit

from counterground.metrics import Adjustment, Sampling


def load(name):
    folder = str(Path(__file__).parents[2] / "bench" / "experiments")
    sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(folder)


simulation = load("adjusted")


def photos(seed, n=600, classes=4, clusters=None, shift=0.5):
    """Counter photos have smaller objects; small objects are harder."""
    rng = np.random.default_rng(seed)
    index, counter = rng.integers(0, classes, n), rng.random(n) < 0.4
    size = rng.normal(size=n) - shift * counter
    cluster = np.arange(n) if clusters is None else rng.integers(0, clusters, n)
    effect = 0.6 * rng.normal(size=cluster.max() + 1)[cluster]
    correct = rng.random(n) < expit(0.4 + 0.3 * index - 0.5 * counter + 0.8 * size + effect)
    return index, counter, cluster, {"size": size, "place": rng.random(n)}, correct


def adjustment(index, counter, cluster, covariates):
    return Adjustment(Sampling(cluster, cluster.max() + 1), ~counter, counter, index, covariates)


def spline(x, pooled):
    """A restricted cubic spline (Harrell), written another way: knots at 10, 50 and 90 %."""
    low, middle, high = np.quantile(pooled, [0.1, 0.5, 0.9])
    cube = lambda t: np.clip(x - t, 0, None) ** 3  # noqa: E731
    return cube(low) - ((high - low) * cube(middle) - (middle - low) * cube(high)) / (high - middle)


def design(index, covariates, rows, each):
    """Columns of statsmodels' model of one side: classes, and the terms of covariates, for each class if asked."""
    dummies = (index[:, None] == np.unique(index)).astype(float)
    terms = np.column_stack([f for x in covariates.values() for f in (x, spline(x, x))])
    if each:
        terms = np.hstack([dummies[:, [c]] * terms for c in range(dummies.shape[1])])
    everything = np.hstack([dummies, terms])
    return everything[rows], everything


def standardised(model, fit, index, everything):
    """The mean over classes of mean predictions for all photos of the class, and its gradient."""
    gradient = np.mean([everything[index == c].mean(axis=0) for c in np.unique(index)], axis=0)
    return gradient @ fit.params, gradient


@pytest.mark.parametrize("each", [False, True], ids=["slopes shared", "slopes by class"])
def test_estimates_and_errors_equal_statsmodels_where_photos_are_independent(each):
    index, counter, cluster, covariates, correct = photos(1, n=1200 if each else 300, classes=4)
    found = adjustment(index, counter, cluster, covariates)
    assert found.shared is not each
    estimates, deviations = [], np.zeros(len(index))
    for sign, side in ((1, ~counter), (-1, counter)):
        own, everything = design(index, covariates, side, each)
        fit = sm.OLS(correct[side].astype(float), own).fit(cov_type="HC2")
        value, gradient = standardised(sm.OLS, fit, index, everything)
        estimates.append(value)
        # statsmodels' variance of the estimate for these covariates is what the residuals add.
        pulls = own @ np.linalg.inv(own.T @ own) @ gradient
        leverage = np.einsum("ij,jk,ik->i", own, np.linalg.inv(own.T @ own), own)
        residual = pulls * (correct[side] - own @ fit.params) / np.sqrt(1 - leverage)
        assert (residual**2).sum() == pytest.approx(gradient @ fit.cov_params() @ gradient)
        deviations[side] += sign * residual
        # What other covariates would change: each photo's prediction beside the mean of its class and side.
        predicted = everything @ fit.params
        for c in np.unique(index):
            for group in (~counter, counter):
                cell = (index == c) & group
                share = len(np.unique(index)) * (index == c).sum()
                deviations[cell] += sign * (predicted[cell] - predicted[cell].mean()) / share
    contrast = found.of(correct)
    assert contrast.adjusted.value == pytest.approx(estimates[0] - estimates[1], abs=1e-10)
    left, right = found.sides(correct)
    assert left.value == pytest.approx(estimates[0], abs=1e-10)
    np.testing.assert_allclose(left.deviations - right.deviations, deviations, atol=1e-10)
    half = 1.96 * np.sqrt((deviations**2).sum())
    assert contrast.adjusted.high - contrast.adjusted.low == pytest.approx(2 * half, rel=0.05)


def test_errors_equal_those_of_statsmodels_clusters():
    index, counter, cluster, covariates, correct = photos(2, n=3000, clusters=600)
    found = adjustment(index, counter, cluster, covariates)
    left, _ = found.sides(correct)
    own, everything = design(index, covariates, ~counter, each=not found.shared)
    groups = {"groups": cluster[~counter], "use_correction": False}
    fit = sm.OLS(correct[~counter].astype(float), own).fit(cov_type="cluster", cov_kwds=groups)
    value, gradient = standardised(sm.OLS, fit, index, everything)
    assert left.value == pytest.approx(value, abs=1e-10)
    predicted = everything @ fit.params
    cells = 2 * index + counter
    mean = np.array([predicted[cells == cell].mean() for cell in range(cells.max() + 1)])[cells]
    of_covariates = (predicted - mean) / (4 * np.bincount(index)[index])
    plain = np.bincount(cluster, weights=of_covariates, minlength=600)
    plain[:] += np.bincount(
        cluster[~counter],
        weights=own @ np.linalg.inv(own.T @ own) @ gradient * fit.resid,
        minlength=600,
    )
    # Of statsmodels' variance (without the covariates) and of ours, which is larger for leverage.
    residual = plain - np.bincount(cluster, weights=of_covariates, minlength=600)
    assert (residual**2).sum() == pytest.approx(gradient @ fit.cov_params() @ gradient)
    assert 1.0 < left.variance / (plain**2).sum() < 1.04


def test_it_agrees_with_a_standardised_logistic_model():
    index, counter, cluster, covariates, correct = photos(3, n=8000)
    found = adjustment(index, counter, cluster, covariates).of(correct)
    values = []
    for side in (~counter, counter):
        own, everything = design(index, covariates, side, each=False)
        fit = sm.GLM(correct[side].astype(float), own, family=sm.families.Binomial()).fit(
            cov_type="cluster", cov_kwds={"groups": cluster[side]}
        )
        predicted = fit.predict(everything)
        values.append(np.mean([predicted[index == c].mean() for c in np.unique(index)]))
    assert found.adjusted.value == pytest.approx(values[0] - values[1], abs=0.004)
    assert found.unadjusted.value - found.adjusted.value > 0.06


def test_size_that_confounds_is_taken_out():
    """Without any effect of the group, the contrast is the size's; with size held nothing is left."""
    scene = simulation.Scene(
        "size is all", lambda rng: simulation.crossed(rng, 15, 10, 200), drop=0.0, slope=0.8, steeper=0.0
    )
    found = simulation.simulate(scene, 60)
    assert found["bias before"] > 0.12
    assert abs(found["bias after"]) < 0.012
