"""RoboShot and mean differences, against the authors' loop and a regression."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import normalize
from toy_world import World, fit

WORLD = World(d=24)
PHOTOS = WORLD.photos(400, 0.6)
DATA = WORLD.data(PHOTOS)
BACKGROUNDS = WORLD.encode_texts([f"A photo of {name}." for name in sorted(WORLD.backgrounds)]).astype(float)


def authors_loop(features, harmful, helpful):
    """``run.py`` of RoboShot: one basis vector at a time, with a division by the length after each."""
    rows = normalize(features.astype(float))
    for vector in np.linalg.qr(harmful.T)[0].T:
        rows = normalize(rows - (rows @ vector)[:, None] * vector)
    for vector in np.linalg.qr(helpful.T)[0].T if helpful is not None else ():
        rows = normalize(rows + (rows @ vector)[:, None] * vector)
    return rows


def cosines(mitigated):
    return mitigated.logits(PHOTOS.features) / DATA.scale


def additive(means):
    """Means of classes on backgrounds without noise: one effect of each, all cells or some."""
    random = np.random.default_rng(3)
    classes, backgrounds = random.normal(size=(8, 24)), random.normal(size=(4, 24))
    rows = [(k, b) for k, b in means for _ in range(3)]
    features = np.array([classes[k] + backgrounds[b] for k, b in rows], dtype=np.float32)
    data = replace(
        DATA,
        features=features,
        class_index=np.array([k for k, _ in rows]),
        background=np.array([WORLD.backgrounds[b] for _, b in rows], dtype=object),
    )
    return data, classes, backgrounds


@pytest.mark.parametrize("boost", [False, True])
def test_roboshot_is_the_authors_loop(boost):
    harmful = np.diff(BACKGROUNDS, axis=0)
    helpful = np.diff(DATA.head.T.astype(float), axis=0) if boost else None
    expected = authors_loop(PHOTOS.features, harmful, helpful) @ DATA.head
    np.testing.assert_allclose(cosines(fit("roboshot", DATA, boost=boost)), expected, atol=1e-5)


@pytest.mark.parametrize("boost", [False, True])
def test_mean_differences_are_the_coefficients_of_a_regression(boost):
    cells = sorted(set(zip(PHOTOS.class_index, PHOTOS.background, strict=True)))
    means = [
        PHOTOS.features[(PHOTOS.class_index == k) & (PHOTOS.background == b)].mean(axis=0, dtype=float)
        for k, b in cells
    ]
    dummies = np.array(
        [
            [float(k == each) for each in range(1, 8)] + [float(b == each) for each in WORLD.backgrounds[1:]]
            for k, b in cells
        ]
    )
    effects = LinearRegression().fit(dummies, means).coef_.T
    expected = authors_loop(PHOTOS.features, effects[7:], effects[:7] if boost else None) @ DATA.head
    np.testing.assert_allclose(cosines(fit("image-projection", DATA, boost=boost)), expected, atol=1e-5)


@pytest.mark.parametrize("boost", [False, True])
def test_between_sets_that_no_photo_connects_nothing_is_removed(boost):
    cells = [(k, b) for k in range(8) for b in range(4) if (k < 4) == (b < 2)]
    data, classes, backgrounds = additive(cells)
    harmful = backgrounds[[1, 3]] - backgrounds[[0, 2]]
    helpful = np.concatenate([classes[1:4] - classes[0], classes[5:] - classes[4]])
    expected = authors_loop(PHOTOS.features, harmful, helpful if boost else None)
    projection = fit("image-projection", data, boost=boost).projection
    np.testing.assert_allclose(normalize(PHOTOS.features @ projection), expected, atol=1e-5)


def test_a_thousand_names_take_no_memory_for_their_pairs():
    random = np.random.default_rng(0)
    head = random.normal(size=(24, 1000)).astype(np.float32)
    data = replace(DATA, head=head, class_names=tuple(f"name {each}" for each in range(1000)))
    tracemalloc.start()
    try:
        fit("roboshot", data, boost=True)
        assert tracemalloc.get_traced_memory()[1] < 10e6  # half a million pairs take a hundred
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_the_direction_of_the_most_similar_background_is_subtracted(alpha):
    expected = []
    for photo in PHOTOS.features.astype(float):
        own = max(BACKGROUNDS, key=lambda text, photo=photo: float(photo @ text)) - BACKGROUNDS.mean(axis=0)
        part = alpha * (photo @ own) / (own @ own)
        left = photo - part * own
        expected.append(left / np.linalg.norm(left) @ DATA.head)
    np.testing.assert_allclose(cosines(fit("text-subtraction", DATA, alpha=alpha)), expected, atol=1e-5)


def test_logits_of_a_classifier_are_not_divided_by_their_length():
    scores = replace(DATA, features=PHOTOS.features * 7)
    assert not fit("image-projection", scores, boost=False).normalise
    assert fit("image-projection", DATA, boost=False).normalise
