"""How often `scores --by` finds sites that are alike different, and how often its intervals cover the truth.

python bench/experiments/spread_coverage.py [REPLICATIONS]

The true accuracies of sites have a beta distribution, once a normal one on the logit scale; photos of a site,
or bursts of them, are drawn given these. Another site is drawn from the same distribution. The lowest site is
the one that `score_spread` calls the lowest.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from counterground.metrics import score_spread

UNEQUAL = (3,) * 8 + (10,) * 6 + (40,) * 4 + (300, 900)
"""Photos of twenty sites: a median of ten, half of all on one."""


@dataclass(frozen=True)
class Sites:
    """Photos of each site, mean and standard deviation of the true accuracies, bursts and how alike they are.

    ``logit`` draws normal logits; ``rare``: a twentieth of the photos are of a class that is right half as
    often.
    """

    name: str
    photos: tuple[int, ...]
    spread: float = 0.0
    mean: float = 0.8
    burst: int = 1
    correlation: float = 0.0
    logit: bool = False
    rare: bool = False

    def accuracies(self, rng: np.random.Generator, number: int) -> np.ndarray:
        """Draw true accuracies ``[number]``."""
        if not self.spread:
            return np.full(number, self.mean)
        if self.logit:
            z = np.linspace(-6, 6, 401)
            density = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()

            def centre(s: float) -> float:
                return float(brentq(lambda c: density @ expit(c + s * z) - self.mean, -9, 9))

            def error(s: float) -> float:
                p = expit(centre(s) + s * z)
                return float(np.sqrt(density @ (p - density @ p) ** 2) - self.spread)

            scale = float(brentq(error, 1e-3, 5))
            return expit(centre(scale) + scale * rng.normal(size=number))
        more = self.mean * (1 - self.mean) / self.spread**2 - 1
        return rng.beta(self.mean * more, (1 - self.mean) * more, number)

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray]:
        """Return answers, sites, bursts and the true accuracies, that of another site last."""
        truth = self.accuracies(rng, len(self.photos) + 1)
        site = np.repeat(np.arange(len(self.photos)), self.photos)
        chance, burst = truth[site], None
        if self.rare:
            chance = np.where(rng.random(len(site)) < 0.05, chance / 2, chance * (1 - 0.025) / 0.95)
        if self.burst > 1:
            at = np.concatenate([np.arange(n) // self.burst for n in self.photos])
            burst = np.unique(site * 10_000 + at, return_inverse=True)[1]
            first = np.unique(burst, return_index=True)[1]
            more = 1 / self.correlation - 1
            chance = rng.beta(chance[first] * more, (1 - chance[first]) * more)[burst]
        return rng.random(len(site)) < chance, site, burst, truth


ALIKE = (
    Sites("20 sites of 30", (30,) * 20),
    Sites("very unequal sites", UNEQUAL),
    Sites("5 sites of 30", (30,) * 5),
    Sites("20 sites of 30, a rare class", (30,) * 20, rare=True),
    Sites("60 sites of 15, accuracy 97 %", (15,) * 60, mean=0.97),
    Sites("very unequal sites, accuracy 97 %", UNEQUAL, mean=0.97),
    Sites("20 sites of 40 in bursts of 5", (40,) * 20, burst=5, correlation=0.3),
    Sites("very unequal sites in bursts of 3", tuple(3 * n for n in UNEQUAL), burst=3, correlation=0.3),
)
_NUMBERS = {
    "10 sites of 15": (15,) * 10,
    "10 sites of 60": (60,) * 10,
    "10 sites of 300": (300,) * 10,
    "20 sites of 60": (60,) * 20,
    "60 sites of 15": (15,) * 60,
    "60 sites of 60": (60,) * 60,
    "very unequal sites": UNEQUAL,
}
DIFFERENT = (
    *(
        Sites(name, photos, spread=spread)
        for name, photos in _NUMBERS.items()
        for spread in (0.03, 0.06, 0.10)
    ),
    Sites("5 sites of 60", (60,) * 5, spread=0.10),
    Sites("20 sites of 60, accuracy 95 %", (60,) * 20, spread=0.03, mean=0.95),
    Sites("20 sites of 60, normal logits", (60,) * 20, spread=0.10, logit=True),
    Sites("20 sites of 60 in bursts of 5", (60,) * 20, spread=0.10, burst=5, correlation=0.3),
)


def rates(sites: Sites, replications: int, seed: int = 1) -> tuple[float, float, float, float]:
    """Return the shares of significant tests, and of intervals that cover: s.d., another site, the lowest."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(replications):
        correct, site, burst, truth = sites.draw(rng)
        spread = score_spread(correct, site, burst)
        if spread is None:  # all right
            continue
        name, lowest = spread.lowest[0]
        covered = (
            est.low <= true <= est.high
            for est, true in (
                (spread.spread, sites.spread),
                (spread.another, truth[-1]),
                (lowest, truth[int(name)]),
            )
        )
        found.append((spread.spread.p_value < 0.05, *covered))
    significant, deviation, another, worst = np.mean(found, axis=0)
    return float(significant), float(deviation), float(another), float(worst)


def main() -> None:
    """Print both tables."""
    replications = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    print("| alike | significant | lowest site |\n|---|---:|---:|")
    for sites in ALIKE:
        significant, _, _, worst = rates(sites, replications)
        print(f"| {sites.name} | {100 * significant:.1f} % | {100 * worst:.1f} % |", flush=True)
    print("\n| different | s.d. (points) | significant | s.d. | another site | lowest site |")
    print("|---|---:|---:|---:|---:|---:|")
    for sites in DIFFERENT:
        shares = " | ".join(f"{100 * each:.1f} %" for each in rates(sites, replications))
        print(f"| {sites.name} | {100 * sites.spread:.0f} | {shares} |", flush=True)


if __name__ == "__main__":
    main()
