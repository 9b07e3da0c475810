"""Class means, against scikit-learn's nearest centroid."""

from __future__ import annotations

import numpy as np
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.neighbors import NearestCentroid
from toy_world import World, fit

WORLD = World(d=24)
PHOTOS, OTHERS = WORLD.photos(400, 0.8), WORLD.photos(200, 0.5)
DATA = WORLD.data(PHOTOS)


def distances(centroids):
    return euclidean_distances(OTHERS.features, centroids, squared=True)


def shifted(mitigated):
    """Logits are half the negative squared distance, but for what all classes of a photo share."""
    logits = mitigated.logits(OTHERS.features).astype(float) / DATA.scale
    return logits - logits[:, :1]


def test_prototypes_are_the_nearest_centroid():
    centroid = NearestCentroid().fit(PHOTOS.features, PHOTOS.class_index)
    mitigated = fit("prototypes", DATA)
    expected = -distances(centroid.centroids_) / 2
    np.testing.assert_allclose(shifted(mitigated), expected - expected[:, :1], atol=1e-5)
    np.testing.assert_array_equal(
        mitigated.logits(OTHERS.features).argmax(axis=1), centroid.predict(OTHERS.features)
    )


def test_balanced_prototypes_weigh_each_background_of_a_class_alike():
    weight = np.array(
        [
            1 / np.sum((PHOTOS.class_index == k) & (PHOTOS.background == b))
            for k, b in zip(PHOTOS.class_index, PHOTOS.background, strict=True)
        ]
    )
    centroids = [
        np.average(PHOTOS.features[rows], axis=0, weights=weight[rows])
        for rows in (PHOTOS.class_index == k for k in range(8))
    ]
    expected = -distances(centroids) / 2
    np.testing.assert_allclose(
        shifted(fit("balanced-prototypes", DATA)), expected - expected[:, :1], atol=1e-5
    )
