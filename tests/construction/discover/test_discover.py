from __future__ import annotations

import itertools
import json
import math
import re
import shutil
import string
from collections import Counter
from dataclasses import replace
from statistics import NormalDist

import colour_model
import numpy as np
import polars as pl
import pytest
from PIL import Image

import counterground as cg
from counterground.cli import main

# Many pairs are made here: a command would need many classes.
from counterground.cli._show import show_discovery
from counterground.construction.discover import discover_pairs, find_pairs, read_discovery

# Few photos rarely exceed chance, and the rest are pure functions: no small benchmark reaches these cases.
from counterground.construction.discover._discover import _sentences
from counterground.construction.discover._photos import photos_seen, split_halves
from counterground.construction.discover._tally import Photos
from counterground.errors import CounterGroundError, OtherNamesWarning, UsageError
from counterground.inference import Settings
from counterground.metrics import DROP, Contrast, Design, drop_interval
from counterground.photos import Discovered, read_benchmark
from counterground.pool import open_pool
from counterground.results import own_referees

REFEREE = "colour_model:brightness"  # of tests/support: right about one time in three


def discovered(benchmark, out, model=REFEREE, label_space="benchmark", **changes):
    options = {"min_drop": 0, "min_photos": 1, "split": "half", "seed": 3, "write_anyway": True, **changes}
    return discover_pairs(benchmark, model, Settings(label_space=label_space), out, **options)


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


@pytest.mark.parametrize("seed", range(5))
def test_a_photograph_with_two_labels_stays_in_one_half(seed):
    photos = photo_rows(classes=6, backgrounds=4, clusters=1, per_cell=4).with_columns(
        cluster=pl.when(pl.col("background").is_in(["b0", "b1"]) & pl.col("path").str.ends_with("/0"))
        .then(pl.lit("sheep.jpg"))
        .otherwise(pl.concat_str("background", pl.col("path").str.tail(1)))
    )
    chooses = split_halves(photos, seed)
    assert photos.filter(cluster="sheep.jpg")["background"].n_unique() == 2
    assert photos.with_columns(chooses).filter(cluster="sheep.jpg")["chooses"].n_unique() == 1


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
    assert [row[:3] for row in chosen(rows, min_drop=4)] == [(0, "snow", "sky"), (1, "grass", "snow")]
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


@pytest.mark.parametrize("split", ["half", "swap", "none"])
@pytest.mark.parametrize("seed", range(4))
def test_photos_of_one_cluster_cannot_be_halved(split, seed):
    rows = predictions({(c, name): (c, 4) for c in range(3) for name in "ab"}, cluster=pl.lit("ann"))
    found, _ = find_pairs(rows, split=split, seed=seed, permutations=9)
    assert (found.photos_needed, found.comparable) == (2, 3 if split == "none" else 0)


def test_two_photos_are_too_few():
    found, _ = find_pairs(predictions({(0, "a"): (1, 1), (0, "b"): (0, 1)}), permutations=9)
    assert found.comparable == 0


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
    return pl.DataFrame(
        {
            "model": "m",
            "path": [f"{number:05d}" for number in range(len(c))],
            "class_index": c.astype(np.int32),
            "class_name": c.astype(str),
            "background": b.astype(str),
            "cluster": k.astype(str),
            "correct": right,
            "true_rank": np.where(right, 0, 1).astype(np.int32),
            "confidence": random.random(len(c)),
        }
    )


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
    return pl.DataFrame(
        {
            "model": "m",
            "path": [f"{number:05d}" for number in range(len(rows))],
            "class_index": np.array(classes, np.int32),
            "class_name": [str(index) for index in classes],
            "background": [str(label) for label in backgrounds],
            "cluster": clusters,
            "correct": right,
            "true_rank": np.where(right, 0, 1).astype(np.int32),
            "confidence": random.random(len(rows)),
        }
    )


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
        find_pairs(draw(seed, classes=2, labels=2, effect=0.3), split="swap", min_drop=40, permutations=9)[0]
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


def test_a_drop_that_narrowly_exceeds_chance_is_said_to_be_inflated_perhaps():
    found, _ = find_pairs(draw(3, effect=0.4), intervals=False)
    said = {}
    for p in (0.001, 0.0019, 0.002, 0.03, 0.049, 0.05, 0.5, None):
        narrow = replace(found, held_out_by_chance=replace(found.held_out_by_chance, p=p))
        assert narrow.may_be_inflated == (p in (0.002, 0.03, 0.049))
        for split in ("half", "swap", "none"):
            of = replace(narrow, reported_drop=None) if split == "none" else narrow
            said[split, p] = " ".join(_sentences(of, "m", "m drops", split))
            assert ("it may be inflated, too" in said[split, p]) == (
                narrow.may_be_inflated and split != "none"
            )
    assert "The held-out figure is shown because the pairs exceeded chance (p = 0.030)" in said["half", 0.03]
    assert "The second figure is shown because the pairs exceeded chance (p = 0.049)" in said["swap", 0.049]


@pytest.mark.slow
def test_what_exceeds_chance_without_an_effect_is_inflated_and_all_together_are_not():
    options = {"permutations": 99, "intervals": False}
    found = [find_pairs(draw(seed), seed=seed + 1000, **options)[0] for seed in range(80)]
    written = [each for each in found if each.exceeds_chance]
    assert 0 < len(written) <= 10
    assert min(each.reported_drop.value for each in written) > 0.05
    assert abs(np.mean([each.reported_drop.value for each in found])) < 0.03
    strong = [find_pairs(draw(seed, effect=0.6), seed=seed + 1000, intervals=False)[0] for seed in range(5)]
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
    swap, groups = find_pairs(rows, split="swap", permutations=19)
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


def test_discover_writes_a_benchmark_of_the_other_half(photos, tmp_path):
    benchmark = read_benchmark(photos)
    found = discovered(benchmark, tmp_path / "pairs")
    again = read_benchmark(tmp_path / "pairs")
    assert again.photos.equals(found.benchmark.photos)
    assert set(again.photos["path"]) < set(benchmark.photos["path"])
    chose = found.cells.filter(pl.col("half") == "chooses")["n"].sum()
    reports = found.cells.filter(pl.col("half") == "reports")["n"].sum()
    assert chose + reports == 48
    expected = {
        (row["class_index"], row[group]): group
        for row in found.pairs.iter_rows(named=True)
        for group in ("common", "counter")
    }
    for row in again.photos.iter_rows(named=True):
        assert row["group"] == expected[row["class_index"], row["background"]]
        assert (tmp_path / "pairs" / again.root / row["path"]).exists()
    assert found.sentence == " ".join(again.notes)
    assert "between backgrounds on the selection half; the benchmark holds" in found.summary
    read = read_discovery(tmp_path / "pairs")
    assert read.pairs.equals(found.pairs)
    assert {
        name: value for name, value in vars(read).items() if name not in ("pairs", "cells", "benchmark")
    } == {name: value for name, value in vars(found).items() if name not in ("pairs", "cells", "benchmark")}
    assert read_discovery(tmp_path) is None
    description = json.loads((tmp_path / "pairs" / "benchmark.json").read_text())
    came_from = f"photos@{benchmark.version[:8]}"
    known = {"referee": REFEREE, "split": "half", "min_drop": 0, "discovered_from": came_from}
    assert {name: description[name] for name in known} == known
    expected = Discovered(REFEREE, "half", 0, came_from, "photos", referee_label_space="benchmark")
    assert again.discovery == found.benchmark.discovery
    assert replace(again.discovery, fingerprints=()) == expected
    (record,) = cg.open_run(tmp_path / "pairs" / "referee").info.models
    assert again.discovery.fingerprints == (record.fingerprint,)
    record = json.loads((tmp_path / "pairs" / "discovery.json").read_text())
    assert record["chosen_drop"]["value"] == pytest.approx(found.pairs["drop"].mean())
    assert record["exceeds_chance"] is False
    assert record["held_out_by_chance"]["p"] == found.held_out_by_chance.p


def test_the_held_out_drop_is_what_evaluate_says_of_the_benchmark(photos, tmp_path):
    found = discovered(read_benchmark(photos), tmp_path / "pairs")
    run = cg.evaluate(
        tmp_path / "pairs", REFEREE, label_space="benchmark", out=tmp_path / "run", report=False
    )
    (drop,) = run.scores.filter(pl.col("class_index").is_null(), metric="drop").rows(named=True)
    for name in ("value", "low", "high", "n", "clusters"):
        assert getattr(found.reported_drop, name) == pytest.approx(drop[name], abs=1e-12)


def test_halves_share_none_of_the_clusters_that_the_design_names(photos, tmp_path):
    benchmark = read_benchmark(photos)
    places = pl.Series("place", [f"place {number % 8}" for number in range(len(benchmark.photos))])
    visitors = pl.Series("visitor", [f"visitor {number % 5}" for number in range(len(benchmark.photos))])
    gap = Contrast("gap", "place=place 0", "place=place 1")
    of_places = replace(
        benchmark,
        photos=benchmark.photos.with_columns(places, visitors),
        design=Design(contrasts=(gap,), clusters=("place", "visitor")),
    )
    found = discovered(of_places, tmp_path / "pairs")
    kept = found.benchmark.photos.select("path", "place")
    others = of_places.photos.join(kept, on="path", how="anti").join(
        found.pairs.unpivot(["common", "counter"], index="class_index", value_name="background"),
        on=["class_index", "background"],
        how="semi",
    )
    assert not set(kept["place"]) & set(others["place"])
    assert found.reported_drop.clusters == kept["place"].n_unique()
    assert (
        "the column place alone, not of visitor: photos of one visitor may be in both halves"
        in found.sentence
    )
    assert found.benchmark.design.contrasts == (DROP, gap)


def test_copies_of_a_photo_are_in_one_half_whichever_column_the_design_names(photos, tmp_path):
    folder = shutil.copytree(photos, tmp_path / "with copies")
    for path in sorted(folder.rglob("*.*")):
        shutil.copy(path, path.with_stem(f"{path.stem}-copy"))
    benchmark = read_benchmark(folder)
    own = benchmark.photos.with_columns(visitor="path")
    found = discovered(
        replace(benchmark, photos=own, design=Design(clusters=("visitor",))), tmp_path / "pairs"
    )
    kept = found.benchmark.photos
    assert kept.height == 2 * kept["photo_id"].n_unique() == 2 * found.reported_drop.clusters


def test_without_a_split_the_sentence_says_that_the_drop_is_biased(photos, tmp_path):
    found = discovered(read_benchmark(photos), tmp_path / "pairs", split="none")
    assert found.reported_drop is None
    assert "inflated by the selection, and so are those of other models" in found.sentence
    assert len(found.benchmark.photos) == 16 * len(found.pairs)
    *table, summary, sentence = repr(found).splitlines()
    assert f"Pairs chosen by {REFEREE}" in " ".join(" ".join(table).split())
    assert "Drop where chosen" in " ".join(" ".join(table).split())
    assert all(any(name in line for line in table) for name in found.pairs["class_name"])
    assert summary == (
        f"{len(found.pairs)} of 3 classes differ by more than 0 points between backgrounds; "
        f"the benchmark holds {len(found.benchmark)} photos."
    )
    assert sentence == found.sentence
    html = found._repr_html_()
    assert html.count("<tr>") == 1 + len(found.pairs) + 1 + 3
    assert summary in html
    assert "by chance</th>" in html


def test_a_swapped_benchmark_says_that_its_interval_is_too_narrow(photos, tmp_path):
    found = discovered(read_benchmark(photos), tmp_path / "pairs", split="swap")
    assert found.benchmark.discovery.split == "swap"
    assert set(found.pairs["half"]) == {"first", "second"}
    assert "too narrow for colour_model:brightness" in found.benchmark.notes[-1]
    assert "first half" in repr(found)
    run = cg.evaluate(
        tmp_path / "pairs", REFEREE, label_space="benchmark", out=tmp_path / "run", report=False
    )
    assert "too narrow for colour_model:brightness" in run.info.benchmark.notes[-1]
    (drop,) = run.scores.filter(pl.col("class_index").is_null(), metric="drop").rows(named=True)
    assert found.reported_drop.high - found.reported_drop.low > drop["high"] - drop["low"]
    assert "report the one in the notes" in " ".join(cg.compare(run).warnings)


def test_a_swap_of_one_half_alone_is_no_swap(tmp_path):
    """Where one half keeps no pair, the photos of the benchmark are held out, and their interval is right."""
    right = np.eye(3, dtype=np.uint8) * 200
    for seed in range(20):
        rng = np.random.default_rng(seed)
        names = [name for name in colour_model.NAMES[:2] for _ in range(40)]
        backgrounds = (["snow"] * 20 + ["grass"] * 20) * 2
        chances = [0.75] * 20 + [0.25] * 20 + [1.0] * 40
        shown = [place // 40 if rng.random() < chance else 1 for place, chance in enumerate(chances)]
        pixels = [
            np.full((8, 8, 3), right[colour], np.uint8) + np.uint8(n // 2) for n, colour in enumerate(shown)
        ]
        frame = {"path": pixels, "class_name": names, "background": backgrounds}
        made = cg.Benchmark.from_frame(frame, name="photos")
        found = discovered(made, tmp_path / str(seed), split="swap", min_drop=50)
        if found.pairs["half"].n_unique() == 1:
            break
    assert found.pairs["half"].n_unique() == 1
    assert found.benchmark.discovery.split == "half"
    assert "on held-out photos" in found.sentence
    assert "too narrow" not in found.sentence


def test_a_mitigated_referee_has_the_narrow_interval_of_its_referee(photos, tmp_path):
    discovered(read_benchmark(photos), tmp_path / "pairs", split="swap")
    run = cg.evaluate(
        tmp_path / "pairs", REFEREE, label_space="benchmark", out=tmp_path / "run", report=False
    )
    (own,) = run.info.models
    about = {"mitigation": {"method": "dfr"}}
    other = own.model_copy(update={"name": "brightness + dfr", "fingerprint": "0", "description": about})
    for fingerprint in (own.fingerprint, "unknown"):
        chose = own if fingerprint == own.fingerprint else own.model_copy(update={"description": {}})
        both = replace(run, info=run.info.model_copy(update={"models": [chose, other]}))
        effects = {each.model: each.effect for each in own_referees(both, "run")}
        assert effects == {own.name: "narrow", "brightness + dfr": "narrow"}


def test_nothing_found_is_no_benchmark(photos, tmp_path):
    benchmark, out = read_benchmark(photos), tmp_path / "pairs"
    found = discovered(benchmark, out, write_anyway=False)
    assert found.benchmark is None
    assert not found.exceeds_chance
    assert found.sentence.startswith(f"No more than chance: the pairs that {REFEREE} chose")
    assert found.sentence.endswith("No benchmark was written.")
    assert "no benchmark was written" in found.summary
    assert {entry.name for entry in out.iterdir()} == {
        "cells.parquet", "discovery.json", "pairs.parquet", "referee"
    }  # fmt: skip
    with pytest.raises(CounterGroundError, match="a discovery that wrote no benchmark"):
        read_benchmark(out)
    read = read_discovery(out)
    assert read.benchmark is None
    assert repr(read) == repr(found)

    written = discovered(benchmark, out)
    assert len(written.benchmark) == len(read_benchmark(out))
    assert written.sentence.startswith("No more than chance")
    (verdict,) = (note for note in read_benchmark(out).notes if "chance" in note)
    assert re.search(r"No more than chance: the pairs .* On the selection half", verdict)
    assert discovered(benchmark, out, write_anyway=False).benchmark is None
    assert not (out / "photos.parquet").exists()


def test_photos_without_a_label_are_counted_even_if_nothing_is_found(photos, tmp_path):
    benchmark = read_benchmark(photos)
    bare = pl.col("path").str.ends_with("/0.jpg") | pl.col("path").str.ends_with("/1.jpg")
    background = pl.when(~bare).then("background")
    some = replace(benchmark, photos=benchmark.photos.with_columns(background, group=None))
    unused = "Not used to choose pairs, because they have no background label: 12 photos."
    found = discovered(some, tmp_path / "pairs", write_anyway=False)
    assert found.sentence.endswith(f"{unused} No benchmark was written.")
    assert unused in discovered(some, tmp_path / "pairs").benchmark.notes
    with pytest.raises(CounterGroundError, match=f"has at least 20 photos on two .* {unused}"):
        discovered(some, tmp_path / "other", min_photos=20)


def test_unreadable_photos_are_counted_even_if_nothing_is_found(photos, tmp_path):
    for place in photos.rglob("0.jpg"):
        place.write_bytes(b"no photo")
    benchmark = read_benchmark(photos)
    lost = f"Could not be read: {len(list(photos.rglob('0.jpg')))} photos, listed in referee/unreadable.csv."
    found = discovered(benchmark, tmp_path / "pairs", write_anyway=False)
    assert found.sentence.endswith(f"{lost} No benchmark was written.")
    assert "referee/unreadable.csv lists them" in " ".join(
        discovered(benchmark, tmp_path / "pairs").benchmark.notes
    )
    with pytest.raises(CounterGroundError, match=f"has at least 20 photos on two .* {lost}"):
        discovered(benchmark, tmp_path / "other", min_photos=20)


def test_no_class_that_varies_enough_is_no_error(photos, tmp_path):
    found = discovered(read_benchmark(photos), tmp_path / "pairs", min_drop=99)
    assert found.benchmark is None
    assert found.sentence == (
        "On the selection half, no class of photos differs by more than 99 points between backgrounds with "
        "at least 1 photo in each half. More photos help, or a lower --min-photos or --min-drop, which also "
        "finds more by chance. No benchmark was written."
    )
    assert read_discovery(tmp_path / "pairs").pairs.is_empty()


def test_halves_that_cannot_choose_do_not_say_that_nothing_exceeds_chance(photos, tmp_path):
    """All photos are of one cluster, so one half is empty and measures nothing."""
    benchmark = read_benchmark(photos)
    related = replace(benchmark, photos=benchmark.photos.with_columns(cluster=pl.lit("ann")))
    found = discovered(related, tmp_path / "pairs", split="none", write_anyway=False)
    assert len(found.pairs) > 0
    assert found.benchmark is None
    assert found.sentence.startswith("Whether the pairs exceed chance is not known: ")
    assert "No more than chance" not in found.sentence


def test_a_discovery_without_a_benchmark_is_replaced_by_another_one_and_nothing_else_is(photos, tmp_path):
    benchmark, out = read_benchmark(photos), tmp_path / "pairs"
    assert discovered(benchmark, out, min_drop=99).benchmark is None
    (out / "mine.txt").write_text("a note")
    with pytest.raises(UsageError, match="holds another discovery"):
        discovered(benchmark, out, min_drop=98)
    (out / "mine.txt").unlink()
    fewer = replace(benchmark, photos=benchmark.photos[:-1])
    assert discovered(fewer, out, min_drop=99).benchmark is None
    assert discovered(benchmark, out, min_drop=99).benchmark is None
    thousand = "colour_model:thousand"
    for label_space in ("benchmark", "imagenet"):
        assert discovered(benchmark, out, thousand, label_space, min_drop=99).benchmark is None
    assert discovered(benchmark, out, min_drop=98).min_drop == read_discovery(out).min_drop == 98
    assert discovered(benchmark, out, "colour_model:thousand", min_drop=98).benchmark is None
    written = discovered(benchmark, out)
    assert len(read_benchmark(out)) == len(written.benchmark)
    with pytest.raises(UsageError, match="holds another discovery"):
        discovered(benchmark, out, min_drop=1)
    (out / "benchmark.json").unlink()  # the photos are still those of a benchmark
    with pytest.raises(UsageError, match="holds another discovery"):
        discovered(benchmark, out, min_drop=1)


@pytest.mark.parametrize(
    ("colours", "said"),
    [
        (
            {"black swan": "lime", "flamingo": "red"},
            "recognises none of the photos: use a referee that knows",
        ),
        ({"black swan": "red", "flamingo": "lime"}, "recognises all of the photos: use a weaker referee"),
    ],
)
def test_a_referee_that_is_always_wrong_or_always_right_is_named_as_the_cause(tmp_path, colours, said):
    for name, colour in colours.items():
        for background in ("grass", "road"):
            folder = tmp_path / "photos" / name / background
            folder.mkdir(parents=True)
            for number in range(4):
                Image.new("RGB", (16 + number, 16), colour).save(folder / f"{number}.png")
    found = discovered(read_benchmark(tmp_path / "photos"), tmp_path / "pairs")
    assert found.benchmark is None
    assert f"{REFEREE} {said}" in found.sentence
    assert "More photos help" not in found.sentence


def test_other_names_than_chose_the_pairs_are_told_before_the_run_and_in_it(
    photos, tmp_path, monkeypatch, capsys
):
    discovered(read_benchmark(photos), tmp_path / "pairs")
    asked = {"out": tmp_path / "run", "report": False, "overwrite": True}
    said = "with the label space 'benchmark', but this run uses 'imagenet'"
    with pytest.warns(OtherNamesWarning, match=said) as caught:
        run = cg.evaluate(tmp_path / "pairs", "colour_model:thousand", **asked)
    (note,) = [str(each.message) for each in caught]
    assert note.endswith("To repeat the label space of discover: --label-space benchmark.")
    assert run.info.warnings.count(note) == 1
    assert run.info.benchmark.referee_label_space == "benchmark"

    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "pairs", "-m", "colour_model:thousand", "-o", "by-command"]) == 0
    shown = capsys.readouterr()
    assert f"Warning: {note}\n" in shown.err
    assert f"Warning: {note}" in " ".join(shown.out.split())

    for same in ("benchmark", tmp_path / "pairs" / "referee" / "label_space.json"):
        run = cg.evaluate(tmp_path / "pairs", "colour_model:thousand", label_space=same, **asked)
        assert not any("label space" in each for each in run.info.warnings)

    listed = tmp_path / "names.txt"
    listed.write_text("\n".join(read_benchmark(photos).label_space.names))
    cg.discover(photos, REFEREE, out=tmp_path / "by-file", label_space=listed, write_anyway=True, min_drop=0)
    with pytest.warns(OtherNamesWarning, match=r"--label-space FILE \(the label_space.json in the "):
        cg.evaluate(tmp_path / "by-file", "colour_model:thousand", **asked)


def test_a_committee_is_recorded_and_warned_of(photos, tmp_path):
    models = {"light": REFEREE, "again": "colour_model:thousand"}
    found = discovered(read_benchmark(photos), tmp_path / "pairs", models)
    assert found.referee == "light and again"
    assert "Pairs chosen by light and again" in repr(found)
    how = read_benchmark(tmp_path / "pairs").discovery
    assert how == found.benchmark.discovery
    assert how.committee == how.referees == (REFEREE, "colour_model:thousand")
    for number, model in enumerate(how.referees):
        run = cg.evaluate(
            tmp_path / "pairs", model, label_space="benchmark", out=tmp_path / f"run {number}", report=False
        )
        assert f"{model} itself, together with other models, does best" in " ".join(cg.compare(run).warnings)


@pytest.mark.parametrize("fingerprints", [True, False], ids=["known", "of an earlier version"])
def test_a_referee_is_told_from_another_file_of_its_name(photos, own_modules, tmp_path, fingerprints):
    models = []
    for seed in ("seed1", "seed2"):
        (tmp_path / seed).mkdir()
        file = tmp_path / seed / "own.py"
        file.write_text(
            f"from colour_model import brightness\n\ndef load(of={seed!r}):\n    return brightness()\n"
        )
        models.append(f"{file}:load")
    for out, split in (("pairs", "none"), ("halves", "half")):
        discovered(read_benchmark(photos), tmp_path / out, models[0], split=split)
        if not fingerprints:
            record = json.loads((tmp_path / out / "benchmark.json").read_text())
            assert record.pop("fingerprints")
            (tmp_path / out / "benchmark.json").write_text(json.dumps(record))
    named = {"first": models[0], "second": models[1]}
    cg.evaluate(tmp_path / "pairs", named, label_space="benchmark", out=tmp_path / "run", report=False)
    run = cg.open_run(tmp_path / "run")
    assert {record.spec for record in run.info.models} == {"own.py:load"}
    inflated = [each.model for each in own_referees(run, "run") if each.effect == "inflated"]
    assert inflated == (["first"] if fingerprints else ["first", "second"])
    again = discovered(read_benchmark(tmp_path / "halves"), tmp_path / "again", models[1])
    how = read_benchmark(tmp_path / "again").discovery
    assert how == again.benchmark.discovery
    assert (len(how.fingerprints), bool(how.fingerprints[0])) == (2, fingerprints)


def test_pairs_of_pairs_say_which_notes_are_about_the_earlier_ones(photos, tmp_path):
    benchmark = read_benchmark(photos)
    ungrouped = replace(benchmark, photos=benchmark.photos.with_columns(group=None), notes=("A note.",))
    first = discovered(ungrouped, tmp_path / "pairs").benchmark
    assert first.notes[0] == "A note."
    again = discovered(read_benchmark(tmp_path / "pairs"), tmp_path / "again", split="none")
    before = [f"Of the benchmark that was searched, with its own groups: {note}" for note in first.notes]
    assert list(again.benchmark.notes[: len(before)]) == before
    assert again.sentence == " ".join(again.benchmark.notes[len(before) :])


@pytest.mark.parametrize("split", ["half", "swap", "none"])
def test_pairs_chosen_on_all_their_photos_are_not_searched_again(photos, tmp_path, split):
    """No half of them is held out: without any effect, each would confirm the choice."""
    discovered(read_benchmark(photos), tmp_path / "pairs", split="none")
    with pytest.raises(UsageError, match=r"chosen on these same photos .* search photos instead"):
        discovered(read_benchmark(tmp_path / "pairs"), tmp_path / "again", split=split)


def test_what_counteranimals_own_choice_gives_is_not_taken_for_more_than_chance(tmp_path):
    """Both halves share the choice that was made on all its photos."""
    right = np.eye(3, dtype=np.uint8) * 200  # red, green, blue: what the referee takes for each class
    colours = [right[(animal + shift) % 3] for animal in range(3) for shift in (0, 1) for _ in range(8)]
    frame = {
        "path": [np.full((8, 8, 3), colour, np.uint8) + np.uint8(n) for n, colour in enumerate(colours)],
        "class_name": [name for name in colour_model.NAMES for _ in range(16)],
        "background": (["snow"] * 8 + ["grass"] * 8) * 3,
    }
    benchmark = cg.Benchmark.from_frame(frame, name="photos")
    own = discovered(benchmark, tmp_path / "own")
    assert own.exceeds_chance
    assert own.sentence.startswith("More than chance (p = 0.001). On the selection half")
    theirs = discovered(benchmark.described(name="CounterAnimal"), tmp_path / "theirs")
    assert "(p = 0.001), if CLIP-LAION400M-ViT/B/32 had not chosen" in theirs.sentence
    assert "chance alone may give as much" in read_benchmark(tmp_path / "theirs").notes[0]


def test_wrong_asks_are_named(photos, tmp_path):
    benchmark = read_benchmark(photos)

    def ask(found=benchmark, out=tmp_path / "pairs", **changes):
        return discovered(found, out, **{"min_drop": 5, "min_photos": 2, **changes})

    with pytest.raises(UsageError, match="There is no referee"):
        ask(model=[])
    with pytest.raises(UsageError, match="half, swap or none"):
        ask(split="third")
    with pytest.raises(UsageError, match="best or shrunken"):
        ask(choose="worst")
    for drop in (-1, 10**400, float("nan"), "5"):
        with pytest.raises(UsageError, match="at least 0 and below 100"):
            ask(min_drop=drop)
    with pytest.raises(UsageError, match="A seed must be a whole number from 0, not -1"):
        ask(seed=-1)
    for number in (0, 2.5):
        with pytest.raises(UsageError, match=f"needs must be a whole number from 1, not {number}"):
            ask(min_photos=number)
    with pytest.raises(
        CounterGroundError, match="No class of photos has at least 30 photos on two backgrounds in each half"
    ):
        ask(min_photos=30)
    single = benchmark.photos.filter(pl.col("group") == "common")
    bare = type(benchmark)("bare", benchmark.root, single, benchmark.label_space)
    with pytest.raises(CounterGroundError, match="on two labelled backgrounds"):
        ask(bare)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "photos.parquet").write_bytes(b"")
    with pytest.raises(UsageError, match="holds files that are not a discovery"):
        ask(out=tmp_path / "other")
    open_pool(tmp_path / "pool", create=True)
    with pytest.raises(UsageError, match=r"not a discovery \('decisions"):
        ask(out=tmp_path / "pool")


def test_a_discovery_that_was_killed_twice_goes_on(photos, tmp_path):
    benchmark = read_benchmark(photos)
    whole = discovered(benchmark, tmp_path / "pairs")
    (tmp_path / "pairs" / "discovery.json").unlink()  # while it wrote
    (tmp_path / "pairs" / "referee" / "run.json").unlink()  # and while its referee was evaluated again
    again = discovered(benchmark, tmp_path / "pairs")
    assert again.cells.equals(whole.cells)
    assert again.sentence == whole.sentence


def test_a_referee_may_be_a_model_in_memory(photos, tmp_path):
    how = {"label_space": "benchmark", "min_drop": 0, "min_photos": 1, "seed": 3}
    how["write_anyway"] = True
    found = cg.discover(photos, colour_model.brightness(), out=tmp_path / "pairs", **how)
    assert found.pairs.equals(cg.discover(photos, REFEREE, out=tmp_path / "by spec", **how).pairs)
    assert (found.referee, found.benchmark.discovery.referee) == ("Sequential", "object:Sequential")
    named = cg.discover(photos, f"light={REFEREE}", out=tmp_path / "named", **how)
    assert (named.referee, named.benchmark.discovery.referee) == ("light", REFEREE)
    chosen = {"referee": colour_model.brightness(), "label_space": "confusable"}
    with pytest.raises(UsageError, match="referee must be the specification of a model, not tuple"):
        cg.evaluate(photos, REFEREE, out=tmp_path / "run", **chosen)


def test_a_terminal_shows_the_largest_of_many_pairs_and_the_sentence(photos, tmp_path, capsys):
    found = discovered(read_benchmark(photos), tmp_path / "pairs")
    one = found.pairs.head(1)
    many = [
        one.with_columns(class_name=pl.lit(f"animal {number}"), drop=pl.lit(number / 20))
        for number in range(20)
    ]
    show_discovery(replace(found, pairs=pl.concat(many)))
    shown = capsys.readouterr().out
    listed = re.findall(r"animal \d+", shown)
    assert listed == [f"animal {number}" for number in range(19, 7, -1)]
    assert "... and 8 more pairs with smaller drops" in shown
    said = " ".join(shown.split())
    assert said.count(found.sentence) == 1


def test_numbers_of_numpy_are_recorded_as_numbers(photos, tmp_path):
    given = {"min_drop": np.float32(0), "min_photos": np.int64(1), "seed": np.int64(3)}
    discovered(read_benchmark(photos), tmp_path / "pairs", **given)
    record = json.loads((tmp_path / "pairs" / "discovery.json").read_text())
    assert {name: record[name] for name in given} == {"min_drop": 0, "min_photos": 1, "seed": 3}


def test_captions_are_no_backgrounds(photos, tmp_path):
    benchmark = read_benchmark(photos)
    rows = pl.concat(
        benchmark.photos.with_columns(path=pl.format("{}/{}", pl.lit(copy), "path")) for copy in range(40)
    )
    captions = rows.with_columns(background=pl.format("caption {}", pl.int_range(pl.len())))
    benchmark = replace(benchmark, photos=captions)
    with pytest.raises(UsageError, match=r"photos have 1,920 backgrounds, and no more than 1,000"):
        discovered(benchmark, tmp_path / "pairs")
    assert not (tmp_path / "pairs").exists()
