"""Intervals of single classes and cells: against others' figures, by two ways of clusters, and simulated."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from completed import completed
from scipy.stats import t as student
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from counterground.metrics import (
    Contrast,
    InfluenceEstimate,
    cell_accuracies,
    score_by,
    score_contrast,
    score_predictions,
)
from counterground.metrics._intervals import difference_interval
from counterground.metrics._sampling import StratumMeans
from counterground.metrics._single import SingleStrata, cell_intervals
from counterground.metrics._stratification import Stratification

sys.path.insert(0, str(Path(__file__).parents[2] / "bench" / "experiments"))
try:
    import class_coverage
    import interval_coverage as simulation
finally:
    sys.path.pop(0)

NEWCOMBE = [
    ((56, 70), (48, 80), (0.0524, 0.3339)),
    ((9, 10), (3, 10), (0.1705, 0.8090)),
    ((6, 7), (2, 7), (0.0582, 0.8062)),
    ((5, 56), (0, 29), (-0.0381, 0.1926)),
    ((0, 10), (0, 20), (-0.1611, 0.2775)),
    ((10, 10), (0, 20), (0.6791, 1.0)),
]
"""Right and number on both sides, and the interval: Newcombe (1998), table II, method 10."""


def photos(common, counter, **columns):
    """Two classes: the first with (right, number) of both groups, the second all right."""
    rows = []
    for index, sides in enumerate(
        ({"common": common, "counter": counter}, {"common": (5, 5), "counter": (5, 5)})
    ):
        for group, (right, n) in sides.items():
            rows += [(index, group, number < right, None) for number in range(n)]
    return table(rows).with_columns(**columns)


def table(rows):
    """Predictions of a model from class, group, whether it was right, and the cluster."""
    schema = {"class_index": pl.Int32, "group": pl.String, "correct": pl.Boolean, "cluster": pl.String}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    names = [f"{number:05}" for number in range(len(rows))]
    about = {"class_name": pl.format("class {}", "class_index"), "model": pl.lit("m")}
    return completed(frame.with_columns(pl.Series("path", names), pl.Series("photo_id", names), **about))


def ends(scores, index, metric="accuracy", group=None):
    rows = scores.filter(pl.col("level").eq_missing(pl.lit(group, pl.String)), metric=metric)
    return rows.filter(class_index=index).select("low", "high").row(0)


@pytest.mark.parametrize(("common", "counter", "expected"), NEWCOMBE)
def test_a_class_of_independent_photos_has_the_intervals_of_wilson_and_newcombe(common, counter, expected):
    scores = score_predictions(photos(common, counter))
    for group, side in (("common", common), ("counter", counter)):
        wilson = proportion_confint(*side, method="wilson")
        assert ends(scores, 0, group=group) == pytest.approx(wilson, abs=1e-9)
    drop = ends(scores, 0, "drop")
    assert drop == pytest.approx(expected, abs=6e-5)
    newcombe = confint_proportions_2indep(*common, *counter, method="newcomb", compare="diff")
    assert drop == pytest.approx(newcombe, abs=1e-9)
    both = (common[0] + counter[0], common[1] + counter[1])
    assert ends(scores, 0) == pytest.approx(proportion_confint(*both, method="wilson"), abs=1e-9)


@pytest.mark.parametrize("clusters", [3, 4, 12])
def test_photos_that_are_all_alike_in_their_cluster_count_as_one(clusters):
    rng = np.random.default_rng(clusters)
    right = rng.random((10, clusters)) < 0.5
    right[0, :2] = True, False
    cell, cluster = np.repeat(np.arange(10), 6 * clusters), np.tile(np.repeat(np.arange(clusters), 6), 10)
    found = cell_intervals(np.repeat(right.ravel(), 6), cell, cluster)
    expected = [proportion_confint(row.sum(), clusters, method="wilson") for row in right]
    np.testing.assert_allclose([(each.low, each.high) for each in found], expected, atol=1e-9)


def effective_by_hand(correct, cell, cluster, others=8.0):
    """What the room's README says, photo by photo and cluster by cluster."""
    told = {}
    for name in np.unique(cell):
        inside = cell == name
        n, p = inside.sum(), correct[inside].mean()
        scatter, number = p * (1 - p) * n / (n - 1), np.unique(cluster[inside], return_counts=True)[1]
        sums = [(correct[inside & (cluster == k)] - p).sum() for k in np.unique(cluster[inside])]
        squares = sum(total**2 / (1 - m / n) for total, m in zip(sums, number, strict=True) if m < n)
        kish = n**2 / (number**2).sum()
        told[name] = n, squares - n * scatter, scatter * ((number**2).sum() - n), kish
    found = []
    for name, (n, excess, unit, kish) in told.items():
        rest = [each for key, each in told.items() if key != name and each[3] > 1]
        df = sum(each[3] - 1 for each in rest)
        weight = df * others / (df + others)
        from_rest = sum(each[1] for each in rest) / sum(each[2] for each in rest)
        total = kish - 1 + weight
        correlation = min(1, max(0, ((kish - 1) * excess / unit + weight * from_rest) / total))
        design_effect = 1 + (n / kish - 1) * correlation
        t = [student.ppf(0.975, each) for each in (n - 1, min(n - 1, total))]
        found.append(min(n, max(kish, n / design_effect * (t[0] / t[1]) ** 2)))
    return found


def drawn(seed, cells=4, n=240, clusters=9):
    rng = np.random.default_rng(seed)
    cell, cluster = rng.integers(cells, size=n), rng.integers(clusters, size=n) % rng.integers(3, clusters)
    correct = rng.random(n) < 0.5 + 0.3 * np.sin(2 * cluster + seed)
    return correct, cell, cluster


@pytest.mark.parametrize("lone", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_effective_photos_are_those_of_the_formula(seed, lone):
    """Where a cell is one cluster, all that is known of its photos is what the other cells show."""
    correct, cell, cluster = drawn(seed)
    if lone:
        cluster[cell == 0] = 0
    expected = effective_by_hand(correct, cell, cluster)
    found = SingleStrata(StratumMeans(Stratification(cell, None, cluster).by_class, correct)).effective
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert found.min() < 0.7 * 60
    for name, interval in enumerate(cell_intervals(correct, cell, cluster)):
        n = expected[name]
        wilson = proportion_confint(interval.value * n, n, method="wilson")
        expected_ends = (None, None) if lone and name == 0 else pytest.approx(wilson, abs=1e-9)
        assert (interval.low, interval.high) == expected_ends
        assert interval.n == (cell == name).sum()
        assert interval.clusters == len(np.unique(cluster[cell == name]))


def test_clusters_of_other_classes_widen_the_interval_of_one_that_cannot_tell():
    """Both classes have four right of eight in four clusters; only in the others are clusters alike."""
    alike, mixed = np.repeat([1, 1, 0, 0], 2), np.tile([1, 0], 4)
    cluster = np.tile(np.repeat(np.arange(4), 2), 12)
    widths = []
    for others in (mixed, alike):
        correct = np.concatenate([mixed, *[others] * 11]).astype(bool)
        first = cell_intervals(correct, np.repeat(np.arange(12), 8), cluster)[0]
        widths.append(first.high - first.low)
    lone = proportion_confint(4, 8, method="wilson")
    assert widths[0] == pytest.approx(lone[1] - lone[0], abs=1e-9)
    assert widths[1] > 1.15 * widths[0]


@pytest.mark.parametrize("seed", range(3))
def test_a_second_way_that_is_the_first_changes_nothing_and_one_that_crosses_widens(seed):
    correct, cell, cluster = drawn(seed)
    rng = np.random.default_rng(seed)
    one, same, lone = (
        [(each.low, each.high) for each in cell_intervals(correct, cell, cluster, crossed=second)]
        for second in (None, cluster + 100, [None] * len(cell))
    )
    np.testing.assert_allclose(same, one, rtol=1e-9)
    np.testing.assert_allclose(lone, one, rtol=1e-9)
    scene = rng.integers(6, size=len(cell))
    other = rng.random(len(cell)) < 0.15 + 0.7 * (scene % 2)
    widths = [
        np.mean([each.high - each.low for each in cell_intervals(other, cell, cluster, crossed=second)])
        for second in (None, scene)
    ]
    assert widths[1] > 1.5 * widths[0]


def test_sides_are_no_more_than_opposite():
    """In the other classes what is right on one side is wrong on the other, photo by photo.

    To the class of four photos this tells more than a correlation of -1 of its own means.
    """
    rows = []
    for cluster in "012345":
        rows += [(0, group, k < 2, cluster) for group in ("common", "counter") for k in range(4)]
        for index in range(1, 9):
            hit = (int(cluster) + index) % 2 == 0
            rows += [(index, "common", hit, cluster), (index, "counter", not hit, cluster)]
    scores = score_predictions(table(rows))
    common, counter = (ends(scores, 0, group=group) for group in ("common", "counter"))
    assert ends(scores, 0, "drop") == pytest.approx((common[0] - counter[1], common[1] - counter[0]))


@pytest.mark.parametrize("r", [0.0, 0.6, 0.999, 1.0, -0.7])
@pytest.mark.parametrize(("left", "right"), [(0.99, 0.01), (0.5, 0.5), (1.0, 0.0), (0.7, 0.4), (0.2, 0.9)])
@pytest.mark.parametrize("effective", [2.0, 9.0, 400.0])
def test_every_drop_has_a_p_value_that_agrees_with_its_interval(r, left, right, effective):
    """Also where ends that stay within 0 and 1 never reach 0, however sure the interval is."""
    sides = [
        InfluenceEstimate(
            value,
            np.sqrt(value * (1 - value) / effective) * np.array(turned),
            400,
            9,
            np.inf,
            effective=effective,
        )
        for value, turned in ((left, (1.0, 0.0)), (right, (r, np.sqrt(1 - r * r))))
    ]
    found = difference_interval(*sides)
    assert 0 <= found.p_value <= 1
    assert (found.p_value < 0.05) == (not found.low <= 0 <= found.high)


def test_the_simulation_has_the_intervals_of_the_table_of_scores():
    layouts = (lambda rng: simulation.nested(rng, 6), lambda rng: simulation.crossed(rng, 5, 6, 4))
    for layout in layouts:
        draws = simulation.simulate(simulation.Scene("", layout), np.random.default_rng(0), 3)
        scores = score_predictions(simulation.predictions(draws.layout, draws.correct[0]))
        each = class_coverage.intervals(draws.layout, draws.correct[0])
        for (_, table), found in zip(scores.group_by("model", maintain_order=True), each, strict=True):
            for name, (classes, low, high) in found.items():
                metric, group = ("drop", None) if name == "drop" else ("accuracy", name)
                shown = [ends(table, int(index), metric, group) for index in classes]
                np.testing.assert_allclose(shown, np.stack([low, high], axis=1), atol=1e-9)


CLASSES = 15
SCENES = [
    simulation.Scene("photographs in labels", lambda rng: simulation.nested(rng, CLASSES, placements=3)),
    simulation.Scene("4 clusters", lambda rng: simulation.crossed(rng, CLASSES, 10, 4)),
    simulation.Scene("20 clusters", lambda rng: simulation.crossed(rng, CLASSES, 15, 20)),
    simulation.Scene("few photos", lambda rng: simulation.crossed(rng, CLASSES, 4), **simulation.INDEPENDENT),
]


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_intervals_of_single_classes_hold_the_truth_as_often_as_they_say(scene):
    found = class_coverage.coverage(scene, 400)
    for quantity in class_coverage.QUANTITIES:
        assert 0.93 <= found[quantity] <= 0.975, quantity


def test_where_clusters_matter_to_half_of_the_classes_these_are_covered_too():
    scene = class_coverage.Unlike("", SCENES[2], 5, 1.0, 0.0)
    found = class_coverage.coverage(scene, 300)
    for quantity in class_coverage.QUANTITIES:
        assert 0.92 <= found[f"strong {quantity}"] <= found[quantity] <= 0.98, quantity


def test_intervals_by_two_ways_of_clusters_are_covered_too():
    found = class_coverage.coverage(class_coverage.COMPOSITES[2], 200, block=20)
    for quantity in class_coverage.QUANTITIES:
        assert 0.93 <= found[quantity] <= 0.985, quantity


def test_cells_and_contrasts_of_one_class_have_the_intervals_of_its_rows():
    scene = simulation.Scene("", lambda rng: simulation.crossed(rng, 4, 12, 9))
    draws = simulation.simulate(scene, np.random.default_rng(1), 1)
    frame = simulation.predictions(draws.layout, draws.correct[0]).with_columns(
        class_name=pl.format("class {}", "class_index"), background="group"
    )
    scores = score_predictions(frame)
    by = score_by(frame, ("class_name", "background"), balanced=False)
    alone = cell_accuracies(frame, ["class_name", "group"])
    again = score_contrast(frame, Contrast("again", "group=common", "group=counter"))
    for index in range(4):
        for group in ("common", "counter"):
            expected = ends(scores, index, group=group)
            row = by.filter(level=f"class {index} & {group}")
            assert row.select("low", "high").row(0) == pytest.approx(expected, abs=1e-12)
            found = alone[f"class {index}", group]
            assert (found.low, found.high) == pytest.approx(expected, abs=1e-12)
        assert ends(again, index, "again") == pytest.approx(ends(scores, index, "drop"), abs=1e-12)


def test_a_class_that_is_all_classes_has_the_interval_of_all():
    frame = photos((9, 10), (3, 10)).filter(pl.col("class_index") == 0)
    scores = score_predictions(frame)
    shown = ["level", "metric", "value", "low", "high", "p_value"]
    own = scores.filter(pl.col("class_index") == 0)
    whole = scores.filter(pl.col("class_index").is_null()).join(
        own.select("level", "metric"), on=["level", "metric"], nulls_equal=True
    )
    assert own.select(shown).rows() == whole.select(shown).rows()
