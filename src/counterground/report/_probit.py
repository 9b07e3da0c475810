"""The probit scale: accuracies as standard normal quantiles, on which robustness trends are straight."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from scipy.special import ndtr, ndtri

EDGE = 0.001
_ROOM = 0.15
_TICKS = (0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999)


@dataclass(frozen=True)
class ProbitScale:
    """Map accuracies (fractions) between ``low`` and ``high`` to 0 to 1, linearly in ``ndtri``."""

    low: float
    high: float

    def __call__(self, accuracy: float) -> float:
        """Position in 0 to 1; what lies outside the scale (0 and 1 are infinite) sits on its edge."""
        clipped = min(max(accuracy, self.low), self.high)
        start, end = ndtri(self.low), ndtri(self.high)
        return float((ndtri(clipped) - start) / (end - start))

    def ticks(self, apart: float) -> list[float]:
        """Round percentages on the scale, at least ``apart`` (0 to 1) from each other."""
        kept: list[float] = []
        inside = [tick for tick in _TICKS if self.low <= tick <= self.high]
        # The middle of the scale first: its ticks are the evenly spaced ones a reader looks for.
        for tick in sorted(inside, key=lambda tick: abs(tick - 0.5)):
            if all(abs(self(tick) - self(other)) >= apart for other in kept):
                kept.append(tick)
        return sorted(kept)


def fit_scale(accuracies: Iterable[float]) -> ProbitScale:
    """Return the smallest scale that holds all ``accuracies`` with some room on both sides."""
    values = [min(max(value, EDGE), 1 - EDGE) for value in accuracies] or [0.5]
    low, high = ndtri(min(values)) - _ROOM, ndtri(max(values)) + _ROOM
    return ProbitScale(max(float(ndtr(low)), EDGE), min(float(ndtr(high)), 1 - EDGE))
