"""What cannot be fitted is said in one line that names the method, the culprit and the remedy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from toy_world import World, fit

from counterground.errors import UsageError

WORLD = World(d=24)
PHOTOS = WORLD.photos(200, 0.6)
UNLABELLED = np.where(PHOTOS.class_index == 2, None, PHOTOS.background)
SINGLE = np.where(np.arange(200) == 17, "moon", PHOTOS.background)


@pytest.mark.parametrize(("background", "culprit"), [(UNLABELLED, "goose"), (SINGLE, "'moon'")])
@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("image-projection", {"boost": False}),
        ("balanced-prototypes", {}),
        ("dfr", {"c": 1.0}),
        ("group-dro", {"l2": 0.01}),
    ],
)
def test_labels_that_cannot_be_fitted_to(name, setting, background, culprit):
    with pytest.raises(UsageError, match=rf"^{name} .*photo.*{culprit}|^{name} .*{culprit}.*photo"):
        fit(name, replace(WORLD.data(PHOTOS), background=background), **setting)
