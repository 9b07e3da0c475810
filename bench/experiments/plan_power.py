"""The predictions of ``plan`` against simulation, in 22 designs.

python bench/experiments/plan_power.py [REPLICATIONS]

Predictions come from assumptions (first twelve), from pilot runs of half the size (next eight), or from
pilot runs of a tenth of the photos of the same number of clusters (last two), averaged over pilots. The
simulation counts how often the interval of the drop lies above 0. Class accuracies spread by up to 5 points
around the assumed one. Clusters are as assumed in the first and last designs (photos of one group and
class, beta-binomial). In the others they are observers who photograph both groups, by a probit.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from counterground.decision import Assumptions, Pilot
from counterground.metrics import Stratification, drop_interval


class Design(NamedTuple):
    """Classes, photos per class and group, photos per cluster, correlation in it, common accuracy, drop."""

    classes: int
    photos: int
    cluster_size: int = 1
    icc: float = 0.0
    accuracy: float = 0.8
    drop: float = 0.1


ASSUMED = (
    Design(45, 4, drop=0.10),
    Design(45, 20, drop=0.05),
    Design(20, 10, drop=0.10),
    Design(10, 12, drop=0.15),
    Design(3, 50, drop=0.12),
    Design(2, 30, drop=0.20),
    Design(20, 10, accuracy=0.95, drop=0.06),
    Design(20, 20, accuracy=0.4, drop=0.10),
    Design(10, 40, cluster_size=4, icc=0.3, drop=0.10),
    Design(45, 20, cluster_size=10, icc=0.2, drop=0.08),
    Design(5, 60, cluster_size=12, icc=0.3, drop=0.20),
    Design(20, 24, cluster_size=6, icc=0.1, accuracy=0.6, drop=0.08),
)
PILOTS = (
    Design(45, 10, cluster_size=1, drop=0.08),
    Design(10, 20, cluster_size=1, accuracy=0.9, drop=0.08),
    Design(45, 10, cluster_size=6, icc=0.2, drop=0.08),
    Design(20, 20, cluster_size=10, icc=0.3, drop=0.10),
    Design(10, 40, cluster_size=20, icc=0.3, drop=0.12),
    Design(20, 20, cluster_size=4, icc=0.1, accuracy=0.6, drop=0.10),
    Design(5, 40, cluster_size=4, icc=0.2, accuracy=0.7, drop=0.15),
    Design(45, 20, cluster_size=15, icc=0.2, accuracy=0.7, drop=0.06),
)
FIXED = (
    Design(5, 200, cluster_size=20, icc=0.5, drop=0.15),
    Design(10, 200, cluster_size=30, icc=0.2, drop=0.10),
)
_FEWER = 10


def accuracies(design: Design) -> np.ndarray:
    """True accuracies ``[classes, 2]``, whose mean drop is that of the design."""
    room = min(0.05, design.accuracy - design.drop, 1 - design.accuracy)
    levels = design.accuracy + np.linspace(-room, room, design.classes)
    return np.stack([levels, levels - design.drop], axis=1)


def draw_assumed(design: Design, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Photos whose clusters are of one class and group: whether right, class, group, cluster."""
    p = np.repeat(accuracies(design).ravel(), design.photos)
    cells = np.repeat(np.arange(2 * design.classes), design.photos)
    within = np.tile(np.arange(design.photos) // design.cluster_size, 2 * design.classes)
    cluster = cells * design.photos + within
    if design.icc:
        scale = 1 / design.icc - 1
        of_cluster = rng.beta(np.maximum(p * scale, 1e-9), np.maximum((1 - p) * scale, 1e-9))
        _, first, code = np.unique(cluster, return_index=True, return_inverse=True)
        p = of_cluster[first][code]
    return rng.random(len(p)) < p, cells // 2, cells % 2, cluster


def draw_observed(design: Design, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Photos of observers with unequal numbers of photos, of any class on any background."""
    cells = np.repeat(np.arange(2 * design.classes), design.photos)
    p = np.repeat(accuracies(design).ravel(), design.photos)
    clusters = max(4, len(p) // design.cluster_size)
    if design.cluster_size == 1:
        return rng.random(len(p)) < p, cells // 2, cells % 2, np.arange(len(p))
    odds = rng.gamma(2.0, size=clusters)
    cluster = rng.choice(clusters, size=len(p), p=odds / odds.sum())
    shared, within = rng.normal(0, 1, clusters), rng.normal(0, 1, (clusters, 2))
    effect = np.sqrt(design.icc) * (0.6 * shared[cluster] + 0.8 * within[cluster, cells % 2])
    latent = ndtri(p) + effect + np.sqrt(1 - design.icc) * rng.normal(size=len(p))
    return latent > 0, cells // 2, cells % 2, cluster


def simulated(draw, design: Design, replications: int, seed: int = 1) -> float:
    """How often the interval lies above 0."""
    rng = np.random.default_rng(seed)
    found = 0
    for _ in range(replications):
        right, class_index, group, cluster = draw(design, rng)
        names = np.array(["common", "counter"])[group]
        low = drop_interval(right, class_index, names, None if design.cluster_size == 1 else cluster).low
        found += low is not None and low > 0
    return found / replications


def from_pilots(design: Design, pilots: int, seed: int = 2) -> float:
    """The mean prediction for all photos from pilot runs with half of them."""
    rng, predicted = np.random.default_rng(seed), []
    half = design._replace(photos=design.photos // 2)
    total = 2 * design.classes * design.photos
    for _ in range(pilots):
        right, class_index, group, cluster = draw_observed(half, rng)
        names = np.array(["common", "counter"])[group]
        photos = Stratification(class_index, names, None if design.cluster_size == 1 else cluster)
        predicted.append(Pilot.of(photos, right.astype(float)).power(design.drop, total))
    return float(np.mean(predicted))


def from_fixed(design: Design, pilots: int, seed: int = 2) -> float:
    """The mean prediction for all photos from pilot runs with fewer photos of as many clusters."""
    rng, predicted = np.random.default_rng(seed), []
    pilot = design._replace(photos=design.photos // _FEWER, cluster_size=design.cluster_size // _FEWER)
    total = 2 * design.classes * design.photos
    for _ in range(pilots):
        right, class_index, group, cluster = draw_assumed(pilot, rng)
        names = np.array(["common", "counter"])[group]
        known = Pilot.of(Stratification(class_index, names, cluster), right.astype(float))
        predicted.append(known.power(design.drop, total, known.clusters_now))
    return float(np.mean(predicted))


def main() -> None:
    """Print the table."""
    replications = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    print("| classes x photos a group | cluster size | correlation | accuracy | drop | plan | simulated |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    worst = 0.0
    for design in (*ASSUMED, *PILOTS, *FIXED):
        if design in ASSUMED:
            known = Assumptions(*design[:3], design.accuracy, design.icc)
            predicted = known.power(design.drop, known.photos_now)
            found = simulated(draw_assumed, design, replications)
        elif design in FIXED:
            predicted = from_fixed(design, max(20, replications // 5))
            found = simulated(draw_assumed, design, replications)
        else:
            predicted = from_pilots(design, max(20, replications // 5))
            found = simulated(draw_observed, design, replications)
        worst = max(worst, abs(predicted - found))
        of = (
            ""
            if design in ASSUMED
            else ", from fewer photos of the clusters" * (design in FIXED) or ", from pilots"
        )
        size = f"{design.classes} x {design.photos}{of}"
        given = (
            f"{design.cluster_size} | {design.icc:g} | {100 * design.accuracy:.0f} | {100 * design.drop:.0f}"
        )
        print(f"| {size} | {given} | {100 * predicted:.1f} | {100 * found:.1f} |", flush=True)
    print(f"\nLargest difference: {100 * worst:.1f} points.")


if __name__ == "__main__":
    main()
