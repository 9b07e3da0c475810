from __future__ import annotations

import json

import colour_model
import numpy as np
import polars as pl
import pytest

import counterground as cg
from counterground.construction.discover import discover_pairs, read_discovery

# Choosing and splitting are pure functions with cases that no small benchmark reaches.
from counterground.construction.discover._pairs import background_accuracy, choose_pairs, split_halves
from counterground.errors import CounterGroundError, UsageError
from counterground.inference import Settings
from counterground.photos import Discovered, read_benchmark
from counterground.pool import open_pool

REFEREE = "colour_model:brightness"  # of tests/support: right about one time in three


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


def test_photos_without_cluster_stand_alone_and_the_seed_decides():
    photos = photo_rows(6, 3, 1, 10).with_columns(cluster=pl.lit(None, dtype=pl.String))
    one, same, other = (split_halves(photos, seed) for seed in (0, 0, 1))
    assert one.equals(same)
    assert not one.equals(other)
    cells = photos.with_columns(one).group_by("class_index", "background").agg(pl.col("chooses").sum())
    assert cells["chooses"].is_between(4, 6).all()


def predictions(accuracy: dict[tuple[int, str], tuple[int, int]]) -> pl.DataFrame:
    rows = [
        {
            "path": f"{c}/{b}/{k}",
            "class_index": c,
            "class_name": f"class {c}",
            "background": b,
            "cluster": None,
            "correct": k < right,
        }
        for (c, b), (right, n) in accuracy.items()
        for k in range(n)
    ]
    return pl.DataFrame(rows, schema_overrides={"class_index": pl.Int32, "cluster": pl.String})


def test_best_is_common_worst_is_counter_and_flat_classes_go():
    cells = background_accuracy(
        predictions(
            {
                (0, "snow"): (9, 10), (0, "grass"): (5, 10), (0, "sky"): (2, 10), (0, "rare"): (0, 1),
                (1, "snow"): (10, 20), (1, "grass"): (11, 20),
                (2, "snow"): (1, 2),
            }
        )
    )  # fmt: skip
    pairs = choose_pairs(cells, min_drop=0.05, min_photos=2)
    assert pairs.rows() == [(0, "snow", "sky", pytest.approx(0.7))]
    looser = choose_pairs(cells, min_drop=0.04, min_photos=2)
    assert looser.select("class_index", "common", "counter").rows() == [
        (0, "snow", "sky"),
        (1, "grass", "snow"),
    ]
    rare = choose_pairs(cells, min_drop=0.05, min_photos=1)
    assert rare["counter"].to_list() == ["rare"]
    first = cells.row(1, named=True)
    assert (first["n"], first["clusters"], first["accuracy"]) == (1, 1, 0.0)


def test_equal_accuracies_go_to_the_background_with_more_photos():
    cells = background_accuracy(
        predictions({(0, "a"): (2, 2), (0, "b"): (4, 4), (0, "c"): (0, 3), (0, "d"): (0, 2)})
    )
    assert choose_pairs(cells, min_drop=0.05, min_photos=2).rows() == [(0, "b", "c", 1.0)]


def test_discover_writes_a_benchmark_of_the_other_half(photos, tmp_path):
    benchmark = read_benchmark(photos)
    settings = Settings(label_space="benchmark")
    found = discover_pairs(
        benchmark, REFEREE, settings, tmp_path / "pairs", min_drop=0, min_photos=1, split="half", seed=3
    )
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
    assert any(found.sentence == note for note in again.notes)
    assert read_discovery(tmp_path / "pairs").pairs.equals(found.pairs)
    assert read_discovery(tmp_path) is None
    description = json.loads((tmp_path / "pairs" / "benchmark.json").read_text())
    came_from = f"photos@{benchmark.version[:8]}"
    known = {"referee": REFEREE, "split": "half", "min_drop": 0, "discovered_from": came_from}
    assert {name: description[name] for name in known} == known
    assert again.discovery == found.benchmark.discovery == Discovered(REFEREE, "half", 0, came_from, "photos")
    record = json.loads((tmp_path / "pairs" / "discovery.json").read_text())
    assert record["chosen_drop"]["value"] == pytest.approx(found.pairs["drop"].mean())


def test_without_a_split_the_sentence_says_that_the_drop_is_biased(photos, tmp_path):
    found = discover_pairs(
        read_benchmark(photos), REFEREE, Settings(label_space="benchmark"),
        tmp_path / "pairs", min_drop=0, min_photos=1, split="none", seed=0,
    )  # fmt: skip
    assert found.reported_drop is None
    assert "optimistically biased" in found.sentence
    assert len(found.benchmark.photos) == 16 * len(found.pairs)
    *table, summary, sentence = repr(found).splitlines()
    assert f"Pairs chosen by {REFEREE}" in " ".join(" ".join(table).split())
    assert all(any(name in line for line in table) for name in found.pairs["class_name"])
    assert summary == (
        f"{len(found.pairs)} of 3 classes differ by more than 0 points between backgrounds; "
        f"the benchmark holds {len(found.benchmark)} photos."
    )
    assert sentence == found.sentence
    html = found._repr_html_()
    assert html.count("<tr>") == 1 + len(found.pairs)
    assert summary in html


def test_choosing_on_the_same_photos_flatters_a_model_that_does_not_lean():
    random = np.random.default_rng(0)
    photos = photo_rows(40, 6, 60, 8)
    chosen, kept = [], []
    for seed in range(20):
        correct = random.random(len(photos)) < 0.7
        seen = photos.with_columns(correct=pl.Series(correct), class_name=pl.lit("x"))
        halves = split_halves(seen, seed)
        cells = background_accuracy(seen.filter(halves))
        pairs = choose_pairs(cells, min_drop=0.05, min_photos=2)
        other = background_accuracy(seen.filter(~halves))
        of = {(row["class_index"], row["background"]): row["accuracy"] for row in other.iter_rows(named=True)}
        chosen.append(pairs["drop"].mean())
        kept.append(
            np.mean([
                of[row["class_index"], row["common"]] - of[row["class_index"], row["counter"]]
                for row in pairs.iter_rows(named=True)
                if (row["class_index"], row["common"]) in of and (row["class_index"], row["counter"]) in of
            ])
        )  # fmt: skip
    assert np.mean(chosen) > 0.3
    assert abs(np.mean(kept)) < 0.03


def test_wrong_asks_are_named(photos, tmp_path):
    benchmark = read_benchmark(photos)

    def ask(found=benchmark, out=tmp_path / "pairs", **changes):
        options = {"min_drop": 5, "min_photos": 2, "split": "half", "seed": 0, **changes}
        return discover_pairs(found, REFEREE, Settings(label_space="benchmark"), out, **options)

    for referee, many in (("paper:clip", 28), ({"a": "efficientnet-lite0", "b": REFEREE}, 2)):
        with pytest.raises(UsageError, match=f"The referee must be one model, not {many}"):
            discover_pairs(
                benchmark,
                referee,
                Settings(),
                tmp_path / "pairs",
                min_drop=5,
                min_photos=2,
                split="half",
                seed=0,
            )
    with pytest.raises(UsageError, match="half or none"):
        ask(split="third")
    with pytest.raises(UsageError, match="at least 0 and below 100"):
        ask(min_drop=-1)
    with pytest.raises(CounterGroundError, match=r"No class of .* differs by more than 99 points"):
        ask(min_drop=99, min_photos=30)
    single = benchmark.photos.filter(pl.col("group") == "common")
    bare = type(benchmark)("bare", benchmark.root, single, benchmark.label_space)
    with pytest.raises(CounterGroundError, match="on two labelled backgrounds"):
        ask(bare)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "photos.parquet").write_bytes(b"")
    with pytest.raises(UsageError, match="not made by discover"):
        ask(out=tmp_path / "other")
    open_pool(tmp_path / "pool", create=True)
    with pytest.raises(UsageError, match="is a pool: choose another"):
        ask(out=tmp_path / "pool")


def test_a_referee_may_be_a_model_in_memory(photos, tmp_path):
    how = {"label_space": "benchmark", "min_drop": 0, "min_photos": 1, "seed": 3}
    found = cg.discover(photos, colour_model.brightness(), out=tmp_path / "pairs", **how)
    assert found.pairs.equals(cg.discover(photos, REFEREE, out=tmp_path / "by spec", **how).pairs)
    assert found.referee == found.benchmark.discovery.referee == "object:Sequential"
    chosen = {"referee": colour_model.brightness(), "label_space": "confusable"}
    with pytest.raises(UsageError, match="referee must be the specification of a model, not tuple"):
        cg.evaluate(photos, REFEREE, out=tmp_path / "run", **chosen)
