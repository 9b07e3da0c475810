"""The 95 % intervals hold the truth as often as they say, and corrected tests err as rarely, in simulations.

The full tables are made by ``interval_coverage.py`` and ``family_wise.py`` of ``bench/experiments``; here
their scenes are smaller. Single classes of several are in ``test_single.py``.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from array_tests import drop_change_interval, paired_test

from counterground.metrics import (
    balanced_interval,
    drop_interval,
    proportion_interval,
)


def load(name):
    folder = str(Path(__file__).parents[2] / "bench" / "experiments")
    sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(folder)


simulation, family_wise = load("interval_coverage"), load("family_wise")
Scene, crossed, nested = simulation.Scene, simulation.crossed, simulation.nested
# A third of the real number: the clusters, on which coverage hangs, stay as many and the simulation is fast.
CLASSES = 15
SCENES = [
    Scene("photographs in labels", lambda rng: nested(rng, CLASSES, placements=2)),
    Scene("most classes on one pair", lambda rng: nested(rng, CLASSES, placements=2, same_pair=0.7)),
    Scene("20 clusters", lambda rng: crossed(rng, CLASSES, 10, 20)),
    Scene("4 clusters", lambda rng: crossed(rng, CLASSES, 10, 4)),
    Scene("few photos", lambda rng: crossed(rng, CLASSES, 4), **simulation.INDEPENDENT),
]


@pytest.mark.slow
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_intervals_hold_the_truth(scene):
    found = simulation.coverage(scene, 200, block=50)
    for quantity in (*simulation.QUANTITIES, "plain"):
        assert 0.90 <= found[quantity] <= 0.995, quantity


@pytest.mark.slow
def test_intervals_over_classes_hold_what_those_over_photos_do_not():
    scene = Scene("many photos", lambda rng: crossed(rng, CLASSES, 30, 60), shared=0.2, within=0.1)
    found = simulation.coverage(scene, 160, classes=True, block=40)
    for quantity in simulation.QUANTITIES:
        assert 0.90 <= found[quantity] <= 0.995, quantity
    assert found["over photos"] < 0.85


@pytest.mark.slow
def test_ignoring_clusters_fails_this_simulation():
    scene = Scene("alike", lambda rng: crossed(rng, CLASSES, 20, 20), within=0.8)
    draws = simulation.simulate(scene, np.random.default_rng(0), 150)
    group = np.array(["common", "counter"])[draws.layout.group]
    intervals = [drop_interval(row, draws.layout.class_index, group) for row in draws.correct[0]]
    assert np.mean([i.low <= draws.truth["drop"] <= i.high for i in intervals]) < 0.85


@pytest.mark.slow
@pytest.mark.parametrize("n", [5, 10, 40])
@pytest.mark.parametrize("p", [0.2, 0.5, 0.95])
def test_one_class_alone_is_covered_too(n, p):
    rng = np.random.default_rng(n)
    intervals = [proportion_interval(rng.random(n) < p) for _ in range(400)]
    assert np.mean([i.low <= p <= i.high for i in intervals]) >= 0.92


@pytest.mark.slow
def test_the_drop_of_one_class_is_covered_too():
    rng = np.random.default_rng(1)
    group = ["common"] * 8 + ["counter"] * 8
    p = np.repeat([0.9, 0.5], 8)
    intervals = [drop_interval(rng.random(16) < p, [0] * 16, group) for _ in range(400)]
    assert 0.92 <= np.mean([i.low <= 0.4 <= i.high for i in intervals]) <= 0.985


@pytest.mark.slow
@pytest.mark.parametrize("scene", [SCENES[0], SCENES[4]], ids=lambda scene: scene.name)
def test_hardly_ever_is_anything_called_significant_where_nothing_is(scene):
    """Uncorrected, a fifth and more would have one of twelve drops, or of the pairs' tests, below 0.05."""
    found = family_wise.errors(scene, 100)
    assert max(found.values()) <= 0.10


def test_a_paired_test_sees_what_two_intervals_cannot():
    scene = Scene("paired", lambda rng: crossed(rng, CLASSES, 40, 20))
    draws = simulation.simulate(scene, np.random.default_rng(3), 1)
    correct, index, cluster = draws.correct[0][0], draws.layout.class_index, draws.layout.cluster
    worse = correct & (np.random.default_rng(4).random(len(correct)) > 0.04)
    alone = [balanced_interval(each, index, cluster) for each in (correct, worse)]
    assert alone[0].low < alone[1].value < alone[0].value < alone[1].high
    assert paired_test(correct, worse, index, cluster=cluster).p_value < 0.001


@pytest.mark.parametrize("placements", [1, 4])
def test_photographs_of_a_label_tell_nothing_of_the_mean_of_another(placements):
    """Degrees of freedom are those of the labels, not of all photographs: 6 labels of 4 have 18, not 23."""
    layout = nested(np.random.default_rng(0), 60, (4,) * 6, placements)
    correct = np.random.default_rng(1).random((2, len(layout.cluster))) < 0.5
    group = np.array(["common", "counter"])[layout.group]
    test = paired_test(*correct, layout.class_index, group, layout.cluster, quantity="drop")
    error = (test.high - test.low) / 2
    t = critical_value(test, error)
    assert 18 * 0.9 < t < 18.01


def critical_value(test, half):
    """The degrees of freedom at which the p-value of a test and the half-width of its interval agree."""
    from scipy.optimize import brentq
    from scipy.stats import t as student

    def gap(df):
        error = half / student.ppf(0.975, df)
        return 2 * student.sf(abs(test.value) / error, df) - test.p_value

    return brentq(gap, 1.5, 1000)


def test_independent_photos_have_as_many_degrees_of_freedom_as_photos_less_strata():
    rng = np.random.default_rng(0)
    layout = crossed(rng, 5, 4)
    correct = rng.random((2, 40)) < 0.5
    group = np.array(["common", "counter"])[layout.group]
    test = paired_test(*correct, layout.class_index, group, quantity="drop")
    assert critical_value(test, (test.high - test.low) / 2) == pytest.approx(30, rel=1e-6)


def test_the_interval_of_a_drop_is_no_narrower_than_t():
    """With 3 clusters score intervals end at 0 and 1, and their difference covered 90 % only."""
    scene = Scene("3 clusters", lambda rng: crossed(rng, CLASSES, 8, 3))
    draws = simulation.simulate(scene, np.random.default_rng(0), 40)
    group = np.array(["common", "counter"])[draws.layout.group]
    for correct in draws.correct[0]:
        drop = drop_interval(correct, draws.layout.class_index, group, draws.layout.cluster)
        zero = paired_test(
            correct,
            np.zeros(len(correct), bool),
            draws.layout.class_index,
            group,
            draws.layout.cluster,
            quantity="drop",
        )
        assert drop.low <= max(zero.low, -1) + 1e-12
        assert drop.high >= min(zero.high, 1) - 1e-12
        assert (drop.p_value < 0.05) == (not drop.low <= 0 <= drop.high)


def test_the_interval_over_classes_of_independent_photos_is_that_of_the_class_drops():
    rng = np.random.default_rng(0)
    layout = crossed(rng, 12, 30)
    correct = rng.random(720) < np.where(layout.group == 0, 0.8, 0.2 + 0.05 * layout.class_index)
    group = np.array(["common", "counter"])[layout.group]
    drop = drop_interval(correct, layout.class_index, group)
    drops = [
        correct[(layout.class_index == c) & (layout.group == 0)].mean()
        - correct[(layout.class_index == c) & (layout.group == 1)].mean()
        for c in range(12)
    ]
    half = 2.200985 * np.std(drops, ddof=1) / np.sqrt(12)
    assert (drop.classes_low, drop.classes_high) == pytest.approx(
        (drop.value - half, drop.value + half), abs=1e-6
    )
    assert half > 1.4 * (drop.high - drop.value)


@pytest.mark.parametrize(
    ("photos", "margin", "clusters"), [(20, 0.02, None), (40, 0.02, None), (20, 0.05, None), (20, 0.02, 20)]
)
def test_nearly_equal_models_at_the_margin_rarely_pass(photos, margin, clusters):
    """Where a few photos decide, t standard errors would let 5 to 11 % of models pass."""
    rng, classes = np.random.default_rng(0), 10
    group = np.tile(np.repeat(["common", "counter"], photos), classes)
    class_index = np.repeat(np.arange(classes), 2 * photos)
    passed = plain = 0
    for _ in range(200):
        cluster = None if clusters is None else rng.integers(clusters, size=len(group))
        often = 1.0 if cluster is None else rng.exponential(size=clusters)[cluster]
        second = rng.random(len(group)) < 0.8
        lost = rng.random(len(group)) < np.where(group == "counter", margin / 0.8, 0.0) * often
        photos_of = (second & ~lost, second, class_index, group, cluster)
        found, narrow = drop_change_interval(*photos_of), paired_test(*photos_of, quantity="drop")
        assert found.value == pytest.approx(narrow.value)
        assert found.low <= narrow.low <= narrow.high <= found.high
        assert found.value <= 0 or found.low == narrow.low  # both exclude 0 together
        passed, plain = passed + (found.high <= margin), plain + (narrow.high <= margin)
    assert passed <= 0.04 * 200 < plain


def test_models_that_differ_on_many_photos_have_the_interval_of_their_test():
    rng, n = np.random.default_rng(1), 4000
    group, class_index = np.tile(["common", "counter"], n // 2), rng.integers(5, size=n)
    cluster, crossed = rng.integers(200, size=n), rng.integers(150, size=n)
    models = rng.random(n) < 0.7, rng.random(n) < np.where(group == "counter", 0.4, 0.7)
    for ways in ({}, {"cluster": cluster}, {"cluster": cluster, "crossed": crossed}):
        found = drop_change_interval(*models, class_index, group, **ways)
        test = paired_test(*models, class_index, group, **ways, quantity="drop")
        assert (found.value, found.n, found.clusters) == (test.value, test.n, test.clusters)
        assert (found.low, found.high) == pytest.approx((test.low, test.high), abs=2e-3)


def test_a_model_that_only_loses_answers_is_worse_also_on_composites():
    """Nothing scatters among photos that it gains, which says little with eight clusters of one way."""
    objects, backgrounds = (each.ravel() for each in np.indices((60, 8)))
    group = np.where(backgrounds < 4, "common", "counter")
    lost = (group == "counter") & (np.random.default_rng(2).random(480) < 0.4)
    ways = {"cluster": objects, "crossed": backgrounds}
    found = drop_change_interval(~lost, lost | ~lost, objects % 5, group, **ways)
    assert 0.2 < found.low < found.value < found.high
