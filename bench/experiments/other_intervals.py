"""How often the intervals of distances, rank correlations and agreement cover the truth, by simulation.

python bench/experiments/other_intervals.py [REPLICATIONS]

``interval_coverage.py`` has accuracies, drops and differences between models, ``line_with_errors.py`` slopes,
``contrast_coverage.py`` other contrasts.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import polars as pl
from scipy.special import ndtr

from counterground.comparison import effective_robustness, model_points
from counterground.metrics import (
    Answers,
    alpha_interval,
    balanced_interval,
    drop_interval,
    rank_correlation,
)
from counterground.metrics._stratification import Stratification
from counterground.published import load_table

SCHEMA = model_points().schema
SLOPE, INTERCEPT, SCATTER = 1.2, -0.6, 0.035
"""A line on the probit scale like the paper's, with the scatter of its models."""


class Study(NamedTuple):
    """Models of a baseline family on their line, and one that is off the line by ``offset`` probits.

    ``photos`` is the number per class and group, None: CounterAnimal's. Without ``clusters`` photos are
    independent. Without ``printed`` all models saw the same photos and share half of the photos' variation.
    """

    name: str
    models: int = 15
    offset: float = -0.1
    photos: int | None = None
    clusters: int | None = None
    printed: bool = False


STUDIES = (
    Study("printed row, 15 printed models, CounterAnimal's photos", printed=True),
    Study("printed row, 5 printed models", 5, printed=True),
    Study("printed row on the line", offset=0.0, printed=True),
    Study("run, all 16 models on 45 classes x 100 photos a group", photos=100),
    Study("run, the same with 400 clusters", photos=100, clusters=400),
    Study("run, the same with 40 clusters", photos=100, clusters=40),
    Study("run on the line, 6 models", 5, 0.0, photos=100),
    Study("run, 6 models, 40 clusters", 5, photos=100, clusters=40),
    Study("run, 16 models on 45 classes x 20 photos a group", photos=20),
)


def distance_covered(study: Study, rng: np.random.Generator) -> bool:
    """Draw a study; whether the interval of the last model's distance covers that from the true line."""
    place = np.append(0.9 + rng.normal(0, 0.3, study.models), 0.7)
    off = np.append(rng.normal(0, SCATTER, study.models), study.offset)
    levels = np.stack([place, INTERCEPT + SLOPE * place + off], axis=1)
    rows, answers = (_printed(levels, rng), None) if study.printed else _run(study, levels, rng)
    members = [*["imagenet"] * study.models, "clip"]
    common = {
        "source": "paper" if study.printed else "run",
        "comparable": study.printed,
        "averaging": "balanced",
        "benchmark": "simulated",
        "near_chance": False,
    }
    points = pl.DataFrame(
        [
            dict.fromkeys(SCHEMA) | common | row | {"model": f"m{k}", "label": f"m{k}", "family": family}
            for k, (row, family) in enumerate(zip(rows, members, strict=True))
        ],
        schema=SCHEMA,
    )
    found = effective_robustness(points, answers=answers).residuals.row(-1, named=True)
    truth = ndtr(levels[-1, 1]) - ndtr(INTERCEPT + SLOPE * place[-1])
    return bool(found["low"] <= truth <= found["high"])


def _printed(levels: np.ndarray, rng: np.random.Generator) -> list[dict[str, float]]:
    """Rows of a table: accuracies over classes that differ in accuracy."""
    sizes = load_table("group_sizes").select("n_common_implied", "n_counter_implied").to_numpy()
    means = ndtr(levels)[:, None, :]
    spread = np.linspace(-0.7, 0.7, len(sizes))[None, :, None] * np.minimum(means, 1 - means)
    seen = (rng.binomial(sizes, means + spread) / sizes).mean(axis=1)
    photos = dict(zip(("n_common", "n_counter"), sizes.sum(axis=0).tolist(), strict=True))
    return [{"common": x, "counter": y, "drop": x - y, **photos} for x, y in seen.tolist()]


def _run(
    study: Study, levels: np.ndarray, rng: np.random.Generator
) -> tuple[list[dict[str, float]], list[Answers]]:
    """Points of models on the same photos, with intervals for the last one only, and their answers."""
    classes, photos = 45, study.photos or 0
    class_index = np.repeat(np.arange(classes), 2 * photos)
    group = np.tile(np.repeat([0, 1], photos), classes)
    n = len(group)
    cluster = np.arange(n) if study.clusters is None else rng.integers(study.clusters, size=n)
    effect = rng.normal(0, np.sqrt(0.5), n) + rng.normal(0, np.sqrt(0.5), (len(levels), n))
    total = 1.0
    if study.clusters is not None:
        effect += rng.normal(0, 0.4, study.clusters)[cluster]
        effect += rng.normal(0, 0.2, (study.clusters, 2))[cluster, group]
        total = np.sqrt(1 + 0.4**2 + 0.2**2)
    correct = levels[:, group] * total + effect > 0
    names = np.array(["common", "counter"])[group]
    clusters = None if study.clusters is None else cluster
    seen = Stratification(class_index, names, clusters, fingerprint=b"the same")
    models = [Answers.of(pl.DataFrame({"correct": answers}), seen) for answers in correct]
    rows: list[dict[str, float]] = []
    for answers in correct:
        common, counter = (float(answers[group == side].mean()) for side in (0, 1))
        rows.append(
            {
                "common": common,
                "counter": counter,
                "drop": common - counter,
                "n_common": n // 2,
                "n_counter": n // 2,
            }
        )
    for side, name in enumerate(("common", "counter")):
        chosen = group == side
        own = None if clusters is None else clusters[chosen]
        found = balanced_interval(correct[-1][chosen], class_index[chosen], own)
        rows[-1] |= {f"{name}_low": found.low, f"{name}_high": found.high}
    drop = drop_interval(correct[-1], class_index, names, clusters)
    rows[-1] |= {"drop_low": drop.low, "drop_high": drop.high}
    return rows, models


def too_wide() -> dict[str, float]:
    """Return by how much one accuracy for all classes overstates the error of a printed drop, by model."""
    sizes = load_table("group_sizes").select("class_id", "n_common_implied", "n_counter_implied")
    found = {}
    for (model,), rows in load_table("classwise_results").join(sizes, on="class_id").group_by("model"):
        by_class = alike = 0.0
        for side in ("common", "counter"):
            accuracy, photos = rows[side].to_numpy() / 100, rows[f"n_{side}_implied"].to_numpy()
            by_class += (accuracy * (1 - accuracy) / photos).sum()
            alike += accuracy.mean() * (1 - accuracy.mean()) * (1 / photos).sum()
        found[str(model)] = float(np.sqrt(alike / by_class) - 1)
    return found


def rank_covered(n: int, r: float, rng: np.random.Generator) -> bool:
    """Draw ``n`` pairs of normal numbers and compare with their population's rank correlation."""
    x = rng.normal(size=n)
    found = rank_correlation(x, r * x + np.sqrt(1 - r**2) * rng.normal(size=n))
    return found.low is not None and found.low <= 6 / np.pi * np.arcsin(r / 2) <= found.high


def alpha_covered(
    photos: int, annotators: int, labels: int, clusters: int | None, rng: np.random.Generator
) -> bool:
    """Annotators see the label of a photo with a probability that its cluster sets, and guess otherwise."""
    shares = np.arange(labels, 0, -1) / sum(range(labels + 1))
    cluster = np.arange(photos) if clusters is None else rng.integers(clusters, size=photos)
    sees = np.where(rng.random(cluster.max() + 1) < 0.5, 0.95, 0.7)[cluster]
    true = rng.choice(labels, photos, p=shares)
    guessed = rng.choice(labels, (annotators, photos), p=shares)
    votes = np.where(rng.random((annotators, photos)) < sees, true, guessed)
    found = alpha_interval(votes, None if clusters is None else [str(code) for code in cluster])
    # Two agree if both see, else as often as labels agree by chance: alpha is how often both see.
    truth = (0.95**2 + 0.7**2) / 2
    return found.low is not None and found.low <= truth <= found.high


def main() -> None:
    """Print a table."""
    replications = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    rows: list[tuple[str, Callable[[np.random.Generator], bool]]] = [
        (f"distance: {study.name}", lambda rng, study=study: distance_covered(study, rng))
        for study in STUDIES
    ]
    rows += [
        (f"rank correlation of {n} pairs, {r}", lambda rng, n=n, r=r: rank_covered(n, r, rng))
        for n, r in ((45, 0.3), (45, 0.6), (45, 0.8), (12, 0.6))
    ]
    rows += [
        (
            f"alpha: {photos} photos, {annotators} annotators, {labels} labels"
            + ("" if clusters is None else f", {clusters} clusters"),
            lambda rng, design=(photos, annotators, labels, clusters): alpha_covered(*design, rng),
        )
        for photos, annotators, labels, clusters in (
            (30, 2, 2, None),
            (100, 2, 14, None),
            (500, 3, 6, None),
            (200, 2, 6, 20),
        )
    ]
    print(f"| 95 % interval of | covers, % ({replications} simulations) |\n|---|---:|")
    for name, covered in rows:
        rng = np.random.default_rng(1)
        share = np.mean([covered(rng) for _ in range(replications)])
        print(f"| {name} | {100 * share:.1f} |", flush=True)
    wide = [100 * each for each in too_wide().values()]
    print(
        f"\nStandard errors of printed drops, with one accuracy for all classes: {min(wide):.0f} to "
        f"{max(wide):.0f} % too large for the {len(wide)} models whose classes are printed."
    )


if __name__ == "__main__":
    main()
