from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from counterground.benchmarks import composite


def _cutout(width=40, height=20):
    pixels = np.zeros((height, width, 4), np.uint8)
    pixels[..., 3] = 255
    pixels[:, : width // 2, 0] = 255
    pixels[:, width // 2 :, 2] = 255
    return Image.fromarray(pixels, "RGBA")


def _noise(side, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(pixels, "RGB")


@settings(deadline=None, max_examples=40)
@given(
    scale=st.floats(0.05, 1),
    x=st.floats(-0.5, 1.5),
    y=st.floats(-0.5, 1.5),
    flip=st.booleans(),
)
def test_object_lies_inside_and_background_is_untouched(scale, x, y, flip):
    background = _noise(64)
    photo, mask = composite(_cutout(), background, size=64, scale=scale, center=(x, y), flip=flip)
    inside = np.asarray(mask) == 255
    assert photo.size == mask.size == (64, 64)
    assert (photo.mode, mask.mode) == ("RGB", "L")
    assert inside.any()
    outside = np.asarray(mask) == 0
    assert (np.asarray(photo)[outside] == np.asarray(background)[outside]).all()
    columns = np.flatnonzero(inside.any(0))
    assert abs(len(columns) - max(1, round(scale * 64))) <= 1
    assert not (np.asarray(photo)[inside][:, 1] > 60).any()


@pytest.mark.parametrize("flip", [False, True])
def test_flip_mirrors_the_object_only(flip):
    background = _noise(64)
    photo, _ = composite(_cutout(), background, size=64, scale=0.5, center=(0.5, 0.5), flip=flip)
    left, right = photo.getpixel((20, 32)), photo.getpixel((44, 32))
    assert (left[0] > left[2]) is not flip
    assert (right[2] > right[0]) is not flip
    assert photo.getpixel((2, 2)) == background.getpixel((2, 2))


def test_transparent_colours_leave_no_halo():
    pixels = np.full((40, 40, 4), (0, 255, 0, 0), np.uint8)
    pixels[10:30, 10:30] = (255, 0, 0, 255)
    grey = Image.new("RGB", (64, 64), (128, 0, 128))
    photo, _ = composite(Image.fromarray(pixels, "RGBA"), grey, size=64, scale=0.7, center=(0.5, 0.5))
    assert np.asarray(photo)[..., 1].max() <= 2
