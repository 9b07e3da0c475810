"""Two slopes of the line, by simulation: ``python bench/experiments/line_with_errors.py [replications]``.

Models lie around a known line on the probit scale, with their own scatter. Their accuracies are shares of
photos, so both have sampling error. This flattens the least-squares line; the line with errors in both
variables estimates the error from the accuracies it sees.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri

from counterground.metrics import fit_line, fit_line_with_errors

SLOPE, INTERCEPT = 1.2, -0.6


class Scene(NamedTuple):
    """Models with common accuracies spread by ``spread`` probits, each measured on ``photos`` per group."""

    name: str
    models: int
    photos: int
    spread: float = 0.3
    scatter: float = 0.03
    correlation: float = 0.0


SCENES = (
    Scene("15 models, 7,000 photos (the paper)", 15, 7000),
    Scene("15 models, 7,000 photos, no scatter", 15, 7000, scatter=0.0),
    Scene("15 models, 700 photos", 15, 700),
    Scene("15 models, 150 photos", 15, 150),
    Scene("15 models, 150 photos, no scatter", 15, 150, scatter=0.0),
    Scene("15 models, 150 photos, scatter 0.15", 15, 150, scatter=0.15),
    Scene("15 models, 70 photos", 15, 70),
    Scene("43 models, 150 photos", 43, 150),
    Scene("5 models, 700 photos", 5, 700),
    Scene("15 models, 150 photos, models share photos", 15, 150, correlation=0.5),
)


class Found(NamedTuple):
    """The results of one scene: means over replications, coverage in percent."""

    noise: float
    refused: float
    least_squares: float
    york: float
    covered_least_squares: float
    covered_york: float


def simulate(scene: Scene, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw the common and counter accuracies that one study of these models would see."""
    place = 0.9 + rng.normal(0, scene.spread, scene.models)
    height = INTERCEPT + SLOPE * place + rng.normal(0, scene.scatter, scene.models)
    seen = []
    for level in (place, height):
        if not scene.correlation:
            seen.append(rng.binomial(scene.photos, ndtr(level)) / scene.photos)
            continue
        # Photos that are hard for one model are hard for others: a share of their difficulty is common.
        shared = rng.normal(0, np.sqrt(scene.correlation), scene.photos)
        own = rng.normal(0, np.sqrt(1 - scene.correlation), (scene.models, scene.photos))
        seen.append((shared + own < level[:, None]).mean(axis=1))
    common, counter = (np.clip(share, 0.5 / scene.photos, 1 - 0.5 / scene.photos) for share in seen)
    return common, counter


def errors(accuracy: np.ndarray, photos: int) -> np.ndarray:
    """Return the binomial standard errors in probits."""
    density = np.exp(-(ndtri(accuracy) ** 2) / 2) / np.sqrt(2 * np.pi)
    return np.sqrt(accuracy * (1 - accuracy) / photos) / density


def measure(scene: Scene, replications: int, seed: int = 0) -> Found:
    """Fit both lines in every replication; replications without a second line count for neither."""
    rng = np.random.default_rng(seed)
    rows, refused = [], 0
    for _ in range(replications):
        common, counter = simulate(scene, rng)
        plain = fit_line(common, counter)
        try:
            both = fit_line_with_errors(
                ndtri(common),
                ndtri(counter),
                errors(common, scene.photos),
                errors(counter, scene.photos),
            )
        except ValueError:
            refused += 1
            continue
        rows.append(
            (
                both.noise,
                plain.slope,
                both.slope,
                plain.slope_low <= SLOPE <= plain.slope_high,
                both.slope_low <= SLOPE <= both.slope_high,
            )
        )
    noise, plain, both, *covered = np.mean(rows, axis=0)
    return Found(
        100 * noise,
        100 * refused / replications,
        plain - SLOPE,
        both - SLOPE,
        100 * covered[0],
        100 * covered[1],
    )


def main(replications: int) -> None:
    """Print a Markdown table."""
    print(f"True slope {SLOPE}; {replications:,} replications each.\n")
    print("| scene | sampling, % of var(x) | refused, % | bias LS | bias both | covers LS, % | both, % |")
    print("|---|---|---|---|---|---|---|")
    for scene in SCENES:
        found = measure(scene, replications)
        print(
            f"| {scene.name} | {found.noise:.1f} | {found.refused:.1f} | {found.least_squares:+.3f} | "
            f"{found.york:+.3f} | {found.covered_least_squares:.1f} | {found.covered_york:.1f} |"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
