"""Photos in parts that share no cluster and no content, the same parts each time."""

from __future__ import annotations

import warnings

import numpy as np
import polars as pl


def independent_clusters(photos: pl.DataFrame, by: str = "cluster") -> np.ndarray:
    """Return a number for each photo: photos of one cluster, or of one content, are linked and share it.

    A photo without a cluster forms its own.

    Args:
        photos: photos of the manifest.
        by: column of the clusters, the first of the design.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    own = pl.format("photo {}", "photo_id")
    numbered = photos.select(
        cluster=pl.format("cluster {}", by).fill_null(own).rank("dense") - 1,
        content=pl.col("photo_id").rank("dense") - 1,
    )
    cluster, content = (numbered[name].cast(pl.Int64).to_numpy() for name in numbered.columns)
    n = len(photos)
    links = coo_array((np.ones(n), (cluster, n + content)), shape=(2 * n, 2 * n))
    return np.asarray(connected_components(links, directed=False)[1][cluster])


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
