from __future__ import annotations

import numpy as np
import pytest
from array_tests import paired_test
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_scores import (
    balanced_accuracy,
    class_drops,
    mean_drop,
    tie_rate,
    top_k_accuracy,
    worst_group_accuracy,
)

from counterground.metrics import (
    balanced_interval,
    drop_interval,
    expected_calibration_error,
    holm,
    proportion_interval,
)

photo = st.tuples(
    st.booleans(),
    st.integers(0, 4),
    st.sampled_from(["common", "counter", None]),
    st.sampled_from(["a", "b", "c", "d", None]),
)
photos = st.lists(photo, min_size=1, max_size=40)


def columns(rows):
    correct, index, group, cluster = zip(*rows, strict=True)
    return np.array(correct), np.array(index), list(group), list(cluster)


@settings(max_examples=60, deadline=None)
@given(photos, st.randoms(use_true_random=False))
def test_the_order_of_photos_does_not_matter(rows, random):
    shuffled = random.sample(rows, len(rows))
    one, two = columns(rows), columns(shuffled)
    assert balanced_accuracy(*one[:2]) == pytest.approx(balanced_accuracy(*two[:2]))
    assert mean_drop(*one[:3]) == pytest.approx(mean_drop(*two[:3]))
    assert worst_group_accuracy(*one[:3]) == pytest.approx(worst_group_accuracy(*two[:3]))
    first, second = drop_interval(*one), drop_interval(*two)
    assert (first.low, first.high) == pytest.approx((second.low, second.high))
    assert (first.n, first.clusters) == (second.n, second.clusters)


def in_one_cluster(rows):
    """Whether all photos of a group are in one cluster, among the classes that have both groups."""
    sides = {}
    for place, (_, index, group, cluster) in enumerate(rows):
        sides.setdefault(index, {}).setdefault(group, set()).add(place if cluster is None else cluster)
    both = [found for found in sides.values() if {"common", "counter"} <= found.keys()]
    return min(len(set().union(*(found[name] for found in both))) for name in ("common", "counter")) == 1


@settings(max_examples=80, deadline=None)
@given(photos)
def test_intervals_are_in_bounds_and_hold_their_value(rows):
    correct, index, group, cluster = columns(rows)
    accuracy = balanced_interval(correct, index, cluster)
    plain = proportion_interval(correct, cluster)
    drop = drop_interval(correct, index, group, cluster)
    for interval, bottom in ((accuracy, 0.0), (plain, 0.0), (drop, -1.0)):
        if interval.value is None:
            assert interval.n == 0
            continue
        assert bottom <= interval.value <= 1.0
        assert (interval.low is None) == (
            interval.clusters < 2 or (interval is drop and in_one_cluster(rows))
        )
        if interval.low is not None:
            assert bottom <= interval.low <= interval.value <= interval.high <= 1.0
            assert interval.low < interval.high


@settings(max_examples=60, deadline=None)
@given(photos)
def test_a_missing_group_gives_none_and_never_0(rows):
    correct, index, group, cluster = columns(rows)
    only = ["common" if name == "counter" else name for name in group]
    assert mean_drop(correct, index, only) is None
    assert worst_group_accuracy(correct, index, only) is None
    assert drop_interval(correct, index, only, cluster).value is None
    assert paired_test(correct, ~correct, index, only, cluster, quantity="drop").value is None
    assert np.isnan(class_drops(correct, index, only).counter).all()
    assert drop_interval(correct, index, None, cluster).value is None


@settings(max_examples=60, deadline=None)
@given(photos)
def test_exchanging_groups_or_models_turns_the_sign(rows):
    correct, index, group, cluster = columns(rows)
    swapped = [{"common": "counter", "counter": "common"}.get(name) for name in group]
    one, two = drop_interval(correct, index, group, cluster), drop_interval(correct, index, swapped, cluster)
    if one.value is None:
        assert two.value is None
        return
    assert one.value == pytest.approx(-two.value)
    if one.low is not None:
        assert (one.low, one.high) == pytest.approx((-two.high, -two.low))
    other = np.roll(correct, 1)
    forth = paired_test(correct, other, index, group, cluster, quantity="drop")
    back = paired_test(other, correct, index, group, cluster, quantity="drop")
    assert forth.value == pytest.approx(-back.value)
    assert forth.p_value == pytest.approx(back.p_value)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1), st.integers(1, 20))
def test_calibration_error_is_a_fraction(pairs, bins):
    confidence, correct = zip(*pairs, strict=True)
    assert 0 <= expected_calibration_error(confidence, correct, bins) <= 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=12))
def test_holm_only_enlarges_and_keeps_the_order(p_values):
    adjusted = holm(p_values)
    pairs = sorted((p, a) for p, a in zip(p_values, adjusted, strict=True) if p is not None)
    assert all(p <= a <= 1 for p, a in pairs)
    assert [a for _, a in pairs] == sorted(a for _, a in pairs)
    assert [a is None for a in adjusted] == [p is None for p in p_values]


def test_ranks_count_from_0_and_absent_names_are_wrong():
    assert top_k_accuracy([0, 4, 5, None, -1], 5) == pytest.approx(2 / 5)
    assert top_k_accuracy([0, 1, 2], 1) == pytest.approx(1 / 3)


def test_ties_are_exact_and_a_single_competitor_is_none():
    assert tie_rate([0.0, 1e-9, None, 0.5]) == pytest.approx(1 / 4)


def test_four_right_of_four_is_no_certainty():
    interval = proportion_interval([True] * 4)
    assert interval.high == 1.0
    assert interval.low < 0.5


def test_one_cluster_has_no_interval():
    interval = proportion_interval([True, False, True], ["a", "a", "a"])
    assert (interval.low, interval.high, interval.clusters) == (None, None, 1)
    test = paired_test([True, True], [False, True], [0, 0], cluster=["a", "a"])
    assert (test.value, test.low, test.p_value) == (0.5, None, None)


def test_equal_models_differ_by_nothing_but_not_certainly():
    correct = [True, False, True, True]
    test = paired_test(correct, correct, [0, 0, 1, 1])
    assert (test.value, test.p_value) == (0.0, 1.0)
    assert test.low < 0 < test.high


def test_always_better_in_few_photos_is_not_proof():
    assert paired_test([True] * 4, [False] * 4, [0] * 4).p_value == pytest.approx(0.125)
