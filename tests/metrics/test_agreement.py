"""Kappa and alpha against scikit-learn and krippendorff; the table against decisions counted by hand."""

from __future__ import annotations

import warnings
from itertools import combinations

import krippendorff
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t
from sklearn.metrics import cohen_kappa_score

from counterground.metrics import (
    AGREEMENT_SCHEMA,
    agreement,
    alpha_interval,
    cohen_kappa,
)

WORDS = np.array(["grass", "sky", "snow", "water", "ground"])


def reference_kappa(first, second):
    both = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    if not both or len({label for pair in both for label in pair}) < 2:
        return None
    return cohen_kappa_score(*([str(label) for label in side] for side in zip(*both, strict=True)))


def reference_alpha(ratings):
    """The package's answer; it raises, or divides by zero, where alpha is undefined."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            value = krippendorff.alpha(np.asarray(ratings, dtype=float), level_of_measurement="nominal")
        except ValueError:
            return None
    return None if np.isnan(value) else value


def draw(units, annotators, values, error, missing, seed):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, values, units)
    guess = rng.integers(0, values, (annotators, units))
    ratings = np.where(rng.random(guess.shape) < error, guess, truth).astype(float)
    ratings[rng.random(ratings.shape) < missing] = np.nan
    return ratings


rating = st.one_of(st.none(), st.sampled_from([0, 1, 2, 5, 6.5]))
tables = st.integers(1, 12).flatmap(
    lambda units: st.lists(
        st.lists(rating, min_size=units, max_size=units), min_size=2, max_size=5
    )
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(tables)
def test_alpha_equals_the_package_for_any_table(table):
    expected = reference_alpha([[np.nan if r is None else r for r in row] for row in table])
    found = alpha_interval(table).value
    assert found == (None if expected is None else pytest.approx(expected, abs=1e-9))


@settings(max_examples=200, deadline=None)
@given(tables)
def test_kappa_equals_scikit_learn_for_any_table(table):
    expected = reference_kappa(*table[:2])
    found = cohen_kappa(*table[:2])
    words = [[None if label is None else f"label {label}" for label in side] for side in table[:2]]
    assert cohen_kappa(*words) == found
    assert found == (None if expected is None else pytest.approx(expected, abs=1e-9))
    assert cohen_kappa(table[1], table[0]) == (None if found is None else pytest.approx(found))


def test_published_examples():
    # Krippendorff 2011, "Computing Krippendorff's alpha-reliability", part C.
    n = None
    observers = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, n, n, n],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, n, 3],
        [n, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, n],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, n],
    ]
    assert round(alpha_interval(observers).value, 3) == 0.743
    # Cohen's kappa of 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no is 0.4.
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert cohen_kappa(first, second) == pytest.approx(0.4)


@pytest.mark.parametrize("same", [["snow"] * 4, ["snow", None, "snow", "snow"], [None] * 4])
def test_one_label_everywhere_or_nothing_shared_is_undefined(same):
    assert cohen_kappa(same, ["snow"] * 4) is None
    interval = alpha_interval([same, ["snow"] * 4])
    assert (interval.value, interval.low, interval.high) == (None, None, None)


SCENES = [(100, 2, 8, 0.1, 0.0), (20, 2, 3, 0.1, 0.0), (60, 4, 5, 0.3, 0.4)]


@pytest.mark.parametrize("scene", SCENES)
def test_intervals_of_alpha_hold_the_truth(scene):
    truth = alpha_interval(draw(60_000, *scene[1:], seed=9)).value
    intervals = [alpha_interval(draw(*scene, seed=seed)) for seed in range(400)]
    held = np.mean([i.low <= truth <= i.high for i in intervals])
    assert 0.92 <= held <= 0.985


def test_intervals_of_alpha_count_clusters():
    rng = np.random.default_rng(0)

    def clustered(clusters, per_cluster):
        cluster = np.repeat(np.arange(clusters), per_cluster)
        hard = rng.random(clusters)[cluster] * 0.6
        truth = rng.integers(0, 5, len(cluster))
        guess = rng.integers(0, 5, (2, len(cluster)))
        return np.where(rng.random(guess.shape) < hard, guess, truth).astype(float), cluster

    truth = alpha_interval(clustered(4000, 15)[0]).value
    drawn = [clustered(20, 15) for _ in range(300)]
    held = {"with": 0, "without": 0}
    for ratings, cluster in drawn:
        for name, interval in (
            ("with", alpha_interval(ratings, cluster)),
            ("without", alpha_interval(ratings)),
        ):
            held[name] += interval.low <= truth <= interval.high
    assert held["with"] / 300 >= 0.91
    assert held["without"] < held["with"]
    assert alpha_interval(*drawn[0]).clusters == 20


@pytest.mark.parametrize("clusters", [4, 60])
@pytest.mark.parametrize("seed", range(3))
def test_the_interval_of_alpha_has_the_variance_of_its_numerical_derivatives(clusters, seed):
    """By the weight of each unit: 2 to 4 ratings of 3 labels, in clusters of several sizes."""
    ratings = draw(60, 4, 3, 0.4, 0.2, seed)
    cluster = np.random.default_rng(seed).integers(clusters, size=60) if clusters < 60 else np.arange(60)
    found = alpha_interval(ratings, cluster)
    counts = np.array([(ratings == label).sum(axis=0) for label in range(3)]).T
    kept = counts.sum(axis=1) > 1
    counts, cluster = counts[kept], np.unique(cluster[kept], return_inverse=True)[1]

    def disagreement(weights):
        """Observed, and expected by chance, in units with these weights."""
        m, totals = counts.sum(axis=1), weights @ counts
        n = totals.sum()
        observed = weights @ ((m**2 - (counts**2).sum(axis=1)) / (m - 1)) / n
        return observed, (n**2 - totals @ totals) / (n * (n - 1))

    def ratio(weights):
        observed, expected = disagreement(weights)
        return observed / expected

    ones, step = np.ones(len(counts)), 1e-5
    _, expected = disagreement(ones)
    moves = [(ratio(ones + step * row) - ratio(ones - step * row)) / 2 / step for row in np.eye(len(counts))]
    moved = np.bincount(cluster, weights=moves)
    sizes = np.bincount(cluster, weights=counts.sum(axis=1))
    variance = expected**2 * len(moved) * moved.var(ddof=1)
    z = t.ppf(0.975, sizes.sum() ** 2 / (sizes**2).sum() - 1)
    agreed = 1 - ratio(ones) * expected
    n = agreed * (1 - agreed) / variance
    ends = np.sort(np.roots([1 + z**2 / n, -(2 * agreed + z**2 / n), agreed**2]))
    assert (found.low, found.high) == pytest.approx(tuple(1 - (1 - ends) / expected), rel=1e-5)


def votes(*rows, task="background"):
    """(path, class, annotator, labels) -> votes as a pool gives them, in this order."""
    names = ("path", "class_name", "annotator", "labels")
    return pl.DataFrame(rows, schema=names, orient="row").with_columns(task=pl.lit(task))


def only(frame, class_name=None, label=None):
    found = frame.filter(
        pl.col("class_name").eq_missing(pl.lit(class_name)), pl.col("label").eq_missing(pl.lit(label))
    )
    assert found.height == 1
    return found.row(0, named=True)


def random_votes(annotators=2, photos=40, seed=0, share=1.0):
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(photos):
        truth = rng.integers(0, 4)
        for who in range(annotators):
            if who and rng.random() > share:
                continue
            first = truth if rng.random() < 0.7 else rng.integers(0, 4)
            second = (first + 1) % 4 if rng.random() < 0.3 else None
            labels = [str(WORDS[first])] + ([] if second is None else [str(WORDS[second])])
            rows.append((f"{number}.jpg", f"class {number % 3}", f"annotator {who}", labels))
    return rows


def test_the_table_equals_the_references_for_all_photos_classes_and_labels():
    rows = random_votes()
    found = agreement(votes(*rows))
    assert dict(found.schema) == {
        name: kind() if isinstance(kind, type) else kind for name, kind in AGREEMENT_SCHEMA.items()
    }
    assert found.height == 1 + 3 + 4

    def sides(of, keep=lambda row: True):
        chosen = [row for row in rows if keep(row)]
        return [[of(row[3]) for row in chosen if row[2] == f"annotator {who}"] for who in (0, 1)]

    cases = [(only(found), sides(lambda labels: labels[0]))]
    for k in range(3):
        name = f"class {k}"
        cases.append(
            (only(found, name), sides(lambda labels: labels[0], lambda row, name=name: row[1] == name))
        )
    cases += [
        (only(found, label=word), sides(lambda labels, word=word: float(word in labels)))
        for word in WORDS[:4]
    ]
    for row, pair in cases:
        assert row["annotators"] == 2
        assert row["photos"] == len(pair[0])
        assert row["agreement"] == pytest.approx(np.mean([a == b for a, b in zip(*pair, strict=True)]))
        assert row["kappa"] == pytest.approx(cohen_kappa_score(*pair))
        codes = np.unique(np.array(pair), return_inverse=True)[1].reshape(2, -1)
        assert row["alpha"] == pytest.approx(krippendorff.alpha(codes, level_of_measurement="nominal"))
        assert row["low"] < row["alpha"] < row["high"]


def test_more_than_two_annotators_give_the_mean_kappa_of_pairs_by_shared_photos():
    rows = random_votes(annotators=4, share=0.5, seed=3)
    found = only(agreement(votes(*rows)))
    given = {(row[0], row[2]): row[3][0] for row in rows}
    photos = sorted({row[0] for row in rows})
    table = [[given.get((photo, f"annotator {who}")) for photo in photos] for who in range(4)]
    pairs = [
        (cohen_kappa(a, b), sum(x is not None and y is not None for x, y in zip(a, b, strict=True)))
        for a, b in combinations(table, 2)
    ]
    assert found["kappa"] == pytest.approx(sum(k * n for k, n in pairs) / sum(n for _, n in pairs))
    by_photo = [[given[key] for key in given if key[0] == photo] for photo in photos]
    shares = [np.mean([a == b for a, b in combinations(v, 2)]) for v in by_photo if len(v) > 1]
    assert found["photos"] == len(shares)
    assert found["agreement"] == pytest.approx(np.mean(shares))
    codes = [[np.nan if v is None else float(np.flatnonzero(v == WORDS)[0]) for v in row] for row in table]
    assert found["alpha"] == pytest.approx(krippendorff.alpha(codes, level_of_measurement="nominal"))


def test_where_nobody_shares_a_photo_figures_are_null_and_never_zero():
    rows = [("a.jpg", "bear", "ann", ["snow"]), ("b.jpg", "swan", "bob", ["water"])]
    found = agreement(votes(*rows))
    assert found["photos"].to_list() == [0] * 5
    assert found["class_name"].drop_nulls().to_list() == ["bear", "swan"]
    assert found["label"].drop_nulls().to_list() == ["snow", "water"]
    assert found.select("agreement", "kappa", "alpha", "low", "high").null_count().row(0) == (5,) * 5
    assert agreement(votes(*rows).clear()).is_empty()


def test_tasks_are_apart_and_clusters_widen_intervals():
    rows = random_votes(photos=60, seed=5)
    review = [(path, name, who, ["keep"]) for path, name, who, _ in rows]
    both = pl.concat([votes(*review, task="review"), votes(*rows)])
    found = agreement(both)
    assert found["task"].unique(maintain_order=True).to_list() == ["review", "background"]
    kept = only(found.filter(pl.col("task") == "review"))
    assert (kept["agreement"], kept["kappa"], kept["alpha"]) == (1.0, None, None)
    alone = only(agreement(votes(*rows)))
    assert only(found.filter(pl.col("task") == "background")) == alone
    together = votes(*rows).with_columns(cluster=pl.col("path").str.slice(0, 1))
    grouped = only(agreement(together))
    assert grouped["alpha"] == alone["alpha"]
    assert (grouped["low"], grouped["high"]) != (alone["low"], alone["high"])
