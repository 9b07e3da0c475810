"""The 95 % intervals hold the truth in 92 to 98 % of simulated benchmarks."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from counterground.metrics import balanced_interval, drop_interval, paired_test, proportion_interval


def load_simulation():
    path = Path(__file__).parents[2] / "bench" / "coverage.py"
    spec = importlib.util.spec_from_file_location("bench_coverage", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


simulation = load_simulation()
Scene = simulation.Scene
# A third of the real number: the clusters, on which coverage hangs, stay as many and the simulation is fast.
CLASSES = 15
SCENES = [
    Scene("200 clusters", 200, photos=12),
    Scene("20 clusters", 20, photos=12),
    Scene("6 clusters", 6, photos=12),
    Scene("independent", None, photos=12, shared=0.0, within=0.0),
    Scene("few photos", None, photos=4, shared=0.0, within=0.0),
    Scene("unequal", 200, photos=12, layout="unequal"),
    Scene("labels", 24, photos=4, layout="labels"),
]


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_analytic_intervals_hold_the_truth(scene):
    found = simulation.coverage(scene._replace(classes=CLASSES), "analytic", 500)
    assert 0.92 <= found["accuracy"] <= 0.98
    assert 0.92 <= found["drop"] <= 0.98


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_bootstrap_intervals_hold_the_truth(scene):
    found = simulation.coverage(scene._replace(classes=CLASSES), "bootstrap", 400, draws=200)
    assert 0.92 <= found["accuracy"] <= 0.98
    assert 0.92 <= found["drop"] <= 0.98


def test_ignoring_clusters_fails_this_simulation():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        draw = simulation.simulate(SCENES[1], rng)
        interval = drop_interval(draw.correct, draw.class_index, draw.group)
        held += interval.low <= draw.drop <= interval.high
    assert held / 200 < 0.85


@pytest.mark.parametrize("n", [5, 10, 40])
@pytest.mark.parametrize("p", [0.2, 0.5, 0.95])
def test_one_class_alone_is_covered_too(n, p):
    rng = np.random.default_rng(n)
    intervals = [proportion_interval(rng.random(n) < p) for _ in range(400)]
    assert np.mean([i.low <= p <= i.high for i in intervals]) >= 0.92


def test_the_drop_of_one_class_is_covered_too():
    rng = np.random.default_rng(1)
    group = ["common"] * 8 + ["counter"] * 8
    p = np.repeat([0.9, 0.5], 8)
    intervals = [drop_interval(rng.random(16) < p, [0] * 16, group) for _ in range(400)]
    assert 0.92 <= np.mean([i.low <= 0.4 <= i.high for i in intervals]) <= 0.985


@pytest.mark.parametrize("quantity", ["accuracy", "drop"])
@pytest.mark.parametrize("clusters", [20, 200])
def test_paired_tests_of_equal_models_reject_in_5_percent(quantity, clusters):
    scene = Scene("paired", clusters, classes=CLASSES, photos=12)
    rng = np.random.default_rng(clusters)
    rejected = 0
    for _ in range(600):
        draw = simulation.simulate(scene, rng)
        # Both models flip some outcomes at random, so they are equally good on photos they mostly share.
        flips = rng.random((2, len(draw.correct))) < 0.1
        a, b = draw.correct ^ flips[0], draw.correct ^ flips[1]
        test = paired_test(a, b, draw.class_index, draw.group, draw.cluster, quantity=quantity)
        rejected += test.p_value < 0.05
    assert 0.02 <= rejected / 600 <= 0.08


def test_a_paired_test_sees_what_two_intervals_cannot():
    draw = simulation.simulate(SCENES[1], np.random.default_rng(3))
    worse = draw.correct & (np.random.default_rng(4).random(len(draw.correct)) > 0.04)
    alone = [balanced_interval(c, draw.class_index, draw.cluster) for c in (draw.correct, worse)]
    assert alone[0].low < alone[1].value < alone[0].value < alone[1].high
    assert paired_test(draw.correct, worse, draw.class_index, cluster=draw.cluster).p_value < 0.001
