"""How often the 95 % intervals of single classes cover the truth, by simulation.

python bench/experiments/class_coverage.py [REPLICATIONS]

Benchmarks and truths are those of ``interval_coverage.py``, plus some in which clusters affect some classes
more than others. Effective photos and correlations are the package's. Intervals are computed from them here,
as in Wilson (1927), Newcombe (1998) and Zou and Donner (2008), for many classes at a time, and equal those of
the table of scores (``tests/metrics/test_single.py``).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from counterground.metrics import DROP
from counterground.metrics._sampling import StratumMeans
from counterground.metrics._single import SingleStrata
from counterground.metrics._stratification import Stratification
from interval_coverage import (
    BLOCK,
    SCENES,
    Draws,
    Layout,
    Scene,
    class_truths,
    crossed,
    nested,
    simulate,
)

QUANTITIES = ("common", "counter", "drop")
ALL_CLASSES = "1 class, 30 clusters"
"""A single class that is all classes gets the interval of averages over classes."""
EXTREME = (
    "independent, classes at 0 and 1",
    "accuracies of 99 and 97 %",
    "99 and 97 %, 15 clusters",
    "accuracies of 3 and 1 %",
    "8 classes at 97 %, one at 5 %",
)
"""Accuracies near 0 or 1: with ten photos, the few possible counts limit the coverage."""
Z = float(ndtri(0.975))


@dataclass(frozen=True)
class Unlike:
    """A benchmark whose clusters affect some classes more: standard deviations of their effects, in probits.

    ``often`` in ten classes have ``strong`` effects, the others ``weak`` ones.
    """

    name: str
    scene: Scene
    often: int
    strong: float
    weak: float

    def strongly(self, classes: np.ndarray) -> np.ndarray:
        """Which classes have strong effects."""
        return classes % 10 < self.often


_LAYOUTS = {
    "`stamps`": Scene("", nested),
    "4 photographs": Scene("", lambda rng: crossed(rng, photos=8, clusters=4)),
    "20 clusters": Scene("", lambda rng: crossed(rng, photos=20, clusters=20)),
    "20 clusters, 10 classes of 200": Scene("", lambda rng: crossed(rng, 10, 200, 20)),
}
UNLIKE = tuple(
    Unlike(f"{name}, {often} in 10 classes strongly", scene, often, 1.0, 0.0)
    for often in (5, 1)
    for name, scene in _LAYOUTS.items()
)


def draw_unlike(unlike: Unlike, rng: np.random.Generator, replications: int) -> Draws:
    """Draw a layout and answers ``[r, n]``."""
    found = unlike.scene.layout(rng)
    cluster = np.unique(found.cluster, return_inverse=True)[1]
    layout = Layout(found.class_index, found.group, cluster)
    index, group, size = layout.class_index, layout.group, cluster.max() + 1
    level = unlike.scene.level(index, index.max() + 1) - unlike.scene.drop * group
    error = np.where(unlike.strongly(index), unlike.strong, unlike.weak)
    shared = rng.normal(size=(replications, size))[:, cluster] * np.sqrt(0.8)
    shared += rng.normal(size=(replications, 2 * size))[:, 2 * cluster + group] * np.sqrt(0.2)
    correct = level + rng.normal(size=shared.shape) + error * shared > 0
    chance = ndtr(level / np.sqrt(1 + error**2))
    return Draws(layout, (correct, correct), {}, class_truths(layout, chance))


@dataclass(frozen=True)
class TwoWays(Layout):
    """Photos with a second cluster each, as for composites: foregrounds cross background photographs."""

    second: np.ndarray


@dataclass(frozen=True)
class Composites:
    """Some foregrounds of every class, each on ``each`` of the ``photographs`` of either side."""

    classes: int
    foregrounds: int
    photographs: int
    each: int

    @property
    def name(self) -> str:
        """What the table calls it."""
        return (
            f"{self.classes} classes of {self.foregrounds} foregrounds, each on {self.each} of "
            f"{self.photographs} photographs a side"
        )


COMPOSITES = (
    Composites(5, 40, 25, 10),
    Composites(5, 40, 10, 10),
    Composites(10, 10, 25, 5),
    Composites(10, 20, 5, 3),
    Composites(5, 8, 40, 20),
)


def draw_composites(scene: Composites, rng: np.random.Generator, replications: int) -> Draws:
    """Draw a layout and answers ``[r, n]``; effects: 0.6 probits of foregrounds, 0.5 of photographs."""
    owners = scene.classes * scene.foregrounds
    foreground = np.repeat(np.arange(owners), 2 * scene.each)
    group = np.tile(np.repeat([0, 1], scene.each), owners)
    chosen = [rng.permutation(scene.photographs)[: scene.each] for _ in range(2 * owners)]
    photograph = np.concatenate(chosen) + scene.photographs * group
    layout = TwoWays(foreground // scene.foregrounds, group, foreground, photograph)
    level = np.linspace(-0.4, 1.6, scene.classes)[layout.class_index] - 0.7 * group
    effects = rng.normal(size=(replications, len(group)))
    effects += 0.6 * rng.normal(size=(replications, owners))[:, foreground]
    effects += 0.5 * rng.normal(size=(replications, 2 * scene.photographs))[:, photograph]
    correct = level + effects > 0
    truths = class_truths(layout, ndtr(level / np.sqrt(1 + 0.6**2 + 0.5**2)))
    return Draws(layout, (correct, correct), {}, truths)


def intervals(layout: Layout, correct: np.ndarray) -> Iterator[dict[str, tuple[np.ndarray, ...]]]:
    """Yield for each row of ``correct`` the classes with both groups, and the ends of their intervals."""
    group = np.array(["common", "counter"])[layout.group]
    second = layout.second if isinstance(layout, TwoWays) else None
    photos = Stratification(layout.class_index, group, layout.cluster, crossed=second)
    sides = photos.sides(DROP)
    classes, *strata = sides.one_by_one
    for row in correct:
        means = StratumMeans(sides.partition, row)
        single = SingleStrata(means)
        p = [means.values[of] for of in strata]
        (low_1, high_1), (low_2, high_2) = ends = [
            _wilson(share, single.effective[of]) for share, of in zip(p, strata, strict=True)
        ]
        r, drop = single.correlations(sides), p[0] - p[1]
        below = _together(p[0] - low_1, high_2 - p[1], r)
        above = _together(high_1 - p[0], p[1] - low_2, r)
        ends.append((np.maximum(-1, drop - below), np.minimum(1, drop + above)))
        yield {name: (classes, *end) for name, end in zip(QUANTITIES, ends, strict=True)}


def _wilson(p: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    centre = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * np.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    return np.clip(centre - half, 0, p), np.clip(centre + half, p, 1)


def _together(one: np.ndarray, other: np.ndarray, r: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(0, one**2 + other**2 - 2 * r * one * other))


def coverage(
    scene: Scene | Unlike | Composites, replications: int, *, seed: int = 1, block: int = BLOCK
) -> dict[str, float]:
    """Share of intervals that cover the truth and, after ``width``, their mean width in points.

    For ``Unlike``, the same for the classes with strong effects, after ``strong``.
    """
    rng, done = np.random.default_rng(seed), 0
    drawn_by = {Unlike: draw_unlike, Composites: draw_composites, Scene: simulate}
    draw = drawn_by[type(scene)]
    sums: dict[str, list[float]] = {}
    while done < replications:
        draws = draw(scene, rng, min(block, replications - done))
        for found in intervals(draws.layout, draws.correct[0]):
            for name, (classes, low, high) in found.items():
                held = (low <= draws.of_classes[name][classes]) & (draws.of_classes[name][classes] <= high)
                sums.setdefault(name, []).append(held.mean())
                sums.setdefault(f"width {name}", []).append((high - low).mean())
                if isinstance(scene, Unlike):
                    sums.setdefault(f"strong {name}", []).append(held[scene.strongly(classes)].mean())
        done += len(draws.correct[0])
    return {name: float(np.mean(each)) for name, each in sums.items()}


def main() -> None:
    """Print the tables."""
    replications = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    usual = [scene for scene in SCENES if scene.name not in (*EXTREME, ALL_CLASSES)]
    extreme = [scene for scene in SCENES if scene.name in EXTREME]
    tables = (
        ("one class of many", usual, "width"),
        ("the same, accuracies near 0 or 1", extreme, "width"),
        ("clusters matter to some classes only", UNLIKE, "strong"),
        ("two ways of clusters", COMPOSITES, "width"),
    )
    for title, scenes, further in tables:
        heads = [*QUANTITIES, *(f"{further}, {name}" for name in QUANTITIES)]
        print(f"\n| {' | '.join([title, *heads])} |\n|{'---|' * (len(heads) + 1)}")
        for scene in scenes:
            found = coverage(scene, replications)
            columns = [*QUANTITIES, *(f"{further} {name}" for name in QUANTITIES)]
            shown = " | ".join(f"{100 * found[column]:.1f}" for column in columns)
            print(f"| {scene.name} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
