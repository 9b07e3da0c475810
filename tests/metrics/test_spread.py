"""How far the values of a column differ: against a dense grid and SciPy, invariances, clusters, coverage."""

import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import beta, betabinom, chi2_contingency

from counterground.metrics import breakdowns, score_spread

sys.path.insert(0, str(Path(__file__).parents[2] / "bench" / "experiments"))
try:
    import spread_coverage as simulation
finally:
    sys.path.pop(0)

RIGHT = np.array([21, 25, 12, 28, 17, 24, 40, 9])
PHOTOS = np.array([30, 30, 30, 30, 25, 30, 60, 10])


def table(right, photos):
    """Answers and values, as text, of photos with so many right on each value."""
    correct = np.concatenate([np.arange(n) < k for k, n in zip(right, photos, strict=True)])
    return correct, np.repeat([f"s{j}" for j in range(len(photos))], photos)


def ends(spread):
    estimates = [spread.spread, spread.another, *(estimate for _, estimate in spread.lowest)]
    return np.array([[each.value, each.low, each.high] for each in estimates])


@pytest.mark.parametrize(
    ("right", "photos"),
    [(RIGHT, PHOTOS), (RIGHT % 3 + 8, np.full(8, 11)), (np.arange(5, 25, 2), np.full(10, 25))],
)
def test_intervals_are_those_of_the_beta_binomial_posterior(right, photos):
    grid = (np.arange(400) + 0.5) / 400
    mean, root = (axis.ravel() for axis in np.meshgrid(grid, grid))
    rho = root**2
    a, b = mean * (1 / rho - 1), (1 - mean) * (1 / rho - 1)
    log = sum(betabinom.logpmf(k, n, a, b) for k, n in zip(right, photos, strict=True))
    weight = np.exp(log - log.max()) * sum(root / ((1 - rho) / n + rho) for n in photos)
    weight /= weight.sum()

    found = score_spread(*table(right, photos))
    p, wrong = found.spread.p_value, photos.sum() - right.sum()  # alike with probability p
    deviation = np.sqrt(rho * mean * (1 - mean))
    for probability, end in zip([0.5, 0.025, 0.975], ends(found)[0], strict=True):
        assert p + (1 - p) * weight[deviation <= end].sum() == pytest.approx(max(p, probability), abs=0.02)
        assert (end == 0) == (p >= probability)
    for probability, end in zip([0.025, 0.975], ends(found)[1][1:], strict=True):
        another = (1 - p) * weight @ beta.cdf(end, a, b) + p * beta.cdf(end, right.sum() + 1, wrong + 1)
        assert another == pytest.approx(probability, abs=2e-3)
    shrunken = [weight @ ((a + k) / (a + b + n)) for k, n in zip(right, photos, strict=True)]
    assert [int(name[1:]) for name, _ in found.lowest] == np.argsort(shrunken, kind="stable")[:3].tolist()
    for name, estimate in found.lowest:
        k, n = right[int(name[1:])], photos[int(name[1:])]
        for probability, end in ((0.025, estimate.low), (0.975, estimate.high)):
            assert weight @ beta.cdf(end, a + k, b + n - k) == pytest.approx(probability, abs=2e-3)


@pytest.mark.parametrize("change", [0, 4, 8])
def test_the_p_value_is_nearly_that_of_the_chi_square_test(change):
    right = np.array([40, 38, 42, 41, 39, 40]) + np.array([change, -change, 0, 0, 0, 0])
    found = score_spread(*table(right, np.full(6, 60))).spread.p_value
    reference = chi2_contingency(np.stack([right, 60 - right]), correction=False).pvalue
    assert found == pytest.approx(reference, abs=0.04)


def test_order_and_names_do_not_count_and_right_mirrors_wrong():
    correct, value = table(RIGHT, PHOTOS)
    order = np.random.default_rng(0).permutation(len(correct))
    known = ends(score_spread(correct, value))
    assert ends(score_spread(correct[order], value[order])) == pytest.approx(known, abs=1e-12)
    assert ends(score_spread(correct, np.char.add("x", value))) == pytest.approx(known, abs=1e-12)
    mirrored = ends(score_spread(~correct, value))
    assert mirrored[0] == pytest.approx(known[0], abs=1e-3)
    assert 1 - mirrored[1][[0, 2, 1]] == pytest.approx(known[1], abs=1e-3)


def test_copies_in_clusters_say_no_more_than_one_photo():
    correct, value = table(RIGHT, PHOTOS)
    once = score_spread(correct, value)
    copies, cluster = (np.repeat(each, 4) for each in (correct, np.arange(len(correct))))
    found = score_spread(copies, np.repeat(value, 4), cluster)
    assert ends(found) == pytest.approx(ends(once), abs=5e-3)  # the p-value is by permutation
    assert ends(found)[2:] == pytest.approx(ends(once)[2:], abs=1e-9)
    assert found.spread.p_value == pytest.approx(once.spread.p_value, abs=0.04)
    assert (found.spread.n, found.spread.clusters) == (4 * len(correct), len(correct))
    assert ends(score_spread(copies, np.repeat(value, 4)))[0][2] > 0
    assert ends(score_spread(correct, value, value)) == pytest.approx(ends(once))


def test_what_the_photos_do_not_show_is_none():
    correct, value = table(RIGHT, PHOTOS)
    assert score_spread(*table(RIGHT[:4], PHOTOS[:4])) is None
    assert score_spread(np.ones_like(correct), value) is None
    assert score_spread(correct, value, np.arange(len(correct)) % 30) is None  # clusters span values
    few = np.where(value == "s0", np.char.add(value, (np.arange(len(value)) % 2).astype(str)), value)
    assert score_spread(correct, value, few) is None
    with pytest.raises(ValueError, match="photos"):
        score_spread(correct, value[1:])


def test_columns_with_more_values_than_half_the_photos_are_not_offered():
    n = 12
    photos = pl.DataFrame(
        {
            "taken": [f"12:{k:02}" for k in range(n)],
            "site": [f"s{k % 6}" for k in range(n)],
            "camera": [f"c{k % 7}" for k in range(n)],
            "all_alike": ["x"] * n,
            "size": np.linspace(0, 1, n),
        }
    )
    assert breakdowns(photos) == ["site"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "sites", simulation.DIFFERENT[9:14:2], ids=lambda sites: f"{sites.name} {sites.spread}"
)
def test_intervals_hold_another_site_and_the_lowest(sites):
    _, _, another, lowest = simulation.rates(sites, 200)
    assert 0.90 <= another <= 0.99
    assert 0.91 <= lowest <= 0.99


@pytest.mark.slow
@pytest.mark.parametrize("sites", simulation.ALIKE[:4], ids=lambda sites: sites.name)
def test_alike_sites_rarely_differ(sites):
    assert simulation.rates(sites, 200)[0] <= 0.085
