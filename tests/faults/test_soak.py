"""A few kills at random moments; bench/experiments/soak.py does thousands."""

from __future__ import annotations

import random

import pytest
from disturbed_commands import Undisturbed


@pytest.mark.parametrize("name", ["evaluate", "import"])
def test_killed_at_random_moments_it_ends_as_one_left_alone(disk, commands, name):
    seed = random.randrange(2**32)
    found = Undisturbed(commands[name], disk).soak(3, random.Random(seed))
    assert found.clean, (seed, found)
