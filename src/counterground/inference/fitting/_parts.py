"""Photos in parts that share no cluster and no content, the same parts each time."""

from __future__ import annotations

import warnings

import numpy as np


def parts_of(labels: np.ndarray, clusters: np.ndarray, parts: int) -> np.ndarray:
    """Return a part, from 0, for each photo: clusters stay whole, and classes are spread over the parts.

    There are ``parts`` of them, or fewer: as many as clusters, or as photos of the most frequent class.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    number = min(parts, len(np.unique(clusters)), int(np.unique(labels, return_counts=True)[1].max()))
    found = np.zeros(len(labels), dtype=int)
    if number < 2:
        return found
    with warnings.catch_warnings():
        # It warns about a class with fewer photos than there are parts.
        warnings.simplefilter("ignore", UserWarning)
        splits = StratifiedGroupKFold(number).split(labels[:, None], labels, clusters)
        for part, (_, rows) in enumerate(splits):
            found[rows] = part
    return found
