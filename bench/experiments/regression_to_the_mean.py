"""How much a method that changes nothing "gains" on classes or pairs chosen on the photos it is scored on.

python bench/experiments/regression_to_the_mean.py [REPLICATIONS]  # simulation, by default 4,000
python bench/experiments/regression_to_the_mean.py --run RUN       # two models of a run: BASE, then METHOD

The method has the base model's accuracy in every class and background, but redraws its answers on a share of
the photos. Its true gain is 0 by construction. Docs: docs/research/worst-classes.md.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from scipy.optimize import brentq
from scipy.special import betaln, expit, logit
from scipy.stats import norm

from counterground.published import load_table
from counterground.results import open_run

REFEREE = "CLIP-LAION400M-ViT/B/32"
PUBLISHED_DROP = 0.3017  # the referee's, Table 3
MIN_DROP = 0.05  # paper, section 2
WORST = 10
AGAIN = (1.0, 0.5, 0.2)  # share of the photos on which the method redraws its answer


@dataclass(frozen=True)
class Half:
    """Counts of one part of the photos, each ``[replications, classes, backgrounds]``."""

    n: np.ndarray
    right: np.ndarray  # base model
    lost: np.ndarray  # base right, method wrong
    won: np.ndarray

    def __add__(self, other):
        return Half(*(getattr(self, f) + getattr(other, f) for f in ("n", "right", "lost", "won")))

    @property
    def accuracy(self):
        return self.right / self.n

    @property
    def change(self):
        return (self.won - self.lost) / self.n

    @property
    def variance(self):
        return ((self.won + self.lost) / self.n - self.change**2) / (self.n - 1)


def answer(rng, p, n, again):
    """Both models answer ``n`` photos per cell; accuracies ``p`` ``[replications, classes, backgrounds]``."""
    n = np.broadcast_to(n, p.shape)
    right = rng.binomial(n, p)
    anew_right, anew_wrong = rng.binomial(right, again), rng.binomial(n - right, again)
    return Half(n, right, rng.binomial(anew_right, 1 - p), rng.binomial(anew_wrong, p))


def worst_classes(rng, chooses, scores):
    """The ``WORST`` classes by the base model's accuracy; returns base score, gain and its variance."""
    order = (chooses.accuracy + 1e-9 * rng.random(chooses.right.shape))[:, :, 0].argsort(axis=1)[:, :WORST]
    base, gain, variance = (
        np.take_along_axis(x[:, :, 0], order, 1) for x in (scores.accuracy, scores.change, scores.variance)
    )
    return base.mean(1), gain.mean(1), variance.sum(1) / WORST**2


def worst_pairs(rng, chooses, scores):
    """Best and worst background of each class that differs enough; returns base drop, gain, variance."""
    seen = chooses.accuracy + 1e-9 * rng.random(chooses.right.shape)
    best, worst = (x[:, :, None] for x in (seen.argmax(2), seen.argmin(2)))

    def at(values, place):
        return np.take_along_axis(values, place, 2)[:, :, 0]

    kept = at(seen, best) - at(seen, worst) > MIN_DROP
    classes = kept.sum(1)
    drop = at(scores.accuracy, best) - at(scores.accuracy, worst)
    gain = at(scores.change, worst) - at(scores.change, best)
    variance = at(scores.variance, worst) + at(scores.variance, best)
    return (
        (drop * kept).sum(1) / classes,
        (gain * kept).sum(1) / classes,
        (variance * kept).sum(1) / classes**2,
    )


def shrunk(values, n):
    """Accuracies with the spread that remains after removing binomial noise."""
    noise = (values * (1 - values) / n).mean()
    return values.mean() + (values - values.mean()) * np.sqrt(max(0, 1 - noise / values.var()))


def counteranimal():
    """The referee's published accuracies and photos, ``[45]`` each: common, counter, n_common, n_counter."""
    rows = load_table("classwise_results").filter(model=REFEREE, table="Table 15").sort("class_id")
    sizes = load_table("group_sizes").sort("class_id")
    return (
        *(rows[g].to_numpy() / 100 for g in ("common", "counter")),
        *(sizes[f"n_{g}_implied"].to_numpy() for g in ("common", "counter")),
    )


def beta_of_imagenet():
    """Beta distribution of accuracies with mean 64.1 % in which 10 of 1,000 classes have 0 of 50 right."""

    def zero(a):
        b = a * (1 - 0.641) / 0.641
        return np.exp(betaln(a, b + 50) - betaln(a, b)) - 0.01

    a = brentq(zero, 0.2, 20)
    return a, a * (1 - 0.641) / 0.641


def pair_worlds(backgrounds, photos):
    """Function of (rng, replications) -> accuracies; the spread gives the referee its published drop."""
    common, counter, *_ = counteranimal()
    middle = logit(np.clip((common + counter) / 2, 0.02, 0.98))

    def draw(rng, replications, spread):
        return expit(middle[:, None] + spread * rng.normal(size=(replications, len(middle), backgrounds)))

    def surplus(spread):
        rng = np.random.default_rng(7)
        seen = answer(rng, draw(rng, 300, spread), photos, 0)
        return worst_pairs(rng, seen, seen)[0].mean() - PUBLISHED_DROP

    spread = brentq(surplus, 0.1, 3, xtol=1e-3)
    return lambda rng, replications: draw(rng, replications, spread)


def fixed(p):
    """Function of (rng, replications) -> the same accuracies in every replication."""
    return lambda _, replications: np.broadcast_to(p[None, :, None], (replications, len(p), 1))


def worlds():
    """Title, accuracies, photos per cell, protocol."""
    _, counter, _, n_counter = counteranimal()
    a, b = beta_of_imagenet()
    return (
        (
            "CounterAnimal, best and worst of 4 backgrounds with 145 photos",
            pair_worlds(4, 145),
            145,
            worst_pairs,
        ),
        (
            "CounterAnimal, best and worst of 8 backgrounds with 72 photos",
            pair_worlds(8, 72),
            72,
            worst_pairs,
        ),
        (
            "CounterAnimal's counter photos, worst 10 of 45 classes",
            fixed(shrunk(counter, n_counter)),
            n_counter[:, None],
            worst_classes,
        ),
        (
            "ImageNet, worst 10 of 1,000 classes with 50 photos",
            lambda rng, replications: rng.beta(a, b, (replications, 1000, 1)),
            50,
            worst_classes,
        ),
    )


def simulate(replications):
    """Print a row for each benchmark and share of redrawn answers."""
    a, b = beta_of_imagenet()
    print(f"{replications} replications; ImageNet's classes have accuracies ~ Beta({a:.2f}, {b:.2f}).\n")
    head = "| benchmark and choice | answered anew | base, same photos | base, with a split "
    print(f"{head}| gain, same photos | p < 0.05 | gain, with a split | p < 0.05 |")
    print("|---" * 8 + "|")
    for title, accuracies, photos, protocol in worlds():
        for again in AGAIN:
            results = [[], []]
            for block in range(0, replications, 200):
                rng = np.random.default_rng([11, block, round(10 * again)])
                p = accuracies(rng, min(200, replications - block))
                first = answer(rng, p, photos // 2, again)
                second = answer(rng, p, photos - photos // 2, again)
                whole = first + second
                for place, (chooses, scores) in enumerate(((whole, whole), (first, second))):
                    results[place].append(protocol(rng, chooses, scores))
            print(line(title, again, [np.concatenate(r, axis=1) for r in results]))


def line(title, again, results):
    cells = []
    for base, gain, variance in results:
        low, high = np.quantile(gain, (0.025, 0.975))
        z = gain / np.sqrt(np.maximum(variance, 1e-12))
        claims = (2 * norm.sf(np.abs(z)) < 0.05).mean()
        cells.append(
            (
                f"{100 * base.mean():.1f}",
                f"{100 * gain.mean():+.1f} ({100 * low:+.1f} to {100 * high:+.1f})",
                f"{100 * claims:.0f} %",
            )
        )
    (base, gain, claims), (base2, gain2, claims2) = cells
    return f"| {title} | {100 * again:.0f} % | {base} | {base2} | {gain} | {claims} | {gain2} | {claims2} |"


def measure(folder, splits):
    """The same with two models of a run: the first chooses pairs, 5 points apart, on half the photographs."""
    predictions = open_run(folder).predictions.filter(pl.col("background").is_not_null())
    names = predictions["model"].unique(maintain_order=True).to_list()[:2]
    models = [predictions.filter(model=name).sort("path") for name in names]
    classes, labels, clusters = (
        models[0][column].cast(pl.String).rank("dense").to_numpy() - 1
        for column in ("class_index", "background", "cluster")
    )
    right = np.array([rows["correct"].to_numpy() for rows in models], dtype=float)
    cell = classes * (labels.max() + 1) + labels
    shape = (classes.max() + 1, labels.max() + 1)
    rng = np.random.default_rng(5)
    found = []
    for _ in range(splits):
        chooses = _half(rng, labels, clusters)
        (seen, n_seen), (held, n_held) = (
            _cells(cell[part], right[:, part], shape) for part in (chooses, ~chooses)
        )
        usable = (n_seen > 0) & (n_held > 0)
        base = seen[0] + 1e-9 * rng.random(shape)
        rows = np.arange(shape[0])
        best = np.where(usable, base, -1).argmax(1)
        worst = np.where(usable, base, 2).argmin(1)
        kept = base[rows, best] - base[rows, worst] > MIN_DROP
        found.append([[(x[rows, best] - x[rows, worst])[kept].mean() for x in part] for part in (seen, held)])
    drops = 100 * np.array(found)
    gain = drops[:, :, 0] - drops[:, :, 1]
    print(f"{splits} splits of the photographs. Mean (2.5 to 97.5 % of the splits), points.\n")
    print(f"| photos | drop of {names[0]} | drop of {names[1]} | apparent gain |\n|---|---|---|---|")
    for place, photos in enumerate(("those that chose the pairs", "the held-out half")):
        cells = [_range(x[:, place]) for x in (drops[:, :, 0], drops[:, :, 1], gain)]
        print(f"| {photos} | " + " | ".join(cells) + " |")


def _half(rng, labels, clusters):
    """Mark the photos of half of each label's photographs; a photograph is on one side only."""
    side = {}
    for label in rng.permutation(labels.max() + 1):
        of_label = [c for c in rng.permutation(np.unique(clusters[labels == label])) if c not in side]
        side |= {c: place % 2 == 0 for place, c in enumerate(of_label)}
    return np.array([side[c] for c in clusters])


def _cells(cell, right, shape):
    """Accuracies ``[models, classes, backgrounds]`` and photos ``[classes, backgrounds]``."""
    size = shape[0] * shape[1]
    counts = np.bincount(cell, minlength=size)
    sums = np.array([np.bincount(cell, answers, minlength=size) for answers in right])
    return (sums / np.maximum(counts, 1)).reshape(-1, *shape), counts.reshape(shape)


def _range(values):
    low, high = np.quantile(values, (0.025, 0.975))
    return f"{values.mean():+.1f} ({low:+.1f} to {high:+.1f})"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("replications", type=int, nargs="?", default=4000)
    parser.add_argument("--run", type=Path, help="a run of two models on a benchmark without pairs")
    parser.add_argument("--splits", type=int, default=200)
    options = parser.parse_args()
    if options.run:
        measure(options.run, options.splits)
    else:
        simulate(options.replications)


if __name__ == "__main__":
    main()
