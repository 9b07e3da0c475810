"""How often the 95 % intervals of contrasts and named averages cover the truth, by simulation.

python bench/experiments/contrast_coverage.py [REPLICATIONS]

Photos are right or wrong by a probit with effects of their attributes and of their cluster. A cluster has one
effect on all its photos and a separate one on those of each cell. The true accuracies are known in closed
form. The truth is computed here with group-bys, not by the package. Two models see the same photos and share
half of the random variation.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from scipy.special import ndtr

from counterground.metrics import (
    DESIGN,
    SETTING_SCHEMA,
    Compared,
    Contrast,
    Design,
    ScoreKey,
    compare_answers,
    read_answers,
    score_predictions,
)

BLOCK = 50
"""Replications that share photos."""
QUANTITIES = ("left", "right", "contrast", "difference of two")
_OWN, _SHARED, _WITHIN = 1.4, 0.5, 0.4


@dataclass(frozen=True)
class Scene:
    """Photos with attributes, and a contrast of them.

    Attributes:
        name: what the table calls it.
        photos: draws ``class_name``, ``cluster`` and attributes.
        contrast: as passed to the package.
        sides: the photos of left and right for the truth; None for the average by the shares.
        effects: probits by attribute and value.
        shares: of the cells class x place, named ``training``.
    """

    name: str
    photos: Callable[[np.random.Generator], pl.DataFrame]
    contrast: Contrast
    sides: tuple[pl.Expr | None, pl.Expr | None]
    effects: Mapping[str, Mapping[str, float]]
    shares: Mapping[tuple[str, ...], float] = field(default_factory=dict)

    @property
    def design(self) -> Design:
        """The design by which the photos are scored."""
        if not self.shares:
            return Design(contrasts=(*DESIGN.contrasts, self.contrast))
        return Design(("class_name", "place"), (self.contrast,), {"training": self.shares})


def crossed(
    clusters: int, n: int, **columns: tuple[str, ...]
) -> Callable[[np.random.Generator], pl.DataFrame]:
    """Draw every attribute independently, the first values more often, and a cluster."""

    def draw(rng: np.random.Generator) -> pl.DataFrame:
        drawn = {
            name: rng.choice(values, n, p=np.arange(len(values), 0, -1) / sum(range(len(values) + 1)))
            for name, values in columns.items()
        }
        return pl.DataFrame(drawn).with_columns(
            cluster=pl.Series(rng.integers(clusters, size=n)).cast(pl.String)
        )

    return draw


def birds(rng: np.random.Generator) -> pl.DataFrame:
    """Two classes in two places, with the shares of Waterbirds' test set; 40 clusters."""
    sizes = {("land", "land"): 225, ("land", "water"): 225, ("water", "land"): 64, ("water", "water"): 64}
    rows = [cell for cell, n in sizes.items() for _ in range(n)]
    frame = pl.DataFrame(rows, schema=["class_name", "place"], orient="row")
    return frame.with_columns(cluster=pl.Series(rng.integers(40, size=len(rows))).cast(pl.String))


def pairs(objects: int) -> Callable[[np.random.Generator], pl.DataFrame]:
    """Every object on two backgrounds; the object is the cluster."""

    def draw(_: np.random.Generator) -> pl.DataFrame:
        names = [f"o{number}" for number in range(objects)]
        frame = pl.DataFrame({"object": names}).join(
            pl.DataFrame({"variant": ["same", "random"]}), how="cross"
        )
        return frame.with_columns(class_name=pl.lit("dog"), cluster="object")

    return draw


def _is(**values: str) -> pl.Expr:
    return pl.all_horizontal(pl.col(name) == value for name, value in values.items())


_CLASSES = ("a", "b", "c", "d", "e")
_BY_CLASS = dict(zip(_CLASSES, (-0.4, 0.0, 0.4, 0.8, 1.2), strict=True))
_TWO = crossed(20, 900, class_name=_CLASSES, bg=("common", "uncommon"), co=("common", "uncommon"))
_SHORTCUTS = {"class_name": _BY_CLASS, "bg": {"uncommon": -0.6}, "co": {"uncommon": -0.4}}
_BIRDS = {"class_name": {"land": 1.2, "water": 0.8}, "place": {"water": -0.7}}
_TRAINING = {("land", "land"): 3498, ("land", "water"): 184, ("water", "land"): 56, ("water", "water"): 1057}
_WEATHER = crossed(
    25, 900, class_name=_CLASSES, weather=("clear", "fog", "rain"), place=("water", "land", "wood")
)
_PLACES = {"class_name": _BY_CLASS, "weather": {"fog": -0.5}, "place": {"land": -0.6}}

SCENES = (
    Scene(
        "named shares minus a cell, 4 cells, 40 clusters",
        birds,
        Contrast("gap", "average(training)", "class_name=water & place=land"),
        (None, _is(class_name="water", place="land")),
        _BIRDS,
        _TRAINING,
    ),
    Scene(
        "within class and weather, 25 clusters",
        _WEATHER,
        Contrast("water", "place=water", "place=land", ("class_name", "weather")),
        (_is(place="water"), _is(place="land")),
        _PLACES,
    ),
    Scene(
        "within class and weather, few photos, strata without a side, 25 clusters",
        crossed(
            25, 150, class_name=_CLASSES, weather=("clear", "fog", "rain"), place=("water", "land", "wood")
        ),
        Contrast("water", "place=water", "place=land", ("class_name", "weather")),
        (_is(place="water"), _is(place="land")),
        _PLACES,
    ),
    Scene(
        "two shortcuts that overlap, 20 clusters",
        _TWO,
        Contrast("shortcuts", "bg=uncommon", "co=uncommon"),
        (_is(bg="uncommon"), _is(co="uncommon")),
        _SHORTCUTS,
    ),
    Scene(
        "all against a part of them, 20 clusters",
        _TWO,
        Contrast("both", "all", "bg=uncommon & co=uncommon"),
        (pl.lit(value=True), _is(bg="uncommon", co="uncommon")),
        _SHORTCUTS,
    ),
    Scene(
        "all against a part, nothing held, 30 clusters",
        crossed(30, 600, class_name=_CLASSES, bg=("common", "uncommon"), co=("common", "uncommon")),
        Contrast("part", "all", "bg=uncommon", ()),
        (pl.lit(value=True), _is(bg="uncommon")),
        _SHORTCUTS,
    ),
    Scene(
        "200 objects, each on two backgrounds",
        pairs(200),
        Contrast("bg_gap", "variant=same", "variant=random", ("object",)),
        (_is(variant="same"), _is(variant="random")),
        {"class_name": {"dog": 0.8}, "variant": {"random": -0.5}},
    ),
    Scene(
        "20 objects, each on two backgrounds",
        pairs(20),
        Contrast("bg_gap", "variant=same", "variant=random", ("object",)),
        (_is(variant="same"), _is(variant="random")),
        {"class_name": {"dog": 0.5}, "variant": {"random": -0.5}},
    ),
)


def coverage(scene: Scene, replications: int, *, seed: int = 1, block: int = BLOCK) -> dict[str, float]:
    """Share of intervals that cover the truth: ``QUANTITIES``, and the average if there are shares."""
    rng = np.random.default_rng(seed)
    held: dict[str, int] = dict.fromkeys(QUANTITIES, 0)
    done = 0
    while done < replications:
        count = min(block, replications - done)
        photos = scene.photos(rng)
        levels = [_levels(scene, photos, scale) for scale in (1.0, 1.4)]
        chances = [ndtr(level / np.sqrt(1 + _SHARED**2 + _WITHIN**2)) for level in levels]
        truths = [_truth(scene, photos.with_columns(chance=chance)) for chance in chances]
        together = _noise(rng, photos, count)
        correct = [level + (together + _noise(rng, photos, count)) / np.sqrt(2) > 0 for level in levels]
        frames = [_predictions(photos, answers, name) for answers, name in zip(correct, "xy", strict=True)]
        for name, found in _scored(scene, frames[0], truths[0]).items():
            held[name] = held.get(name, 0) + found
        held["difference of two"] += _compared(scene, frames, truths)
        done += count
    return {name: number / replications for name, number in held.items()}


def _levels(scene: Scene, photos: pl.DataFrame, scale: float) -> np.ndarray:
    total = np.zeros(photos.height)
    for column, effects in scene.effects.items():
        factor = 1.0 if column == "class_name" else scale
        total += factor * np.array([effects.get(value, 0.0) for value in photos[column]])
    return total


def _noise(rng: np.random.Generator, photos: pl.DataFrame, count: int) -> np.ndarray:
    """Effects of photo, of cluster, and of cluster and cell, ``[count, n]``."""
    cluster = photos["cluster"].rank("dense").to_numpy() - 1
    cells = photos.select(pl.exclude("cluster", "object")).hash_rows().rank("dense").to_numpy() - 1
    size, number = cluster.max() + 1, cells.max() + 1
    found = rng.normal(size=(count, photos.height))
    found += _SHARED * rng.normal(size=(count, size))[:, cluster]
    return found + _WITHIN * rng.normal(size=(count, size * number))[:, cluster * number + cells]


def _truth(scene: Scene, photos: pl.DataFrame) -> dict[str, float]:
    within = [pl.lit(0).alias("all")] if not scene.contrast.within else [pl.col(scene.contrast.within)]
    means = [
        None if side is None else photos.filter(side).group_by(within).agg(pl.col("chance").mean())
        for side in scene.sides
    ]
    if scene.shares:
        found = photos.group_by("class_name", "place").agg(pl.col("chance").mean())
        cells = {(name, place): chance for name, place, chance in found.rows()}
        average = sum(share * cells[cell] for cell, share in scene.shares.items()) / sum(
            scene.shares.values()
        )
        right = float(means[1]["chance"].mean())
        return {"average": average, "left": average, "right": right, "contrast": average - right}
    names = list(scene.contrast.within) or ["all"]
    both = means[0].join(means[1], on=names)
    left, right = float(both["chance"].mean()), float(both["chance_right"].mean())
    return {"left": left, "right": right, "contrast": left - right}


def _predictions(photos: pl.DataFrame, correct: np.ndarray, name: str) -> pl.DataFrame:
    models, n = correct.shape
    paths = [f"{number:05}" for number in range(n)]
    described = photos.with_columns(
        path=pl.Series(paths),
        photo_id=pl.Series(paths),
        class_index=pl.col("class_name").rank("dense").cast(pl.Int32),
        group=pl.lit(None, pl.String),
    )
    empty = {"true_rank": pl.Int32, "confidence": pl.Float32, "top2_gap": pl.Float32, **SETTING_SCHEMA}
    return pl.concat([described] * models).with_columns(
        pl.Series("model", np.repeat([f"{name}{number:05}" for number in range(models)], n)),
        pl.Series("correct", correct.ravel()),
        *(pl.lit(None, kind).alias(column) for column, kind in empty.items()),
    )


def _scored(scene: Scene, frame: pl.DataFrame, truth: dict[str, float]) -> dict[str, int]:
    scores = score_predictions(frame, by_class=False, design=scene.design)
    left, right = scene.contrast.side_keys
    keys = {"left": left, "right": right, "contrast": scene.contrast.difference_key}
    if scene.shares:
        keys["average"] = ScoreKey("average(training)")
    found = {}
    for name, key in keys.items():
        rows = scores.filter(
            *(pl.col(of).eq_missing(pl.lit(is_, pl.String)) for of, is_ in key._asdict().items())
        )
        found[name] = rows.filter(pl.lit(truth[name]).is_between("low", "high")).height
    return found


def _compared(scene: Scene, frames: list[pl.DataFrame], truths: list[dict[str, float]]) -> int:
    """Count the intervals that cover the difference between the contrasts of two models."""
    expected = truths[0]["contrast"] - truths[1]["contrast"]
    held = 0
    for (_, a), (_, b) in zip(*(read_answers(frame, design=scene.design) for frame in frames), strict=True):
        setting = (None,) * len(SETTING_SCHEMA)
        tests = compare_answers([Compared("a", setting, a), Compared("b", setting, b)], scene.contrast)
        test = tests.row(by_predicate=pl.col("metric").eq(scene.contrast.name), named=True)
        held += test["low"] <= expected <= test["high"]
    return held


def main() -> None:
    """Print the table."""
    replications = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    print("| contrast | left | right | left minus right | difference of two models | average by shares |")
    print("|---|---|---|---|---|---|")
    for scene in SCENES:
        found = coverage(scene, replications)
        cells = [f"{100 * found[name]:.1f}" for name in QUANTITIES]
        cells.append(f"{100 * found['average']:.1f}" if "average" in found else "")
        print(f"| {scene.name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
