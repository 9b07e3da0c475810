"""Errors, intervals, p-values and power where clusters are alike in size, in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from array_tests import paired_test
from scipy.optimize import brentq
from scipy.stats import nct, t, ttest_1samp
from statsmodels.api import OLS

from counterground.metrics import (
    ContrastError,
    Stratification,
    balanced_interval,
    contrast_error,
    drop_interval,
    proportion_interval,
)

PHOTOS = 400
ALL_ALIKE = PHOTOS // 2 - 1
"""How many photos of a group count where all are right or wrong: all, less one."""


def wilson(p, n, z):
    """Both roots x of (p - x)^2 = z^2 x (1 - x) / n."""
    return np.sort(np.roots([1 + z**2 / n, -(2 * p + z**2 / n), p**2]).real)


def lower_end(common, counter, variances, r, z):
    """Newcombe's lower end, with as many photos as the variances tell; not nearer than z standard errors."""
    (low, _), (_, high) = (
        wilson(p, p * (1 - p) / v or ALL_ALIKE, z) for p, v in zip((common, counter), variances, strict=True)
    )
    a, b = common - low, high - counter
    c, d = np.sqrt(variances)
    way = max(a * a + b * b - 2 * r * a * b, z**2 * (c * c + d * d - 2 * r * c * d))
    return common - counter - np.sqrt(way)


@pytest.mark.parametrize(
    ("common", "counter", "variances", "covariance"),
    [
        (0.7, 0.5, (1e-3, 4e-3), 0.0),
        (0.9, 0.6, (2e-3, 5e-3), 1e-3),
        (0.6, 0.35, (6e-3, 3e-3), 2e-3),
        (0.45, 0.2, (4e-3, 3e-3), -1e-3),
        (0.97, 0.95, (2e-3, 2e-3), 0.0),
    ],
)
def test_power_is_that_of_the_drop_at_which_newcombes_interval_begins_at_0(
    common, counter, variances, covariance
):
    """Where chance makes the drop another, both accuracies are what they then are on average; 1 at most."""
    matrix = np.array([[variances[0], covariance], [covariance, variances[1]]])
    drop, r = common - counter, covariance / np.sqrt(variances[0] * variances[1])
    contrast = np.array([1.0, -1.0])
    slopes, square = matrix @ contrast, contrast @ matrix @ contrast

    def start(seen):
        now = np.array([common, counter]) + slopes / square * (seen - drop)
        was = np.array([common, counter])
        if now[0] > 1:
            now = np.array([1, 1 - seen])
        spreads = np.array(variances) * np.maximum(1e-4, now * (1 - now)) / (was * (1 - was))
        return lower_end(*now, spreads, r, t.ppf(0.975, 30))

    border = brentq(start, 0.01, 0.4)
    error = ContrastError(common, counter, matrix, degrees=30, known=30, photos=PHOTOS, clusters=60)
    size = np.sqrt(square)
    assert error.variance == pytest.approx(square)
    assert error.power() == pytest.approx(nct.sf(border / size, 30, drop / size), rel=1e-6)
    paired = nct.sf(t.ppf(0.975, 30), 30, drop / size)
    assert error.power_of_difference() == pytest.approx(paired, rel=1e-6)


@pytest.mark.parametrize(("clusters", "crossed"), [(12, False), (40, False), (12, True)])
def test_the_error_of_a_drop_is_that_of_statsmodels(clusters, crossed):
    """Before corrections for small samples, which many photos a cluster and class make small."""
    rng = np.random.default_rng(clusters)
    index, side, cluster = np.unravel_index(np.arange(2 * 2 * clusters), (2, 2, clusters))
    index, side, cluster = (np.repeat(each, 3) for each in (index, side, cluster))
    right = rng.random(len(index)) < 0.4 + 0.3 * (cluster % 2) + 0.1 * side
    lone = np.arange(len(index)) if crossed else None
    photos = Stratification(index, np.array(["common", "counter"])[side], cluster, crossed=lone)
    error = contrast_error(photos, right)
    fit = OLS(right.astype(float), np.eye(4)[2 * index + side]).fit(
        cov_type="cluster", cov_kwds={"groups": cluster, "use_correction": False}
    )
    weights = np.array([[0.5, 0, 0.5, 0], [0, 0.5, 0, 0.5]])
    # Every cluster holds as much of each stratum as the others.
    corrected = weights @ fit.cov_params() @ weights.T * clusters / (clusters - 1)
    np.testing.assert_allclose(error.covariance, corrected, rtol=1e-9)
    assert (error.left, error.right) == pytest.approx(tuple(weights @ fit.params))
    assert (error.degrees, error.photos, error.clusters) == (
        pytest.approx(clusters - 1),
        len(index),
        clusters,
    )
    drops = [
        right[(cluster == g) & (side == 0)].mean() - right[(cluster == g) & (side == 1)].mean()
        for g in range(clusters)
    ]
    squares = (np.array(drops) - np.mean(drops)) ** 2
    # The variance of a sum of squares is known by the scatter of these: Satterthwaite's degrees of freedom.
    known = 2 * squares.sum() ** 2 / ((squares - squares.mean()) ** 2).sum()
    assert error.known == pytest.approx(min(clusters - 1, known))


def table(shape, seed, k=4):
    """Photos of a table, ``k`` of each place, right more often in some rows and columns than in others."""
    rng = np.random.default_rng(seed)
    level = 0.45 + 0.15 * rng.normal(size=shape) + 0.2 * rng.normal(size=shape[-1])
    level = level + 0.1 * rng.normal(size=(*shape[:-1], 1))
    right = rng.random((*shape, k)) < level[..., None]
    return right, [np.broadcast_to(place[..., None], right.shape).ravel() for place in np.indices(shape)]


@pytest.mark.parametrize("clusters", [5, 25])
@pytest.mark.parametrize("seed", [0, 1, 2, 4])
def test_a_drop_has_newcombes_interval_and_its_p_value_is_where_that_begins_at_0(clusters, seed):
    right, (side, cluster) = table((2, clusters), seed)
    found = drop_interval(
        right.ravel(), np.zeros(right.size, dtype=int), np.array(["common", "counter"])[side], cluster
    )
    means = right.mean(axis=2)
    common, counter = means.mean(axis=1)
    covariance = np.cov(means) / clusters
    variances, r = np.diag(covariance), np.corrcoef(means)[0, 1]
    z = t.ppf(0.975, clusters - 1)
    assert found.value == pytest.approx(common - counter)
    assert found.low == pytest.approx(lower_end(common, counter, variances, r, z))
    assert found.high == pytest.approx(-lower_end(counter, common, variances[::-1], r, z))
    larger, smaller, of = (
        (common, counter, variances) if common > counter else (counter, common, variances[::-1])
    )
    at = brentq(lambda z: lower_end(larger, smaller, of, r, z), 1e-9, 50, xtol=1e-13)
    assert found.p_value == pytest.approx(2 * t.sf(at, clusters - 1), rel=1e-6)


def over_classes(means):
    """Variance and degrees of freedom of the mean of a table ``[classes, clusters]`` over both.

    Classes and clusters cross (Cameron, Gelbach and Miller 2011), with the degrees of Satterthwaite.
    """
    classes, clusters = means.shape
    between = means.mean(axis=1).var(ddof=1) / classes
    within = means.mean(axis=0).var(ddof=1) / clusters
    both = means.var(axis=1, ddof=1).sum() / clusters / classes**2
    variance = max(between + max(0.0, within - both), within)
    if variance == between:
        return within, variance, classes - 1
    parts = between**2 / (classes - 1) + (variance - between) ** 2 / (clusters - 1)
    return within, variance, variance**2 / parts


@pytest.mark.parametrize("shape", [(2, 6), (3, 5), (8, 20), (12, 4)])
@pytest.mark.parametrize("seed", range(3))
def test_an_accuracy_over_other_classes_has_the_variance_of_classes_and_clusters(shape, seed):
    right, (index, cluster) = table(shape, seed)
    found = balanced_interval(right.ravel(), index, cluster)
    means = right.mean(axis=2)
    value, (within, variance, degrees) = means.mean(), over_classes(means)
    spread = value * (1 - value)
    photos = wilson(value, spread / within, t.ppf(0.975, shape[1] - 1))
    classes = wilson(value, spread / variance, t.ppf(0.975, degrees))
    assert (found.low, found.high) == pytest.approx(tuple(photos))
    expected = min(photos[0], classes[0]), max(photos[1], classes[1])
    assert (found.classes_low, found.classes_high) == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(2, 2, 6), (2, 3, 5), (2, 8, 20), (2, 12, 4)])
@pytest.mark.parametrize("seed", range(3))
def test_a_drop_over_other_classes_has_the_variance_of_classes_and_clusters(shape, seed):
    right, (side, index, cluster) = table(shape, seed)
    found = drop_interval(right.ravel(), index, np.array(["common", "counter"])[side], cluster)
    drops = right[0].mean(axis=2) - right[1].mean(axis=2)
    _, variance, degrees = over_classes(drops)
    half = t.ppf(0.975, degrees) * np.sqrt(variance)
    assert found.value == pytest.approx(drops.mean())
    assert found.classes_low == pytest.approx(min(found.low, max(-1, drops.mean() - half)))
    assert found.classes_high == pytest.approx(max(found.high, min(1, drops.mean() + half)))


@pytest.mark.parametrize("shape", [(2, 3, 2), (2, 3, 5), (2, 8, 20)])
@pytest.mark.parametrize("seed", [0, 1, 3])
def test_two_models_differ_in_their_drops_by_the_t_test_of_clusters(shape, seed):
    """Which ends at 2, the largest difference of two drops; an accuracy differs by 1 at most."""
    right, (side, index, cluster) = table((2, *shape), seed)[0], table(shape, seed)[1]
    group = np.array(["common", "counter"])[side]
    scores = right.mean(axis=-1)
    for quantity, largest, changes in (
        ("accuracy", 1, (scores[0] - scores[1]).mean(axis=0)),
        ("drop", 2, scores[0, 0] - scores[0, 1] - scores[1, 0] + scores[1, 1]),
    ):
        found = paired_test(right[0].ravel(), right[1].ravel(), index, group, cluster, quantity=quantity)
        exact = ttest_1samp(changes.mean(axis=0), 0)
        low, high = np.clip(exact.confidence_interval(), -largest, largest)
        assert found.value == pytest.approx(changes.mean())
        assert (found.low, found.high) == pytest.approx((low, high))
        assert found.p_value == pytest.approx(exact.pvalue)
        _, variance, degrees = over_classes(changes)
        half = t.ppf(0.975, degrees) * np.sqrt(variance)
        assert found.classes_low == pytest.approx(min(low, max(-largest, changes.mean() - half)))
        assert found.classes_high == pytest.approx(max(high, min(largest, changes.mean() + half)))


@pytest.mark.parametrize("n", [2, 4, 30])
def test_where_nothing_varies_photos_count_as_independent(n):
    z = t.ppf(0.975, n - 1)
    assert proportion_interval([True] * n).low == pytest.approx(wilson(1.0, n - 1, z)[0])
    # What one photo in so many would be, by the same t.
    same = paired_test([True] * n, [True] * n, [0] * n)
    assert (same.low, same.high) == pytest.approx((-(z**2) / (z**2 + n - 1), z**2 / (z**2 + n - 1)))
