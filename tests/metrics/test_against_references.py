"""Every number against an independent implementation, over a grid."""

from __future__ import annotations

import numpy as np
import pytest
from array_tests import paired_test
from plain_scores import (
    balanced_accuracy,
    class_accuracy,
    class_drops,
    mean_drop,
    plain_accuracy,
    top_k_accuracy,
    worst_group_accuracy,
)
from sklearn.metrics import accuracy_score, recall_score, top_k_accuracy_score
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from counterground.metrics import expected_calibration_error, holm, proportion_interval

# The variance of one stratum, whatever the clusters: public figures are already averages over classes.
from counterground.metrics._codes import Strata, cluster_codes
from counterground.metrics._sampling import Partition, Sampling, StratumMeans

GRID = [(n, classes, seed) for n in (1, 7, 60, 900) for classes in (1, 2, 11) for seed in (0, 1)]


def draw(n, classes, seed, clusters=None):
    rng = np.random.default_rng(seed)
    index = rng.integers(0, classes, n)
    scores = rng.normal(size=(n, classes + 6))
    scores[np.arange(n), index] += 1
    group = rng.choice(np.array(["common", "counter", None], dtype=object), n)
    cluster = rng.integers(0, clusters or n, n)
    return index, scores, group, cluster


@pytest.mark.parametrize(("n", "classes", "seed"), GRID)
def test_accuracies_equal_scikit_learn(n, classes, seed):
    index, scores, _, _ = draw(n, classes, seed)
    predicted = scores.argmax(axis=1)
    correct = predicted == index
    assert plain_accuracy(correct) == pytest.approx(accuracy_score(index, predicted))
    present = np.unique(index)
    by_class = recall_score(index, predicted, labels=present, average=None, zero_division=0)
    found = class_accuracy(correct, index)
    np.testing.assert_array_equal(found.classes, present)
    np.testing.assert_allclose(found.accuracy, by_class)
    np.testing.assert_array_equal(found.n, np.bincount(index)[present])
    assert balanced_accuracy(correct, index) == pytest.approx(by_class.mean())


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize(("n", "classes", "seed"), [case for case in GRID if case[0] > 1])
def test_top_k_equals_scikit_learn(n, classes, seed, k):
    index, scores, _, _ = draw(n, classes, seed)
    rank = (scores > scores[np.arange(n), index][:, None]).sum(axis=1)
    expected = top_k_accuracy_score(index, scores, k=k, labels=np.arange(scores.shape[1]))
    assert top_k_accuracy(rank, k) == pytest.approx(expected)
    balanced = np.mean([(rank[index == c] < k).mean() for c in np.unique(index)])
    assert top_k_accuracy(rank, k, index) == pytest.approx(balanced)


@pytest.mark.parametrize(("n", "classes", "seed"), GRID)
def test_drops_equal_a_loop(n, classes, seed):
    index, scores, group, _ = draw(n, classes, seed)
    correct = scores.argmax(axis=1) == index
    drops, cells = [], []
    for c in np.unique(index):
        pair = [correct[(index == c) & (group == name)] for name in ("common", "counter")]
        cells.append([part.mean() if part.size else np.nan for part in pair])
        drops.append(cells[-1][0] - cells[-1][1])
    found = class_drops(correct, index, group)
    np.testing.assert_allclose(np.stack([found.common, found.counter], axis=1), cells)
    np.testing.assert_allclose(found.drop, drops)
    if np.isnan(drops).all():
        assert mean_drop(correct, index, group) is None
    else:
        assert mean_drop(correct, index, group) == pytest.approx(np.nanmean(drops))
    if np.isnan(cells).all(axis=0).any():
        assert worst_group_accuracy(correct, index, group) is None
    else:
        assert worst_group_accuracy(correct, index, group) == pytest.approx(np.nanmin(cells))


@pytest.mark.parametrize("bins", [1, 10, 15])
@pytest.mark.parametrize("n", [1, 40, 3000])
@pytest.mark.parametrize("seed", [0, 1])
def test_calibration_error_equals_a_loop_over_bins(n, bins, seed):
    rng = np.random.default_rng(seed)
    confidence = rng.random(n)
    # Too unsure and too sure by turns, so that any two bins which were put together would show.
    correct = (bins * confidence % 2 < 1) != (rng.random(n) < 0.05)
    expected = 0.0
    for b in range(bins):
        inside = (confidence > b / bins) & (confidence <= (b + 1) / bins)
        if inside.any():
            expected += inside.mean() * abs(confidence[inside].mean() - correct[inside].mean())
    assert expected_calibration_error(confidence, correct, bins) == pytest.approx(expected)


def stratum_moment(correct, stratum, cluster, size):
    sampling = Sampling(*cluster_codes(cluster, len(correct)))
    return StratumMeans(Partition(sampling, stratum, size), correct)


@pytest.mark.parametrize("clusters", [4, 20, 150])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_one_stratum_of_equal_clusters_equals_statsmodels(clusters, seed):
    rng = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(clusters), 6)
    correct = rng.random(len(cluster)) < rng.random(clusters)[cluster]
    fit = OLS(correct.astype(float), np.ones(len(cluster))).fit(
        cov_type="cluster", cov_kwds={"groups": cluster}
    )
    moment = stratum_moment(correct, np.zeros(len(cluster), dtype=int), cluster, 1).average(np.array([0]))
    assert np.sqrt(moment.variance) == pytest.approx(np.sqrt(fit.cov_params()[0, 0]), rel=1e-9)


@pytest.mark.parametrize("clusters", [12, 60])
@pytest.mark.parametrize("classes", [1, 4, 9])
@pytest.mark.parametrize("seed", [0, 1])
def test_variance_of_averages_equals_statsmodels_without_small_sample_correction(clusters, classes, seed):
    index, scores, group, cluster = draw(900, classes, seed, clusters)
    group[group == None] = "common"  # noqa: E711 - an array of objects
    correct = scores.argmax(axis=1) == index
    cell = Strata.of(index, group, 900).by_cell
    fit = OLS(correct.astype(float), np.eye(2 * classes)[cell]).fit(
        cov_type="cluster", cov_kwds={"groups": cluster, "use_correction": False}
    )
    means = stratum_moment(correct, cell, cluster, 2 * classes)
    part = means.partition
    share = part.pair_photos / part.photos[part.pair_stratum]
    means.__dict__["_scores"] = means._scores * np.sqrt(1 - share)
    common, counter = means.averages(2 * np.arange(classes)[:, None] + np.arange(2))
    contrast = np.tile([1.0, -1.0], classes) / classes
    expected = contrast @ fit.cov_params() @ contrast
    deviations = common.deviations - counter.deviations
    assert deviations @ deviations == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("clusters", [5, 30])
@pytest.mark.parametrize("seed", [0, 1])
def test_leverage_correction_equals_the_matrix_form_of_cr2(clusters, seed):
    index, scores, _, cluster = draw(200, 3, seed, clusters)
    y = (scores.argmax(axis=1) == index).astype(float)
    x = np.eye(3)[index]
    bread = np.linalg.inv(x.T @ x)
    residual = y - x @ (bread @ x.T @ y)
    meat = np.zeros((3, 3))
    for g in np.unique(cluster):
        rows = cluster == g
        hat = x[rows] @ bread @ x[rows].T
        values, vectors = np.linalg.eigh(np.eye(rows.sum()) - hat)
        root = vectors @ np.diag(values**-0.5) @ vectors.T
        score = x[rows].T @ root @ residual[rows]
        meat += np.outer(score, score)
    weights = np.full(3, 1 / 3)
    expected = weights @ bread @ meat @ bread @ weights
    moment = stratum_moment(y, index, cluster, 3).average(np.arange(3))
    assert moment.variance == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("n", [400, 5000])
@pytest.mark.parametrize("p", [0.03, 0.5, 0.9])
def test_independent_photos_give_the_wilson_interval(n, p):
    correct = np.arange(n) < p * n
    interval = proportion_interval(correct)
    low, high = proportion_confint(correct.sum(), n, method="wilson")
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.2 / n)
    assert (interval.n, interval.clusters) == (n, n)


@pytest.mark.parametrize("quantity", ["accuracy", "common", "counter", "drop"])
@pytest.mark.parametrize("clusters", [10, 80])
def test_paired_difference_is_that_of_the_two_models(quantity, clusters):
    index, scores, group, cluster = draw(900, 5, 3, clusters)
    a = scores.argmax(axis=1) == index
    b = np.random.default_rng(9).random(900) < 0.4
    test = paired_test(a, b, index, group, cluster, quantity=quantity)
    rows = group == quantity if quantity in ("common", "counter") else np.ones(900, dtype=bool)
    if quantity == "drop":
        expected = mean_drop(a, index, group) - mean_drop(b, index, group)
    else:
        expected = balanced_accuracy(a[rows], index[rows]) - balanced_accuracy(b[rows], index[rows])
    assert test.value == pytest.approx(expected)
    assert test.low < test.value < test.high
    assert (test.p_value < 0.05) == (not test.low <= 0 <= test.high)


@pytest.mark.parametrize("clusters", [8, 50])
def test_paired_p_value_equals_statsmodels_on_one_class(clusters):
    rng = np.random.default_rng(clusters)
    cluster = np.repeat(np.arange(clusters), 5)
    a, b = rng.random((2, len(cluster))) < [[0.6], [0.5]]
    fit = OLS(a.astype(float) - b, np.ones(len(a))).fit(
        cov_type="cluster", cov_kwds={"groups": cluster, "df_correction": True}, use_t=True
    )
    test = paired_test(a, b, np.zeros(len(a), dtype=int), cluster=cluster)
    assert test.p_value == pytest.approx(fit.pvalues[0], rel=1e-6)
    assert (test.low, test.high) == pytest.approx(tuple(fit.conf_int()[0]), rel=1e-6)


@pytest.mark.parametrize("count", [1, 2, 5, 40])
@pytest.mark.parametrize("seed", [0, 1])
def test_holm_equals_statsmodels(count, seed):
    p_values = np.random.default_rng(seed).random(count) ** 3
    expected = multipletests(p_values, method="holm")[1]
    np.testing.assert_allclose(holm(p_values.tolist()), expected)
