"""Contrasts with covariates held: against statsmodels, in simulations, and what is refused."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit

from counterground.metrics import Adjustment, Sampling, drop_interval


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
    """Columns of a model: classes, and the terms of covariates, if asked for each class."""
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


@pytest.mark.parametrize("strata", [3, 4])
def test_strata_of_one_cluster_vary_as_their_accuracies_do(strata):
    index, each = np.repeat(np.arange(strata), 40), np.tile(np.arange(40), strata)
    size = np.random.default_rng(0).normal(size=len(index))
    right = np.array([[1, 1, 0, 0], [0, 1, 0, 1]])[:, :strata]
    counter = each % 2 == 1
    found = adjustment(index, counter, index, {"size": size}).sides(right[counter.astype(int), index] == 1)
    for side, accuracies in zip(found, right, strict=True):
        assert side.value == pytest.approx(accuracies.mean())
        assert side.variance == pytest.approx(accuracies.var(ddof=1) / strata)


@pytest.mark.parametrize("clusters", [4, 7])
def test_equal_clusters_have_the_degrees_of_freedom_of_both_sides(clusters):
    cluster = np.repeat(np.arange(2 * clusters), 12)
    size = np.tile(np.linspace(-1, 1, 12), 2 * clusters)
    found = adjustment(np.zeros_like(cluster), cluster >= clusters, cluster, {"size": size})
    assert found.sides(size > 0.3)[0].df == pytest.approx(2 * (clusters - 1))


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
        "size is all",
        lambda rng: simulation.crossed(rng, 15, 60),
        **simulation.INDEPENDENT,
        drop=0.0,
        slope=0.8,
        steeper=0.0,
    )
    found = simulation.simulate(scene, 40)
    assert found["bias before"] > 0.13
    assert abs(found["bias after"]) < 0.01


SCENES = [
    simulation.Scene("stamps", lambda rng: simulation.nested(rng, 15, placements=4)),
    simulation.Scene("20 clusters", lambda rng: simulation.crossed(rng, 15, 10, 20)),
    simulation.Scene("photos", lambda rng: simulation.crossed(rng, 3, 60), **simulation.INDEPENDENT),
]


@pytest.mark.slow
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_intervals_hold_the_truth(scene):
    found = simulation.simulate(scene, 200)
    for figure in simulation.FIGURES:
        assert 0.90 <= found[figure] <= 0.995, figure


def test_clusters_are_not_ignored():
    index, counter, cluster, covariates, _ = photos(4, classes=10, clusters=20)
    correct = np.random.default_rng(4).random(600) < np.where(counter, 0.3 + 0.02 * cluster, 0.7)
    apart = adjustment(index, counter, np.arange(600), covariates).of(correct).adjusted
    together = adjustment(index, counter, cluster, covariates).of(correct).adjusted
    assert together.value == pytest.approx(apart.value)
    assert together.high - together.low > 1.2 * (apart.high - apart.low)
    assert (apart.clusters, together.clusters) == (600, 20)


def test_the_unadjusted_contrast_is_the_drop():
    index, counter, cluster, covariates, correct = photos(5, clusters=60)
    found = adjustment(index, counter, cluster, covariates).of(correct)
    drop = drop_interval(correct, index, np.where(counter, "counter", "common"), cluster)
    for name in ("value", "low", "high", "n", "clusters", "p_value"):
        assert getattr(found.unadjusted, name) == pytest.approx(getattr(drop, name), abs=1e-12)
    change = found.adjusted.value - found.unadjusted.value
    assert found.difference.value == pytest.approx(change)
    assert found.difference.low < change < found.difference.high


def test_where_covariates_do_not_matter_nothing_changes():
    index, counter, cluster, covariates, _ = photos(6)
    found = adjustment(index, counter, cluster, covariates).of(~counter)
    assert found.unadjusted.value == found.adjusted.value == 1
    assert found.difference.value == 0
    assert found.difference.low < 0 < found.difference.high


def test_a_side_in_one_cluster_has_no_interval():
    """One photographer took all photos of one side, of every class: others are not known."""
    index, counter, cluster, covariates, correct = photos(11)
    found = adjustment(index, counter, np.where(counter, 1 + cluster, 0), covariates).of(correct)
    assert [each.low for each in found] == [None, None, None]


def test_photos_on_both_sides_count_once():
    """All photos against the counter photos: the variance is that of what they do not share."""
    index, counter, cluster, covariates, correct = photos(7, n=900)
    everything = np.ones(len(index), dtype=bool)
    sampling = Sampling(cluster, len(cluster))
    whole = Adjustment(sampling, everything, counter, index, covariates).of(correct)
    apart = Adjustment(sampling, ~counter, counter, index, covariates).of(correct)
    assert whole.adjusted.n == 900
    assert whole.adjusted.high - whole.adjusted.low < 0.8 * (apart.adjusted.high - apart.adjusted.low)


def test_strata_with_one_side_play_no_part():
    index, counter, cluster, covariates, correct = photos(8)
    index = np.where((index == 3) & counter, 2, index)
    found = adjustment(index, counter, cluster, covariates)
    kept = index < 3
    alone = adjustment(
        *(each[kept] for each in (index, counter)),
        np.arange(kept.sum()),
        {name: values[kept] for name, values in covariates.items()},
    )
    assert found.strata == 3
    assert found.of(correct).adjusted.value == pytest.approx(alone.of(correct[kept]).adjusted.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda x, counter, index: x - 2 * counter,
            r"in size, the left side lies 2\.\d+ standard deviations above the right side \(limit 1\)",
        ),
        (
            lambda x, counter, index: np.where(counter, np.sign(x), x),
            r"in size, \d\d % of the left side and 0 % of the right side are outside",
        ),
        (lambda x, counter, index: np.full_like(x, 3.0), "There is no size to hold: it is the same in every"),
        (
            lambda x, counter, index: index * 1.0,
            "size does not vary within a stratum, so the contrast holds it",
        ),
    ],
)
def test_what_cannot_be_held_is_refused(change, message):
    index, counter, cluster, covariates, _ = photos(9, shift=0.0)
    size = change(covariates["size"], counter, index)
    with pytest.raises(ValueError, match=message):
        adjustment(index, counter, cluster, {**covariates, "size": size})


def test_sides_that_never_meet_in_a_stratum_are_refused():
    index, counter, cluster, covariates, _ = photos(9, shift=0.0)
    with pytest.raises(
        ValueError, match=r"No stratum of .* has photos of both the left side and the right side"
    ):
        adjustment(2 * index + counter, counter, cluster, covariates)


def test_a_covariate_that_varies_on_one_side_only_is_refused():
    index, counter, cluster, covariates, _ = photos(9, classes=12, shift=0.0)
    size = np.where(counter, np.linspace(-2.5, 2.5, 12)[index], covariates["size"])
    with pytest.raises(ValueError, match="size does not vary within a stratum on the side the right side"):
        adjustment(index, counter, cluster, {"size": size})
    indoors = np.where(counter, index % 2, covariates["place"] < 0.5).astype(float)  # one linear term
    with pytest.raises(ValueError, match="indoors does not vary within a stratum on the side the right side"):
        adjustment(index, counter, cluster, {"size": covariates["size"], "indoors": indoors})


def test_covariates_that_depend_on_each_other_are_refused():
    index, counter, cluster, covariates, _ = photos(10)
    with pytest.raises(
        ValueError, match="On the side the left side, size, place, twice depend on each other"
    ):
        adjustment(index, counter, cluster, {**covariates, "twice": 2 * covariates["size"]})


def test_sides_that_are_apart_in_both_covariates_together_are_refused():
    rng = np.random.default_rng(11)
    index, counter, cluster, _, _ = photos(11, n=1200)
    first = rng.normal(size=1200)
    second = first + 0.3 * rng.normal(size=1200)
    message = r"in first, second together, they are 2\.\d+ standard deviations apart \(limit 1\)"
    with pytest.raises(ValueError, match=message):
        adjustment(
            index, counter, cluster, {"first": first + 0.4 * counter, "second": second - 0.4 * counter}
        )


def test_overlap_is_told_in_standard_deviations_and_shares():
    index, counter, cluster, covariates, _ = photos(12, n=4000, shift=0.5)
    size, place = adjustment(index, counter, cluster, covariates).overlap
    assert (size.covariate, place.covariate) == ("size", "place")
    assert size.shift == pytest.approx(0.5, abs=0.06)
    assert abs(place.shift) < 0.08
    assert 0 <= size.left_outside < 0.01
    assert 0 <= size.right_outside < 0.01
