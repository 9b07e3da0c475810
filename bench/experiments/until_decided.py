"""Errors and photos of ``evaluate --until decided``, by simulation.

python bench/experiments/until_decided.py [N]

Each of N sequences visits photos and looks at the drop as the command does. A sequence errs if any of its
intervals, up to the last photo, misses the true drop. Photos are right or wrong by a probit with effects
of the cluster and of the cluster within a group, as in ``interval_coverage.py``; the truth is that of the
population of clusters. Several orders of the photos are drawn for each benchmark.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import polars as pl
from scipy.special import ndtr, ndtri

from counterground.decision import Until
from counterground.metrics import DROP, Confidence, Interval, drop_interval

# What does not depend on the answers is computed once for all sequences.
from counterground.metrics.intervals._intervals import critical, difference_limits
from counterground.metrics.intervals._sampling import StratumMeans
from counterground.metrics.intervals._stratification import Stratification
from counterground.published import load_table

ANYTIME = Confidence(anytime=True)


class Design(NamedTuple):
    """A benchmark: ``photos`` per class and group, or CounterAnimal's; ``clusters`` None: independent.

    ``by_size`` makes the drop depend on the size of the cluster: the probits it adds for each standard
    deviation of the logarithm of the cluster's number of photos.
    """

    name: str
    classes: int = 45
    photos: int | None = 20
    clusters: int | None = None
    layout: str = "spread"
    common: float = 0.75
    effect: float = 0.6
    within: float = 0.3
    by_size: float = 0.0


COUNTERANIMAL = Design("CounterAnimal's 45 classes, independent photos", photos=None)
OBSERVERS = COUNTERANIMAL._replace(
    name="the same, 2,500 observers of unequal size", clusters=2500, layout="unequal"
)
DESIGNS = (
    Design(
        "45 classes, half of each group's 60 photos by 30 observers of all classes, who have the drop",
        photos=60,
        clusters=30 + 45 * 2 * 30,
        layout="generalists",
        effect=0.0,
        within=0.0,
        by_size=0.8,
    ),
    OBSERVERS._replace(name="2,500 observers, larger ones with a larger drop", by_size=0.5),
    COUNTERANIMAL,
    OBSERVERS,
    Design("10 classes x 40 photos a group, 100 observers", 10, 40, 100, "unequal"),
    Design("45 classes on pairs of 6 labels, 16 photos on 4 photographs each", 45, 16, 24, "labels"),
    Design("3 classes x 100 photos a group, independent", 3, 100),
    Design("20 classes x 30 photos a group, 40 uneven clusters", 20, 30, 40, "unequal"),
    Design("45 classes x 20 photos a group, accuracy 99 %", common=0.99),
)


class Photos:
    """The photos of a design, the looks at them in one random order, and the draws of a model's answers."""

    def __init__(self, design: Design, order: int = 0) -> None:
        rng = np.random.default_rng(0)
        sizes = np.full((design.classes, 2), design.photos or 0)
        if design.photos is None:
            table = load_table("group_sizes").sort("class_id")
            sizes = table.select("n_common_implied", "n_counter_implied").to_numpy()
        self.design = design
        self.class_index = np.repeat(np.arange(design.classes), sizes.sum(1))
        self.group = np.concatenate([np.repeat([0, 1], row) for row in sizes])
        self.names = np.array(["common", "counter"])[self.group]
        n = len(self.group)
        self.cluster = self._clusters(rng, n)
        self.size = np.log(np.bincount(self.cluster)[self.cluster])
        self.size -= self.size.mean()
        self.size /= self.size.std() or 1
        self.level = np.linspace(-0.8, 0.8, design.classes)[self.class_index]
        clusters = None if design.clusters is None else [str(code) for code in self.cluster]
        frame = pl.DataFrame(
            {
                "path": [str(number) for number in range(n)],
                "class_index": self.class_index,
                "group": self.names,
            }
        ).with_columns(photo_id="path", cluster=pl.Series(clusters or [None] * n, dtype=pl.String))
        looks = Until(seed=order).looks(frame)
        self.rows = np.cumsum([len(rows) for rows in looks])
        self.order = np.concatenate(looks)
        self.strata = [Stratification(*self.of(count), confidence=ANYTIME) for count in self.rows]

    def of(self, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Class, group and cluster of the first photos."""
        rows = self.order[:count]
        cluster = self.cluster[rows] if self.design.clusters else None
        return self.class_index[rows], self.names[rows], cluster

    def _clusters(self, rng: np.random.Generator, n: int) -> np.ndarray:
        design = self.design
        if design.clusters is None:
            return np.arange(n)
        if design.layout == "generalists":
            place = np.arange(n) % design.photos
            return np.where(place < 30, place, 30 + np.cumsum(place >= 30) - 1)
        if design.layout == "labels":
            pairs = np.array([rng.permutation(design.clusters // 4)[:2] for _ in range(design.classes)])
            return (4 * pairs.ravel()[:, None] + np.arange(design.photos) % 4).ravel()
        odds = rng.pareto(1.5, design.clusters) + 0.2
        return rng.choice(design.clusters, size=n, p=odds / odds.sum())

    def draw(self, rng: np.random.Generator, drop: float) -> tuple[np.ndarray, float]:
        """Return which photos are right, and the true drop, which is about ``drop`` (a fraction)."""
        design = self.design
        effect, within = (design.effect, design.within) if design.clusters else (0.0, 0.0)
        spread = np.sqrt(1 + effect**2 + within**2)
        level = (
            ndtri(design.common)
            + self.level
            - (ndtri(design.common) - ndtri(design.common - drop) + design.by_size * self.size) * self.group
        ) * spread
        latent = level + rng.normal(size=len(level))
        if design.clusters:
            latent += rng.normal(0, effect, design.clusters)[self.cluster]
            latent += rng.normal(0, within, (design.clusters, 2))[self.cluster, self.group]
        p = ndtr(level / spread)
        cells = np.bincount(2 * self.class_index + self.group, weights=p) / np.bincount(
            2 * self.class_index + self.group
        )
        return latent > 0, float((cells[::2] - cells[1::2]).mean())

    def intervals(self, correct: np.ndarray) -> Iterator[tuple[int, Interval]]:
        """Yield the interval of each look, and the photos behind it."""
        for count, photos in zip(self.rows, self.strata, strict=True):
            sides = photos.sides(DROP)
            averages = sides.averages()
            assert averages is not None
            common, counter = StratumMeans(sides.partition, correct[self.order[:count]]).weighted(averages)
            change = common.minus(counter, n=count)
            low, high = difference_limits(common, counter)(float(critical(change)))
            yield count, Interval(common.value - counter.value, low, high, count, common.clusters)

    def agrees(self) -> bool:
        """Whether these intervals equal those that `drop_interval` gives the command."""
        correct, _ = self.draw(np.random.default_rng(0), 0.1)
        for count, found in self.intervals(correct):
            same = drop_interval(correct[self.order[:count]], *self.of(count), confidence=ANYTIME)
            if not np.allclose([found.low, found.high], [same.low, same.high], atol=1e-12):
                return False
        return True


DROPS = (0.0, 0.15)


def errors(design: Design, replications: int) -> np.ndarray:
    """Share of sequences with any interval that misses the truth, for each of `DROPS`."""
    missed = np.zeros(len(DROPS))
    for photos, rng in _orders(design, replications):
        for place, drop in enumerate(DROPS):
            correct, truth = photos.draw(rng, drop)
            found = (i for _, i in photos.intervals(correct) if i.low is not None)
            missed[place] += any(not i.low <= truth <= i.high for i in found)
    return missed / replications


def stops(design: Design, drop: float, replications: int) -> np.ndarray:
    """Photos after which each sequence has decided that the drop is above 0; all photos if it never does."""
    until, found = Until(), []
    for photos, rng in _orders(design, replications):
        correct, _ = photos.draw(rng, drop)
        after = (n for n, i in photos.intervals(correct) if until.verdict(i) == "above")
        found.append(next(after, len(photos.order)))
    return np.array(found)


def times_wider(photos: Photos) -> float:
    """How many times as wide as an ordinary interval the sequence's interval is, with all photos."""
    correct, _ = photos.draw(np.random.default_rng(0), 0.15)
    of = photos.of(len(photos.order))
    anytime, ordinary = (
        drop_interval(correct[photos.order], *of, confidence=confidence)
        for confidence in (ANYTIME, Confidence())
    )
    return float((anytime.high - anytime.low) / (ordinary.high - ordinary.low))


def _each(design: Design) -> int:
    """Sequences per order: few if the order matters."""
    return 10 if design.by_size else 50


def _orders(design: Design, replications: int) -> Iterator[tuple[Photos, np.random.Generator]]:
    """Yield photos and a generator for each sequence; orders are slow to make, so several share one."""
    rng = np.random.default_rng(1)
    for number in range(replications):
        if number % _each(design) == 0:
            photos = Photos(design, order=number)
        yield photos, rng


def main() -> None:
    """Print both tables."""
    replications = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    print("| benchmark | photos | looks | sequences that err, no drop | drop of 15 points |")
    print("|---|---:|---:|---:|---:|")
    for design in DESIGNS:
        photos = Photos(design)
        assert photos.agrees()
        wrong = [f"{100 * error:.1f} %" for error in errors(design, replications)]
        print(
            f"| {design.name} | {len(photos.order):,} | {len(photos.rows)} | {' | '.join(wrong)} |",
            flush=True,
        )
    print("\n| benchmark | drop | photos until decided: median | mean | 95 % of runs | times fewer (mean) |")
    print("|---|---:|---:|---:|---:|---:|")
    for design in (COUNTERANIMAL, OBSERVERS):
        photos = Photos(design)
        for drop in (0.05, 0.10, 0.15, 0.20, 0.30):
            after = stops(design, drop, max(20, replications // 10))
            figures = (np.median(after), after.mean(), np.quantile(after, 0.95))
            texts = " | ".join(f"{figure:,.0f}" for figure in figures)
            fewer = len(photos.order) / after.mean()
            print(f"| {design.name} | {100 * drop:.0f} | {texts} | {fewer:.1f} |", flush=True)
    wider = " and ".join(f"{times_wider(Photos(design)):.2f}" for design in (COUNTERANIMAL, OBSERVERS))
    print(f"\nWith all photos {wider} times as wide as intervals of one look.")


if __name__ == "__main__":
    main()
