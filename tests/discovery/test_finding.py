"""What a referee finds: halves of the photos, pairs of backgrounds, and what chance gives."""

from __future__ import annotations

import itertools
import math
import string
from collections import Counter
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import polars as pl
import pytest

# Many pairs are made here: a command would need many classes.
from counterground.discovery import find_pairs

# Few photos rarely exceed chance, and the rest are pure functions: no small benchmark reaches these cases.
from counterground.discovery._photos import Photos, photos_seen, split_halves
from counterground.metrics import drop_interval


def photo_rows(classes: int, backgrounds: int, clusters: int, per_cell: int) -> pl.DataFrame:
    rows = [
        {
            "path": f"{c}/{b}/{k}",
            "class_index": c,
            "background": f"b{b}",
            "cluster": f"cluster {(7 * c + 3 * b + k) % clusters}",
        }
        for c in range(classes)
        for b in range(backgrounds)
        for k in range(per_cell)
    ]
    return pl.DataFrame(rows)


@pytest.mark.parametrize("seed", range(5))
def test_halves_share_no_cluster_and_are_alike(seed):
    photos = photo_rows(classes=12, backgrounds=4, clusters=40, per_cell=6)
    chooses = split_halves(photos, seed)
    sides = photos.with_columns(chooses).group_by("cluster").agg(pl.col("chooses").n_unique())
    assert sides["chooses"].max() == 1
    assert 0.4 < chooses.mean() < 0.6
    by_background = photos.with_columns(chooses).group_by("background").agg(pl.col("chooses").mean())
    assert by_background["chooses"].is_between(0.35, 0.65).all()


def test_halves_are_random_and_the_larger_one_does_not_choose():
    sizes = (12, 13, 14, 15, 11)
    photos = pl.DataFrame(
        {
            "path": [f"{c}/{k}" for c, size in enumerate(sizes) for k in range(size)],
            "class_index": 0,
            "background": "b0",
            "cluster": [f"cluster {c}" for c, size in enumerate(sizes) for _ in range(size)],
        }
    )
    halves = [split_halves(photos, seed) for seed in range(20)]
    assert all(chooses.mean() < 0.5 for chooses in halves)
    assert len({tuple(chooses) for chooses in halves}) > 5


def test_photos_without_cluster_stand_alone_and_the_seed_decides():
    photos = photo_rows(6, 3, 1, 10).with_columns(cluster=pl.lit(None, dtype=pl.String))
    one, same, other = (split_halves(photos, seed) for seed in (0, 0, 1))
    assert one.equals(same)
    assert not one.equals(other)
    cells = photos.with_columns(one).group_by("class_index", "background").agg(pl.col("chooses").sum())
    assert cells["chooses"].is_between(4, 6).all()


def predictions(accuracy: dict[tuple[int, str], tuple[int, int]], **columns) -> pl.DataFrame:
    rows = [
        {
            "model": "m",
            "path": f"{c}/{b}/{k}",
            "class_index": c,
            "class_name": f"class {c}",
            "background": b,
            "cluster": None,
            "correct": k < right,
            "true_rank": 0 if k < right else 1,
            "confidence": 0.5,
        }
        for (c, b), (right, n) in accuracy.items()
        for k in range(n)
    ]
    schema = {"class_index": pl.Int32, "cluster": pl.String, "true_rank": pl.Int32}
    return pl.DataFrame(rows, schema_overrides=schema).with_columns(**columns)


def chosen(rows, **options):
    found, _ = find_pairs(rows, **{"split": "none", "min_photos": 2, "permutations": 19, **options})
    return found.pairs.select("class_index", "common", "counter", "drop").rows()


def test_best_is_common_worst_is_counter_and_flat_classes_go():
    rows = predictions(
        {
            (0, "snow"): (9, 10), (0, "grass"): (5, 10), (0, "sky"): (2, 10), (0, "rare"): (0, 1),
            (1, "snow"): (10, 20), (1, "grass"): (11, 20),
            (2, "snow"): (1, 2),
        }
    )  # fmt: skip
    assert chosen(rows) == [(0, "snow", "sky", pytest.approx(0.7))]
    assert [row[:3] for row in chosen(rows, min_drop=0.04)] == [(0, "snow", "sky"), (1, "grass", "snow")]
    assert [row[2] for row in chosen(rows, min_photos=1)] == ["rare"]
    found, _ = find_pairs(rows, split="none", min_photos=2, permutations=19)
    first = found.cells.row(1, named=True)
    assert (first["n"], first["clusters"], first["accuracy"]) == (1, 1, 0.0)
    assert (found.classes_seen, found.comparable) == (3, 2)


def test_equal_accuracies_go_to_the_place_of_the_true_name_then_to_more_photos():
    rows = predictions(
        {(0, "a"): (9, 10), (0, "b"): (5, 10), (0, "c"): (5, 10)}
        | {(1, "a"): (4, 4), (1, "b"): (4, 4), (1, "c"): (4, 4), (1, "d"): (0, 4)}
        | {(2, "a"): (2, 2), (2, "b"): (4, 4), (2, "d"): (0, 3), (2, "e"): (0, 2)},
        true_rank=pl.when("correct").then(0).when(background="b").then(40).otherwise(2).cast(pl.Int32),
        confidence=pl.when(background="c").then(0.9).otherwise(0.5),
    )
    assert [row[1:3] for row in chosen(rows)] == [("a", "b"), ("c", "d"), ("b", "d")]


def test_what_nothing_decides_is_decided_by_lot_not_by_name():
    names = string.ascii_lowercase[:6]
    rows = predictions({(c, name): (4 if name < "d" else 0, 4) for c in range(40) for name in names})
    pairs = chosen(rows)
    assert {row[1] for row in pairs} == set("abc")
    assert {row[2] for row in pairs} == set("def")
    assert pairs == chosen(rows)
    assert pairs != chosen(rows, seed=1)


def test_a_background_needs_half_of_what_the_median_one_has():
    sizes = {"snow": 40, "grass": 30, "sky": 20, "rare": 9}
    rows = predictions({(c, name): (n // 2, n) for c in range(5) for name, n in sizes.items()})
    found, _ = find_pairs(rows, split="none", permutations=19)
    assert found.photos_needed == 13  # the median is 25
    halved, _ = find_pairs(rows, split="half", permutations=19)
    assert halved.photos_needed in (6, 7)
    few, _ = find_pairs(predictions({(0, "a"): (1, 2), (0, "b"): (1, 3)}), split="none", permutations=19)
    assert few.photos_needed == 2


def test_two_photos_are_too_few():
    found, _ = find_pairs(predictions({(0, "a"): (1, 1), (0, "b"): (0, 1)}), permutations=9)
    assert found.comparable == 0


def table(random, classes, backgrounds, clusters, right):
    """Predictions of photos, of arrays ``[n]``."""
    return pl.DataFrame(
        {
            "model": "m",
            "path": [f"{number:05d}" for number in range(len(right))],
            "class_index": classes.astype(np.int32),
            "class_name": classes.astype(str),
            "background": backgrounds.astype(str),
            "cluster": clusters.astype(str),
            "correct": right,
            "true_rank": np.where(right, 0, 1).astype(np.int32),
            "confidence": random.random(len(right)),
        }
    )


def draw(
    seed,
    *,
    classes=12,
    labels=4,
    photographs=4,
    per_cell=2,
    effect=0.0,
    shared=0.0,
    photograph=0.0,
    mixed=False,
):
    """A referee on classes that stand on every photograph, each of one label; effects are in accuracy."""
    random = np.random.default_rng(seed)
    c, k, _ = np.indices((classes, labels * photographs, per_cell)).reshape(3, -1)
    b = random.integers(0, labels, len(c)) if mixed else k // photographs
    p = 0.5 + random.normal(0, effect, (classes, labels))[c, b] + random.normal(0, shared, labels)[b]
    p += random.normal(0, photograph, labels * photographs)[k]
    right = random.random(len(c)) < p
    return table(random, c, b, k, right)


def p_values(seeds, *, split="half", alone=False, **world):
    for seed in seeds:
        rows = draw(seed, **world)
        rows = rows.with_columns(cluster=pl.lit(None, dtype=pl.String)) if alone else rows
        yield find_pairs(rows, split=split, seed=seed, permutations=99)[0].decisive.p


@pytest.mark.parametrize("split", ["half", "none"])
def test_chance_is_what_permuted_backgrounds_give(split):
    nothing = list(p_values(range(30), split=split, photograph=0.2))
    assert np.mean(np.array(nothing) < 0.05) <= 0.1
    assert 0.35 < np.mean(nothing) < 0.65
    assert np.mean(np.array(list(p_values(range(10), split=split, effect=0.3, photograph=0.1))) < 0.05) >= 0.9


def heavy_observers(seed, labels=((10,) * 4, (10,) * 4, (1,) * 40, (1,) * 40)):
    """Six classes without an effect; two backgrounds come from few observers with many photos each."""
    random = np.random.default_rng(seed)
    rows = [
        (index, label, f"{index} {label} {observer}", right)
        for index in range(6)
        for label, sizes in enumerate(labels)
        for observer, size in enumerate(sizes)
        for right in random.random(size) < NormalDist().cdf(0.6 + random.normal(0, 1.5))
    ]
    classes, backgrounds, clusters, right = zip(*rows, strict=True)
    return table(random, *map(np.array, (classes, backgrounds, clusters, right)))


@pytest.mark.parametrize("split", ["half", "none"])
def test_observers_with_many_photos_on_one_background_are_no_effect_of_it(split):
    """Drops compared without their errors: 12 % below 0.05 with halves, 75 % where chosen on all photos."""
    found = [
        find_pairs(heavy_observers(seed), split=split, seed=seed, permutations=99)[0] for seed in range(60)
    ]
    decisive = [each.decisive.p for each in found]
    assert np.mean(np.array(decisive) < 0.05) <= 0.12
    assert 0.35 < np.mean(decisive) < 0.65


def test_the_variance_of_a_drop_adds_the_squares_of_what_each_cluster_does():
    rows = heavy_observers(1, labels=((3, 2, 4, 3), (5, 4, 3), (2, 2, 2, 2)))
    rows = rows.with_columns(cluster=pl.col("cluster").str.slice(2))  # an observer has photos of all classes
    photos = Photos(photos_seen(rows), np.zeros(len(rows), np.intp), 1)
    labels = photos.observed()
    weights = np.zeros((1, 6, 3))
    weights[:, :, 0], weights[:, :, 1] = 1 / 6, -1 / 6
    deviations = Counter()
    for index, label in itertools.product(range(6), range(2)):
        cell = rows.filter(class_index=index, background=str(label))
        for (cluster,), of in cell.group_by("cluster"):
            away = (of["correct"].mean() - cell["correct"].mean()) * len(of) / len(cell)
            deviations[cluster] += (1 - 2 * label) / 6 * away / math.sqrt(1 - len(of) / len(cell))
    (found,) = photos.variance(labels, photos.count(labels), 0, weights)
    assert found == pytest.approx(sum(value**2 for value in deviations.values()))


def test_what_photos_of_a_photograph_share_is_no_effect_of_its_label():
    world = {"split": "none", "photograph": 0.25, "photographs": 3, "per_cell": 6}
    assert np.mean(np.array(list(p_values(range(12), **world))) < 0.05) <= 0.1
    fooled = list(p_values(range(12), alone=True, **world))
    assert np.mean(np.array(fooled) < 0.05) > 0.5, "as if they were independent"


def test_one_photograph_a_label_proves_nothing():
    rows = draw(0, photographs=1, per_cell=8, effect=0.3)
    found, _ = find_pairs(rows, split="none", permutations=19)
    assert found.decisive.p > 0.5
    assert not found.exceeds_chance


def test_a_half_that_keeps_no_pair_has_no_share_in_a_mean_drop():
    found = [
        find_pairs(draw(seed, classes=2, labels=2, effect=0.3), split="cross", min_drop=0.4, permutations=9)[
            0
        ]
        for seed in range(30)
    ]
    alone = [each for each in found if each.pairs["half"].n_unique() == 1]
    assert 5 < len(alone) < len(found)
    for each in found:
        if len(each.pairs):
            assert each.chosen_by_chance.observed == pytest.approx(each.chosen_drop.value)
            assert each.held_out_by_chance.observed == pytest.approx(each.reported_drop.value)


def test_observers_with_several_labels_are_permuted_within_classes():
    rows = draw(0, per_cell=4, effect=0.25, mixed=True)
    own = rows.with_columns(cluster=pl.concat_str("class_index", pl.lit("/"), "cluster"))
    found, _ = find_pairs(own, split="none", permutations=99)
    assert found.exceeds_chance
    flat, _ = find_pairs(draw(1, per_cell=4, mixed=True), split="none", permutations=99)
    assert not flat.exceeds_chance


def test_drops_by_chance_have_a_range_and_are_inflated_only_where_pairs_were_chosen():
    rows = draw(3, effect=0.4)
    found, _ = find_pairs(rows, permutations=99)
    for figure in (found.classes_by_chance, found.chosen_by_chance, found.held_out_by_chance):
        assert figure.low <= figure.expected <= figure.high
        assert 0 < figure.p <= 1
    assert found.chosen_by_chance.observed == pytest.approx(found.pairs["drop"].mean())
    assert found.chosen_by_chance.expected > 0.2
    assert abs(found.held_out_by_chance.expected) < 0.05
    assert found.held_out_by_chance.p < 0.05


def test_a_drop_that_narrowly_exceeds_chance_may_be_inflated():
    found, _ = find_pairs(draw(3, effect=0.4))
    for p in (0.001, 0.0019, 0.002, 0.03, 0.049, 0.05, 0.5):
        narrow = replace(found, held_out_by_chance=replace(found.held_out_by_chance, p=p))
        assert narrow.may_be_inflated == (p in (0.002, 0.03, 0.049))


@pytest.mark.slow
def test_what_exceeds_chance_without_an_effect_is_inflated_and_all_together_are_not():
    options = {"permutations": 99}
    found = [find_pairs(draw(seed), seed=seed + 1000, **options)[0] for seed in range(80)]
    written = [each for each in found if each.exceeds_chance]
    assert 0 < len(written) <= 10
    assert min(each.reported_drop.value for each in written) > 0.05
    assert abs(np.mean([each.reported_drop.value for each in found])) < 0.03
    strong = [find_pairs(draw(seed, effect=0.6), seed=seed + 1000)[0] for seed in range(5)]
    assert all(each.exceeds_chance and not each.may_be_inflated for each in strong)


def truth_of(found, rows):
    """The mean accuracy lost on these rows between the backgrounds of the pairs."""
    rates = rows.group_by("class_index", "background").agg(pl.col("correct").mean()).rows()
    level = {(index, background): rate for index, background, rate in rates}
    pairs = found.pairs.select("class_index", "common", "counter").rows()
    return np.mean([level[c, common] - level[c, counter] for c, common, counter in pairs])


def test_shrinking_finds_more_where_a_background_affects_all_classes_alike():
    gain = []
    for seed in range(8):
        other = draw(seed, classes=20, per_cell=40, shared=0.12, mixed=True)
        rows = other.group_by("class_index", "cluster", maintain_order=True).head(1)
        rows = rows.with_columns(cluster=pl.lit(None, dtype=pl.String))
        drops = [
            truth_of(find_pairs(rows, split="none", choose=choose, permutations=9)[0], other)
            for choose in ("best", "shrunken")
        ]
        gain.append(drops[1] - drops[0])
    assert np.mean(gain) > 0.03


def test_halves_are_swapped_and_the_interval_is_that_of_a_half():
    rows = draw(5, effect=0.2, photograph=0.1)
    swap, groups = find_pairs(rows, split="cross", permutations=19)
    half, kept = find_pairs(rows, split="half", permutations=19)
    assert set(swap.pairs["half"]) == {"first", "second"}
    chosen_first = swap.pairs.filter(half="first").drop("half")
    assert chosen_first.equals(half.pairs.drop("half"))
    assert set(kept["path"]) < set(groups["path"])
    assert kept.join(groups, on=["path", "group"]).height == len(kept)

    grouped = rows.join(groups, on="path").sort("path")
    in_first = split_halves(rows, 0)
    first = set(rows.filter(in_first)["path"])
    sides = [grouped.filter(pl.col("path").is_in(list(first)) == side) for side in (False, True)]
    columns = ("correct", "class_index", "group", "cluster")
    one, other = (drop_interval(*(side[name] for name in columns)) for side in sides)
    pooled = drop_interval(*(grouped[name] for name in columns))
    found = swap.reported_drop
    assert found.value == pytest.approx((one.value + other.value) / 2)
    assert found.high - found.low == pytest.approx((one.high - one.low + other.high - other.low) / 2)
    assert found.high - found.low > pooled.high - pooled.low
    assert half.reported_drop.value == pytest.approx(one.value)


def test_of_several_referees_the_mean_accuracy_counts():
    rows = predictions({(0, "a"): (6, 10), (0, "b"): (8, 10), (0, "c"): (1, 10)})
    other = predictions({(0, "a"): (9, 10), (0, "b"): (4, 10), (0, "c"): (1, 10)}, model=pl.lit("other"))
    assert chosen(rows) == [(0, "b", "c", pytest.approx(0.7))]
    both, _ = find_pairs(pl.concat([rows, other]), split="none", min_photos=2, permutations=19)
    assert both.pairs.select("common", "counter", "drop").rows() == [("a", "c", pytest.approx(0.65))]
    cell = both.cells.filter(background="a").row(0, named=True)
    assert (cell["n"], cell["accuracy"]) == (10, pytest.approx(0.75))
    assert both.chosen_drop.value == pytest.approx(0.65)
