"""From scores of names to an opinion on each photo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from counterground.build.curate._rows import Numbers

Whole = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Opinion:
    """What a model says of ``n`` photos: rank of the class (1 is first), the two best names, probabilities.

    ``own``, ``first`` and ``second`` are columns of the scores; probabilities are fractions.
    """

    rank: Whole
    own: Whole
    first: Whole
    second: Whole
    first_probability: Numbers
    second_probability: Numbers

    @property
    def margin(self) -> Numbers:
        """Lead of the first name over the second."""
        return self.first_probability - self.second_probability


def opinion(logits: np.ndarray, own: Whole) -> Opinion:
    """Return the opinion that ``logits`` ``[n, k]`` hold on photos whose class is column ``own`` ``[n]``.

    Equal logits share the better rank; of two that are first, the lower column is named first.
    """
    logits = logits.astype(np.float64)
    row = np.arange(len(logits))
    rank = 1 + (logits > logits[row, own][:, None]).sum(axis=1)
    first = logits.argmax(axis=1)
    odds = np.exp(logits - logits[row, first][:, None])
    total = odds.sum(axis=1)
    odds[row, first] = -1
    second = odds.argmax(axis=1)
    return Opinion(rank, own, first, second, 1 / total, odds[row, second] / total)
