"""A few kills at random moments; bench/experiments/soak.py does more."""

from __future__ import annotations

import random

import pytest


@pytest.mark.parametrize("name", ["import", "collect"])
def test_killed_at_random_moments_it_ends_as_one_left_alone(left_alone, name):
    seed = random.randrange(2**32)
    found = left_alone(name).soak(3, random.Random(seed))
    assert found.clean, (seed, found)
