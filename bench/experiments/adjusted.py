"""How often the intervals of adjusted contrasts cover the truth, and what bias remains, by simulation.

python bench/experiments/adjusted.py [REPLICATIONS]

Layouts are those of ``interval_coverage.py``. Photos have a size and a position, drawn anew each time.
Objects in counter photos are smaller by ``shift`` standard deviations. Size moves the probit of a photo's
accuracy by ``slope``, along a curve and by a quarter more on counter photos; position does nothing. So part
of the drop is due to size. Clusters share part of the sizes. The truth is that of populations of clusters and
photos: the mean over classes of the difference in accuracy at the sizes of both groups together, each
weighted by its photos in the layout.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr, ndtri

from counterground.metrics import Adjustment, Sampling
from interval_coverage import Layout, crossed, nested, observers

BLOCK = 20
"""Replications that share a layout."""
FIGURES = ("unadjusted", "adjusted", "difference")
_NODES = ndtri((np.arange(2000) + 0.5) / 2000)


@dataclass(frozen=True)
class Scene:
    """A benchmark to simulate.

    Attributes:
        name: what the table calls it.
        layout: draws photos.
        shift: by how much smaller counter photos' objects are, in standard deviations.
        slope: by how much a standard deviation of size moves the probit of accuracy.
        drop: by how much harder counter photos are, at equal size.
        steeper: by what fraction the slope is steeper on counter photos.
        shared, within: standard deviations of the cluster's effect on all photos, and on those of a group.
        of_cluster: share of the variance of sizes that lies between clusters.
        middle, spread: mean of the classes' probits, and half their range.
    """

    name: str
    layout: Callable[[np.random.Generator], Layout]
    shift: float = 0.6
    slope: float = 0.4
    drop: float = 0.4
    shared: float = 0.5
    within: float = 0.25
    steeper: float = 0.25
    of_cluster: float = 0.2
    middle: float = 0.5
    spread: float = 0.7


INDEPENDENT = {"shared": 0.0, "within": 0.0, "of_cluster": 0.0}
SCENES = (
    Scene("14 photographs nested in 6 labels, 4 placements (`stamps`)", nested),
    Scene("20 clusters", lambda rng: crossed(rng, photos=10, clusters=20)),
    Scene("40 clusters", lambda rng: crossed(rng, photos=10, clusters=40)),
    Scene("40 clusters, very uneven", lambda rng: crossed(rng, clusters=40, odds=rng.pareto(1.5, 40) + 0.1)),
    Scene("200 clusters", lambda rng: crossed(rng, photos=10, clusters=200)),
    Scene("observers, 5 classes of 80", lambda rng: observers(rng, np.full((5, 2), 40))),
    Scene("observers, 45 uneven classes", lambda rng: observers(rng, rng.integers(3, 60, (45, 2)))),
    Scene("independent, 4 photos a cell", lambda rng: crossed(rng, photos=4), **INDEPENDENT),
    Scene("independent, 5 classes of 200, slopes by class", lambda rng: crossed(rng, 5, 100), **INDEPENDENT),
    Scene("1 class, 30 clusters", lambda rng: crossed(rng, 1, 100, 30)),
    Scene("200 clusters, sides alike", lambda rng: crossed(rng, photos=10, clusters=200), shift=0.0),
    Scene(
        "200 clusters, size is all", lambda rng: crossed(rng, photos=10, clusters=200), drop=0.0, slope=0.8
    ),
    Scene(
        "200 clusters, accuracies above 90 %",
        lambda rng: crossed(rng, photos=10, clusters=200),
        middle=2.2,
        spread=0.3,
    ),
)


@dataclass
class Draw:
    """One sample: covariates and answers ``[n]``."""

    size: np.ndarray
    position: np.ndarray
    correct: np.ndarray


def _level(scene: Scene, layout: Layout) -> np.ndarray:
    number = layout.class_index.max() + 1
    levels = scene.middle + (np.linspace(-scene.spread, scene.spread, number) if number > 1 else np.zeros(1))
    return levels[layout.class_index]


def _probit(scene: Scene, level: np.ndarray, group: np.ndarray | int, size: np.ndarray) -> np.ndarray:
    slope = scene.slope * (1 + scene.steeper * group)
    return level - scene.drop * group + slope * (size - 0.15 * size**2)


def draw(scene: Scene, rng: np.random.Generator, layout: Layout) -> Draw:
    """Draw covariates and answers of the photos of a layout."""
    n, group, cluster = len(layout.group), layout.group, layout.cluster
    clusters = cluster.max() + 1
    size = np.sqrt(1 - scene.of_cluster) * rng.normal(size=n)
    size += np.sqrt(scene.of_cluster) * rng.normal(size=clusters)[cluster] - scene.shift * group
    effect = rng.normal(size=n)
    effect += scene.shared * rng.normal(size=clusters)[cluster]
    effect += scene.within * rng.normal(size=2 * clusters)[2 * cluster + group]
    return Draw(size, rng.random(n), _probit(scene, _level(scene, layout), group, size) + effect > 0)


def truth(scene: Scene, layout: Layout) -> dict[str, float]:
    """Return the population contrast with sizes as they are, with sizes held, and second minus first."""
    scale = np.sqrt(1 + scene.shared**2 + scene.within**2)
    level, (plain, held) = _level(scene, layout), ([], [])
    for index in np.unique(layout.class_index):
        own = layout.class_index == index
        base, share = level[own][0], layout.group[own].mean()
        chance = [
            [
                ndtr(_probit(scene, base, group, _NODES - scene.shift * sizes) / scale).mean()
                for sizes in (0, 1)
            ]
            for group in (0, 1)
        ]
        plain.append(chance[0][0] - chance[1][1])
        held.append(sum(w * (chance[0][s] - chance[1][s]) for s, w in ((0, 1 - share), (1, share))))
    found = float(np.mean(plain)), float(np.mean(held))
    return {"unadjusted": found[0], "adjusted": found[1], "difference": found[1] - found[0]}


def simulate(scene: Scene, replications: int, seed: int = 1) -> dict[str, float]:
    """Return shares of intervals that cover their truth, mean errors, and the share of samples refused.

    Besides ``FIGURES``: ``bias before`` and ``bias after`` are mean errors of the unadjusted and the adjusted
    contrast as estimates of the contrast with sizes held.
    """
    rng = np.random.default_rng(seed)
    found = dict.fromkeys((*FIGURES, "bias before", "bias after"), 0.0)
    refused = 0
    for number in range(replications):
        if number % BLOCK == 0:
            layout = scene.layout(rng)
            layout = replace(layout, cluster=np.unique(layout.cluster, return_inverse=True)[1])
            true = truth(scene, layout)
        drawn = draw(scene, rng, layout)
        try:
            contrast = adjustment(layout, drawn).of(drawn.correct)
        except ValueError:
            refused += 1
            continue
        for name, interval in contrast._asdict().items():
            found[name] += interval.low <= true[name] <= interval.high
        found["bias before"] += contrast.unadjusted.value - true["adjusted"]
        found["bias after"] += contrast.adjusted.value - true["adjusted"]
    means = {name: total / max(1, replications - refused) for name, total in found.items()}
    return means | {"refused": refused / replications}


def adjustment(layout: Layout, drawn: Draw) -> Adjustment:
    """Return the adjustment of a sample's drop for size and position."""
    return Adjustment(
        Sampling(layout.cluster, layout.cluster.max() + 1),
        layout.group == 0,
        layout.group == 1,
        layout.class_index,
        {"size": drawn.size, "position": drawn.position},
    )


def main() -> None:
    """Print the table."""
    replications = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    print("| simulated | unadjusted | adjusted | difference | bias before | after | refused |")
    print("|---|---|---|---|---|---|---|")
    for scene in SCENES:
        found = simulate(scene, replications)
        print(
            f"| {scene.name} | " + " | ".join(f"{100 * value:.1f}" for value in found.values()) + " |",
            flush=True,
        )


if __name__ == "__main__":
    main()
