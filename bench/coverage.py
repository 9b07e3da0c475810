"""How often the 95 % intervals hold the truth, by simulation: ``python bench/coverage.py [replications]``.

Photos are right or wrong by a probit with effects of the cluster shared by all its classes and groups, and of
the cluster within a group, so the true accuracies are known in closed form.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from counterground.metrics import balanced_interval, drop_interval


class Scene(NamedTuple):
    """A benchmark to simulate: ``clusters`` None means independent photos."""

    name: str
    clusters: int | None
    classes: int = 45
    photos: int = 20
    layout: str = "spread"
    shared: float = 0.6
    within: float = 0.3


SCENES = (
    Scene("200 clusters across classes and groups", 200),
    Scene("20 clusters across classes and groups", 20),
    Scene("6 clusters across classes and groups", 6),
    Scene("independent photos", None, shared=0.0, within=0.0),
    Scene("independent, 4 photos a cell", None, photos=4, shared=0.0, within=0.0),
    Scene("200 clusters of unequal size", 200, layout="unequal"),
    Scene("24 backgrounds, 4 of each of 6 labels", 24, photos=4, layout="labels"),
)


class Draw(NamedTuple):
    """One simulated set of predictions, with the true balanced accuracy and drop."""

    correct: np.ndarray
    class_index: np.ndarray
    group: np.ndarray
    cluster: np.ndarray | None
    accuracy: float
    drop: float


def simulate(scene: Scene, rng: np.random.Generator) -> Draw:
    """Draw predictions; the truth is that of the population of clusters, over the classes at hand."""
    cells = 2 * scene.classes
    class_index = np.repeat(np.arange(scene.classes), 2 * scene.photos)
    group = np.tile(np.repeat([0, 1], scene.photos), scene.classes)
    level = np.linspace(-0.4, 1.6, scene.classes)[class_index] - 0.7 * group
    cluster, of_cluster = None, 0.0
    if scene.clusters:
        cluster = _assign(scene, rng, cells)
        shared = rng.normal(0, scene.shared, scene.clusters)
        within = rng.normal(0, scene.within, (scene.clusters, 2))
        of_cluster = shared[cluster] + within[cluster, group]
    correct = level + of_cluster + rng.normal(size=len(level)) > 0
    p = ndtr(level / np.sqrt(1 + scene.shared**2 + scene.within**2)).reshape(cells, scene.photos)[:, 0]
    names = np.array(["common", "counter"], dtype=object)[group]
    return Draw(correct, class_index, names, cluster, p.mean(), (p[::2] - p[1::2]).mean())


def _assign(scene: Scene, rng: np.random.Generator, cells: int) -> np.ndarray:
    if scene.layout == "labels":
        # A class has one label as common and another as counter, and a photo on each photograph of both.
        labels = scene.clusters // scene.photos
        pairs = np.array([rng.permutation(labels)[:2] for _ in range(cells // 2)]).ravel()
        return (pairs[:, None] * scene.photos + np.arange(scene.photos)).ravel()
    odds = np.ones(scene.clusters) if scene.layout == "spread" else rng.pareto(1.5, scene.clusters) + 0.2
    return rng.choice(scene.clusters, size=cells * scene.photos, p=odds / odds.sum())


def coverage(
    scene: Scene, method: str, replications: int, *, draws: int = 300, seed: int = 1
) -> dict[str, float]:
    """Share of intervals that hold the truth, for balanced ``accuracy`` and ``drop``."""
    rng = np.random.default_rng(seed)
    held = {"accuracy": 0, "drop": 0}
    for number in range(replications):
        draw = simulate(scene, rng)
        options = {"method": method, "seed": number, "draws": draws}
        accuracy = balanced_interval(draw.correct, draw.class_index, draw.cluster, **options)
        drop = drop_interval(draw.correct, draw.class_index, draw.group, draw.cluster, **options)
        held["accuracy"] += accuracy.low <= draw.accuracy <= accuracy.high
        held["drop"] += drop.low <= draw.drop <= drop.high
    return {name: count / replications for name, count in held.items()}


def main() -> None:
    """Print the table."""
    replications = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    print(f"{'':42}{'accuracy':>20}{'drop':>20}")
    print(f"{'':42}{'analytic':>10}{'bootstrap':>10}{'analytic':>10}{'bootstrap':>10}")
    for scene in SCENES:
        analytic = coverage(scene, "analytic", replications)
        bootstrap = coverage(scene, "bootstrap", replications)
        figures = [found[name] for name in ("accuracy", "drop") for found in (analytic, bootstrap)]
        print(f"{scene.name:42}" + "".join(f"{100 * figure:9.1f}%" for figure in figures), flush=True)


if __name__ == "__main__":
    main()
