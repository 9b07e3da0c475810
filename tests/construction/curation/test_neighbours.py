"""The search for near duplicates finds exactly what comparing all pairs one by one finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

# The search behind two public signals, compared with brute force over many made-up pools.
from counterground.construction.curation import _signals
from counterground.construction.curation._signals import find_better, hash_vectors


@pytest.fixture(autouse=True, scope="module")
def small_blocks():
    """Blocks so small that a few photos fill several, in both directions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_signals, "_ROWS", 3)
        yield


def one_by_one(distances, contents, radius):
    """Nearest better photo, by plain loops; -1 where there is none."""
    better = []
    for row in range(len(contents)):
        near = [
            (distances[row][other], other)
            for other in range(len(contents))
            if distances[row][other] <= radius
        ]
        earlier = [pair for pair in near if pair[1] < row and contents[pair[1]] != contents[row]]
        better.append(min(earlier)[1] if earlier else -1)
    return better


@st.composite
def hashed_photos(draw):
    """Hashes in a few clouds of close ones, with contents and classes."""
    centres = draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=3))
    count = draw(st.integers(0, 70))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    hashes = []
    for _ in range(count):
        value = centres[rng.integers(len(centres))]
        for bit in rng.integers(0, 64, rng.integers(0, 14)):
            value ^= 1 << int(bit)
        hashes.append(value)
    contents = rng.integers(0, max(1, count), count)
    return hashes, contents, draw(st.integers(0, 12))


@settings(max_examples=150, deadline=None)
@given(hashed_photos())
def test_hashes_equal_brute_force(photos):
    hashes, contents, radius = photos
    distances = [[(one ^ other).bit_count() for other in hashes] for one in hashes]
    best, product = find_better(hash_vectors(np.array(hashes, dtype=np.uint64)), contents, 64 - 2 * radius)
    better = one_by_one(distances, contents, radius)
    assert best.tolist() == better
    for row, other in enumerate(better):
        if other >= 0:
            assert (64 - product[row]) / 2 == distances[row][other]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 60))
def test_features_equal_brute_force(seed, count):
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-2, 3, (count, 6)).astype(np.float32)  # integers: sums are exact in any order
    contents = rng.integers(0, count, count)
    least = float(rng.integers(0, 12))
    best, _ = find_better(vectors, contents, least)
    assert best.tolist() == one_by_one((-(vectors @ vectors.T)).tolist(), contents, -least)
