"""Groups of photos with like backgrounds, found in the features of an encoder that knows no labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from counterground.discovery._photos import Flags, Floats, Ints, split_halves

_COMPONENTS = 32  # not whitened, which would make noise as large as backgrounds
_MOST = 5000  # photos that a tree is made of; the others join the nearest scene
_TRIED = 24  # numbers of scenes
_SEPARATE = 0.25  # silhouettes below show no structure (Kaufman and Rousseeuw 1990)
_FEW = 2  # scenes that a group needs: one alone is a photograph, not a kind of background


@dataclass(frozen=True)
class Grouping:
    """Groups of photos by background, found on one half of the photos.

    Attributes:
        chooses: ``[n]``, which half each photo is in.
        scene: ``[n]``, the scene of the choosing half to whose centre each photo is nearest.
        distance: ``[n]``, to that centre.
        group: ``[n]``, the group to whose centre each photo is nearest, from 0; all -1 if no two groups have
            two scenes each.
        cluster: ``[n]`` where no clusters are given: scenes of all photos; None if none is shown twice.
    """

    chooses: Flags
    scene: Ints
    distance: Floats
    group: Ints
    cluster: Ints | None


def group_backgrounds(
    photos: pl.DataFrame, features: Sequence[npt.NDArray[np.float32]], *, most: int, seed: int
) -> Grouping:
    """Group photos by their features.

    Photos of one scene are alike as photos on one background photograph, or of one camera, are: Ward's tree
    of the first features is cut at the last peak of the silhouette. By the last features, scenes are merged
    into groups, by Ward's method: the largest number, ``most`` at most, of which each has two scenes.

    Args:
        photos: rows of a manifest; scenes are clusters if none is given.
        features: ``[n, d]`` each, or one for both.
        most: the largest number of groups.
        seed: seed for the halves.
    """
    given = photos["cluster"].is_not_null().any()
    cluster = None if given else find_scenes(_principal(features[0], np.ones(len(photos), dtype=bool)))
    bare = photos.select("path", "class_index", "cluster", background=pl.lit(None, pl.String))
    if cluster is not None:
        bare = bare.with_columns(cluster=pl.Series(cluster).cast(pl.String))
    chooses = split_halves(bare, seed).to_numpy()
    first, last = (_principal(features[at], chooses) for at in (0, -1))
    own = find_scenes(first[chooses]) if cluster is None else cluster[chooses]
    if own is None:  # each photo is a scene of its own, if they are not too many for a tree
        alone = np.random.default_rng(seed).permutation(int(chooses.sum()))[:_MOST]
        own = _nearest(first[chooses][alone], first[chooses])[1]
    own = np.unique(own, return_inverse=True)[1]
    distance, scene = _nearest(_centres(first[chooses], own), first)
    merged = _merged(_centres(last[chooses], own), most)
    group = np.full(len(photos), -1)
    if merged.max() >= 0:
        group = _nearest(_centres(last[chooses], merged[own]), last)[1]
    return Grouping(chooses, scene, distance, group, cluster)


def _centres(points: Floats, codes: Ints) -> Floats:
    """Return the mean of the points of each code, of which none is left out."""
    sums = np.zeros((int(codes.max()) + 1, points.shape[1]))
    np.add.at(sums, codes, points)
    return sums / np.bincount(codes)[:, None]


def _nearest(centres: Floats, points: Floats) -> tuple[Floats, Ints]:
    from scipy.spatial import KDTree

    distance, place = KDTree(centres).query(points)
    return np.asarray(distance), np.asarray(place, dtype=np.intp)


def _principal(features: npt.NDArray[np.float32], fitted: Flags) -> Floats:
    """Return principal components of features of unit length, those of the fitted photos."""
    from sklearn.decomposition import PCA

    unit = features / np.linalg.norm(features, axis=1, keepdims=True).clip(1e-12)
    components = PCA(min(_COMPONENTS, fitted.sum() - 1, features.shape[1]), random_state=0)
    return np.asarray(components.fit(unit[fitted]).transform(unit), dtype=np.float64)


def find_scenes(points: Floats) -> Ints | None:
    """Return the scene of each point, numbered from 0; None if no number of scenes separates them.

    Of several peaks of the silhouette, earlier ones are of kinds of scenes.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from sklearn.metrics import silhouette_score

    sample = points[np.random.default_rng(0).permutation(len(points))[:_MOST]]
    tree = linkage(sample, "ward")
    cuts, scores = [], []
    for number in np.unique(
        np.geomspace(2 * _FEW, max(2 * _FEW, len(sample) // 2), _TRIED).astype(int)
    ).tolist():
        cuts.append(fcluster(tree, number, "maxclust") - 1)
        several = 1 < len(np.unique(cuts[-1])) < len(sample)
        size = min(len(sample), 2000)
        scores.append(
            silhouette_score(sample, cuts[-1], sample_size=size, random_state=0) if several else 0.0
        )
    around = np.array([0.0, *scores, 0.0])
    peaks = np.flatnonzero((around[1:-1] > _SEPARATE) & (around[1:-1] >= np.maximum(around[:-2], around[2:])))
    if not len(peaks):
        return None
    return np.asarray(cuts[peaks[-1]][_nearest(sample, points)[1]], dtype=np.intp)


def _merged(centres: Floats, most: int) -> Ints:
    """Return the group of each scene, all -1 if there are no two groups of two scenes."""
    from scipy.cluster.hierarchy import fcluster, linkage

    tree = linkage(centres, "ward") if len(centres) > 1 else None
    for number in range(min(most, len(centres) // _FEW), 1, -1):
        group = fcluster(tree, number, "maxclust") - 1
        if np.bincount(group).min() >= _FEW:
            return np.asarray(group, dtype=np.intp)
    return np.full(len(centres), -1)


def association(group: Ints, values: pl.Series) -> float:
    """Return how far a fact about photos follows their group, 0 to 1.

    Numbers: the share of their variance between groups. Anything else: normalised mutual information.
    """
    from sklearn.metrics import normalized_mutual_info_score

    known = values.is_not_null().to_numpy() & (group >= 0)
    if not known.any():
        return 0.0
    values, group = values.filter(known), group[known]
    if not values.dtype.is_numeric():
        return float(normalized_mutual_info_score(values.rank("dense").to_numpy(), group))
    frame = pl.DataFrame({"value": values.cast(pl.Float64), "group": group})
    between, total = frame.select(
        pl.col("value").mean().over("group").var(), whole=pl.col("value").var()
    ).row(0)
    return float(between / total) if total else 0.0
