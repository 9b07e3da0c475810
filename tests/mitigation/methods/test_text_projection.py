"""Chuang et al.'s projections and averaged prompts, against other ways to compute them."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.linalg import null_space
from sklearn.preprocessing import normalize
from toy_world import World, fit

WORLD = World(d=24)
DATA = WORLD.data(WORLD.photos(40, 0.9))
BACKGROUNDS = WORLD.encode_texts([f"A photo of {name}." for name in sorted(WORLD.backgrounds)]).astype(float)
PROMPT = "A photo of {class} on {background}."


def on_backgrounds(name):
    texts = [f"A photo of {name} on {background}." for background in sorted(WORLD.backgrounds)]
    return WORLD.encode_texts(texts).astype(float)


def class_vectors(mitigated):
    return mitigated.weight.T.astype(float) / DATA.scale


def orthogonal_projection():
    free = null_space(BACKGROUNDS)
    return free @ free.T


def minimiser(strength):
    """The P that minimises |P - P0|^2 + strength / |S| sum |P d|^2, row by row, by least squares."""
    pairs = [a - b for name in WORLD.classes for a, b in combinations(on_backgrounds(name), 2)]
    p0, d = orthogonal_projection(), np.array(pairs)
    stacked = np.vstack([np.eye(24), np.sqrt(strength / len(d)) * d])
    rows = [np.linalg.lstsq(stacked, np.concatenate([row, np.zeros(len(d))]))[0] for row in p0]
    return np.array(rows)


def test_prompts_are_averaged_over_all_backgrounds():
    expected = normalize([on_backgrounds(name).mean(axis=0) for name in WORLD.classes])
    found = class_vectors(fit("background-prompts", DATA, prompt=PROMPT))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_orthogonal_projection_keeps_what_is_orthogonal_to_all_background_prompts():
    found = class_vectors(fit("text-projection", DATA))
    np.testing.assert_allclose(found, normalize(DATA.head.T @ orthogonal_projection()), atol=1e-6)
    assert np.abs(found @ BACKGROUNDS.T).max() < 1e-6


@pytest.mark.parametrize("strength", [0.0, 1.0, 1000.0])
def test_the_calibrated_projection_minimises_the_authors_objective(strength):
    found = class_vectors(fit("text-calibration", DATA, strength=strength))
    np.testing.assert_allclose(found, normalize(DATA.head.T @ minimiser(strength).T), atol=1e-5)
