"""Features of the object alone and of the background alone."""

from __future__ import annotations

import numpy as np
import pytest
from toy_world import World, fit, logits

WORLD = World(d=24)
PHOTOS = WORLD.photos(40, 0.9)
DATA = WORLD.data(PHOTOS)


@pytest.mark.parametrize(
    ("name", "setting", "photo", "ground", "object_"),
    [
        ("background-subtraction", {"alpha": 0.25}, 1, -0.25, 0),
        ("background-subtraction", {"alpha": 1.0}, 1, -1, 0),
        ("foreground", {"share": 0.5}, 0.5, 0, 0.5),
        ("foreground", {"share": 1.0}, 0, 0, 1),
    ],
)
def test_scores_are_sums_of_those_of_the_parts(name, setting, photo, ground, object_):
    parts = (PHOTOS.features, PHOTOS.background_features, PHOTOS.foreground_features)
    expected = sum(100 * share * part for share, part in zip((photo, ground, object_), parts, strict=True))
    head = fit(name, DATA, **setting)
    np.testing.assert_allclose(logits(head, PHOTOS), expected @ DATA.head, atol=1e-3)
    assert ("photo" in head.inputs) == bool(photo)
