"""Features of the object alone and of the background alone."""

from __future__ import annotations

import numpy as np
import pytest
from toy_world import World, fit, logits

WORLD = World(d=24)
PHOTOS = WORLD.photos(40, 0.9)
DATA = WORLD.data(PHOTOS)


@pytest.mark.parametrize("alpha", [0.25, 1.0])
def test_the_scores_of_the_background_alone_are_subtracted(alpha):
    own, alone = PHOTOS.features @ DATA.head, PHOTOS.background_features @ DATA.head
    found = logits(fit("background-subtraction", DATA, alpha=alpha), PHOTOS)
    np.testing.assert_allclose(found, 100 * (own - alpha * alone), atol=1e-3)


def test_half_of_the_object_is_the_mean_of_both_scores():
    own, alone = PHOTOS.features @ DATA.head, PHOTOS.foreground_features @ DATA.head
    np.testing.assert_allclose(
        logits(fit("foreground", DATA, share=0.5), PHOTOS), 100 * (own + alone) / 2, atol=1e-3
    )


def test_the_object_alone_does_not_read_the_photo():
    mitigated = fit("foreground", DATA, share=1.0)
    found = mitigated.logits(mitigated.mix({"foreground": PHOTOS.foreground_features}))
    np.testing.assert_allclose(found, 100 * PHOTOS.foreground_features @ DATA.head, atol=1e-3)
