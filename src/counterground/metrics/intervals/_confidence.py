"""How sure an interval is: at one look, for several statements together, or at every look of a sequence."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from counterground.metrics._codes import Floats
from counterground.metrics.intervals._distributions import normal_cdf

LEVEL = 0.95
"""The level of intervals unless another one is requested."""

# Where sequences of intervals are tightest: at a standard error of 10 points.
_TIGHT_AT = 0.1


@dataclass(frozen=True)
class Confidence:
    """How often an interval may miss the truth.

    Attributes:
        error: the share of intervals that may (0.05 for 95 % intervals).
        anytime: whether ``error`` is the share of whole sequences of looks, at growing numbers of clusters,
            in which any interval misses the truth: one may stop at any look, for any reason.
    """

    error: float = 0.05
    anytime: bool = False

    def shared_by(self, statements: int) -> Confidence:
        """Return the confidence of each statement at which all together err as rarely (Bonferroni)."""
        return Confidence(self.error / max(1, statements), self.anytime)

    @property
    def loosest(self) -> Confidence:
        """The confidence with the largest error that an interval may have."""
        return Confidence(0.5 if self.anytime else 1.0, self.anytime)

    def tail(self, variance: npt.ArrayLike) -> float | Floats:
        """Return the probability that each end leaves out, for an estimate with this sampling variance.

        Sequences use the boundary of a normal mixture (Robbins 1970; asymptotic confidence sequences of
        Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024), with information (1 / variance) as time, in
        which estimates at successive looks behave like a Brownian motion. The mixture does not depend on the
        data.
        """
        if not self.anytime:
            return self.error / 2
        information = 1 / np.maximum(variance, 1e-12)
        log_error = -2 * math.log(self.error)
        weight = 1 / (_TIGHT_AT**2 * (1 + log_error + math.log(log_error)))
        z_squared = (1 + weight / information) * (log_error + np.log1p(information / weight))
        return normal_cdf(-np.sqrt(z_squared))

    def error_of(self, tail: float, variance: float) -> float:
        """Return the error at which each end leaves ``tail`` out, the inverse of `tail`; at least 1e-16."""
        least, most = math.log(1e-16), math.log(self.loosest.error)
        if not self.anytime:
            return max(math.exp(least), 2 * tail)
        for _ in range(50):
            middle = (least + most) / 2
            if Confidence(math.exp(middle), anytime=True).tail(variance) > tail:
                most = middle
            else:
                least = middle
        return math.exp(most)


CONFIDENCE = Confidence()
