"""Backgrounds found without labels on ``stamps``: what is found, and how often without a cause.

python bench/experiments/found_backgrounds.py [SPLITS RUNS NAME]    # by default 20 300 stamps

``others`` is ``stamps`` on 52 photographs of seven labels, from Debian packages that it does not use: nothing
was chosen on them.

Labels are hidden; the encoder, its layers and the rule for the number of groups are those of ``discover``.
Objects on grey make referees, and features, that know the object only.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.metrics import adjusted_rand_score

import counterground as cg
from counterground.benchmarks import open_benchmark
from counterground.benchmarks.stamps import _photographs
from counterground.benchmarks.stamps._stamps import StampsSettings, build_stamps
from counterground.composites import Composite, Placement, without_objects
from counterground.discovery._backgrounds import ENCODERS
from counterground.discovery._finding import Pairs, find_pairs
from counterground.discovery._groups import Grouping, association, group_backgrounds
from counterground.files import cache_dir
from counterground.inference import choose_runtime, encode_photos
from counterground.models import load_middle_layers, load_model
from counterground.photos import Benchmark

REFEREES = (
    *("counterground:stamps-biased", "efficientnet-lite0", "efficientnet-lite1"),
    "counterground:stamps-balanced",
)
Features = Sequence[npt.NDArray[np.float32]]


def other_photographs() -> Benchmark:
    """Return ``stamps`` on photographs that nothing was chosen on."""
    rows = _photographs.read_map("backgrounds")
    _photographs.PACKAGES = tuple({row["package"] for row in rows} - set(_photographs.PACKAGES))
    labels = ("grass", "ground", "rock", "shrub", "sky", "snow", "water")
    return build_stamps(StampsSettings(labels=labels, per_label=5), out=cache_dir() / "benchmarks" / "others")


def features_of(benchmark: Benchmark, *, last: bool = False) -> Features:
    """Return the features of the middle of the default encoder, or those of its last layer."""
    encoder, widths = load_middle_layers(ENCODERS[0], "auto", "fp32")
    if last:
        encoder = load_model(f"{ENCODERS[0]}?head=knn", fitted_head=True)
        widths = [encoder.dim]
    encoder, _ = choose_runtime(encoder, len(benchmark))
    store = cache_dir() / "features"
    matrix = encode_photos(encoder, benchmark, store, batch_size=32, show_progress=True).matrix
    return np.split(matrix, np.cumsum(widths)[:-1], axis=1)


def on_grey(benchmark: Benchmark, removed: Benchmark) -> Benchmark:
    """Return the photos with their objects on grey."""
    made = {path: Composite(recipe.background, None) for path, recipe in removed.made.items()}
    ids = pl.col("path").replace_strict({path: recipe.photo_id for path, recipe in made.items()})
    return replace(benchmark, photos=benchmark.photos.with_columns(photo_id=ids), made=made)


def found_pairs(
    answers: pl.DataFrame, photos: pl.DataFrame, group: pl.Series, found: Grouping, seed: int
) -> Pairs:
    """Return the pairs among groups, with clusters as the grouping has them."""
    cluster = photos["cluster"] if found.cluster is None else pl.Series(found.cluster).cast(pl.String)
    by = photos.select("path", background=group, cluster=cluster)
    halves = photos.select("path", chooses=pl.Series(found.chooses))
    rows = answers.drop("background", "cluster").join(by, on="path")
    return find_pairs(rows, seed=seed, permutations=199, halves=halves)[0]


def names(found: Grouping) -> pl.Series:
    return pl.Series([f"group {number}" if number >= 0 else None for number in found.group], dtype=pl.String)


def purity(labels: pl.Series, groups: npt.NDArray[np.intp]) -> float:
    table = pl.DataFrame({"label": labels, "group": groups}).group_by("label", "group").len()
    return float(table.group_by("group").agg(pl.col("len").max())["len"].sum() / len(labels))


def show(title: str, found: Sequence[Pairs]) -> None:
    drops = [each.reported_drop.value or 0.0 for each in found if each.reported_drop is not None]
    exceed = sum(each.exceeds_chance for each in found)
    print(
        f"{title}: found in {exceed} of {len(found)}, mean held-out drop {100 * np.mean(drops):.1f}",
        flush=True,
    )


def main() -> None:
    splits, runs = (int(text) for text in (sys.argv[1:3] if len(sys.argv) > 2 else (20, 300)))
    name = sys.argv[3] if len(sys.argv) > 3 else "stamps"
    benchmark = other_photographs() if name == "others" else open_benchmark(name)
    photos, bare = benchmark.photos, benchmark.photos.with_columns(cluster=pl.lit(None, pl.String))
    removed, _ = without_objects(benchmark)
    grey = on_grey(benchmark, removed)
    with tempfile.TemporaryDirectory() as folder:
        run, of_objects = (
            cg.evaluate(each, list(REFEREES), out=Path(folder) / name, report=False)
            for name, each in (("photos", benchmark), ("objects", grey))
        )
        answers = dict(run.predictions.partition_by("model", as_dict=True))
        objects = dict(of_objects.predictions.partition_by("model", as_dict=True))
    answers, objects = ({key[0]: rows for key, rows in each.items()} for each in (answers, objects))
    ways = {
        "clusters given": (photos, features_of(benchmark)),
        "no clusters": (bare, features_of(benchmark)),
        "masks": (photos, features_of(removed)),
    }
    grouped = {
        way: [group_backgrounds(rows, features, most=10, seed=seed) for seed in range(splits)]
        for way, (rows, features) in ways.items()
    }
    for way, found in grouped.items():
        for half, chosen in (("choosing", True), ("held-out", False)):
            parts = [
                (photos["background"].filter(pl.Series(of.chooses == chosen)), of.group[of.chooses == chosen])
                for of in found
            ]
            agree = np.mean([adjusted_rand_score(labels.to_list(), groups) for labels, groups in parts])
            pure = np.mean([purity(labels, groups) for labels, groups in parts])
            print(f"{way}, {half} half: ARI {agree:.2f}, purity {pure:.2f}", flush=True)
        follow = np.mean([association(of.group, photos["class_name"]) for of in found])
        count = [int(of.group.max()) + 1 for of in found]
        print(f"{way}: {min(count)} to {max(count)} groups, {follow:.3f} with the class", flush=True)
    for referee, rows in answers.items():
        true = [
            found_pairs(rows, photos, photos["background"], of, seed)
            for seed, of in enumerate(grouped["clusters given"])
        ]
        show(f"{referee}, true labels", true)
        for way, found in grouped.items():
            show(
                f"{referee}, {way}",
                [found_pairs(rows, photos, names(of), of, seed) for seed, of in enumerate(found)],
            )
    false_alarms(photos, answers, grouped, runs)
    objects_only(benchmark, grey, objects, runs)
    large_objects(benchmark, removed, splits)


def false_alarms(
    photos: pl.DataFrame,
    answers: dict[str, pl.DataFrame],
    grouped: dict[str, list[Grouping]],
    runs: int,
) -> None:
    """Print how often pairs exceed chance without a cause."""
    rows = answers["efficientnet-lite0"].sort("path")
    random = np.random.default_rng(1)

    def dealt() -> pl.DataFrame:
        shuffled = rows.with_columns(order=pl.Series(random.random(len(rows))))
        return shuffled.with_columns(pl.col("correct").sort_by("order").over("class_name")).drop("order")

    def differing() -> pl.DataFrame:
        scene = photos.select("path", "cluster").unique("cluster").sort("cluster")
        effect = pl.Series(random.normal(0, 1, len(scene)))
        by = dict(zip(scene["cluster"].to_list(), effect.to_list(), strict=True))
        ability = rows["class_name"].rank("dense").to_numpy() * 0.6180339887 % 1 * 3 - 1.5
        chance = 1 / (1 + np.exp(-ability - rows["cluster"].replace_strict(by).to_numpy()))
        return rows.with_columns(correct=pl.Series(random.random(len(rows)) < chance))

    nulls: dict[str, tuple[str, Callable[[], pl.DataFrame]]] = {
        "dealt anew within classes": ("clusters given", dealt),
        "scenes differ, clusters given": ("clusters given", differing),
        "scenes differ, no clusters": ("no clusters", differing),
    }
    for title, (way, draw) in nulls.items():
        found = grouped[way]
        pairs = [
            found_pairs(draw(), photos, names(found[number % len(found)]), found[number % len(found)], number)
            for number in range(runs)
        ]
        print(
            f"{title}: found in {100 * np.mean([each.exceeds_chance for each in pairs]):.1f} % of {runs}",
            flush=True,
        )


def objects_only(benchmark: Benchmark, grey: Benchmark, objects: dict[str, pl.DataFrame], runs: int) -> None:
    """Print how often referees, or features, that know the object alone pass for backgrounds."""
    photos, features = benchmark.photos, features_of(benchmark)
    found = [
        group_backgrounds(photos, features, most=10, seed=seed)
        for seed in range(1000, 1000 + runs // len(objects))
    ]
    pairs = [
        found_pairs(seen, photos, names(of), of, seed)
        for seen in objects.values()
        for seed, of in enumerate(found)
    ]
    print(
        f"referees on objects: found in {sum(each.exceeds_chance for each in pairs)} of {len(pairs)}",
        flush=True,
    )
    seen = features_of(grey, last=True)
    shares = [
        association(group_backgrounds(photos, seen, most=10, seed=seed).group, photos["class_name"])
        for seed in range(20)
    ]
    print(f"object-only features: {min(shares):.2f} to {max(shares):.2f} with the class", flush=True)


def large_objects(benchmark: Benchmark, removed: Benchmark, splits: int) -> None:
    """Print what is found where objects cover 30 to 50 % of a photo, seen and hidden."""
    random = np.random.default_rng(2)
    made = {
        path: Composite(
            recipe.background, recipe.background, placement=Placement(random.uniform(0.3, 0.5), 0.5, 0.5)
        )
        for path, recipe in removed.made.items()
    }
    ids = pl.col("path").replace_strict({path: recipe.photo_id for path, recipe in made.items()})
    large = replace(benchmark, photos=benchmark.photos.with_columns(photo_id=ids), made=made)
    photos, features = benchmark.photos, {"seen": features_of(large), "hidden": features_of(removed)}
    grouped = {
        way: [group_backgrounds(photos, of, most=10, seed=seed) for seed in range(splits)]
        for way, of in features.items()
    }
    for way, found in grouped.items():
        shares = [association(of.group, photos["class_name"]) for of in found]
        agree = [adjusted_rand_score(photos["background"].to_list(), of.group) for of in found]
        print(
            f"large objects {way}: ARI {np.mean(agree):.2f}, {np.mean(shares):.3f} with the class", flush=True
        )
    with tempfile.TemporaryDirectory() as folder:
        run = cg.evaluate(large, list(REFEREES[:2]), out=Path(folder) / "large", report=False)
        rows = {key[0]: rows for key, rows in run.predictions.partition_by("model", as_dict=True).items()}
    for referee, seen in rows.items():
        halves = grouped["seen"]
        true = [found_pairs(seen, photos, photos["background"], of, seed) for seed, of in enumerate(halves)]
        show(f"{referee}, large objects, true labels", true)
        for way, found in grouped.items():
            pairs = [found_pairs(seen, photos, names(of), of, seed) for seed, of in enumerate(found)]
            show(f"{referee}, large objects {way}", pairs)


if __name__ == "__main__":
    main()
