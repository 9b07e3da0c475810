"""Pixel figures on real photographs, spoilt and not."""

from __future__ import annotations

import imagehash
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

# Properties of each figure over many made-up photos; a pool of each would take long.
from counterground.construction.curation._curate import measure, perceptual_hash, sharpness
from counterground.construction.settings import CurateSettings

LIMITS = CurateSettings()


def share_below(images, figure, limit):
    return np.mean([getattr(measure(image), figure) < limit for image in images])


def test_no_good_photo_is_called_noise(animals):
    for name, image in animals.items():
        found = measure(image)
        assert found.sharpness >= LIMITS.min_sharpness, name
        assert found.dark <= LIMITS.max_dark, name
        assert found.bright <= LIMITS.max_bright, name
        assert found.contrast >= LIMITS.min_contrast, name
        assert found.entropy >= LIMITS.min_entropy, name


@pytest.mark.parametrize("radius", [1.5, 3, 6])
def test_every_blurred_photo_is_called_blurred(animals, spoil, radius):
    blurred = [spoil.blurred(image, radius) for image in animals.values()]
    assert share_below(blurred, "sharpness", LIMITS.min_sharpness) == 1


def test_enlarged_thumbnails_are_called_blurred(animals):
    for name, image in animals.items():
        small = image.copy()
        small.thumbnail((100, 100))
        assert measure(small.resize(image.size, Image.Resampling.BICUBIC)).sharpness < LIMITS.min_sharpness, (
            name
        )


@pytest.mark.parametrize("quality", [None, 75])
def test_a_small_sharp_object_before_a_smooth_sky_is_not_blurred(animals, spoil, quality):
    sky = np.linspace(120, 230, 384)[:, None, None] * [0.8, 0.9, 1.0] * np.ones((384, 512, 1))
    for name, image in animals.items():
        photo, small = Image.fromarray(sky.astype(np.uint8)), image.copy()
        small.thumbnail((90, 90))
        photo.paste(small, (200, 150))
        photo = spoil.encoded(photo, quality) if quality else photo
        assert measure(photo).sharpness >= LIMITS.min_sharpness, name


def edge(blur):
    """A vertical step blurred by a Gaussian, in the middle of a tile, ``[64, 64]``."""
    from scipy.special import ndtr

    return (200 * np.tile(ndtr((np.arange(64) - 16.5) / blur), (64, 1))).astype(np.float32)


@pytest.mark.parametrize("blur", [2.0, 3.0])
def test_sharpness_of_a_blurred_edge_is_what_theory_says(blur):
    assert sharpness(edge(blur)) == pytest.approx(1 / (2 * blur**2), rel=0.1)


def test_stripes_are_sharp_across_and_need_not_be_along():
    assert sharpness(edge(0.3)) > LIMITS.min_sharpness
    assert sharpness(edge(0.3).T) > LIMITS.min_sharpness
    assert sharpness(edge(3.0).T) < LIMITS.min_sharpness


def test_light_that_is_lost_is_seen(animals, spoil):
    def spoilt(found):
        lost = found.dark > LIMITS.max_dark or found.bright > LIMITS.max_bright
        return lost or found.contrast < LIMITS.min_contrast

    for factor, lift, least in ((0.1, 0, 0.95), (5, 0, 0.75), (0.15, 200, 0.9)):
        photos = [spoil.scaled_light(image, factor, lift) for image in animals.values()]
        assert np.mean([spoilt(measure(photo)) for photo in photos]) >= least, factor


def test_drawings_and_blank_photos_hold_little_information():
    blank = Image.new("RGB", (300, 200), (120, 130, 140))
    drawing = blank.copy()
    ImageDraw.Draw(drawing).ellipse((80, 40, 220, 160), fill=(200, 40, 40), outline="black", width=6)
    assert measure(blank).entropy == 0
    assert measure(blank).contrast == 0
    assert measure(blank).sharpness == 0
    assert measure(drawing).entropy < LIMITS.min_entropy


def test_the_hash_is_that_of_imagehash(animals):
    for image in list(animals.values())[:10]:
        assert f"{perceptual_hash(image):016x}" == str(imagehash.phash(image))
        assert measure(image).phash == perceptual_hash(image)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 70), st.integers(1, 70), st.sampled_from(["noise", "black", "white", "grey"]), st.randoms()
)
def test_figures_of_any_photo_are_numbers_in_their_ranges(width, height, kind, random):
    values = {"black": 0, "white": 255, "grey": 90}.get(kind)
    pixels = np.full((height, width, 3), values or 0, dtype=np.uint8)
    if kind == "noise":
        pixels = np.random.default_rng(random.randrange(1000)).integers(0, 256, (height, width, 3), np.uint8)
    found = measure(Image.fromarray(pixels))
    assert (found.width, found.height) == (width, height)
    assert 0 <= found.sharpness <= 16.1
    assert 0 <= found.dark <= 1.000001
    assert 0 <= found.bright <= 1.000001
    assert 0 <= found.contrast <= 255
    assert 0 <= found.entropy <= 8
    assert 0 <= found.phash < 2**64
    assert pl.Series([found.phash], dtype=pl.UInt64)[0] == found.phash
